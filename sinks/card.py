"""The dataset card: what this is, from what, under which terms, with which limits. A Markdown file in the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from lesionforge.sinks import layout
from lesionforge.sinks.text import code, markdown


def card(
    manifest: Mapping[str, Any], document: Mapping[str, Any], members: Sequence[str], limits: Sequence[str]
) -> bytes:
    """Fill the template.

    Args:
        manifest: the parsed ``manifest.json``.
        document: the parsed ``recipe.json``.
        members: names of a sample's members.
        limits: the generator's own statements of what its samples are not.
    """
    splits = manifest["splits"]
    short = manifest["planned"]["samples"] - manifest["samples"]
    state = "Complete as planned." if not short else f"{short} of {manifest['planned']['samples']} planned are missing."
    rows = [
        f"| {split} | {s['shards']} | {s['samples']} | {_listed(s['classes'], '{1}: {0}', '')} |"
        for split, s in splits.items()
    ]
    given = len(document["sources"]) - (document["recipe"].get("backgrounds") is not None)
    sources = [
        f"| {code(s['scheme'])}{' (backgrounds)' * (n >= given)} | {s['subjects']} "
        f"| {_listed(s['left_over'], '{0} {1}', '0')} | {markdown(s['licence'])} |"
        for n, s in enumerate(document["sources"])
    ]
    reasons = [f"- {count} x {markdown(reason)}" for reason, count in manifest["reasons"].items()]
    template = Template(files("lesionforge.sinks").joinpath("card.md").read_text(encoding="utf-8"))
    text = template.substitute(
        name=manifest["name"],
        samples=manifest["samples"],
        shards=manifest["shards"],
        size=human_bytes(manifest["bytes"]),
        version=markdown(document["versions"]["lesionforge"]),
        generator=code(document["recipe"]["generator"]["name"]),
        state=state,
        configs=_configs(splits),
        splits="\n".join(rows),
        split=next(iter(splits), "train"),
        pattern=next(iter(splits.values()))["urls"] if splits else "",
        members=", ".join(map(code, members)),
        wids=layout.WIDS,
        index=layout.INDEX,
        dali=layout.DALI,
        recipe=layout.RECIPE,
        sources="\n".join(sources),
        identity=manifest["identity"],
        seed=document["recipe"]["seed"],
        versions=", ".join(markdown(f"{name} {number}") for name, number in document["versions"].items()),
        quarantine="\n".join(reasons) or "Nothing was quarantined.",
        burned_in=_burned_in(manifest["burned_in_text"]),
        limits="\n".join(f"- {markdown(limit)}" for limit in limits) or "None stated by the generator.",
    )
    return text.encode()


def _configs(splits: Mapping[str, Any]) -> str:
    """The lines by which Hugging Face's `load_dataset` finds the shards, and does not take the index for data."""
    if not splits:
        return ""
    files = [f"  - split: {split}\n    path: {layout.SHARDS}/{split}-*.tar\n" for split in splits]
    return f"configs:\n- config_name: default\n  data_files:\n{''.join(files)}"


def _listed(counts: Mapping[str, int], form: str, none: str) -> str:
    return ", ".join(form.format(count, markdown(name)) for name, count in counts.items()) or none


def _burned_in(samples: int) -> str:
    if not samples:
        return "No sample's frame is flagged as carrying writing; the flag is a heuristic, look before you share."
    seen = counted(samples, "sample")
    return f"{seen} of frames that seem to carry writing (`burned_in_text` in the index): look at them."


def human_bytes(size: float) -> str:
    """``3.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """``1 shard``, ``2,000 shards``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
