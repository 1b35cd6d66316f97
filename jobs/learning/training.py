"""Training as commands do it: kept beside what it is for, continued, shown, in one process or under Ray Train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.progress import Pace, steps
from lesionforge.jobs.studies.task import Item, Learner

I = TypeVar("I", bound=Item)  # noqa: E741


def train(
    learner: Learner[I],
    real: Sequence[I],
    synthetic: Sequence[I],
    real_share: float,
    seed: int,
    out: Path,
    workers: int = 1,
) -> float | None:
    """Train and save a learner. What it is at is kept in ``OUT.training``; the same call again goes on from there.

    Args:
        learner: a new one.
        real, synthetic, real_share, seed: see the learner's ``fit``.
        out: file of the model.
        workers: processes that share every batch; more than one run under Ray Train, see ``on_ray``.

    Returns:
        The last step's loss; None where nothing was left to do.
    """
    out = out.absolute()
    folder = out.with_name(f"{out.name}.training")
    folder.mkdir(parents=True, exist_ok=True)
    loss = None
    if workers == 1:
        with shown("training") as show:

            def progress(step: int, of: int, value: float) -> None:
                nonlocal loss
                loss = value
                show(step, of, value)

            learner.fit(real, synthetic, real_share, seed, folder, progress)
        learner.save(out)
    else:
        import ray

        items = ray.put((learner, list(real), list(synthetic)))

        def share() -> None:
            own, some, made = ray.get(items)
            with shown("training") as progress:
                own.fit(some, made, real_share, seed, folder, progress)
            if ray.train.get_context().get_world_rank() == 0:
                own.save(out)

        on_ray(share, workers, str(getattr(learner, "device", "cpu")) != "cpu", folder)
        loss = json.loads((folder / "losses.jsonl").read_text().splitlines()[-1])["loss"]
    shutil.rmtree(folder)
    return loss


def on_ray(work: Callable[[], Any], workers: int, gpus: bool, folder: Path) -> None:
    """Call ``work`` in several processes that Ray Train connects; accelerate finds itself in them.

    Ray is joined where RAY_ADDRESS says so, else started here. ``folder`` and the data must be visible from every node.
    A process that dies ends the training; the same command again resumes from the checkpoint.

    Args:
        work: what each of them does.
        workers: how many; each on a core, and on a GPU of its own.
        gpus: whether they need one.
        folder: where Ray Train keeps what it needs.

    Raises:
        UsageError: where one of them fails.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.base_trainer import TrainingFailedError
    from ray.train.torch import TorchTrainer

    scaling = ScalingConfig(num_workers=workers, use_gpu=gpus)
    run = RunConfig(name="ray", storage_path=str(folder.absolute()))
    try:
        error = TorchTrainer(work, scaling_config=scaling, run_config=run).fit().error
    except TrainingFailedError as failed:
        error = failed
    if error is not None:
        raise UsageError(f"a training process failed, run the same command again to resume: {error}")


@contextmanager
def shown(name: str) -> Iterator[Progress]:
    """Yields what shows steps a second, loss and the time that is left."""
    pace = Pace()
    with steps(name, pace) as advance:

        def progress(step: int, of: int, loss: float) -> None:
            pace.left(step, of)
            advance(step, of, f"{f'{pace.rate:.3g} steps/s  ' if pace.rate else ''}loss {loss:.4g}")

        yield progress
