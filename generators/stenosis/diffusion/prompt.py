"""The text prompt of a lesion, built from its metadata by one template.

``coronary angiogram, right coronary artery, segment 2, LAO 30 CRA 20, severe stenosis``; what is unknown is left out.
Angles are rounded to ten degrees: finer ones no text encoder tells apart.
"""

from __future__ import annotations

from lesionforge.generators.types import SeverityClass, Side

EMPTY = ""  # of the classifier-free branch
_SEGMENTS = (*(str(n) for n in range(1, 17)), "9a", "10a", "12a", "12b", "14a", "14b", "16a", "16b", "16c")
_ANGLES = tuple(str(n) for n in range(0, 181, 10))

#: Every word the template can make, for the presets that bring their own small tokenizer.
WORDS = (
    *("coronary", "angiogram", ",", "left", "right", "artery", "segment", "LAO", "RAO", "CRA", "CAU"),
    *("no", "mild", "moderate", "severe", "stenosis", *dict.fromkeys(_SEGMENTS + _ANGLES)),
)


def prompt(
    severity: SeverityClass | None,
    side: Side | None = None,
    segment: str | None = None,
    view_deg: tuple[float, float] | None = None,
) -> str:
    """The prompt of one crop.

    Args:
        severity: class of the lesion in it; None for a healthy vessel.
        side: of the coronary tree.
        segment: SYNTAX name.
        view_deg: positioner primary (LAO +) and secondary (cranial +) angle.
    """
    parts = ["coronary angiogram"]
    if side is not None:
        parts.append(f"{side} coronary artery")
    if segment is not None:
        parts.append(f"segment {segment}")
    if view_deg is not None:
        primary, secondary = (10 * round(angle / 10) for angle in view_deg)
        parts.append(
            f"{'LAO' if primary >= 0 else 'RAO'} {abs(primary)} {'CRA' if secondary >= 0 else 'CAU'} {abs(secondary)}"
        )
    parts.append(f"{severity or 'no'} stenosis")
    return ", ".join(parts)
