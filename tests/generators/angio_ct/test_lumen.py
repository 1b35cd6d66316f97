import math
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.interpolate import RegularGridInterpolator

from lesionforge.generators.angio_ct.lumen import LabelledLumen, fine
from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from tests.generators.angio_ct.toys import chest
from tests.generators.lesion.toys import spec


def centres(occupied, voxel, origin=(-3.0, 8.0, 1.5)):
    return (np.argwhere(occupied) * voxel + origin).astype(np.float32).astype(np.float64)


def test_the_lumen_that_plaques_leave_open():
    volume = chest()
    generator = LesionGenerator(LesionParams(size=48, plaques=(1, 1), length_mm=(4, 8)))
    (sample,) = generator.generate([volume], [spec(1, "non_calcified")])
    label, (lesion,), lumen = sample.fields["label.npy.zst"], sample.labels["lesions"], LabelledLumen(volume)
    side = lumen.side_at(lesion["mld_lps_mm"])
    value, other = (1, "right") if side == "left" else (2, "left")
    points = lumen.narrowed(side, label, sample.drawn["corner"])
    voxels = np.rint((points - volume.origin_mm) / volume.spacing_mm).astype(int)
    assert (volume.labels[tuple(voxels.T)] == value).all()
    # What is gone from the lumen is what became plaque.
    box = tuple(slice(c, c + n) for c, n in zip(sample.drawn["corner"], label.shape, strict=True))
    gone = ((volume.labels[box] == value) & (label == VALUE["non_calcified"])).sum()
    assert gone > 50
    assert len(points) == (volume.labels == value).sum() - gone
    assert len(lumen.narrowed(other, label, sample.drawn["corner"])) == (volume.labels == 3 - value).sum()


def by_scipy(points, voxel, cell):
    """As it was made before: whole planes of cells, interpolated by scipy in single precision."""
    low = points.min(axis=0)
    at = np.rint((points - low) / voxel).astype(int) + 2
    occupied = np.zeros(at.max(axis=0) + 3, np.float32)
    occupied[tuple(at.T)] = 1
    middle = (low + points.max(axis=0)) / 2
    shape = np.ceil((np.ptp(points, axis=0) + 2 * np.array(voxel)) / cell).astype(int)
    axes = [(middle[a] - low[a] + (np.arange(n) - (n - 1) / 2) * cell) / voxel[a] + 2 for a, n in enumerate(shape)]
    share = ndimage.map_coordinates(occupied, np.meshgrid(*axes, indexing="ij"), order=1)
    return np.argwhere(share >= 0.5)


def test_cells_are_those_of_scipy_to_the_last_midway_one():
    """Cells of a fifth or a quarter of a millimetre lie midway between voxels of a half by the thousand."""
    lumen, empty = LabelledLumen(chest()), np.zeros((0, 0, 0), np.uint8)
    points = lumen.narrowed("left", empty, (0, 0, 0))
    for voxel, cell in (((0.5, 0.5, 0.5), 0.2), ((0.5, 0.5, 0.5), 0.25), ((0.37, 0.41, 0.5), 0.2)):
        scaled = points / chest().spacing_mm * voxel
        assert np.array_equal(fine(scaled, voxel, cell).cells, by_scipy(scaled, voxel, cell))


def test_the_half_level_of_the_interpolated_label():
    """Every cell of a box about it, asked one by one."""
    rng = np.random.default_rng(0)
    occupied = np.zeros((12, 10, 9), bool)
    occupied[2:-2, 2:-2, 2:-2] = rng.random((8, 6, 5)) < 0.6
    voxel = (0.5, 0.45, 0.6)
    lumen = fine(centres(occupied, voxel), voxel, 0.2)
    axes = [o + np.arange(n) * s for o, n, s in zip((-3.0, 8.0, 1.5), occupied.shape, voxel, strict=True)]
    ask = RegularGridInterpolator(axes, occupied.astype(float), bounds_error=False, fill_value=0)
    every = np.array(list(product(*map(range, lumen.grid.shape))))
    share = ask(lumen.grid.centres(every) + lumen.isocentre_mm)
    found = np.zeros(lumen.grid.shape, bool)
    found[tuple(lumen.cells.T)] = True
    clear = np.abs(share - 0.5) > 1e-4  # points are float32
    assert (found.ravel() == (share >= 0.5))[clear].all()
    assert 0.2 < found.mean() < 0.9


def test_a_thin_tube_keeps_its_area_and_place():
    """Two voxels across: the blocks are gone, the area is not."""
    x, y, z = np.meshgrid(*(np.arange(n) * 0.5 for n in (24, 24, 60)), indexing="ij")
    gap = np.sqrt((x - 6.1 - 0.02 * z) ** 2 + (y - 5.8) ** 2)
    lumen = fine(centres(gap <= 1.0, 0.5, 0.0), (0.5, 0.5, 0.5), 0.2)
    points = lumen.centres + lumen.isocentre_mm
    inner = points[(points[:, 2] > 2) & (points[:, 2] < 27)]
    area = len(inner) * 0.2**3 / 25
    assert abs(area / math.pi - 1) < 0.06
    assert np.abs(inner[:, 0] - 6.1 - 0.02 * inner[:, 2]).mean() < 0.5
    assert np.sqrt((inner[:, 0] - 6.1 - 0.02 * inner[:, 2]) ** 2 + (inner[:, 1] - 5.8) ** 2).max() < 1.3
