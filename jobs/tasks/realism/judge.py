"""A small network as the judge: AUC of generated against real crops, on frames it never saw.

AUC .5: it cannot tell; 1: always. The same judge on the same places *before* the drawing tells how much of it comes
from where lesions are put, not from how they are drawn; on filtered crops, which frequencies give them away; on real
lesions, how far these are told from healthy vessel: a drawn lesion that is true to them must be told as far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from lesionforge.generators.types import SeverityClass, severity_class
from lesionforge.jobs.tasks.realism.crops import Crops

FOLDS, STEPS = 3, 200
SIGMA = 1.5  # px; parts texture from shape

Filter = Callable[[NDArray[np.float32]], NDArray[np.float32]]
PLAIN = "as they are"
REAL = ("lesion", "healthy")
VIEWS: dict[str, Filter] = {
    PLAIN: lambda x: x,
    "texture only": lambda x: x - _blurred(x),
    "shape only": lambda x: _blurred(x),
}


@dataclass(frozen=True)
class Verdict:
    """What the judges found.

    ``rows``: one per question, with ``told`` (generated; the mild, moderate and severe ones among them; before: the
    undrawn places; lesion: real ones), ``seen``, ``auc`` against real lesions and healthy vessel in equal numbers,
    ``auc_lesion`` and ``auc_healthy`` apart (None where there is none). ``telling``: generated crops by number, the
    most betrayed first.
    """

    rows: list[dict[str, Any]]
    telling: NDArray[np.int64]


def judge(
    crops: Mapping[str, Crops],
    seed: int = 0,
    steps: int = STEPS,
    views: Sequence[str] = tuple(VIEWS),
    folder: Path | None = None,
) -> Verdict:
    """Put each question to a judge of its own; with ``folder`` every judge keeps a checkpoint there and resumes."""
    rows, telling = [], np.zeros(0, np.int64)
    for told, seen in [*(("generated", seen) for seen in views), ("before", PLAIN), ("lesion", PLAIN)]:
        real = [kind for kind in REAL if kind != told]
        place = folder / f"{seed}-{told}-{seen.replace(' ', '-')}" if folder else None
        scores = _held_out(crops, told, real, VIEWS[seen], seed, steps, place)
        rows.append(_row(told, seen, scores[told], scores))
        if len(rows) == 1:
            telling = np.argsort(-scores[told], kind="stable")
            classes = np.array([severity_class(ds) for ds in crops[told].percent_ds])
            rows += [
                _row(c, seen, scores[told][classes == c], scores)
                for c in get_args(SeverityClass)
                if (classes == c).any()
            ]
    return Verdict(rows, telling)


def _row(told: str, seen: str, fake: NDArray[np.float64], scores: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    apart = {f"auc_{kind}": None if kind == told else auc(fake, scores[kind]) for kind in REAL}
    values = [v for v in apart.values() if v is not None]
    return {"told": told, "seen": seen, "auc": sum(values) / len(values), **apart}


def auc(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """Probability that a score of ``high`` exceeds one of ``low``, ties counted half."""
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def _blurred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    out: NDArray[np.float32] = gaussian_filter(x, (0, SIGMA, SIGMA))
    return out


def _held_out(
    crops: Mapping[str, Crops],
    told: str,
    real: Sequence[str],
    view: Filter,
    seed: int,
    steps: int,
    folder: Path | None,
) -> dict[str, NDArray[np.float64]]:
    """Score of every crop by a network that never saw its frame."""
    from lesionforge.jobs.tasks.realism import network

    kinds = (told, *real)
    pixels = {kind: view(_normal(crops[kind].pixels)) for kind in kinds}
    frames = np.unique(np.concatenate([crops[kind].frames for kind in kinds]))
    fold_of = np.zeros(frames.max() + 1, int)
    fold_of[np.random.Generator(np.random.Philox(seed)).permutation(frames)] = np.arange(len(frames)) % FOLDS
    scores = {kind: np.zeros(len(crops[kind].frames)) for kind in kinds}
    for fold in range(FOLDS):
        held = {kind: fold_of[crops[kind].frames] == fold for kind in kinds}
        shown = {kind: pixels[kind][~held[kind]] for kind in kinds}
        net = network.fit(shown, told, seed * FOLDS + fold, steps, folder / str(fold) if folder else None)
        for kind in kinds:
            scores[kind][held[kind]] = network.scores(net, pixels[kind][held[kind]])
    return scores


def _normal(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    x = pixels.astype(np.float32)
    x -= x.mean((1, 2), keepdims=True)
    x /= x.std(axis=(1, 2), keepdims=True) + 1
    return x
