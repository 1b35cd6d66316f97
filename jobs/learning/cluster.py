"""Fitting on several GPUs: Ray Train starts the processes, accelerate finds itself in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.trainer import fit


def fit_on_ray(config: Any, workers: int, fit: Callable[[Any], Path] = fit) -> Path:
    """Fit with ``workers`` processes, each with a GPU unless ``config.cpu``; the folder of the fitted model.

    Ray must have been started or joined; ``out`` and ``data`` must be visible from every node. A process that dies
    ends the fit; running the same command again resumes from the checkpoint.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    out = Path(config.out).absolute()
    config = replace(config, out=str(out))
    scaling = ScalingConfig(num_workers=workers, use_gpu=not config.cpu)
    result = TorchTrainer(
        lambda: fit(config),
        scaling_config=scaling,
        run_config=RunConfig(name="ray", storage_path=str(out)),
    ).fit()
    if result.error is not None:
        raise UsageError(f"a fitting process failed: {result.error}")
    return out / "model"
