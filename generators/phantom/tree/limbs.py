"""What a coronary tree is made of: the named vessels, where they run on the heart, and how large they are.

Courses are way points (theta, phi, depth) in the chart of ``heart.Heart``: the interventricular grooves meet the
atrioventricular one at phi about 0 (anterior) and 190 (the crux); the acute margin lies at phi about -128. They were
read off the fit described there and the textbook course of each vessel. Segment numbers are SYNTAX's (Sianos 2005,
as in ARCADE's categories). What SYNTAX does not number (septals, conus and sinus node artery, right ventricular and
acute marginals, atrial and terminal twigs) has the segment "" and a descriptive branch name.

Diameters: left main 4.5 mm, proximal LAD 3.6, circumflex 3.4, right 3.9 (2.8 where the left dominates, whose
circumflex has 4.2): Dodge 1992, and seeds F4. Between subjects the standard deviation is about 0.5 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

from lesionforge.generators.phantom.tree.heart import Dominance
from lesionforge.generators.types import Side

Place = tuple[float, float, float]  # theta degrees, phi degrees, depth mm


@dataclass(frozen=True)
class Limb:
    """One named vessel.

    ``start``: (low, high) fraction of the parent's length at which it leaves; 1 for a terminal branch.
    ``ratio``: (low, high) radius over the parent's at the origin; of a terminal branch, its share of the parent's
    cubed radius instead. ``segments``: SYNTAX names with the fraction of the length, or the name of the side
    branch, up to which each reaches.
    """

    name: str
    parent: str
    way: tuple[Place, ...]
    start: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (1.0, 1.0)
    segments: tuple[tuple[str, float | str], ...] = (("", 1.0),)
    chance: float = 1.0
    cut: tuple[float, float] = (1.0, 1.0)  # fraction of the way that is run: vessels end where they like
    power: float = 2.0  # see calibre.taper
    end_mm: tuple[float, float] | None = (0.38, 0.55)  # radius at the far end; None for a trunk that divides there
    twigs_mm: float = 0.0  # mean spacing of unnamed side branches, 0 for none
    wander: tuple[float, float] = (1.6, 1.3)  # mm, see curve.course
    lead: float | None = None  # phi of the first way point less the origin's: the course follows the origin
    free: bool = False  # leaves the surface
    length_mm: tuple[float, float] | None = None  # of a root: length drawn, backwards from its last way point


def _septals() -> tuple[Limb, ...]:
    """Septal perforators: off the LAD into the septum, towards the posterior groove; the first is the largest."""
    out = []
    for k, (at, theta, depth) in enumerate(((0.20, 76, 24), (0.31, 66, 25), (0.42, 56, 22), (0.53, 46, 17))):
        out.append(
            Limb(
                f"S{k + 1}", "LAD", ((theta, -18.0 - 8 * k, float(depth)),), (at, at + 0.04),
                ((0.42, 0.5) if k == 0 else (0.3, 0.4)), wander=(0.6, 0.5), free=True, power=1.0,
                chance=1.0 if k == 0 else 0.8, twigs_mm=14.0 if k == 0 else 0.0,
            )
        )  # fmt: skip
    return tuple(out)


def left(dominance: Dominance, superdominant: bool) -> tuple[Limb, ...]:
    """The left tree; the root comes first and a parent before its branches."""
    groove: tuple[Place, ...] = (
        (120, 22, 0), (119, 40, 0), (114, 58, 0), (109, 76, 0), (106, 94, 0), (105, 112, 0), (105, 130, 0),
    )  # fmt: skip
    beyond: tuple[Place, ...] = ((106, 148, 0), (107, 166, 0), (107, 180, 0))
    reaches = (0.45, 0.6) if superdominant else (0.6, 1.0) if dominance == "right" else (1.0, 1.0)
    posterior: tuple[tuple[str, float | str], ...] = (("11", "OM1"), ("13", 1.0))
    limbs = (
        Limb("LM", "", ((132, -3, 4), (119, 6, 1)), segments=(("5", 1.0),), end_mm=None, wander=(0.0, 0.0),
             length_mm=(5.0, 15.0)),
        Limb(
            "LAD", "LM",
            ((109, 7, 0), (98, 4, 0), (86, -5, 0), (72, -14, 0), (58, -22, 0), (42, -31, 0), (26, -42, 0),
             (12, -60, 0), (6, -130, 0), (18, -172, 0), (30, -170, 0)),
            ratio=(0.52, 0.6), segments=(("6", "S1"), ("7", 0.52), ("8", 1.0)), cut=(0.76, 1.0), power=2.2,
            end_mm=(0.45, 0.65), twigs_mm=26.0, wander=(1.4, 1.1),
        ),
        Limb("LCx", "LM", groove + (beyond if dominance != "right" else ()), ratio=(0.42, 0.5),
             segments=posterior, cut=reaches,
             power=2.6 if dominance == "right" else 4.0, twigs_mm=30.0, wander=(1.4, 0.6),
             end_mm=(0.4, 0.6) if dominance != "left" else None),
        Limb("RI", "LM", ((106, 24, 0), (88, 34, 0), (70, 44, 0), (54, 54, 0)), ratio=(0.10, 0.2), chance=0.22,
             segments=(("12", 1.0),), cut=(0.7, 1.0), twigs_mm=18.0),
        Limb("D1", "LAD", ((84, 14, 0), (70, 28, 0), (56, 42, 0), (42, 54, 0)), (0.16, 0.27), (0.58, 0.72),
             (("9", 1.0),), cut=(0.75, 1.0), twigs_mm=16.0),
        Limb("D1a", "LAD", ((74, 4, 0), (62, 16, 0), (50, 28, 0)), (0.34, 0.4), (0.42, 0.55),
             (("9a", 1.0),), chance=0.4, cut=(0.7, 1.0), twigs_mm=18.0),
        Limb("D2", "LAD", ((54, -6, 0), (43, 8, 0), (33, 24, 0)), (0.46, 0.54), (0.5, 0.65),
             (("10", 1.0),), chance=0.9, cut=(0.7, 1.0), twigs_mm=18.0),
        Limb("D3", "LAD", ((34, -22, 0), (26, 0, 0), (20, 20, 0)), (0.62, 0.70), (0.45, 0.6),
             (("10a", 1.0),), chance=0.5, cut=(0.7, 1.0), twigs_mm=20.0),
        *_septals(),
        Limb("OM1", "LCx", ((97, 52, 0), (80, 60, 0), (62, 68, 0), (46, 76, 0)), (0.22, 0.36), (0.64, 0.78),
             (("12a", 1.0),), lead=5.0, cut=(0.7, 1.0), twigs_mm=16.0),
        Limb("OM2", "LCx", ((90, 92, 0), (74, 98, 0), (58, 104, 0), (44, 110, 0)), (0.52, 0.62), (0.6, 0.76),
             (("12b", 1.0),), lead=5.0, chance=0.85, cut=(0.65, 1.0), twigs_mm=18.0),
        Limb("OM3", "LCx", ((90, 126, 0), (76, 130, 0), (64, 136, 0)), (0.72, 0.8), (0.5, 0.65),
             (("14", 1.0),), lead=4.0, chance=0.4 if dominance == "right" else 1.0, cut=(0.6, 1.0), twigs_mm=20.0),
        Limb("LA", "LCx", ((128, 50, 0), (140, 70, 0)), (0.1, 0.18), (0.28, 0.36), chance=0.4, power=1.0),
    )  # fmt: skip
    if dominance == "left":
        limbs += (
            Limb("LPL", "LCx", ((88, 158, 0), (72, 160, 0), (58, 164, 0)), (0.84, 0.88), (0.5, 0.62),
                 (("14a", 1.0),), lead=4.0, cut=(0.7, 1.0), twigs_mm=18.0),
            Limb("LPDA", "LCx", ((96, 189, 0), (78, 191, 0), (60, 193, 0), (42, 196, 0)), ratio=(1.0, 1.0),
                 segments=(("15", 1.0),), cut=(0.75, 1.0), twigs_mm=16.0),
        )  # fmt: skip
    return limbs


def right(dominance: Dominance, superdominant: bool) -> tuple[Limb, ...]:
    """The right tree; the root comes first and a parent before its branches."""
    small = dominance == "left"
    margin = 0.64 if not small else 0.72  # the acute margin lies there on the trunk's length
    trunk: tuple[Place, ...] = (
        (114, -24, 11), (112, -36, 8), (110, -50, 5), (107, -64, 2), (106, -80, 0), (106, -98, 0), (107, -116, 0),
        (108, -134, 0), (108, -150, 0),
    )  # fmt: skip
    limbs: tuple[Limb, ...] = (
        Limb("RCA", "", trunk if small else (*trunk, (107, -163, 0), (106, -171, 0)),
             segments=(("1", margin / 2), ("2", margin), ("3", 1.0)), power=2.0 if small else 1.2,
             end_mm=(0.5, 0.7) if small else None, twigs_mm=45.0, wander=(2.0, 0.6)),
        Limb("conus", "RCA", ((96, -34, 0), (84, -34, 0), (74, -40, 0)), (0.07, 0.1), (0.3, 0.42), chance=0.85,
             cut=(0.7, 1.0), power=1.0, twigs_mm=22.0),
        Limb("SA", "RCA", ((118, -62, 0), (130, -70, 0), (140, -90, 0)), (0.14, 0.18), (0.28, 0.38), chance=0.6,
             power=1.0, wander=(1.5, 0.8)),
        Limb("RV1", "RCA", ((94, -84, 0), (82, -78, 0), (70, -70, 0)), (0.34, 0.4), (0.34, 0.46), chance=0.8,
             cut=(0.6, 1.0), power=1.0, twigs_mm=18.0, wander=(1.5, 1.2)),
        Limb("RV2", "RCA", ((92, -108, 0), (78, -100, 0), (66, -94, 0)), (0.48, 0.53), (0.34, 0.48), chance=0.6,
             cut=(0.6, 1.0), power=1.0, twigs_mm=18.0, wander=(1.5, 1.2)),
        Limb("AM", "RCA", ((90, -128, 0), (72, -122, 0), (54, -118, 0), (38, -116, 0)), (0.6, 0.66), (0.44, 0.58),
             cut=(0.6, 1.0), power=1.2, twigs_mm=18.0, wander=(1.8, 1.0)),
    )  # fmt: skip
    if dominance == "left":
        return limbs
    limbs += (
        Limb("PDA", "RCA", ((98, 190, 0), (84, 190, 0), (68, 192, 0), (52, 195, 0), (36, 200, 0)),
             ratio=(0.4, 0.48), segments=(("4", 1.0),), cut=(0.7, 1.0), twigs_mm=15.0, wander=(1.6, 1.0)),
    )  # fmt: skip
    wall: tuple[Place, ...] = (
        (110, 180, 0), (109, 168, 0), (105, 156, 0), (97, 146, 0), (84, 138, 0), (70, 132, 0),
    )  # fmt: skip
    beyond: tuple[Place, ...] = (
        (110, 180, 0), (109, 165, 0), (107, 150, 0), (105, 135, 0), (102, 120, 0), (97, 108, 0), (89, 99, 0),
        (78, 93, 0), (66, 90, 0),
    )  # fmt: skip
    reaches = (0.85 if superdominant else 0.75, 1.0) if dominance == "right" else (0.3, 0.36)
    shares = (0.65, 0.75) if superdominant else (0.5, 0.58) if dominance == "right" else (0.1, 0.14)
    limbs += (
        Limb("PL", "RCA", beyond if superdominant else wall, ratio=shares, segments=(("16", 1.0),), cut=reaches,
             twigs_mm=22.0, power=3.5 if superdominant else 2.2),
    )  # fmt: skip
    if dominance == "right":
        limbs += (
            Limb("PL1", "PL", ((94, 174, 0), (80, 173, 0), (66, 173, 0)), (0.14, 0.2), (0.5, 0.66),
                 (("16a", 1.0),), lead=-3.0, chance=0.75, cut=(0.6, 1.0), twigs_mm=18.0, wander=(1.5, 1.0)),
            Limb("PL2", "PL", ((90, 160, 0), (76, 157, 0), (64, 155, 0)), (0.36, 0.44), (0.55, 0.7),
                 (("16b", 1.0),), lead=-3.0, chance=0.8, cut=(0.6, 1.0), twigs_mm=18.0, wander=(1.5, 1.0)),
            Limb("PL3", "PL", ((90, 128, 0), (84, 118, 0)), (0.6, 0.68), (0.5, 0.65),
                 (("16c", 1.0),), lead=-3.0, chance=0.35, cut=(0.6, 1.0), wander=(1.5, 1.0)),
        )  # fmt: skip
    return limbs


def limbs(side: Side, dominance: Dominance, superdominant: bool) -> tuple[Limb, ...]:
    """The table of one tree."""
    return (left if side == "left" else right)(dominance, superdominant)


def root_diameter_mm(side: Side, dominance: Dominance) -> float:
    """Mean diameter at the ostium, mm (Dodge 1992)."""
    if side == "left":
        return 4.9 if dominance == "left" else 4.5
    return {"right": 3.9, "co": 3.5, "left": 2.8}[dominance]
