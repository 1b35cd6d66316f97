"""The learned backends as ``generators.lesion.filler.Filler``: cube by cube, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import chunks, filled, fixed_kernels, stacked
from lesionforge.generators.diffusion.model import REMEDY
from lesionforge.generators.lesion.blend import halo_mm
from lesionforge.generators.lesion.filler import Filler, Patch
from lesionforge.generators.lesion.learned.crop import Cube, cubes, hidden, hounsfield, regions, upright, views
from lesionforge.generators.lesion.learned.sample import LesionSampler
from lesionforge.generators.lesion.learned.settings import BACKENDS, HEALTHY, LesionSettings

if TYPE_CHECKING:
    from lesionforge.generators.lesion.learned.model import LesionModel

SPACING_TOLERANCE = 0.15  # of a voxel's edge, against those the model was fitted on


class LearnedFiller(Filler):
    """Draws the tissue of lesions with a fitted model.

    A lesion larger than the model's cube is made in overlapping cubes, each of which sees what was made before it.

    Args:
        backend: what the weights must be of; None takes whatever they are.
        weights: folder that ``lesionforge fit`` wrote.
        steps, strength, guidance: of the sampler; None takes the fitted model's own.
        batch: cubes the networks are given at a time, always as many (``diffusion.batches``).
            None: 4 on a GPU, 1 on a CPU.

    Raises:
        FileNotFoundError, ValueError: from ``prepare``, naming file or field and fix.
    """

    def __init__(
        self,
        weights: str | Path | None,
        backend: str | None = None,
        steps: int | None = None,
        strength: float | None = None,
        guidance: float | None = None,
        batch: int | None = None,
    ) -> None:
        if weights is None:
            raise ValueError(f"weights is missing: {REMEDY}")
        if backend is not None and backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}: give one of {', '.join(BACKENDS)}")
        self.weights = Path(weights)
        self._backend, self._batch = backend, batch
        self._steps, self._strength, self._guidance = steps, strength, guidance
        self._model: LesionModel | None = None

    def prepare(self, device: str) -> None:
        """Load the weights; a fixed choice of kernels on a GPU (promise P1, level L2)."""
        from lesionforge.generators.lesion.learned.model import LesionModel

        own = LesionSettings.load(self.weights)
        if own.backend not in BACKENDS or self._backend not in (None, own.backend):
            raise ValueError(f"{self.weights} is of {own.backend}, not of {self._backend or 'a diffusion model'}")
        fixed_kernels(device)
        self.sampler = sampler(own, self._steps, self._strength, self._guidance)
        self.settings, self.digest, self._device = own, own.digest, device
        self.patch_voxels = own.side  # least edge of the patches that are wanted
        self.batch = self._batch or (4 if device.startswith("cuda") else 1)
        self._model = LesionModel.load(self.weights).to(device)

    def fill(self, patches: Sequence[Patch], rngs: Sequence[np.random.Generator]) -> list[NDArray[np.float32]]:
        """See ``generators.lesion.filler.Filler``.

        ``healthy``: nothing is hidden, and the background comes back as the autoencoder has it.
        """
        if self._model is None:
            raise RuntimeError("LearnedFiller.prepare(device) must be called before fill")
        jobs = [_Job(one, self.hole(one), rng, self.settings) for one, rng in zip(patches, rngs, strict=True)]
        while todo := [job for job in jobs if job.turn()]:
            for same in ([job for job in todo if job.healthy], [job for job in todo if not job.healthy]):
                for part in chunks(same, self.batch):
                    for job, values in zip(part, self._draw(self._model, part), strict=False):
                        job.take(values)
        return [job.drawn for job in jobs]

    def hole(self, patch: Patch) -> NDArray[np.bool_]:
        """The mask and its halo, as it was hidden when the model was fitted; without voxels of other structures."""
        halo = halo_mm(patch.lesion_class, patch.radius_mm, self.settings.halo_mm, patch.spacing_mm)
        out = hidden(patch.mask, patch.others, patch.legend, halo, patch.spacing_mm)
        return out if patch.kept is None else out & ~patch.kept

    def _draw(self, model: LesionModel, part: Sequence[_Job]) -> NDArray[np.float32]:
        import torch

        batch = stacked(filled([job.view for job in part], self.batch), self._device)
        if part[0].healthy:
            with torch.no_grad():
                return np.asarray(model.decode(model.encode(batch["image"])).cpu().numpy())

        def draw() -> Any:
            own = [job.rng.standard_normal(model.shape(), np.float32) for job in part]
            return torch.from_numpy(np.stack(filled(own, self.batch))).to(self._device)

        return np.asarray(self.sampler(model, batch, draw).cpu().numpy())


class _Job:
    """One lesion on its way: what is drawn of it so far, and the cube in hand."""

    def __init__(
        self, patch: Patch, hole: NDArray[np.bool_], rng: np.random.Generator, settings: LesionSettings
    ) -> None:
        if patch.lesion_class not in settings.classes:
            known = ", ".join(settings.classes)
            raise ValueError(f"lesion class {patch.lesion_class!r} is none of this model's: {known}")
        _check_spacing(patch.spacing_mm, settings.spacing_mm)
        self.rng, self.drawn = rng, patch.hu.astype(np.float32, copy=True)
        self.healthy = patch.lesion_class == HEALTHY
        self._patch, self._hole, self._settings = patch, hole, settings
        self._done = np.zeros(patch.mask.shape, bool)
        self._cubes = cubes(hole, settings.side)

    def turn(self) -> bool:
        """Take the next cube with anything left to make."""
        patch, own = self._patch, self._settings
        for cube in self._cubes:
            hole = cube.cut(self._hole & ~self._done)
            if not hole.any():
                continue
            if self.healthy:
                hole = np.zeros_like(hole)
            mask = cube.cut(patch.mask) & (not self.healthy)
            region = regions(cube.cut(patch.others), patch.legend, mask, patch.lesion_class, own.classes)
            now = np.where(self._hole & self._done, self.drawn, patch.hu)
            self._cube: Cube = cube
            self.view = views(cube.cut(now), hole, region, own.classes.index(patch.lesion_class), own.window)
            return True
        return False

    def take(self, values: NDArray[np.float32]) -> None:
        """Put the drawn cube where nothing was drawn before."""
        at, inner = self._cube.inside(self.drawn.shape)
        new = hounsfield(upright(values), self._settings.window)[inner]
        self.drawn[at] = np.where(self._done[at], self.drawn[at], new)
        self._done[at] = True


def sampler(own: LesionSettings, steps: int | None, strength: float | None, guidance: float | None) -> LesionSampler:
    """The model's own way of sampling, or another one.

    Raises:
        ValueError: a number that cannot be; the message names it.
    """
    n = own.steps if steps is None else steps
    if not 1 <= n <= own.levels or own.levels % n:
        raise ValueError(f"steps is {n}: give a divisor of the {own.levels} noise levels")
    share = own.strength if strength is None else strength
    if not 0 <= share <= 1:
        raise ValueError(f"strength is {share:g}: give 0 to 1")
    weight = own.guidance if guidance is None else guidance
    if weight != 1 and not own.prompted:
        raise ValueError(f"guidance is {weight:g}: {own.backend} has no prompt, leave it at 1")
    return LesionSampler(n, share, weight)


def _check_spacing(found: Sequence[float], fitted: Sequence[float]) -> None:
    if any(abs(a / b - 1) > SPACING_TOLERANCE for a, b in zip(found, fitted, strict=True)):
        given, wanted = (" x ".join(f"{v:.3g}" for v in edges) for edges in (found, fitted))
        raise ValueError(f"voxels are {given} mm, the model was fitted on {wanted} mm: resample the source")
