"""What every fit can be told, and how all of them learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from lesionforge.engine import dataset
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.sinks.store import Store

# What may change when a fit goes on; a dataset may have moved, but is the same one.
FREE = ("out", "steps", "every", "loaders", "device", "data", "base", "vqgan", "guidance")


def setting(default: Any, text: str) -> Any:
    """A field that ``--set`` changes; its text is what ``--settings`` says of it."""
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Of every fit.

    Attributes:
        data: datasets that the generator made.
        out: folder for checkpoint, losses, sheets and the fitted model; one that all processes see.
        preset: of the model.
        seed: of weights and items.
        device: torch device string; several processes take a GPU each, unless it is ``cpu``.
    """

    data: tuple[str, ...]
    out: str
    preset: str = "small"
    seed: int = 0
    device: str = "cpu"
    steps: int = setting(20_000, "optimizer steps in all; more of them continue a finished fit")
    batch: int = setting(4, "items of a step, over all processes")
    rate: float = setting(1e-4, "learning rate")
    warmup: int = setting(500, "steps over which the rate rises to it")
    ema: float = setting(0.9995, "decay of the moving average of the weights, which is what is saved")
    precision: Literal["float32", "bf16"] = setting("bf16", "bf16 or float32")
    every: int = setting(1000, "steps between checkpoints, each with a sample sheet")
    loaders: int = setting(2, "processes that read items ahead; 0 reads in this one")

    def __post_init__(self) -> None:
        self.choice("precision", ("float32", "bf16"))
        for name in ("steps", "batch", "every", "levels", "adversarial"):
            value = getattr(self, name, None)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}: give 1 or more")
        for name in ("ema", "empty"):
            if not 0 <= getattr(self, name, 0) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 0 or more, below 1")

    def choice(self, name: str, known: Sequence[str]) -> None:
        """Refuse a value that is not known.

        Raises:
            UsageError: naming those that are.
        """
        if getattr(self, name) not in known:
            raise UsageError(f"{name} is {getattr(self, name)!r}: give one of {', '.join(known)}")


class FitTask(loop.Task):
    """The loop's task of a fit: a warm-up, and a moving average that begins as the weights are.

    Args:
        model: has ``to`` and ``save``.
        network: from batches to losses.
        settings: of the fit.
        collate: from items to a batch on the CPU.
    """

    def __init__(
        self, model: Any, network: nn.Module, settings: FitSettings, collate: Callable[[Sequence[Any], str], Any]
    ) -> None:
        self.model, self.network, self.settings, self._collate = model, network, settings, collate

    def place(self, device: str) -> None:
        self.model.to(device)
        self.network.to(device)

    def schedule(self, step: int, optimizer: Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.settings.rate * min(1.0, step / max(1, self.settings.warmup))

    def averaged(self) -> Mapping[str, Tensor]:
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def decay(self, step: int) -> float:
        return min(self.settings.ema, step / (9 + step)) if step > 1 else 0.0

    def finish(self, folder: Path) -> None:
        """What the fitted model still needs before it is saved to a folder, on the first process."""

    def collate(self, rows: Sequence[Any]) -> Any:
        return self._collate(rows, "cpu")

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        return {name: part.to(device, non_blocking=True) for name, part in batch.items()}


def card(settings: FitSettings) -> dict[str, Any]:
    """What made the weights: no place, as they are handed on."""
    learnt = {name: value for name, value in vars(settings).items() if name not in ("data", "out", "device", "every")}
    told = [dataset.read(Store(place)) for place in settings.data]
    return {
        "settings": learnt,
        "data": [{"identity": d.identity, "recipe": d.recipe.model_dump(mode="json")} for d in told],
        "licences": sorted({source.licence for d in told for source in d.sources}),
    }


def conduct(task: FitTask, items: tuple[loop.Items, loop.Items], progress: loop.Progress | None) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one.

    Args:
        task: what is fitted.
        items: to fit on, and to hold out.
        progress: called after every step, on the first process.

    Returns:
        The folder of the fitted model.
    """
    s = task.settings
    out = Path(s.out)
    training = loop.Training(s.steps, s.batch, s.device, out, s.every, s.loaders, s.precision)
    record = asdict(s) | {"datasets": [_name(place) for place in s.data]}
    first = loop.run(training, task, items[0], held=items[1], settings=record, free=FREE, progress=progress)
    if first:
        task.finish(out / "model")
        task.model.save(out / "model")
    return out / "model"


def _name(place: str) -> str:
    """A dataset's name, and what it is known by wherever it lies; shards alone are all alike."""
    try:
        told = dataset.read(Store(place))
    except dataset.DatasetError:
        return "shards without a recipe"
    return f"{told.recipe.name} {told.identity[:12]}"
