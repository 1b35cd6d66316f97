"""The sparse network as a learner: hulls to trees, the threshold chosen on subjects it did not learn from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.reconstruction.features import tokens, width
from lesionforge.jobs.tasks.reconstruction.metrics import dice
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import Settings
from lesionforge.jobs.tasks.reconstruction.sparse import Sites, SparseUNet, sites, together

THRESHOLDS = np.round(np.arange(0.2, 0.75, 0.05), 2)


class SparseLearner:
    """Learns from pairs with their truth, reconstructs others; see ``Learner``.

    Args:
        settings: of the network.
        views: of a pair.
        device: torch device string.
    """

    def __init__(self, settings: Settings, views: int = 2, device: str = "cpu") -> None:
        self.settings, self.views, self.device = settings, views, torch.device(device)
        self.threshold = 0.5
        self._net: SparseUNet | None = None

    def fit(
        self,
        real: Sequence[Pair],
        synthetic: Sequence[Pair],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``; real and synthetic pairs count alike."""
        s = self.settings
        pairs = [*real, *synthetic]
        subjects = sorted({pair.subject for pair in pairs})
        if len(subjects) < 2:
            raise UsageError(f"{len(subjects)} subjects to learn from: one chooses the threshold, give two or more")
        order = stream(f"reconstruction/{seed}".encode(), "held").permutation(len(subjects))
        held = {subjects[i] for i in order[: max(1, round(s.held * len(subjects)))]}
        own = [pair for pair in pairs if pair.subject not in held]
        record: dict[str, Any] = {**asdict(s), "views": self.views, "seed": seed, "pairs": len(pairs)}
        if folder is not None:
            record["silhouettes and trees (hash)"] = fingerprint(
                part for pair in pairs for part in (*pair.shadows, pair.truth)
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            task = _Reconstructing(s, SparseUNet(width(self.views), s.channels))
            drawn = _Trees(own, s.steps * s.batch, seed)
            loop.run(
                loop.Training(s.steps, s.batch, str(self.device), folder),
                task,
                drawn,
                settings=record,
                progress=progress,
            )
        self._net = task.net.eval()
        self.threshold = self._chosen([pair for pair in pairs if pair.subject in held])

    def _chosen(self, pairs: Sequence[Pair]) -> float:
        found = [self.predict(pair) for pair in pairs]
        means = [
            np.mean([dice(pair.target, volume >= t) for pair, volume in zip(pairs, found, strict=True)])
            for t in THRESHOLDS
        ]
        return float(THRESHOLDS[int(np.argmax(means))])

    def predict(self, pair: Pair) -> NDArray[np.float32]:
        """How likely each cell of the grid is the tree's."""
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit or load it first")
        x, where, cells, _ = _prepared(pair)
        with torch.inference_mode():
            logits = self._net(x.to(self.device).float(), where.to(self.device))
        out = np.zeros(pair.grid.shape, np.float32)
        out[tuple(cells.T)] = torch.sigmoid(logits.float()).cpu().numpy()
        return out

    def save(self, path: Path) -> None:
        """One safetensors file: the weights, and in its metadata all that ``load`` needs."""
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit it first")
        told = {"views": self.views, "threshold": self.threshold, "settings": asdict(self.settings)}
        weights = {name: value.contiguous().cpu() for name, value in self._net.state_dict().items()}
        write(weights, path, {"reconstruction": json.dumps(told)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> SparseLearner:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "reconstruction", "lesionforge train reconstruction") as (told, weights):
            settings = Settings(**told["settings"])
            net = filled(lambda: SparseUNet(width(told["views"]), settings.channels), weights)
        made = cls(settings, told["views"], device)
        made.threshold = float(told["threshold"])
        made._net = net.to(made.device).eval()
        return made


def _prepared(pair: Pair) -> tuple[Tensor, Sites, NDArray[np.int64], Tensor]:
    found = tokens(pair)
    where = sites(torch.from_numpy(found.cells), torch.from_numpy(found.rays), pair.grid.shape[0], 3)
    truth = torch.zeros(0) if pair.truth is None else torch.from_numpy(pair.target[tuple(found.cells.T)])
    return torch.from_numpy(found.features).half(), where, found.cells, truth


class _Trees:
    """Trees in shuffled rounds; what their features are is worked out once."""

    def __init__(self, pairs: Sequence[Pair], count: int, seed: int) -> None:
        rng = stream(f"reconstruction/{seed}".encode(), "order")
        rounds = [rng.permutation(len(pairs)) for _ in range(math.ceil(count / len(pairs)))]
        self._pairs, self._order = pairs, np.concatenate(rounds)
        self._known: dict[int, tuple[Tensor, Sites, Any, Tensor]] = {}

    def __getitem__(self, number: int) -> tuple[Tensor, Sites, Tensor, int]:
        at = int(self._order[number])
        if at not in self._known:
            self._known[at] = _prepared(self._pairs[at])
        x, where, _, truth = self._known[at]
        return x, where, truth, int(self._pairs[at].target.sum())


class _Learning(nn.Module):  # type: ignore[misc]
    """Cross-entropy and soft Dice; what of the tree lies outside the hull counts in the Dice's size."""

    def __init__(self, net: SparseUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        logits, truth = self.net(batch["x"].float(), batch["where"]), batch["truth"].float()
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        found = torch.sigmoid(logits)
        losses = []
        for part, true, size in zip(
            found.split(batch["counts"]), truth.split(batch["counts"]), batch["sizes"], strict=True
        ):
            losses.append(1 - (2 * (part * true).sum() + 1) / (part.sum() + size + 1))
        return entropy + torch.stack(losses).mean()


class _Reconstructing(loop.Task):
    """The loop's task: AdamW, a warm-up and a cosine, a moving average."""

    def __init__(self, settings: Settings, net: SparseUNet) -> None:
        self._settings, self.net = settings, net
        self.network = _Learning(net)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(self.net.parameters(), lr=self._settings.rate, weight_decay=self._settings.decay)]

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        s = self._settings
        rise = step / s.warmup if step < s.warmup else 1.0
        fall = 0.5 * (1 + math.cos(math.pi * step / s.steps))
        for group in optimizer.param_groups:
            group["lr"] = s.rate * rise * fall

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self.net.state_dict())

    def decay(self, step: int) -> float:
        return min(self._settings.average, step / (9 + step))

    def collate(self, rows: Sequence[Any]) -> Any:
        x, where, truth, size = zip(*rows, strict=True)
        return torch.cat(x), together(where), torch.cat(truth), [len(one) for one in x], size

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        x, where, truth, counts, sizes = batch
        there = torch.device(device)
        return {"x": x.to(there), "where": where.to(there), "truth": truth.to(there), "counts": counts, "sizes": sizes}
