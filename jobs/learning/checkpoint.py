"""The state of a training in one safetensors file: no pickle is ever written or read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lesionforge.jobs.errors import UsageError
from lesionforge.sinks.limits import parsed


class Average:
    """The moving average of some tensors, which is what a training may be made for.

    Args:
        tensors: of the network, by name; none: nothing is averaged, and every method does nothing.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._live = dict(tensors)
        self.shadow = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self._stored: dict[str, Tensor] = {}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, decay: float) -> None:
        """Move towards the network by 1 - ``decay``; what is no fraction is taken over."""
        for name, tensor in self._live.items():
            if tensor.dtype.is_floating_point:
                self.shadow[name].lerp_(tensor, 1 - decay)
            else:
                self.shadow[name].copy_(tensor)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def show(self) -> None:
        """Put the average into the network, until ``hide``."""
        self._stored = {name: tensor.detach().clone() for name, tensor in self._live.items()}
        self.finish()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def hide(self) -> None:
        """Put back what ``show`` replaced."""
        for name, tensor in self._stored.items():
            self._live[name].copy_(tensor)
        self._stored = {}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        """Put the average into the network."""
        for name, tensor in self._live.items():
            tensor.copy_(self.shadow[name])


def claim(folder: Path, settings: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """A folder holds one training: its settings are written first, and later runs must agree with them.

    Raises:
        UsageError: the folder is of another training.
    """
    file, own = folder / "training.json", json.loads(json.dumps(settings))
    if file.is_file():
        begun = json.loads(file.read_text())
        held = [name for name in own if name not in free]
        for name in held:
            if name in begun and begun[name] != own[name]:
                raise UsageError(
                    f"{folder} was begun with {name} {begun[name]!r}, not {own[name]!r}: "
                    "keep it to resume, or give another place"
                )
        if new := [name for name in held if name not in begun and own[name] is not None]:
            raise UsageError(
                f"{folder} was begun without {new[0]}, by another kind of training or an older version: give another "
                "place"
            )
    folder.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(own, indent=1) + "\n")
    part.replace(file)


def save(
    file: Path,
    step: int,
    network: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    average: Average,
    random: Mapping[str, Tensor],
) -> None:
    """Write all that a training is after ``step`` steps; replaces the file at once, so that it is never half a file.

    Args:
        file: to write.
        step: steps done.
        network: its parameters that learn and its buffers are kept.
        optimizers: in their order.
        average: of the weights.
        random: states of generators by name, uint8 (processes, bytes).
    """
    tensors = _of(network) | {f"average/{name}": tensor for name, tensor in average.shadow.items()}
    tensors |= {f"random/{name}": state for name, state in random.items()}
    for k, optimizer in enumerate(optimizers):
        for n, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{k}/{n}/{name}": value for name, value in state.items()}
    part = file.with_suffix(".part")
    write({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, part, {"step": str(step)})
    os.replace(part, file)


def write(tensors: Mapping[str, Tensor], file: Path, told: Mapping[str, str]) -> None:
    """A safetensors file with the mode that the umask asks for: the library makes it its owner's alone."""
    file.touch()
    mode = file.stat().st_mode
    save_file(dict(tensors), file, dict(told))
    file.chmod(mode)


@contextmanager
def opened(file: Path, key: str, by: str) -> Iterator[tuple[Any, dict[str, Tensor]]]:
    """What ``write`` wrote: the JSON that its metadata has under ``key``, and the tensors.

    Raises:
        UsageError: it is no file that ``by`` wrote, or nothing can be made of it inside.
    """
    try:
        with safe_open(file, "pt") as saved:
            told = parsed((saved.metadata() or {})[key])
            tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 (it is no mapping)
        yield told, tensors
    except (OSError, SafetensorError, UsageError, LookupError, ValueError, TypeError, AttributeError, RuntimeError):
        raise UsageError(f"{file} is no file that {by} wrote") from None


def filled(make: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
    """A network of saved weights. Whoever says its size, nothing but the weights themselves takes room."""
    with torch.device("meta"):
        network = make()
    network.load_state_dict(weights, assign=True)
    return network


def steps(file: Path) -> int:
    """Steps done of a saved state; 0 where there is no file."""
    if not file.is_file():
        return 0
    with safe_open(file, framework="pt") as saved:
        return int(saved.metadata()["step"])


@torch.no_grad()  # type: ignore[untyped-decorator]
def load(
    file: Path, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], average: Average
) -> tuple[int, dict[str, Tensor]]:
    """Put a saved state back.

    Returns:
        Steps done (0 where there is no file), and the states of generators.

    Raises:
        UsageError: the file is of another network.
    """
    if not file.is_file():
        return 0, {}
    with safe_open(file, framework="pt") as saved:
        kept = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 (it is no mapping)
        step = int(saved.metadata()["step"])
    own = _of(network) | {f"average/{name}": tensor for name, tensor in average.shadow.items()}
    if {name for name in kept if not name.startswith(("optimizer/", "random/"))} != set(own):
        raise UsageError(f"{file} is of another network: train with its settings, or into another folder")
    for name, tensor in own.items():
        tensor.copy_(kept[name])
    states: list[dict[int, dict[str, Any]]] = [{} for _ in optimizers]
    for name in kept:
        if name.startswith("optimizer/"):
            _, k, n, key = name.split("/")
            states[int(k)].setdefault(int(n), {})[key] = kept[name]
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        for p, own in optimizer.state.items():  # fused optimizers go through memory in the parameters' order
            own |= {k: torch.empty_like(p, dtype=v.dtype).copy_(v) for k, v in own.items() if v.shape == p.shape}
    return step, {name.partition("/")[2]: state for name, state in kept.items() if name.startswith("random/")}


def _of(network: nn.Module) -> dict[str, Tensor]:
    tensors = {f"parameter/{name}": p for name, p in network.named_parameters() if p.requires_grad}
    return tensors | {f"buffer/{name}": b for name, b in network.named_buffers()}


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Hash of what is learnt from: a training goes on with the same data only."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
