"""What a backend is given, one lesion and its surroundings, and the protocol every backend has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Necrosis:
    """Dead tissue in a tumour: ``share`` of its core, and its ``hu``."""

    share: float
    hu: float


@dataclass(frozen=True)
class Patch:
    """One lesion and its surroundings.

    ``hu`` float32 (n0, n1, n2): HU of the background, all of it real. ``mask``: the lesion, sharp. ``others``: label
    map of the crop (organ, other lesions) with its ``legend``. ``lesion_class``: ``calcified``, ``non_calcified``,
    ``liver_early``, ``liver_late``, ``kidney_early`` ...; ``healthy`` must return the background. ``spacing_mm``: edge
    lengths of a voxel. ``radius_mm``: that of the ball of the lesion's volume. ``mean_hu``: asked for in the lesion's
    core; a backend with ``heeds_hu = True`` draws to it, others need not. ``necrosis`` of the ``core`` (bool, as
    ``mask``): as those do. ``kept``: bool as ``mask``, voxels of other structures, and of what lies beyond a tumour's
    organ, that stay as they are; None: none. ``memo``: a backend's own, handed on where a lesion is drawn again with
    another ``mean_hu``.
    """

    hu: NDArray[np.float32]
    mask: NDArray[np.bool_]
    others: NDArray[np.uint8]
    legend: Mapping[int, str]
    lesion_class: str
    spacing_mm: tuple[float, float, float]
    radius_mm: float
    mean_hu: float | None = None
    necrosis: Necrosis | None = None
    core: NDArray[np.bool_] | None = None
    kept: NDArray[np.bool_] | None = None
    memo: dict[str, Any] = field(default_factory=dict, init=False)

    def asked(self, mean_hu: float) -> Patch:
        """The same again with another mean."""
        again = replace(self, mean_hu=mean_hu)
        again.memo.update(self.memo)
        return again


class OwnHu(NamedTuple):
    """Mean HU of a core that a backend would draw, and the ends of what its lesions of that class have."""

    mean: float
    low: float
    high: float


class Filler(ABC):
    """Draws the tissue of lesions; a backend writes ``fill``.

    Attributes:
        classes: that it can draw; None: all.
        patch_voxels: least edge of the patches that it is given, where the volume is as large.
        heeds_hu: it draws to ``Patch.mean_hu``: its lesions are then measured, and drawn again with what they missed.
        digest: SHA-256 of its weights once it is prepared; None where it has none.
    """

    classes: Sequence[str] | None = None
    patch_voxels: int = 0
    heeds_hu: bool = False
    digest: str | None = None

    def prepare(self, device: str) -> None:  # noqa: B027 - many have nothing to load
        """Load weights, compile kernels; once per worker. ``device`` is a torch device string."""

    @abstractmethod
    def fill(self, patches: Sequence[Patch], rngs: Sequence[np.random.Generator]) -> list[NDArray[np.float32]]:
        """HU of each patch with the lesion's tissue where the mask is.

        The caller composites it: outside the blended mask, or the ``hole``, its voxels are not used. ``rngs``: the
        lesion's own stream per patch; results must not depend on who shares the batch.
        """

    def own_hu(self, patch: Patch, rng: np.random.Generator) -> OwnHu | None:
        """What a lesion of a class is to measure, where the backend's are not those of ``generators.lesion.classes``.

        A fitted model's are those of the lesions it has seen. None: the classes' own are asked for.

        Raises:
            Rejected: it cannot draw what is asked for there.
        """
        return None

    def hole(self, patch: Patch) -> NDArray[np.bool_] | None:
        """Where its voxels replace the background's, bool of the mask's shape: the lesion and what blur shows beyond.

        None: its tissue is as if no scanner had seen it; the caller lays it through the mask blurred. Tissue that has
        been through a scanner holds that blur, and would get it twice.
        """
        return None
