"""The training loop: one or more processes, a moving average, exact resume, sheets to look at."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import checkpoint
from lesionforge.jobs.learning.checkpoint import Average

HELD_OUT = 8  # items of a sheet
SAVES = 20  # checkpoints of a training that says nothing else: a kill costs a twentieth of it at most

Item = Any
Batch = Any
Progress = Callable[[int, int, float], None]  # step, of how many, loss


class Items(Protocol):
    """What is learnt from, by number; the same number, the same item."""

    def __getitem__(self, number: int) -> Item: ...


@dataclass(frozen=True)
class Training:
    """How long, how much at once, where, and what is kept of it.

    Attributes:
        steps, batch: optimizer steps, and items of each over all processes.
        device: torch device string; several processes take a GPU each, unless it is ``cpu``.
        folder: of checkpoint, losses and sheets, one that all processes see; None: nothing is kept.
        every: steps between checkpoints, each with a sheet where items are held out; None: a twentieth of the steps.
        loaders: processes that read items ahead; 0 reads in this one.
        precision: ``bf16`` (autocast) or ``float32``, which leaves it to the network.
    """

    steps: int
    batch: int
    device: str = "cpu"
    folder: Path | None = None
    every: int | None = None
    loaders: int = 0
    precision: Literal["float32", "bf16"] = "float32"


class Task:
    """What is trained. A subclass says at least ``optimizers``.

    Attributes:
        network: ``forward(batch)`` gives the losses of the items, or their mean; the batch also says ``step`` and
            ``turn``, which of the optimizers is to move.
        clip: largest norm of a turn's gradient; None: it is not clipped.
        partly: a turn uses a part of the network only, as a GAN's do.
    """

    network: nn.Module
    clip: float | None = 1.0
    partly = False

    def place(self, device: str) -> None:
        """Bring the network to its device, before there is an optimizer."""
        self.network.to(device)

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """New ones, for the placed network."""
        raise NotImplementedError

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Set the optimizer's rates for a step, the first is 1; by default they stay."""

    def turns(self, step: int) -> tuple[int, ...]:
        """Numbers of the optimizers that move at a step (a GAN has two)."""
        return (0,)

    def averaged(self) -> Mapping[str, Tensor]:
        """What is averaged while training and is its result in the end; by default nothing is."""
        return {}

    def decay(self, step: int) -> float:
        """How much of the average stays at a step."""
        return 0.0

    def generators(self) -> Mapping[str, torch.Generator]:
        """Of random numbers that ``on`` draws beside torch's own: they are in the checkpoint."""
        return {}

    def collate(self, rows: Sequence[Item]) -> Batch:
        """A batch on the CPU."""
        return default_collate(list(rows))

    def on(self, batch: Batch, device: str) -> dict[str, Any]:
        """What the network takes, where it is; random changes of the batch come here."""
        raise NotImplementedError

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        """Write a sheet of held-out items; their loss. The weights are the moving average."""
        raise NotImplementedError


def run(
    training: Training,
    task: Task,
    items: Items,
    *,
    held: Items | None = None,
    settings: Mapping[str, Any] | None = None,
    free: Collection[str] = (),
    progress: Progress | None = None,
) -> bool:
    """Train in place, from the checkpoint in the folder where there is one; the weights are the moving average.

    Args:
        training: how.
        task: what.
        items: to learn from; as many as all steps take.
        held: to look at with every checkpoint.
        settings: all that the result depends on, as plain JSON; the folder of another training is refused.
        free: names of settings that may change when a training goes on.
        progress: called after every step, on the first process.

    Returns:
        Whether this is the first process, the one that saves what has come of it.

    Raises:
        UsageError: a batch that the processes cannot share, a folder of another training or of one with more steps, or
            a loss that is no number.
    """
    accelerator = _begin(training, task.partly)
    device = training.device if accelerator.num_processes == 1 else str(accelerator.device)
    forked = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=forked):
        task.place(device)
        network, optimizers, average = task.network, list(task.optimizers()), Average(task.averaged())
        done, first = 0, accelerator.is_main_process
        log = _Log(training if first else None, progress)
        if training.folder is not None:
            if (done := checkpoint.steps(_saved(training.folder))) > training.steps:
                raise UsageError(
                    f"{training.folder} has {done} steps already, more than steps={training.steps}: give {done} or "
                    "more to go on, or another place"
                )
            if first:
                checkpoint.claim(training.folder, settings or {}, free)
            done, random = checkpoint.load(_saved(training.folder), network, optimizers, average)
            _restore(random, task, device, accelerator.process_index)
            log.begin(done)
            if first and done:
                console.note(f"continued from step {done} of {training.steps}")
        parts = [_learning(network, optimizer) for optimizer in optimizers]
        model = network if accelerator.num_processes == 1 else accelerator.prepare_model(network, False)
        model.train()
        held_out = task.collate([held[n] for n in range(HELD_OUT)]) if held and training.folder else None
        every = training.every or math.ceil(training.steps / SAVES)
        batches = _batches(training, task, items, done, accelerator.process_index, accelerator.num_processes)
        for step, batch in enumerate(batches, done + 1):
            began, losses = time.monotonic(), []
            given = {**task.on(batch, device), "step": step}
            for turn in task.turns(step):
                task.schedule(step, optimizers[turn])
                with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=training.precision == "bf16"):
                    loss = model({**given, "turn": turn})
                loss = loss.float().mean()
                accelerator.backward(loss)
                if task.clip is not None:
                    accelerator.clip_grad_norm_(parts[turn], task.clip)
                optimizers[turn].step()
                for one in optimizers:
                    one.zero_grad()
                losses.append(float(accelerator.reduce(loss.detach(), reduction="mean")))
            average.step(task.decay(step))
            if not all(math.isfinite(loss) for loss in losses):
                raise UsageError(f"the loss is {losses[0]} at step {step}: lower the learning rate")
            record = {"step": step, "loss": losses[0], "seconds": time.monotonic() - began}
            record |= {"discriminator_loss": losses[1]} if len(losses) > 1 else {}
            if training.folder is not None and (step % every == 0 or step == training.steps):
                random = _random(task, device, accelerator)
                if first and held_out is not None:
                    record["held_out_loss"] = _look(training.folder, step, task, average, task.on(held_out, device))
                log(record)  # before the checkpoint: a line too many is dropped on resuming, one too few is lost
                if first:
                    checkpoint.save(_saved(training.folder), step, network, optimizers, average, random)
            else:
                log(record)
        accelerator.wait_for_everyone()
        average.finish()
    return bool(first)


def _begin(training: Training, partly: bool) -> Accelerator:
    """A process on its own is on the task's device, whatever accelerate would take; several find theirs by it."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    unused = DistributedDataParallelKwargs(find_unused_parameters=partly)
    accelerator = Accelerator(mixed_precision="no", cpu=alone or training.device == "cpu", kwargs_handlers=[unused])
    if training.batch % accelerator.num_processes:
        raise UsageError(f"batch is {training.batch}: give a multiple of the {accelerator.num_processes} processes")
    return accelerator


def _learning(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """An optimizer's parameters in the network's order, whatever its groups: a norm's last bit depends on it."""
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [p for p in network.parameters() if id(p) in own]


def _look(folder: Path, step: int, task: Task, average: Average, batch: Mapping[str, Any]) -> float:
    (folder / "sheets").mkdir(exist_ok=True)
    average.show()
    try:
        with torch.no_grad():
            return task.look(batch, folder / "sheets" / f"{step:07d}.png")
    finally:
        average.hide()


def _batches(training: Training, task: Task, items: Items, done: int, rank: int, ranks: int) -> Iterator[Batch]:
    """This process's share of every batch that is still to come."""
    size = training.batch
    numbers = [list(range(s * size + rank, (s + 1) * size, ranks)) for s in range(done, training.steps)]
    loader = DataLoader(
        items,
        batch_sampler=numbers,
        num_workers=training.loaders,
        collate_fn=task.collate,
        pin_memory=training.device != "cpu",
        generator=torch.Generator(),  # else it would draw one of the network's random numbers
    )
    return iter(loader)


def _random(task: Task, device: str, accelerator: Accelerator) -> dict[str, Tensor]:
    """States of all generators of all processes, uint8 (processes, bytes)."""
    states = {"torch": torch.get_rng_state(), **{name: g.get_state() for name, g in task.generators().items()}}
    if device.startswith("cuda"):
        states["cuda"] = torch.cuda.get_rng_state(device)
    if accelerator.num_processes == 1:
        return {name: state[None] for name, state in states.items()}
    return {name: accelerator.gather(state[None].to(device)) for name, state in states.items()}


def _restore(random: Mapping[str, Tensor], task: Task, device: str, rank: int) -> None:
    """A process that the checkpoint does not know, as more of them go on than began, keeps its own."""
    own = {name: states[rank] for name, states in random.items() if rank < len(states)}
    if "torch" in own:
        torch.set_rng_state(own["torch"])
    if "cuda" in own and device.startswith("cuda"):
        torch.cuda.set_rng_state(own["cuda"], device)
    for name, generator in task.generators().items():
        if name in own:
            generator.set_state(own[name])


def _saved(folder: Path) -> Path:
    return folder / "checkpoint.safetensors"


class _Log:
    """Losses, a JSON object a line; lines after the checkpoint that a run resumes from are dropped."""

    def __init__(self, training: Training | None, progress: Progress | None) -> None:
        self._training, self._progress = training, progress
        self._file = training.folder / "losses.jsonl" if training and training.folder else None

    def begin(self, done: int) -> None:
        if self._file is not None:
            old = self._file.read_text().splitlines(keepends=True) if self._file.is_file() else []
            kept = [line for line in old if line.endswith("\n") and json.loads(line)["step"] <= done]
            self._file.write_text("".join(kept))

    def __call__(self, record: Mapping[str, float]) -> None:
        if self._file is not None:
            with self._file.open("a") as log:
                log.write(json.dumps(record) + "\n")
        if self._training is not None and self._progress is not None:
            self._progress(int(record["step"]), self._training.steps, record["loss"])
