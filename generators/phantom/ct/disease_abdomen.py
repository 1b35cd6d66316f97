"""Tumours of the phantoms' own disease, in liver, kidneys and pancreas.

They lie by the anatomy of the whole abdomen, seen coarsely, so that a subject has the same ones in every field of view.
Their bodies are bent ellipsoids with lobes and a rough surface; rims, dead cores, soft or sharp borders go by the kind
of tumour. Numbers: the table of ``disease``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.phantom.ct.abdomen_scene import Tissues
from lesionforge.generators.phantom.ct.canvas import Canvas, CtGrid, Floats, blunt, ellipsoid
from lesionforge.generators.phantom.ct.disease import Annotator, cut_normal, mark, pick, spread

COARSE = CtGrid.around((0.0, 0.0, 0.0), (88, 64, 64), (4.0, 4.0, 4.0))
ORGANS = ("liver", "kidney", "pancreas")
FREE = {"liver": 0.25, "kidney": 0.3, "pancreas": 0.3}  # subjects without a tumour there
MORE = {"liver": 1.2, "kidney": 0.1, "pancreas": 0.0}  # further ones, by Poisson's law
RADIUS_MM = {"liver": (9.0, 0.5, 4.5, 28.0), "kidney": (13.0, 0.45, 5.0, 28.0), "pancreas": (12.0, 0.4, 5.0, 18.0)}
SHALLOW = {"liver": 0.4, "kidney": 0.6, "pancreas": 0.2}  # share that lies at the organ's surface
BULGE = {"liver": 0.15, "kidney": 0.6, "pancreas": 0.4}  # radii that tumours reach out of the organ
SMALL_MM = 7.0  # pancreatic cancers of up to this radius are often as dense as the gland
EARLY_S = 70.0  # delay up to which liver cancers still hold the arterial contrast
BIAS, HAND, STROKE_MM = 0.04, 0.05, 12.0  # of an outline's radius: two people's agree to Dice .92
SEEN = 4  # voxels that a person bothers to mark
TRIES = 12


@dataclass(frozen=True)
class Kind:
    """A kind of tumour: its share in the organ, HU (``contrast`` to the organ or of its own), and how it looks.

    ``rim``: chance, mm and HU over its body. ``dead``: chance in those of more than 12 mm. ``border``: mm over which it
    fades out. ``grain``: HU of its unevenness.
    """

    organ: str
    share: float
    hu: tuple[float, float]
    contrast: bool = True
    rim: tuple[float, float, float] = (0.0, 1.0, 0.0)
    dead: float = 0.3
    border: tuple[float, float] = (1.0, 3.0)
    grain: float = 6.0


KINDS = {
    "metastasis": Kind("liver", 0.62, (-45.0, 15.0), rim=(0.6, 3.0, 22.0), dead=0.35, border=(1.0, 4.0)),
    "hepatocellular": Kind("liver", 0.38, (-18.0, 12.0), rim=(0.5, 1.5, 25.0), dead=0.2, grain=10.0),
    "clear cell": Kind("kidney", 0.45, (149.0, 30.0), False, dead=0.45, border=(0.5, 1.5), grain=20.0),
    "clear cell, poor": Kind("kidney", 0.3, (98.0, 20.0), False, dead=0.45, border=(0.5, 1.5), grain=12.0),
    "papillary": Kind("kidney", 0.15, (68.0, 14.0), False, dead=0.1, border=(0.5, 1.5)),
    "chromophobe": Kind("kidney", 0.1, (92.0, 15.0), False, dead=0.1, border=(0.5, 1.5)),
    "adenocarcinoma": Kind("pancreas", 0.85, (-40.0, 17.0), dead=0.15, border=(2.0, 5.0)),
    "neuroendocrine": Kind("pancreas", 0.15, (25.0, 12.0), dead=0.1, border=(0.5, 1.5)),
}


@dataclass(frozen=True)
class Tumour:
    """One tumour, drawn: centre in LPS mm, radius, lobes (offset and radius) and the rest."""

    name: str
    centre: Floats
    radius: float
    axes: Floats
    turn: Floats  # (3, 3), orthonormal
    lobes: tuple[tuple[Floats, float], ...]
    hu: float
    rim: tuple[float, float]  # mm, HU; 0 mm: none
    dead: tuple[float, float]  # depth from which on it is dead, as a share of the deepest; HU
    border: float

    def depth(self, canvas: Canvas) -> Floats:
        """mm under its surface."""
        x, y, z = (axis - c for axis, c in zip(canvas.grid.axes(), self.centre, strict=True))
        own = [a * x + b * y + c * z for a, b, c in self.turn.tolist()]
        body = ellipsoid(own, (0.0, 0.0, 0.0), self.axes.tolist())
        for offset, wide in self.lobes:
            lobe = ellipsoid(own, offset.tolist(), (wide, wide, wide))
            body = -blunt(-body, -lobe, 0.35 * self.radius)
        out: Floats = body + 0.1 * self.radius * canvas.waves("disease surface", max(0.7 * self.radius, 6.0))
        return out


def paint_tumours(
    canvas: Canvas, anatomy: Callable[[Canvas], None], hu: Tissues, delay_s: float, names: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Draw a subject's tumours, lay those that the canvas shows, and label them ``ORGAN_tumour``.

    Args:
        canvas: all of it, with everything else painted.
        anatomy: paints all that on a canvas.
        hu: of the organs.
        delay_s: of the scan.
        names: label values.

    Returns:
        Of every tumour on the canvas its kind, radius, middle (LPS mm), and the voxels marked.
    """
    coarse = Canvas(COARSE, 0.0, canvas.key)
    anatomy(coarse)
    annotator = Annotator.draw(canvas.rng("disease annotator"), BIAS, HAND)
    told: list[dict[str, Any]] = []
    taken: list[tuple[Floats, float]] = []
    for organ in ORGANS:
        rng = canvas.rng(f"disease {organ}")
        count = 0 if float(rng.uniform()) < FREE[organ] else 1 + int(rng.poisson(MORE[organ]))
        for _ in range(count):
            tumour = _draw(rng, organ, coarse.labels == names[organ], taken, hu, delay_s)
            if tumour is None:
                continue
            taken.append((tumour.centre, tumour.radius))
            voxels = _paint(canvas, tumour, organ, annotator, names)
            if voxels is not None:
                told.append(
                    {
                        "kind": tumour.name,
                        "organ": organ,
                        "radius_mm": round(tumour.radius, 1),
                        "centre_lps_mm": np.round(tumour.centre, 2).tolist(),
                        "voxels": voxels,
                    }
                )
    return told


def _draw(
    rng: np.random.Generator,
    organ: str,
    inside: NDArray[np.bool_],
    taken: list[tuple[Floats, float]],
    hu: Tissues,
    delay_s: float,
) -> Tumour | None:
    """One more tumour of an organ, clear of the others; None where there is no room."""
    own = [name for name, kind in KINDS.items() if kind.organ == organ]
    radius = spread(rng, *RADIUS_MM[organ])
    name = own[pick(rng, tuple(KINDS[n].share for n in own))]
    shallow = float(rng.uniform()) < SHALLOW[organ]
    depth = scipy.ndimage.distance_transform_edt(inside, sampling=COARSE.spacing_mm)
    for _ in range(TRIES):
        centre = _middle(rng, depth, radius, shallow)
        if centre is None:
            return None
        if all(math.sqrt(float(((centre - c) ** 2).sum())) > radius + r + 5.0 for c, r in taken):
            return _tumour(rng, name, centre, radius, hu, delay_s)
    return None


def _middle(rng: np.random.Generator, depth: Floats, radius: float, shallow: bool) -> Floats | None:
    """A place in the organ: at its surface, or as deep as the tumour is thick where it is so deep anywhere."""
    room = (depth > 0) & (depth < 0.8 * radius) if shallow else depth >= min(radius, 0.8 * float(depth.max()))
    found = np.argwhere(room & (depth > 0))
    if not len(found):
        return None
    at = found[int(rng.integers(len(found)))] + rng.uniform(-0.5, 0.5, 3)
    out: Floats = np.array(COARSE.origin_mm) + np.array(COARSE.spacing_mm) * at
    return out


def _tumour(rng: np.random.Generator, name: str, centre: Floats, radius: float, hu: Tissues, delay_s: float) -> Tumour:
    kind = KINDS[name]
    mean = cut_normal(rng, *kind.hu)
    if kind.contrast:
        level = {"liver": hu.liver, "pancreas": hu.pancreas}[kind.organ]
        if name == "adenocarcinoma" and radius < SMALL_MM and float(rng.uniform()) < 0.6:
            mean = cut_normal(rng, -7.0, 5.0)
        if name == "hepatocellular" and delay_s < EARLY_S:
            mean += 28.0
        mean = max(level + mean, 25.0)
    axes = radius * 0.86 * np.exp(0.16 * rng.standard_normal(3).clip(-2, 2))
    lobes = []
    for _ in range(int(rng.integers(0, 5))):
        way = _unit(rng.standard_normal(3))
        lobes.append((way * radius * float(rng.uniform(0.45, 0.8)), radius * float(rng.uniform(0.4, 0.65))))
    ahead = _unit(rng.standard_normal(3))
    aside = _unit(np.cross(ahead, rng.standard_normal(3)))
    rim = (kind.rim[1] * float(rng.uniform(0.7, 1.3)), kind.rim[2] * float(rng.uniform(0.5, 1.3)))
    dead = (float(rng.uniform(0.3, 0.65)), float(rng.uniform(12.0, 38.0)))
    return Tumour(
        name=name,
        centre=centre,
        radius=radius,
        axes=axes,
        turn=np.stack([ahead, aside, np.cross(ahead, aside)]),
        lobes=tuple(lobes),
        hu=mean,
        rim=rim if float(rng.uniform()) < kind.rim[0] else (0.0, 0.0),
        dead=dead if radius > 12.0 and float(rng.uniform()) < kind.dead else (2.0, 0.0),
        border=float(rng.uniform(*kind.border)),
    )


def _paint(canvas: Canvas, tumour: Tumour, organ: str, annotator: Annotator, names: Mapping[str, int]) -> int | None:
    """Lay and mark it; the voxels marked, None where it lies outside of the canvas."""
    far = 2.2 * tumour.radius + tumour.border
    part = canvas.crop((tumour.centre - far).tolist(), (tumour.centre + far).tolist())
    if part is None:
        return None
    depth = tumour.depth(part)
    home = part.labels == names[organ]
    free = part.labels == 0
    outside = scipy.ndimage.distance_transform_edt(~home, sampling=part.grid.spacing_mm) if home.any() else None
    if outside is None:
        return None
    room = home | (free & (outside <= BULGE[organ] * tumour.radius))
    width = max(tumour.border, part.grid.voxel_mm)
    share = np.clip(depth / width + 0.5, 0.0, 1.0) * room
    if not share.any():
        return None
    kind = KINDS[tumour.name]
    uneven = part.waves("disease grain", max(0.5 * tumour.radius, 5.0))
    tissue = tumour.hu + kind.grain * uneven
    if tumour.rim[0]:
        tissue = tissue + tumour.rim[1] * np.clip(1.5 - np.abs(depth / tumour.rim[0] - 0.5), 0.0, 1.0)
    core = np.clip((depth / max(float(depth.max()), 1e-6) + 0.18 * uneven - tumour.dead[0]) * 6.0, 0.0, 1.0)
    tissue = tissue + core * (tumour.dead[1] - tissue)
    part.blend(share, tissue)
    seen = (depth + tumour.radius * annotator.off(part, STROKE_MM) > 0.0) & room
    return mark(part, seen, names[f"{organ}_tumour"], SEEN)


def _unit(vector: Floats) -> Floats:
    out: Floats = vector / math.sqrt(float((vector * vector).sum()))
    return out
