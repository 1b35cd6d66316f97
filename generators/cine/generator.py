"""Cine samples: an angiographic run of a coronary tree with all that is true of it, or one frame of full contrast.

Order of a sample: vessels and lesions, view, flow and injection; what the recipe's limits may refuse; then devices,
background, and the frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.base import Generator, Memory
from lesionforge.generators.cine import pictures
from lesionforge.generators.cine.acquisition import acquire
from lesionforge.generators.cine.backdrop import Backdrop
from lesionforge.generators.cine.grain import Grain
from lesionforge.generators.cine.labels import DEVICE, MASK_VALUES, arteries, of_still, stenoses
from lesionforge.generators.cine.params import CLASSES, CineParams
from lesionforge.generators.types import BadCase, CoronaryTree, Panel, Rejected, Sample, SampleSpec, Scene, significant

RING_PX = 13  # the window in which a vessel's surroundings are read
FRAMES = 64  # real frames whose backdrops are held in a process, 3 MB each
FRAME_BYTES, MASK_BYTES, POINT_BYTES = 0.52, 0.022, 8_000  # of a pixel, of a pixel, of a frame: measured


class Cine(Generator):
    """Angiographic runs of coronary trees that move and fill, with every label."""

    Params: ClassVar[type[CineParams]] = CineParams
    classes: tuple[str, ...] = CLASSES
    measures: ClassVar[tuple[str, ...]] = (
        *("worst_percent_ds", "tree_in_field", "full_frames", "boxes_visible", "vessel_contrast", "vessel_share"),
    )
    limits: ClassVar[tuple[str, ...]] = (
        "Hearts beat and breathe by formulae, not by mechanics; contrast follows path lengths, not a flow solver.",
        "Lumens are round in section; walls, calcium and stents are not drawn.",
        "Percent diameter stenosis is of the model's lumen; that of a box is of its silhouette in the frame.",
        "A frame's phase says how much of the tree's length is opacified; readers draw the line elsewhere.",
        "Backgrounds stand still but for the table: diaphragm and ribs do not breathe.",
        "Reflux into the aorta is labelled nowhere; what a catheter covers is labelled as catheter.",
        "A real background with a dark border stays where it is: the table moves before chests and full frames alone.",
        "Real backgrounds keep what their own vessels left behind: faint ghosts, devices, puffs of contrast.",
        "The modelled iFR comes from lumen and path length alone; it is no measurement.",
    )
    backgrounds: ClassVar[bool] = True

    memory: Memory[Backdrop]

    def __init__(self, params: CineParams) -> None:
        self.params = params
        self.memory = Memory[Backdrop](FRAMES, (Backdrop, Grain))

    def sample_bytes(self) -> int:
        """Expected size: grainy frames take about half a byte a pixel, masks little; JSON 1 kB a frame."""
        p = self.params
        frames = p.frames or 45
        pixels = p.size**2
        each = FRAME_BYTES * pixels + (MASK_BYTES * pixels if p.masks else 0) + (POINT_BYTES if p.points else 0) + 1000
        return int(frames * each + 8000)

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """A few frames of the run with the boxes of its lesions."""
        return pictures.panels(fields, meta)

    def make(self, case: CoronaryTree | Scene, spec: SampleSpec) -> Sample:
        """Draw everything once, judge it, film it."""
        p = self.params
        tree, behind = (case.case, case.background) if isinstance(case, Scene) else (case, None)
        if not isinstance(tree, CoronaryTree):
            raise BadCase(f"cine films coronary trees, and this is a {type(tree).__name__}")
        taken = acquire(p, tree, behind, spec, self.memory)
        run = taken.run
        view = run.view
        worst = max((lesion.percent_ds for lesion in run.graded), default=0.0)
        full = [n for n, phase in enumerate(run.phases) if phase == "full"]
        measured = {
            "worst_percent_ds": significant(worst),
            "tree_in_field": significant(run.in_field(taken.film.field, full[0] if full else 0)),
            "full_frames": float(len(full)),
        }
        self.judge(spec, measured)
        still = p.frames == 1
        if still and not full:
            raise Rejected("the contrast never fills the tree")
        numbers = [int(spec.rng("still").choice(full))] if still else list(range(len(run.times_s)))
        camera = taken.camera()
        frames = [camera.take(n) for n in numbers]

        fields: dict[str, NDArray[Any]] = {}
        for n, frame in enumerate(frames):
            fields["image.png" if still else f"frame{n:03d}.png"] = frame.image
            if p.masks:
                fields["mask.png" if still else f"mask{n:03d}.png"] = frame.mask
        if p.points:
            rest = run.rest[taken.kept]
            fields["points.npy.zst"] = np.column_stack([taken.numbers, rest]).astype(np.float32)
            fields["track.npy.zst"] = np.stack([frame.track for frame in frames])
        known = stenoses(run.graded, run.rest)
        labels = {
            "side": tree.side,
            "dominance": run.vessels.dominance,
            "view": {"name": run.stand.name, **view.to_json()},
            "fps": taken.fps,
            "begin": (0 if still else run.begin),
            "end": (0 if still else run.end),
            "stenoses": known,
            "arteries": arteries(run.vessels.names, run.graded),
            "modelled_ifr": taken.ifr,
            "mask_values": dict(MASK_VALUES),
            "mask_is_complete": True,
            "frames": [frame.label for frame in frames],
        }
        if still:
            labels["lesions"] = of_still(frames[0].label, known)
        best = frames[len(frames) // 2 if still else full[len(full) // 2] if full else int(np.argmax(run.shares))]
        boxes = [box["visible"] for frame in frames for box in frame.label["boxes"] if frame.label["phase"] == "full"]
        measured["boxes_visible"] = significant(sum(boxes) / len(boxes)) if boxes else 0.0
        measured["vessel_contrast"], measured["vessel_share"] = vessel_contrast(best.image, best.mask, taken.film.field)
        return Sample(spec, fields, labels, taken.drawn(), measured)


def vessel_contrast(image: NDArray[np.uint8], mask: NDArray[np.uint8], field: NDArray[np.bool_]) -> tuple[float, float]:
    """Median over a frame's vessel pixels of 1 - grey / grey of the surroundings, and their share of the field.

    0 where no vessel is.
    """
    vessel = (mask > 0) & (mask < DEVICE)
    near = scipy.ndimage.maximum_filter(mask, 5) > 0
    free = (field & ~near).astype(np.float64)
    weight = scipy.ndimage.uniform_filter(free, RING_PX)
    about = scipy.ndimage.uniform_filter(free * image, RING_PX)
    known = vessel & field & (weight > 0.05)
    share = significant(float(known.sum()) / max(int(field.sum()), 1))
    if not known.any():
        return 0.0, share
    around = np.maximum(about[known] / weight[known], 1.0)
    return significant(float(np.median(1 - image[known] / around))), share
