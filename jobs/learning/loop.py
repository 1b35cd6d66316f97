"""The fitting loop: accelerate's processes and precision, a moving average, exact resume, sheets to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import checkpoint

HELD_OUT = 8  # items of a sheet
CLIP_NORM = 1.0
# What may change between runs of a fit.
_FREE = ("out", "steps", "rate", "every", "loaders", "cpu", "data", "base", "vqgan", "guidance")

Item = dict[str, Any]
Batch = Mapping[str, Any]
Step = Mapping[str, float]


class Items(Protocol):
    """What is fitted on, by number; the same number, the same item."""

    def __getitem__(self, number: int) -> Item: ...


class Config(Protocol):
    """Of every fit; a frozen dataclass.

    Attributes:
        out: folder for checkpoint, losses, sheets and the fitted model; one that all processes see.
        steps, batch: optimizer steps, and items of each over all processes.
        rate, warmup: learning rate, and steps over which it rises to it.
        ema: decay of the moving average of the weights, which is what is saved.
        precision: ``bf16`` or ``no``.
        every: steps between checkpoints, each with a sheet.
        loaders: processes that read items ahead; 0 reads in this one.
        cpu: stay on the CPU.
    """

    @property
    def out(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def ema(self) -> float: ...
    @property
    def precision(self) -> Literal["no", "bf16"]: ...
    @property
    def every(self) -> int: ...
    @property
    def loaders(self) -> int: ...
    @property
    def cpu(self) -> bool: ...


class Task(Protocol):
    """What is fitted.

    Attributes:
        network: a module. ``forward(batch)`` gives the losses of the items; the batch also says ``step`` and ``turn``,
            which of the optimizers is to move (a GAN has two). ``trainable()``: names and parameters that are fitted;
            ``averaged()``: those of them whose moving average is saved; ``moving()``: names and buffers that change
            while fitting; ``turns(step)``: numbers of the optimizers that move at a step.
    """

    network: Any

    def optimizers(self, rate: float) -> Sequence[Any]:
        """The first has the parameters that are averaged."""

    def collate(self, rows: Sequence[Item]) -> Batch:
        """A batch on the CPU."""

    def on(self, batch: Batch, device: str) -> dict[str, Any]:
        """The batch where the network is."""

    def look(self, batch: Batch, sheet: Path) -> float:
        """Write a sheet of held-out items; their loss. The weights are the moving average."""

    def save(self, folder: Path) -> None:
        """Write the fitted model."""


class Plain(nn.Module):  # type: ignore[misc]
    """A network with one optimizer and no buffer that changes."""

    def trainable(self) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters that are fitted, in a fixed order."""
        return [(name, p) for name, p in self.named_parameters() if p.requires_grad]

    def averaged(self) -> list[nn.Parameter]:
        """Those whose moving average is the fitted model: all."""
        return [p for _, p in self.trainable()]

    def moving(self) -> list[tuple[str, Tensor]]:
        """No buffer changes."""
        return []

    def turns(self, step: int) -> tuple[int, ...]:
        """The one optimizer, at every step."""
        return (0,)


def begin(config: Config, partly: bool = False) -> Any:
    """The accelerator of a fit; ``partly``: a turn uses a part of the network only, as a GAN's do.

    Raises:
        UsageError: a batch that the processes cannot share.
    """
    unused = DistributedDataParallelKwargs(find_unused_parameters=partly)
    accelerator = Accelerator(mixed_precision=config.precision, cpu=config.cpu, kwargs_handlers=[unused])
    if config.batch % accelerator.num_processes:
        raise UsageError(f"batch is {config.batch}: give a multiple of the {accelerator.num_processes} processes")
    return accelerator


def run(accelerator: Any, config: Config, task: Task, train: Items, held: Items, tell: Callable[[Step], None]) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted model (moving average)."""
    out, device, mine = Path(config.out), str(accelerator.device), accelerator.is_main_process
    if mine:
        _same_fit(out, config)
    network = task.network
    optimizers = list(task.optimizers(config.rate))
    groups = [[p for group in one.param_groups for p in group["params"]] for one in optimizers]
    averaged = network.averaged()
    ema = EMAModel(averaged, decay=config.ema)
    saved = out / "checkpoint.safetensors"
    done = checkpoint.load(saved, network, optimizers, ema)
    wrapped, *optimizers = accelerator.prepare(network, *optimizers)
    wrapped.train()
    held_out = task.collate([held[n] for n in range(HELD_OUT)])
    log = _Log(out / "losses.jsonl", done, mine, tell)
    batches = _batches(config, task, train, done, accelerator.process_index, accelerator.num_processes)
    for step, batch in enumerate(batches, done + 1):
        began = time.monotonic()
        given = {**task.on(batch, device), "step": step}
        losses = []
        for turn in network.turns(step):
            optimizer = optimizers[turn]
            for group in optimizer.param_groups:
                group["lr"] = config.rate * min(1.0, step / max(1, config.warmup))
            loss = wrapped({**given, "turn": turn}).mean()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(groups[turn], CLIP_NORM)
            optimizer.step()
            for one in optimizers:
                one.zero_grad()
            losses.append(float(accelerator.reduce(loss.detach(), reduction="mean")))
        ema.step(averaged)
        if not np.isfinite(losses).all():
            raise UsageError(
                f"the loss is {losses[0]} at step {step}: lower --rate ({config.rate:g}) and run again to resume"
            )
        record = {"step": step, "loss": losses[0], "seconds": time.monotonic() - began}
        record |= {"discriminator_loss": losses[1]} if len(losses) > 1 else {}
        if (step % config.every == 0 or step == config.steps) and mine:
            record["held_out_loss"] = _look(out, step, task, ema, averaged, task.on(held_out, device))
            checkpoint.save(saved, step, network, optimizers, ema)
        log(record)
    accelerator.wait_for_everyone()
    ema.copy_to(averaged)
    if mine:
        task.save(out / "model")
    accelerator.wait_for_everyone()
    return out / "model"


def _look(out: Path, step: int, task: Task, ema: Any, averaged: Sequence[Any], batch: Batch) -> float:
    (out / "sheets").mkdir(exist_ok=True)
    ema.store(averaged)
    ema.copy_to(averaged)
    try:
        with torch.no_grad():
            return task.look(batch, out / "sheets" / f"{step:07d}.png")
    finally:
        ema.restore(averaged)


def _batches(config: Config, task: Task, train: Items, done: int, rank: int, ranks: int) -> Iterator[Batch]:
    """This process's share of every batch that is still to come."""
    numbers = [list(range(s * config.batch + rank, (s + 1) * config.batch, ranks)) for s in range(done, config.steps)]
    loader = DataLoader(
        train, batch_sampler=numbers, num_workers=config.loaders, collate_fn=task.collate, pin_memory=not config.cpu
    )
    return iter(loader)


def _same_fit(out: Path, config: Config) -> None:
    """A folder holds one fit: its settings are written first, and later runs must agree with them."""
    file = out / "fit.json"
    mine = json.loads(json.dumps(asdict(config)))  # type: ignore[call-overload]
    if file.is_file():
        old = json.loads(file.read_text())
        for name in mine:
            if name not in _FREE and old.get(name) != mine[name]:
                raise UsageError(
                    f"{file} was begun with {name} {old.get(name)!r}, not {mine[name]!r}: "
                    "keep it to resume, or give another --out"
                )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mine, indent=1) + "\n")


class _Log:
    """Losses, a JSON object a line; lines after the checkpoint that a run resumes from are dropped."""

    def __init__(self, file: Path, done: int, mine: bool, tell: Callable[[Step], None]) -> None:
        self._file, self._mine, self._tell = file, mine, tell
        if mine:
            old = file.read_text().splitlines() if file.is_file() else []
            file.write_text("".join(line + "\n" for line in old if json.loads(line)["step"] <= done))

    def __call__(self, record: Step) -> None:
        if self._mine:
            with self._file.open("a") as log:
                log.write(json.dumps(record) + "\n")
            self._tell(record)
