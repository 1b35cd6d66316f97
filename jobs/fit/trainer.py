"""The fitting loop: accelerate's processes and precision, a moving average, exact resume, sheets to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader

from generators.stenosis.diffusion.model import Model
from generators.stenosis.diffusion.preset import PRESETS
from generators.stenosis.diffusion.sample import Sampler, stacked
from jobs import console
from jobs.errors import UsageError
from jobs.fit import checkpoint, sheet
from jobs.fit.network import Loss
from jobs.fit.pairs import Item, Pairs

HELD_OUT = 8  # crops of a sheet
CLIP_NORM = 1.0
_FREE = ("out", "steps", "rate", "every", "loaders", "cpu", "data", "base")  # may change between runs of a fit

Step = Mapping[str, float]


class Crops(Protocol):
    """A crop by number; the same number, the same crop."""

    def __getitem__(self, number: int) -> Item: ...


@dataclass(frozen=True)
class FitConfig:
    """How to fit.

    Attributes:
        data: datasets made by the ``stenosis`` generator.
        out: folder for checkpoint, losses, sheets and the fitted model; one that all processes see.
        preset: of ``generators.stenosis.diffusion.preset``.
        base: local Stable Diffusion folder, for presets that start from one.
        steps, batch: optimizer steps, and crops of each over all processes.
        rate, warmup: learning rate (AdamW), and steps over which it rises to it.
        ema: decay of the moving average of the weights, which is what is saved.
        empty: share of prompts left empty.
        precision: ``bf16`` or ``no``.
        checkpointing: gradient checkpointing.
        every: steps between checkpoints, each with a sheet.
        loaders: processes that read crops ahead; 0 reads in this one.
        seed: of weights and crops.
        cpu: stay on the CPU.
    """

    data: tuple[str, ...]
    out: str
    preset: str = "small"
    base: str | None = None
    steps: int = 20_000
    batch: int = 32
    rate: float = 1e-4
    warmup: int = 500
    ema: float = 0.9995
    empty: float = 0.5
    precision: Literal["no", "bf16"] = "bf16"
    checkpointing: bool = False
    every: int = 1000
    loaders: int = 2
    seed: int = 0
    cpu: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"preset is {self.preset!r}: give one of {', '.join(PRESETS)}")
        if self.precision not in ("no", "bf16"):
            raise UsageError(f"precision is {self.precision!r}: give no or bf16")
        for name in ("steps", "batch", "every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("ema", "empty"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 0 or more, below 1")


def new_model(config: FitConfig) -> Model:
    """The model that a fit starts from."""
    preset = PRESETS[config.preset]
    if config.base is None and preset.settings.patch is None:
        raise UsageError(
            f"preset {config.preset} starts from a Stable Diffusion folder on this machine: give --base FOLDER"
        )
    if config.base is not None and preset.settings.patch is not None:
        raise UsageError(f"preset {config.preset} starts from nothing: leave --base away")
    if config.base is None:
        return Model.new(preset, config.seed)
    try:
        return Model.on_stable_diffusion(preset, Path(config.base), config.seed)
    except (OSError, ValueError) as error:  # diffusers' and transformers' own, for files that lack or do not fit
        raise UsageError(f"--base {config.base}: {error}") from None


def crops(config: FitConfig, model: Model) -> tuple[Crops, Crops]:
    """Crops to fit on, and to hold out: of the split ``val`` where the datasets have one, else of ``train``."""
    side = model.settings.crop
    fixed = (config.seed, side, model.shape(side), model.schedule.config.num_train_timesteps)
    try:
        held: Crops = Pairs(config.data, "val", *fixed, 0.0)
    except UsageError:
        console.err.print("no split val in the datasets: the held-out loss is of other crops of the training frames")
        held = Pairs(config.data, "train", config.seed + 1, *fixed[1:], 0.0)
    return Pairs(config.data, "train", *fixed, config.empty), held


def fit(
    config: FitConfig,
    model: Model | None = None,
    pairs: tuple[Crops, Crops] | None = None,
    tell: Callable[[Step], None] = lambda _: None,
    strength: tuple[float, float] = (1.0, 1.0),
) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted model (moving average).

    Args:
        config: how.
        model: to fit in place; default: the preset's.
        pairs: crops to fit on and to hold out; default: those of the config's datasets.
        tell: called after every step with step, loss and rate, on the first process.
        strength: of the two controls.
    """
    accelerator = Accelerator(mixed_precision=config.precision, cpu=config.cpu)
    if config.batch % accelerator.num_processes:
        raise UsageError(f"batch is {config.batch}: give a multiple of the {accelerator.num_processes} processes")
    out = Path(config.out)
    model = model or new_model(config)
    device = str(accelerator.device)
    model.to(device)
    train, held = pairs or crops(config, model)
    if accelerator.is_main_process:
        _same_fit(out, config)
    network = Loss(model, strength, config.checkpointing)
    parameters = [p for _, p in network.trainable()]
    optimizer = torch.optim.AdamW(parameters, lr=config.rate)
    ema = EMAModel(parameters, decay=config.ema)
    done = checkpoint.load(out / "checkpoint.safetensors", network, optimizer, ema)
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    wrapped.train()
    held_out = _on_cpu([held[n] for n in range(HELD_OUT)])
    log = _Log(out / "losses.jsonl", done, accelerator.is_main_process, tell)
    batches = _batches(config, train, done, accelerator.process_index, accelerator.num_processes)
    for step, batch in enumerate(batches, done + 1):
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = config.rate * min(1.0, step / max(1, config.warmup))
        loss = wrapped(_on(batch, model, device)).mean()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(parameters)
        mean = float(accelerator.reduce(loss.detach(), reduction="mean"))
        if not np.isfinite(mean):
            raise UsageError(
                f"the loss is {mean} at step {step}: lower --rate ({config.rate:g}) and run again to resume"
            )
        record = {"step": step, "loss": mean, "seconds": time.monotonic() - began}
        if (step % config.every == 0 or step == config.steps) and accelerator.is_main_process:
            record["held_out_loss"] = _look(out, step, network, ema, parameters, _on(held_out, model, device))
            checkpoint.save(out / "checkpoint.safetensors", step, network, optimizer, ema)
        log(record)
    accelerator.wait_for_everyone()
    ema.copy_to(parameters)
    if accelerator.is_main_process:
        model.save(out / "model")
    accelerator.wait_for_everyone()
    return out / "model"


def _look(out: Path, step: int, network: Loss, ema: Any, parameters: Sequence[Any], batch: Mapping[str, Any]) -> float:
    """Loss and sheet of the held-out crops, by the moving average."""
    model = network._model
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        with torch.no_grad():
            loss = float(network(batch).mean())
        made = sheet.fill(model, Sampler(model.settings.steps, model.settings.guidance), batch)
    finally:
        ema.restore(parameters)
    (out / "sheets").mkdir(exist_ok=True)
    sheet.write(out / "sheets" / f"{step:07d}.png", batch, made)
    return loss


def _batches(config: FitConfig, train: Crops, done: int, rank: int, ranks: int) -> Iterator[dict[str, Any]]:
    """This process's share of every batch that is still to come."""
    numbers = [list(range(s * config.batch + rank, (s + 1) * config.batch, ranks)) for s in range(done, config.steps)]
    loader = DataLoader(
        train, batch_sampler=numbers, num_workers=config.loaders, collate_fn=_on_cpu, pin_memory=not config.cpu
    )
    return iter(loader)


def _on(batch: Mapping[str, Any], model: Model, device: str) -> dict[str, Any]:
    moved = {name: part if name == "prompt" else part.to(device, non_blocking=True) for name, part in batch.items()}
    return {**moved, "tokens": model.tokens(batch["prompt"])}


def _on_cpu(rows: Sequence[Item]) -> dict[str, Any]:
    return stacked(rows, "cpu")


def _same_fit(out: Path, config: FitConfig) -> None:
    """A folder holds one fit: its settings are written first, and later runs must agree with them."""
    file = out / "fit.json"
    mine = json.loads(json.dumps(asdict(config)))
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
