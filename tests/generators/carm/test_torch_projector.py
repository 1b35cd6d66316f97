"""The torch twin against the compiled one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.carm.backproject import adjoint
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project_views
from lesionforge.generators.carm.view import View
from tests.generators.carm.conftest import marked

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("memory_mb", [4, 256])
def test_equals_the_compiled_projector(memory_mb: int, random_tree: NDArray[np.float64], pair: list[View]) -> None:
    from lesionforge.generators.carm import torch_projector

    grid = Grid((96, 96, 96), 0.95)
    volume = marked(grid, random_tree)
    views = [*pair, View(1000, 750, 0, 0), View(1000, 750, 90, 0)]
    values = np.random.default_rng(0).random(int(volume.sum()))
    ours = project_views(volume, grid, views, values)
    theirs = torch_projector.project_views(volume, grid, views, torch.as_tensor(values), memory_mb=memory_mb)
    for a, b in zip(ours, theirs.numpy(), strict=True):
        assert np.abs(a - b).max() < 1e-4 * a.max()
        assert np.abs(a - b).sum() < 1e-6 * a.sum()


def test_cells_cut_by_the_detector_edge(pair: list[View]) -> None:
    from lesionforge.generators.carm import torch_projector

    grid = Grid((40, 40, 40), 1.0)
    views = [View(1000, 750, 10, 5, 20, 30, (1.5, 1.0))]
    full = np.ones(grid.shape, np.uint8)
    theirs = torch_projector.project_views(full, grid, views).numpy()[0]
    assert np.abs(theirs - project_views(full, grid, views)[0]).max() < 1e-4 * theirs.max()


def test_gradient_is_the_adjoint(random_tree: NDArray[np.float64], pair: list[View]) -> None:
    from lesionforge.generators.carm import torch_projector

    grid = Grid((64, 64, 64), 1.4)
    cells = np.argwhere(marked(grid, random_tree))
    weight = np.random.default_rng(0).random((512, 512)).astype(np.float32)
    values = torch.ones(len(cells), requires_grad=True)
    (torch_projector.project_views(cells, grid, pair[:1], values)[0] * torch.as_tensor(weight)).sum().backward()
    assert values.grad is not None
    assert np.allclose(values.grad.numpy(), adjoint(weight, grid, pair[0], cells), rtol=1e-4, atol=1e-4)


def test_refuses_mixed_detectors(pair: list[View]) -> None:
    from lesionforge.generators.carm import torch_projector

    grid, cells = Grid((4, 4, 4), 1.0), np.array([[1, 2, 3]])
    with pytest.raises(ValueError, match="of one size"):
        torch_projector.project_views(cells, grid, [pair[0], View(1000, 750, 0, 0, 8, 8)])
    with pytest.raises(ValueError, match="one per occupied cell"):
        torch_projector.project_views(cells, grid, pair, torch.ones(2))


def test_the_package_imports_neither_torch_nor_ray_nor_odl() -> None:
    code = "import sys\nfrom lesionforge.generators.carm import odl_geometry, torch_projector\n"
    code += "assert not {'torch', 'ray', 'odl', 'pydicom'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
