"""The ``README.md`` of an export of boxes: what its classes, boxes, splits and masks are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lesionforge.sinks.card import counted
from lesionforge.sinks.exports.frames import STENOSIS

RULES = {
    "classes": f"Lesions are of the class of their severity; one without such a class is of class `{STENOSIS}`.",
    "ignore": "Lesions are of the class of their severity; one without such a class is a region to ignore (`iscrowd` "
    "1, in every category).",
    "one": f"Every lesion is of the one class `{STENOSIS}`, whatever its severity.",
}
MASKS = (
    "As stored. Of frames that lesions are drawn into: 0 and 255, the vessel. Of the cine generator: SYNTAX segments, "
    "vessels, devices, catheter, as `mask_values` in the samples' json says."
)


def about(told: Mapping[str, Any], form: str) -> str:
    """Markdown.

    Args:
        told: what `sinks.exports.export` returns.
        form: how boxes are written, a sentence.
    """
    rows = [
        f"| {split} | {count} | {told['subjects'][split]} | "
        + " | ".join(str(told["boxes"][split][name]) for name in told["classes"])
        + " |"
        for split, count in told["images"].items()
    ]
    head = " | ".join(["split", "pictures", "subjects", *told["classes"]])
    rule = "|---" * (3 + len(told["classes"])) + "|"
    masks = (
        f"\n## Masks\n{sum(told['masks'].values())} pictures have one. {MASKS}\n" if any(told["masks"].values()) else ""
    )
    return (
        f"# Pictures with lesions as boxes, {told['format']}\n\nMade by `lesionforge export`. Lesions are drawn ones "
        "and those that the pictures had before.\n\n"
        f"| {head} |\n{rule}\n" + "\n".join(rows) + "\n\n## Lesions\n" + RULES[told["lesions"]] + "\n"
        + "".join(f"- {line}\n" for line in lines(told))
        + f"\n## Boxes\n{form}. (A dataset's own json has them as x0, y0, x1, y1.)\n\n## Splits\nNo subject is in two "
        "of them.\n" + "".join(f"- {line}\n" for line in told["notices"]) + masks
    )  # fmt: skip


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What became of lesions that have no class of their own, a line each; for the terminal too."""
    for severity, count in told["as_stenosis"].items():
        yield f"as {STENOSIS}: {counted(count, 'lesion')}, {severity}"
    what = "to be ignored" if told["format"] == "coco" else "without a box"
    for why, count in told["ignored"].items():
        yield f"{what}: {counted(count, 'lesion')}, {why}"
    for why, count in told["left_out"].items():
        yield f"left out: {counted(count, 'lesion')}, {why}"
    if told["clipped"]:
        yield f"clipped at the picture's border: {counted(told['clipped'], 'box').replace('boxs', 'boxes')}"
