"""The state of a fit in one safetensors file: no pickle is ever written or read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lesionforge.jobs.errors import UsageError


def save(file: Path, step: int, network: Any, optimizers: Sequence[Any], ema: Any) -> None:
    """Write parameters, buffers, optimizers and moving average after ``step`` steps; replaces the file at once."""
    tensors = {f"parameter/{name}": p for name, p in network.trainable()}
    tensors |= {f"ema/{n}": p for n, p in enumerate(ema.shadow_params)}
    tensors |= {f"buffer/{name}": b for name, b in network.moving()}
    for k, optimizer in enumerate(optimizers):
        for n, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{k}/{n}/{name}": value for name, value in state.items()}
    told = {"step": str(step), "ema": json.dumps({k: v for k, v in ema.state_dict().items() if k != "shadow_params"})}
    part = file.with_suffix(".part")
    save_file({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, part, metadata=told)
    os.replace(part, file)


def load(file: Path, network: Any, optimizers: Sequence[Any], ema: Any) -> int:
    """Put a saved state back; the number of steps done, 0 where there is no file.

    Raises:
        UsageError: the file is of another model.
    """
    if not file.is_file():
        return 0
    with safe_open(file, framework="pt") as saved:
        told = saved.metadata()
        names = {name for name in saved.keys() if name.startswith(("parameter/", "buffer/"))}  # noqa: SIM118
        mine = {f"parameter/{name}": p for name, p in network.trainable()}
        buffers = {f"buffer/{name}": b for name, b in network.moving()}
        if names != {*mine, *buffers}:
            raise UsageError(f"{file} is of another model: fit with its preset, or into another folder")
        with torch.no_grad():
            for name, tensor in {**mine, **buffers}.items():
                tensor.copy_(saved.get_tensor(name))
        ema.load_state_dict({**json.loads(told["ema"]), "shadow_params": [
            saved.get_tensor(f"ema/{n}").to(p.device) for n, p in enumerate(network.averaged())
        ]})  # fmt: skip
        states: list[dict[int, dict[str, Any]]] = [{} for _ in optimizers]
        for name in saved.keys():  # noqa: SIM118
            kind, _, rest = name.partition("/")
            if kind == "optimizer":
                k, n, key = rest.split("/")
                states[int(k)].setdefault(int(n), {})[key] = saved.get_tensor(name)
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(told["step"])
