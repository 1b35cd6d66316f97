"""The installed packages that this one needs: whether their versions fit, and under which licences they are."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement

Found = tuple[str, Literal["ok", "warn", "fail"], str]

NAME = "lesionforge"
SHOWN = ("ray", "numpy", "pyarrow", "s3fs", "torch", "ultralytics")
DEVELOPMENT = ("test", "bench")  # extras of which nothing is shipped
COPYLEFT = re.compile(r"\bA?GPL(?!.*exception)|Affero|GNU General Public", re.IGNORECASE)


def versions() -> Iterator[Found]:
    """Python, this package, and what it cannot do without."""
    text = f"lesionforge {metadata.version(NAME)}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    yield "software", "ok" if platform.system() == "Linux" else "warn", text
    wrong = []
    for requirement in _requirements(NAME):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        yield "packages", "fail", f"{'; '.join(wrong)}: pip install -U lesionforge"
    shown = [f"{name} {metadata.version(name)}" for name in SHOWN if _there(name)]
    yield "packages", "ok", ", ".join(shown)


def licences() -> Iterator[Found]:
    """Packages of the installed extras, and all that these pull in, that are under the GPL or the AGPL."""
    clean = True
    for extra in metadata.metadata(NAME).get_all("Provides-Extra") or ():
        direct = [r for r in _requirements(NAME) if _only_with(r, extra)]
        if extra in DEVELOPMENT or not direct or not all(_there(r.name) for r in direct):
            continue
        said = {f"{name} {metadata.version(name)}": _licence(name) for name in sorted(_closure(direct))}
        if bound := [f"{name} ({licence})" for name, licence in said.items() if COPYLEFT.search(licence)]:
            clean = False
            what = "what you ship together with them, or offer over a network under the AGPL, falls under these terms"
            yield "licence", "warn", f"extra {extra} brings {', '.join(bound)}: {what}"
    if clean:
        yield "licence", "ok", "no installed extra brings GPL or AGPL code"


def _requirements(name: str) -> list[Requirement]:
    return [Requirement(text) for text in metadata.requires(name) or ()]


def _only_with(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _there(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _closure(direct: list[Requirement]) -> set[str]:
    """Names of installed packages that these lead to."""
    seen: set[str] = set()
    waiting = [requirement.name for requirement in direct]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen or not _there(name):
            continue
        seen.add(name)
        waiting += [r.name for r in _requirements(name) if not r.marker or r.marker.evaluate({"extra": ""})]
    return seen


def _licence(name: str) -> str:
    """What a package says of its licence, on one line."""
    about = metadata.metadata(name)
    classifiers = [c.rsplit(" :: ", 1)[-1] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    said = about["License-Expression"] or ", ".join(classifiers) or about["License"] or "unknown"
    short = re.sub(r".*\((\w+v[\d.]+\+?)\)", r"\1", str(said).strip().splitlines()[0])  # the acronym of a classifier
    return short[:80]
