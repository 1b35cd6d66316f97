"""How phantoms are painted leaves no trace: not the tiles, not the version; and it takes little memory."""

import hashlib
import sys
import tracemalloc

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator

from lesionforge.generators.kernels import _Kernel
from lesionforge.generators.phantom.ct import canvas
from lesionforge.generators.phantom.ct.abdomen import phantom_abdomen
from lesionforge.generators.phantom.ct.ccta import phantom_ccta
from lesionforge.generators.phantom.ct.ccta_heart import heart_in
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.phantom.tree.curve import _spline
from lesionforge.generators.phantom.tree.heart import Heart

KEY = hashlib.blake2b(b"golden", digest_size=32).digest()
CCTA = {"shape": (44, 40, 36), "spacing_mm": (3.0, 3.0, 3.0), "kernel": "sharp", "stenoses": 1}
CLOSE = {"shape": (40, 36, 32), "spacing_mm": (0.7, 0.7, 0.9), "about": "left"}
ABDOMEN = {"shape": (56, 44, 38), "spacing_mm": (7.0, 6.0, 8.0)}
FLAT = {"shape": (100, 16, 20), "spacing_mm": (3.0, 8.0, 10.0)}  # large voxels: soft edges reach far
ILL = {"shape": (64, 60, 44), "spacing_mm": (0.7, 0.7, 0.9), "about": "left", "disease": True}


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]


@pytest.mark.parametrize(
    ("paint", "options", "known"),
    [
        (phantom_ccta, CCTA, "dae54dfb25447f74"),
        (phantom_ccta, CLOSE, "98199e6f66bba88c"),
        (phantom_abdomen, ABDOMEN, "20e812e8a9ce6a82"),
        (phantom_abdomen, FLAT, "a5cec779129dc137"),
        (phantom_ccta, ILL, "4163f616ba9d6733"),
        (phantom_abdomen, ABDOMEN | {"disease": True}, "291834a2678e866e"),
    ],
)
def test_volumes_are_byte_for_byte_those_of_earlier_versions(paint, options, known):
    volume = paint(KEY, "s", **options)
    assert digest(volume.hu, volume.labels) == known


@pytest.mark.parametrize(("side", "known"), [("left", "59abdc3a87a7f457"), ("right", "6df609feeab2cb26")])
def test_trees_are_byte_for_byte_those_of_earlier_versions(side, known):
    tree = phantom_tree(KEY, side, "s", stenoses=1, varied=False)
    assert digest(tree.points, *(b.points for b in tree.branches), *(b.radii for b in tree.branches)) == known


@pytest.mark.parametrize(
    ("paint", "options"), [(phantom_ccta, CCTA), (phantom_ccta, CLOSE), (phantom_abdomen, ABDOMEN)]
)
def test_tiles_do_not_show(monkeypatch, paint, options):
    """What is left out of a tile, because nothing of it would be seen there, is not seen in a larger one either."""
    volumes = []
    for edge in (9, 24):
        monkeypatch.setattr(canvas, "TILE", edge)
        volumes.append(paint(KEY, "s", **options))
    np.testing.assert_array_equal(volumes[0].hu, volumes[1].hu)
    np.testing.assert_array_equal(volumes[0].labels, volumes[1].labels)


def variants():
    modules = [module for name, module in sorted(sys.modules.items()) if ".generators.phantom." in name]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, _Kernel)]
    return {kernel.__name__: len(kernel._compiled.signatures) for kernel in found if kernel._compiled}


def test_no_kernel_is_compiled_twice():
    """Whole canvases have no gaps, tiles of large ones have, and so on: a kernel takes 0.2 s and more to compile."""
    before = variants()  # other tests of this process call kernels with arrays of their own
    for paint, options in ((phantom_ccta, CCTA), (phantom_ccta, CLOSE), (phantom_abdomen, ABDOMEN)):
        paint(KEY, "s", **options)
    assert {name: count for name, count in variants().items() if count > max(1, before.get(name, 0))} == {}
    assert len(variants()) > 10


def test_painting_takes_a_few_bytes_a_voxel():
    """It was 226 of them: temporaries of the whole volume."""
    shape = (96, 96, 96)
    phantom_ccta(KEY, "s", **CLOSE)  # compiled, imported
    tracemalloc.start()
    phantom_ccta(KEY, "s", shape=shape, spacing_mm=(1.0, 1.0, 1.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * np.prod(shape)  # HU and the spectrum of the noise are 16 of them, the results 3


def test_a_voxel_at_the_hearts_centre_is_under_its_surface():
    grid = canvas.CtGrid((9, 9, 9), (2.0, 2.0, 2.0), (-8.0, -8.0, -8.0))
    bare, shows = heart_in(canvas.Canvas(grid, 0.0, KEY), Heart.draw(np.random.default_rng(0)))
    assert bare is None
    assert shows


@pytest.mark.parametrize("points", [3, 4, 9])
def test_courses_are_akima_splines(points):
    way = np.random.default_rng(points).normal(0, 20, (points, 4))
    along = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(way[:, :3], axis=0) ** 2).sum(1)))])
    fine = _spline(way)
    expected = Akima1DInterpolator(along, way)(np.linspace(0, along[-1], len(fine)))
    np.testing.assert_allclose(fine, expected, atol=1e-9)
    assert along[-1] / (len(fine) - 1) <= 0.25
