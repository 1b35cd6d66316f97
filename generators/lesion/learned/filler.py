"""The learned backends as ``generators.lesion.filler.Filler``: cube by cube, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import chunks, filled, fixed_kernels, stacked
from lesionforge.generators.diffusion.model import REMEDY
from lesionforge.generators.lesion.blend import about, halo_mm
from lesionforge.generators.lesion.classes import PLAQUES, home
from lesionforge.generators.lesion.filler import Filler, OwnHu, Patch
from lesionforge.generators.lesion.learned.crop import LEVEL_MM, hidden, level
from lesionforge.generators.lesion.learned.job import Job
from lesionforge.generators.lesion.learned.sample import LesionSampler
from lesionforge.generators.lesion.learned.settings import BACKENDS, LesionSettings
from lesionforge.generators.lesion.params import SHIPPED
from lesionforge.generators.types import Rejected

if TYPE_CHECKING:
    from lesionforge.generators.lesion.learned.model import LesionModel

WEIGHTS = Path(__file__).parent / "weights"  # of ``promptlesion``; its card says what made them
SIZES = 0.1  # logarithm of radii: least width of the window in which lesions count as about as large
STRANGE_HU = 25.0  # from what the model was fitted on, at levels that it was not
LEVEL_SLACK_HU = 20.0  # beyond the levels of the organs and vessels that the model was fitted on


class LearnedFiller(Filler):
    """Draws the tissue of lesions with a fitted model.

    A lesion larger than the model's cube is made in overlapping cubes, each of which sees what was made before it.

    Args:
        backend: what the weights must be of; None takes whatever they are.
        weights: folder that ``lesionforge fit`` wrote; None: what comes with the package, of ``promptlesion``.
        steps, strength, guidance: of the sampler; None takes the fitted model's own.
        batch: cubes the networks are given at a time, always as many (``diffusion.batches``).
            None: 4 on a GPU, 1 on a CPU.

    Raises:
        FileNotFoundError, ValueError: naming file or field and fix; from ``prepare`` where there is no such folder yet.
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
        if weights is None and backend != SHIPPED:
            raise ValueError(f"weights is missing: {REMEDY}")
        if backend is not None and backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}: give one of {', '.join(BACKENDS)}")
        self.weights = WEIGHTS if weights is None else Path(weights)
        self._backend, self._batch = backend, batch
        self._steps, self._strength, self._guidance = steps, strength, guidance
        self._model: LesionModel | None = None
        if self.weights.is_dir():  # what is wrong with them is told before anything is made
            self.classes = self._told().classes

    def _told(self) -> LesionSettings:
        """What the weights say of themselves, once it is sure that they can be used as asked."""
        own = LesionSettings.load(self.weights)
        if own.backend not in BACKENDS or self._backend not in (None, own.backend):
            raise ValueError(f"{self.weights} is of {own.backend}, not of {self._backend or 'a diffusion model'}")
        sampler(own, self._steps, self._strength, self._guidance)
        return own

    def prepare(self, device: str) -> None:
        """Load the weights; a fixed choice of kernels on a GPU (promise P1, level L2)."""
        from lesionforge.generators.lesion.learned.model import LesionModel

        self._told()
        fixed_kernels(device)
        self.use(LesionModel.load(self.weights).to(device), device)

    def use(self, model: LesionModel, device: str) -> None:
        """Draw with a model in hand, which lies on the device."""
        own = self.settings = model.settings
        self.sampler = sampler(own, self._steps, self._strength, self._guidance)
        self._model, self.digest, self._device = model, own.digest, device
        self.patch_voxels = own.side  # least edge of the patches that are wanted
        self.batch = self._batch or (4 if device.startswith("cuda") else 1)
        if own.whole:
            self.heeds_hu, self.batch = True, 1  # boxes are of different sizes

    def fill(self, patches: Sequence[Patch], rngs: Sequence[np.random.Generator]) -> list[NDArray[np.float32]]:
        """See ``generators.lesion.filler.Filler``.

        ``healthy``: nothing is hidden, and the background comes back as the autoencoder has it.
        """
        if self._model is None:
            raise RuntimeError("LearnedFiller.prepare(device) must be called before fill")
        given = zip(patches, rngs, strict=True)
        jobs = [Job(one, self.hole(one), self._level(one), self._shift(one), rng, self.settings) for one, rng in given]
        while todo := [job for job in jobs if job.turn()]:
            for same in ([job for job in todo if job.healthy], [job for job in todo if not job.healthy]):
                for part in chunks(same, self.batch):
                    for job, values in zip(part, self._draw(self._model, part), strict=False):
                        job.take(values)
        return [job.finished() for job in jobs]

    def own_hu(self, patch: Patch, rng: np.random.Generator) -> OwnHu | None:
        """As lesions about as large had it that the model was fitted on, beside an organ or vessel of that level.

        None where no such level was seen: contrasts of one phase are not those of another.

        Raises:
            Rejected: what is asked for there is far from all that was seen, and would lie in the scan like a coin.
        """
        level, shift = self._level(patch), self._shift(patch)
        if (seen := self.settings.hu.get(patch.lesion_class)) is None:
            return None
        base = seen["follows"] * (level + shift) - shift
        low, high = base + seen["rest"][0], base + seen["rest"][-1]
        if not self._known(patch):
            asked = patch.mean_hu
            if self.settings.whole and asked is not None and not low - STRANGE_HU <= asked <= high + STRANGE_HU:
                raise Rejected(
                    f"{asked:.0f} HU asked for in {home(patch.lesion_class)} of {level:.0f} HU, where its weights draw "
                    f"{low:.0f} to {high:.0f} HU: take others, fitted on scans of this phase, or backend texture"
                )
            return None
        return OwnHu(base + alike(seen["radius_mm"], seen["rest"], patch.radius_mm, float(rng.uniform())), low, high)

    def hole(self, patch: Patch) -> NDArray[np.bool_]:
        """The mask and its halo, as it was hidden when the model was fitted; without voxels of other structures."""
        if "hole" not in patch.memo:  # the same in every round
            out = self._hidden(patch, patch.radius_mm)
            patch.memo["hole"] = out if patch.kept is None else out & ~patch.kept
        hole: NDArray[np.bool_] = patch.memo["hole"]
        return hole

    def _hidden(self, patch: Patch, radius_mm: float) -> NDArray[np.bool_]:
        halo = halo_mm(patch.lesion_class, radius_mm, self.settings.halo_mm, patch.spacing_mm)
        return hidden(patch.mask, patch.others, patch.legend, halo, patch.spacing_mm)

    def _level(self, patch: Patch) -> float:
        """HU of the organ or vessel that a lesion lies in."""
        if "level" not in patch.memo:
            box = about(patch.mask, LEVEL_MM, patch.spacing_mm)
            hu, others, hole = patch.hu[box], patch.others[box], self._hidden(patch, 0.0)[box]
            out = level(hu, others, patch.legend, hole, patch.lesion_class)
            patch.memo["level"] = float(np.median(hu[~hole] if not hole.all() else hu)) if out is None else out
        return float(patch.memo["level"])

    def _known(self, patch: Patch) -> bool:
        """Whether lesions of the class were seen in organs or vessels about as dense; of some models nobody knows."""
        if (ends := self.settings.levels_hu.get(patch.lesion_class)) is None:
            return True
        low, high = ends
        slack = max(LEVEL_SLACK_HU, (high - low) / 2)
        return low - slack <= self._level(patch) <= high + slack

    def _shift(self, patch: Patch) -> float:
        """How much denser the networks are shown a scan of another phase, in which their organs are as they know them.

        Not of plaques: other lumens lie in the same fat.
        """
        if patch.lesion_class in PLAQUES or self._known(patch):
            return 0.0
        (low, high), level = self.settings.levels_hu[patch.lesion_class], self._level(patch)
        return min(max(level, low), high) - level

    def _draw(self, model: LesionModel, part: Sequence[Job]) -> NDArray[np.float32]:
        import torch

        batch = stacked(filled([job.view for job in part], self.batch), self._device)
        if part[0].healthy:
            with torch.no_grad():
                return np.asarray(model.decode(model.encode(batch["image"])).cpu().numpy())

        def draw() -> Any:
            own = [job.rng.standard_normal(model.shape(job.view["image"].shape[1:]), np.float32) for job in part]
            return torch.from_numpy(np.stack(filled(own, self.batch))).to(self._device)

        return np.asarray(self.sampler(model, batch, draw).cpu().numpy())


def alike(radii_mm: Sequence[float], values: Sequence[float], radius_mm: float, share: float) -> float:
    """The value of one of the lesions about as large: each counts the less the more its size differs.

    Large tumours differ from their organ otherwise than small ones, in which the scanner's blur shares, too. What is
    larger than all, or smaller, is as the largest, or smallest, are.

    Args:
        radii_mm, values: of the lesions.
        radius_mm: about which.
        share: of their weights, 0 ... 1, up to the one that is taken.
    """
    sizes = np.log(radii_mm)
    width = max(SIZES, float(sizes.std()) * len(sizes) ** -0.2)  # Scott's rule
    far = ((sizes - np.clip(np.log(radius_mm), sizes.min(), sizes.max())) / width) ** 2 / 2
    ends = np.cumsum(np.exp(far.min() - far))
    return float(values[min(int(np.searchsorted(ends, share * ends[-1])), len(values) - 1)])


def sampler(own: LesionSettings, steps: int | None, strength: float | None, guidance: float | None) -> LesionSampler:
    """The model's own way of sampling, or another one.

    Raises:
        ValueError: a number that cannot be; the message names it.
    """
    n = own.steps if steps is None else steps
    if not 1 <= n <= own.levels or own.levels % n:
        raise ValueError(f"steps is {n}: give a divisor of the {own.levels} noise levels")
    if own.whole and strength not in (None, 1):
        raise ValueError(f"strength is {strength:g}: models of voxels begin at noise, leave it at 1")
    share = own.strength if strength is None else strength
    if not 0 <= share <= 1:
        raise ValueError(f"strength is {share:g}: give 0 to 1")
    weight = own.guidance if guidance is None else guidance
    if weight != 1 and not own.prompted:
        raise ValueError(f"guidance is {weight:g}: {own.backend} has no prompt, leave it at 1")
    if weight != 1 and own.whole:
        raise ValueError(f"guidance is {weight:g}: models of voxels are fitted with their prompt alone, leave it at 1")
    return LesionSampler(n, share, weight)
