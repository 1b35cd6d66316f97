"""``lesionforge study readers`` and ``lesionforge report readers``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Json, Out, pairs


def register(groups: Mapping[str, typer.Typer]) -> None:
    """Hang them into the groups ``study`` and ``report``."""
    groups["study"].command("readers")(study)
    groups["report"].command("readers")(report)


def study(
    out: Out,
    synthetic: Annotated[
        str, typer.Option(metavar="DATA", help="a generated dataset with drawn lesions: angiograms, or CT")
    ],
    real: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="real lesions: a source such as arcade:FOLDER or ct:FOLDER, or a dataset (its real ones; of phantoms, "
            "all stand for real ones)",
        ),
    ],
    real_option: Annotated[
        list[str] | None, typer.Option(metavar="A=B", help="an option of the real data's source")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="only lesions of this class, again for more: severe, calcified, liver ..."),
    ] = None,
    each: Annotated[int, typer.Option(min=1, help="crops of drawn, and as many of real lesions")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="draws which, and in which order")] = 0,
    as_json: Json = False,
) -> None:
    """Make a reading test: one page, for any browser and no network, on which people tell drawn lesions from real ones.

    Which are drawn stands in OUT/key.json alone: give readers OUT/reading.html and nothing else. CT is shown in
    the window that the page names.
    """
    from lesionforge.jobs.studies.places import DataPlace
    from lesionforge.jobs.studies.readers import making

    places = DataPlace(synthetic, option="--synthetic"), DataPlace(real, "", pairs(real_option), "--real")
    body = making.make(*places, out, each, classes or (), seed)
    for reason, count in body["unreadable"].items():
        console.note(f"--real: cases that cannot be read: {count} x {reason}")
    console.emit(body, as_json, lambda: making.show(body))


def report(
    out: Annotated[Path, typer.Argument(metavar="STUDY", help="folder that lesionforge study readers wrote")],
    answers: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ANSWERS", help="what readers downloaded; default: STUDY/answers*.json"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy, sensitivity, specificity and AUC of each reader and of all, with 95 % intervals."""
    from lesionforge.jobs.studies.readers import reading

    made = reading.report(out, answers or ())
    console.emit(made.body, as_json, made.show)
