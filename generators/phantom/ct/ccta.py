"""A procedural coronary CT angiogram: the chest of one subject with the coronary trees of ``phantom_tree``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lesionforge.generators.phantom.ct.canvas import AIR, Canvas, CtGrid, Floats
from lesionforge.generators.phantom.ct.ccta_chest import paint_chest
from lesionforge.generators.phantom.ct.ccta_heart import FAT, Blood, heart_in, paint_heart
from lesionforge.generators.phantom.ct.ccta_veins import CardiacVeins, InflowVeins
from lesionforge.generators.phantom.ct.ccta_vessels import GreatVessels
from lesionforge.generators.phantom.ct.disease_coronary import paint_plaques
from lesionforge.generators.phantom.ct.scanner import KERNELS, scan
from lesionforge.generators.phantom.ct.vessels import capsules, filled
from lesionforge.generators.phantom.tree.coronary import LICENCE, coronary_tree, phantom_tree
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import Branch, CoronaryTree, Side, Volume, stream

NAMES = (
    "coronary_left", "coronary_right", "coronary_wall", "aorta", "pulmonary_artery", "left_ventricle",
    "right_ventricle", "left_atrium", "right_atrium", "myocardium", "epicardial_fat", "lung", "bone", "liver", "spleen",
    "coronary_vein", "pulmonary_vein", "calcified", "non_calcified",
)  # fmt: skip
LEGEND = dict(enumerate(NAMES, 1))
VALUE = {name: number for number, name in LEGEND.items()}
SIDES: tuple[Side, Side] = ("left", "right")
SHEATH_MM = 1.6  # of fat around a vessel on the heart's surface
About = Literal["heart", "left", "right"]


@dataclass(frozen=True)
class Wall:
    """A healthy coronary wall: its thickness is ``share`` of the lumen's radius within ``limits_mm``."""

    share: float = 0.32
    limits_mm: tuple[float, float] = (0.45, 0.8)
    hu: float = 55.0

    def outer(self, radii: Floats) -> Floats:
        """Radii in mm of the vessel with its wall."""
        out: Floats = radii + np.clip(self.share * radii, *self.limits_mm)
        return out


@dataclass(frozen=True)
class Coronaries:
    """The coronary vessels as ``capsules``: with their fat, with their walls, and the lumen of each side."""

    sheaths: Floats
    walls: Floats
    lumens: tuple[Floats, ...]

    @classmethod
    def of(cls, trees: tuple[CoronaryTree, ...], healthy: tuple[tuple[Branch, ...], ...]) -> Coronaries:
        """Those of trees, in walls of their healthy calibre."""
        wall = Wall()
        return cls(
            capsules((b.points, wall.outer(b.radii) + SHEATH_MM) for b in _on_the_surface(healthy)),
            capsules((b.points, wall.outer(b.radii)) for branches in healthy for b in branches),
            tuple(capsules((b.points, b.radii) for b in tree.branches) for tree in trees),
        )

    def paint(self, canvas: Canvas, vessels: GreatVessels, blood: Blood) -> None:
        """The vessels in their fat, and the aorta they come from."""
        outside = np.ones(canvas.hu.shape)
        if near := canvas.tube(vessels.aorta.way, vessels.aorta.radii, 0.0):
            outside[near[0].at] -= np.clip(near[1] / canvas.grid.voxel_mm + 0.5, 0.0, 1.0)
        _lay(canvas, self.sheaths, outside, FAT, "epicardial_fat")
        vessels.paint_aorta(canvas, blood, VALUE)
        _lay(canvas, self.walls, outside, Wall().hu, "coronary_wall")
        for side, lumen in zip(SIDES, self.lumens, strict=True):
            _lay(canvas, lumen, outside, blood.left, f"coronary_{side}")


def _lay(canvas: Canvas, pieces: Floats, outside: Floats, hu: float, name: str) -> None:
    if near := filled(canvas, pieces):
        part, share = near
        part.blend(share * outside[part.at], hu, VALUE[name])


def phantom_ccta(
    key: bytes,
    subject: str,
    *,
    shape: tuple[int, int, int] = (128, 128, 128),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    about: About = "heart",
    kernel: str = "medium",
    noise_hu: float | None = None,
    stenoses: int = 0,
    disease: bool = False,
) -> Volume:
    """The CCTA of one subject: a pure function of its arguments.

    Args:
        key: the subject's random key; its trees are those of ``phantom_tree``, not varied, with the same key.
        about: what the field of view is centred on: the heart, or the proximal main vessel of a side.
        kernel: name of a reconstruction kernel (``ct_scanner.KERNELS``).
        noise_hu: standard deviation of the noise; drawn from 18 to 34 HU where None.
        stenoses: narrowings in every tree, in walls of their healthy calibre: soft plaque fills the space.
        disease: plaques of the phantom's own (``disease``), labelled; the trees stay as they were before.

    Returns:
        A volume with labels for the lumen and what surrounds it (``LEGEND``) and both trees. A label is what fills at
        least half of a voxel, so vessels much thinner than one have none; the trees have them all.
    """
    heart = Heart.draw(stream(key, "phantom/heart"))
    trees = tuple(phantom_tree(key, side, subject, stenoses=stenoses, varied=False) for side in SIDES)
    healthy = tuple(
        coronary_tree(stream(key, f"phantom/{side}"), side, heart=heart)[0] if stenoses else tree.branches
        for side, tree in zip(SIDES, trees, strict=True)
    )
    rng = stream(key, "phantom/ccta")
    blood = Blood.draw(rng)
    noise = float(rng.uniform(18.0, 34.0)) if noise_hu is None else noise_hu
    grid, chosen = CtGrid.around(_centre(healthy, about).tolist(), shape, spacing_mm), KERNELS[kernel]
    canvas = Canvas(grid, AIR, key)
    coronaries = Coronaries.of(trees, healthy)
    vessels = GreatVessels.of(heart, healthy)
    veins, inflow = CardiacVeins.of(key, heart, blood), InflowVeins.of(key, heart)
    for tile in canvas.tiles():
        bare, shows = heart_in(tile, heart)
        if bare is not None:
            paint_chest(bare, VALUE)
            vessels.bed(bare)
            inflow.bed(bare)
        if shows:
            paint_heart(tile, heart, blood, VALUE)
            veins.paint(tile, VALUE)
        inflow.paint(tile, blood, VALUE)
        vessels.paint(tile, blood, VALUE)
        coronaries.paint(tile, vessels, blood)
    plaques = paint_plaques(canvas, healthy, Wall().outer, blood.left, VALUE) if disease else []
    hu = scan(rng, canvas, chosen, noise)
    return Volume(
        subject=subject,
        source_id=hashlib.blake2b(np.ascontiguousarray(hu, "<i2").tobytes(), digest_size=16).hexdigest(),
        licence=LICENCE,
        hu=hu,
        spacing_mm=grid.spacing_mm,
        origin_mm=grid.origin_mm,
        labels=canvas.labels,
        legend={value: name for value, name in LEGEND.items() if (canvas.labels == value).any()},
        trees=trees,
        notes={
            "lumen_hu": round(blood.left, 1),
            "noise_hu": round(noise, 1),
            "psf_fwhm_mm": (chosen.plane_mm, chosen.plane_mm, chosen.slice_mm),
            "kernel": kernel,
            **({"plaques": plaques} if disease else {}),
        },
    )


def _centre(trees: tuple[tuple[Branch, ...], ...], about: About) -> Floats:
    if about == "heart":
        return np.array([-4.0, 0.0, 4.0])
    branch = next(b for b in trees[SIDES.index(about)] if b.name in ("LAD", "RCA"))
    out: Floats = branch.points[len(branch.points) // 5]
    return out


def _on_the_surface(trees: tuple[tuple[Branch, ...], ...]) -> list[Branch]:
    """All but the septal perforators (S1, S1.2 ...), which run through muscle."""
    return [b for branches in trees for b in branches if not (b.name[:1] == "S" and b.name[1:2].isdigit())]
