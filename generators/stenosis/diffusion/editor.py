"""The ``diffusion`` backend: only a crop around the edit box is synthesised, and only the box is handed back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import chunks, filled, fixed_kernels, stacked
from lesionforge.generators.diffusion.model import REMEDY
from lesionforge.generators.stenosis.diffusion.crop import Window, paste, views
from lesionforge.generators.stenosis.diffusion.prompt import prompt
from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler, uint8
from lesionforge.generators.stenosis.editor import Editor, FrameNarrowing
from lesionforge.generators.stenosis.texture import requantise

if TYPE_CHECKING:
    from lesionforge.generators.stenosis.diffusion.model import StenosisModel


class DiffusionEditor(Editor):
    """Draws lesions with a fitted diffusion model.

    Args:
        weights: folder that ``lesionforge fit stenosis`` wrote.
        steps, guidance: of the sampler; None takes the fitted model's own.
        batch: crops the networks are given at a time, always as many (``diffusion.batches``).
            None: 16 on a GPU, 1 on a CPU, which gains nothing from more.
        compile: compile the networks (CUDA only); worth it from some hundred samples on.
    """

    def __init__(
        self,
        weights: str | Path | None,
        steps: int | None = None,
        guidance: float | None = None,
        batch: int | None = None,
        compile: bool = False,
    ) -> None:
        if weights is None:
            raise ValueError(f"weights is missing: {REMEDY}")
        self.weights = Path(weights)
        self._steps, self._guidance, self._batch, self._compile = steps, guidance, batch, compile
        self._model: StenosisModel | None = None

    def prepare(self, device: str) -> None:
        """Load the weights; bfloat16 and a fixed choice of kernels on a GPU."""
        import torch

        from lesionforge.generators.stenosis.diffusion.model import StenosisModel

        self._device = device
        cuda = device.startswith("cuda")
        fixed_kernels(device)
        self._model = StenosisModel.load(self.weights).to(device, torch.bfloat16 if cuda else None)
        if cuda and self._compile:
            self._model.unet = torch.compile(self._model.unet)
            self._model.controls = torch.compile(self._model.controls)
        own = self._model.settings
        self.crop, self.digest = own.crop, own.digest
        self.batch = self._batch or (16 if cuda else 1)
        guidance = own.guidance if self._guidance is None else self._guidance
        self.sampler = StenosisSampler(self._steps or own.steps, guidance)

    def edit(
        self,
        images: Sequence[NDArray[np.uint8]],
        lesions: Sequence[FrameNarrowing],
        rngs: Sequence[np.random.Generator],
    ) -> list[NDArray[np.uint8]]:
        """New grey values of each lesion's edit box: the old ones where no pixel of the mask changes."""
        model = self._model
        if model is None:
            raise RuntimeError("DiffusionEditor.prepare(device) must be called before edit")
        boxes: list[NDArray[np.uint8]] = [_box(image, one) for image, one in zip(images, lesions, strict=True)]
        windows = [
            Window.around(one.edit_box, image.shape, self.crop, model.multiple)
            for image, one in zip(images, lesions, strict=True)
        ]
        todo = [n for n, one in enumerate(lesions) if one.percent_ds > 0 and (one.mask != one.narrowed).any()]
        for side in sorted({windows[n].side for n in todo}):  # crops of one size at a time
            same = [n for n in todo if windows[n].side == side]
            for part in chunks(same, self.batch):
                crops = [windows[n].cut(images[n]) for n in part]
                drawn = self._crops(
                    model, crops, [lesions[n] for n in part], [windows[n] for n in part], [rngs[n] for n in part]
                )
                for n, crop, new in zip(part, crops, drawn, strict=True):
                    boxes[n] = _finished(boxes[n], paste(crop, new, windows[n].box), lesions[n])
        return boxes

    def _crops(
        self,
        model: StenosisModel,
        crops: Sequence[NDArray[np.uint8]],
        lesions: Sequence[FrameNarrowing],
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
    ) -> list[NDArray[np.uint8]]:
        """Whole crops, synthesised, of equal size."""
        shape = model.shape(windows[0].side)
        rows = [
            {
                **views(crop, window.cut(one.narrowed), window.inside()),
                "noise": rng.standard_normal(shape, np.float32),  # on the CPU, from the sample's own stream
                "prompt": prompt(one.severity, one.side, one.segment, one.view_deg),
            }
            for crop, one, window, rng in zip(crops, lesions, windows, rngs, strict=True)
        ]
        drawn = self.sampler(model, stacked(filled(rows, self.batch), self._device))
        return list(uint8(drawn)[: len(crops)])


def _box(image: NDArray[np.uint8], lesion: FrameNarrowing) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = lesion.edit_box
    return image[y0:y1, x0:x1].copy()


def _finished(before: NDArray[np.uint8], after: NDArray[np.uint8], lesion: FrameNarrowing) -> NDArray[np.uint8]:
    """The box with the frame's own JPEG blocks, where it has them."""
    if lesion.texture.jpeg is None:
        return after
    x0, y0, _, _ = lesion.edit_box
    return requantise(after, after != before, (y0, x0), lesion.texture.jpeg)
