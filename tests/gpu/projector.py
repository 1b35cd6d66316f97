"""The torch projector on the device against the same on the CPU and the compiled one: equal, adjoint, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.gpu.part import Asked, Report, say

NEEDS = ("torch", "numba", "scipy")
SHARE = 0.05


def run(asked: Asked, report: Report) -> None:
    import torch

    from lesionforge.generators.carm import projector, torch_projector
    from lesionforge.generators.carm.grid import Grid
    from lesionforge.generators.carm.view import View
    from tests.benchmarks.common import table

    n, pixels, many = (48, 96, 3) if asked.toy else (128, 512, 32)
    grid = Grid((n,) * 3, 0.9 * 128 / n)
    mm = 0.2779 * 512 / pixels
    views = [View(1000, 765, a, 20 * np.sin(a), pixels, pixels, (mm, mm)) for a in np.linspace(-60, 60, many)]
    cells = _tubes(n)
    values = np.random.default_rng(0).random(len(cells)).astype(np.float32)
    x = torch.from_numpy(values)
    there = torch_projector.project_views(cells, grid, views[:2], x, asked.device)
    compiled = np.stack(projector.project_views(cells, grid, views[:2], values))
    for name, other in {
        "torch on the CPU": torch_projector.project_views(cells, grid, views[:2], x).numpy(),
        "the compiled projector": compiled,
    }.items():
        apart, total = np.abs(there.cpu().numpy() - other), other.sum()
        report.check(
            f"line integrals are those of {name}",
            apart.max() < 1e-4 * other.max() and apart.sum() < 1e-6 * total,
            largest=apart.max() / other.max(), together=apart.sum() / total,
        )  # fmt: skip
    _adjoint(report, asked.device, grid, views, cells, x)
    with _deterministic():
        first, again = (torch_projector.project_views(cells, grid, views[:2], x, asked.device) for _ in range(2))
    report.check("asked for determinism, the same bytes twice", torch.equal(first, again))
    kinds: dict[str, Callable[[list[View]], Any]] = {
        "compiled, CPU": lambda some: projector.project_views(cells, grid, some, values),
        "torch, CPU": lambda some: torch_projector.project_views(cells, grid, some, x),
    }
    if asked.cuda:
        on, memory = x.to(asked.device), 4096
        kinds["torch, device"] = lambda some: torch_projector.project_views(cells, grid, some, on, asked.device, memory)
    for count in (2, many):
        for name, project in kinds.items():
            took = _seconds(lambda project=project, count=count: project(views[:count]), asked)
            lines = count * pixels**2 / took
            report.row("speed", name=name, views=count, ms=1e3 * took, mlines=lines / 1e6)
    columns = {"name": "", "views": "views", "ms": "ms", "mlines": "million lines/s"}
    title = f"  {len(cells):,} cells of {n}^3, {pixels} x {pixels} pixels a view"
    say(table(title, columns, report.body["speed"]).rstrip())


def _tubes(n: int) -> Any:
    """Cells of thin tubes, about as many as a coronary tree has."""
    t = np.linspace(0, 1, 40 * n)
    curves = [np.stack([t, 0.5 + 0.35 * np.sin(k + 5 * t), 0.5 + 0.35 * np.cos(2 * k + 4 * t)], 1) for k in range(4)]
    centres = np.concatenate(curves) * (n - 9) + 4
    near = np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    return np.unique((centres[:, None] + near).astype(int).reshape(-1, 3), axis=0)


def _adjoint(report: Report, device: str, grid: Any, views: Any, cells: Any, x: Any) -> None:
    """<A x, y> = <x, A^T y>, the right one by the gradient."""
    import torch

    from lesionforge.generators.carm.torch_projector import project_views

    own = x.to(device).requires_grad_()
    image = project_views(cells, grid, views[:2], own, device)
    y = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(device)
    (image * y).sum().backward()
    left, right = ((a.detach().double() * b).sum().item() for a, b in ((image, y), (own, own.grad)))
    report.check("the gradient is the adjoint", abs(left - right) < 1e-5 * abs(left), apart=abs(left - right) / left)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Inside, torch takes deterministic algorithms alone."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def _seconds(call: Callable[[], Any], asked: Asked) -> float:
    """The median of five calls after one."""
    import torch

    times = []
    for _ in range(2 if asked.toy else 6):
        begun = time.perf_counter()
        call()
        if asked.cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return float(np.median(times[1:]))
