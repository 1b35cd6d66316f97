"""The state of a fit in one safetensors file: no pickle is ever written or read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jobs.errors import UsageError


def save(file: Path, step: int, network: Any, optimizer: Any, ema: Any) -> None:
    """Write parameters, optimizer and moving average after ``step`` steps; the old file is replaced at once."""
    tensors = {f"parameter/{name}": p for name, p in network.trainable()}
    tensors |= {f"ema/{n}": p for n, p in enumerate(ema.shadow_params)}
    for n, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{n}/{name}": value for name, value in state.items()}
    told = {"step": str(step), "ema": json.dumps({k: v for k, v in ema.state_dict().items() if k != "shadow_params"})}
    part = file.with_suffix(".part")
    save_file({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, part, metadata=told)
    os.replace(part, file)


def load(file: Path, network: Any, optimizer: Any, ema: Any) -> int:
    """Put a saved state back; the number of steps done, 0 where there is no file.

    Raises:
        UsageError: the file is of another model.
    """
    if not file.is_file():
        return 0
    with safe_open(file, framework="pt") as saved:
        told = saved.metadata()
        names = {name for name in saved.keys() if name.startswith("parameter/")}  # noqa: SIM118
        mine = {f"parameter/{name}": p for name, p in network.trainable()}
        if names != set(mine):
            raise UsageError(f"{file} is of another model: fit with its preset, or into another folder")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(saved.get_tensor(name))
        ema.load_state_dict({**json.loads(told["ema"]), "shadow_params": [
            saved.get_tensor(f"ema/{n}").to(p.device) for n, p in enumerate(mine.values())
        ]})  # fmt: skip
        state: dict[int, dict[str, Any]] = {}
        for name in saved.keys():  # noqa: SIM118
            kind, _, rest = name.partition("/")
            if kind == "optimizer":
                n, _, key = rest.partition("/")
                state.setdefault(int(n), {})[key] = saved.get_tensor(name)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(told["step"])
