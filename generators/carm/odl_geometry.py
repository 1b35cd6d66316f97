"""The same view as an ODL geometry: an independent check of ours, and the way to ASTRA's projectors on CUDA.

ODL's own description of a gantry (angles about one axis) cannot hold a secondary angle without rolling the
detector, which is what the reference system (XRA-Diff) did, by up to 11 degrees. ``frommatrix`` takes the whole
orientation instead, and a single angle of 0.
"""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View


def cone_beam_geometry(view: View) -> Any:
    """``odl.applications.tomo.ConeBeamGeometry`` of a view; detector parameters are (right, down) in mm.

    ODL's default gantry shines along +y with detector axes +x and +z. The columns of ``init_matrix`` say where those
    three go: u, d and v, which are right-handed in that order.
    """
    from odl import nonuniform_partition, uniform_partition
    from odl.applications.tomo import ConeBeamGeometry

    u, v, d = view.axes
    height, width = view.rows * view.pixel_mm[0], view.cols * view.pixel_mm[1]
    detector = uniform_partition([-width / 2, -height / 2], [width / 2, height / 2], (view.cols, view.rows))
    return ConeBeamGeometry.frommatrix(
        nonuniform_partition([0.0]),
        detector,
        src_radius=view.sod_mm,
        det_radius=view.sid_mm - view.sod_mm,
        init_matrix=np.stack([u, d, v], axis=1),
    )


def cuda_devices() -> int:
    """Number of CUDA devices the driver offers, 0 without a driver; creates no context."""
    for name in ("libcuda.so.1", "libcuda.so", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0


def astra_available() -> bool:
    """True where ASTRA can project: a CUDA device is there and the package is installed.

    The device is looked for first: without one ASTRA does not raise but ends the process (SIGFPE).
    """
    return cuda_devices() > 0 and importlib.util.find_spec("astra") is not None


def project_astra(volume: NDArray[Any], grid: Grid, view: View) -> NDArray[np.float32]:
    """Line integrals (rows, cols) in mm by ODL's RayTransform on ASTRA with CUDA.

    Args:
        volume: values per mm, of ``grid.shape``.
        grid: where the cells are.
        view: the view.

    Raises:
        RuntimeError: ASTRA cannot run here; the message names the fix.
        ValueError: the volume is not of the grid's shape.
    """
    if volume.shape != grid.shape:
        raise ValueError(f"volume has shape {volume.shape}, the grid {grid.shape}: pass the volume of this grid")
    if not astra_available():
        missing = "astra-toolbox is not installed" if cuda_devices() else "no CUDA device was found"
        raise RuntimeError(
            f"ASTRA cannot project here: {missing}. Use lesionforge.generators.carm.projector (CPU, exact), or install "
            "astra-toolbox on a machine with a CUDA device"
        )
    from odl import uniform_discr
    from odl.applications.tomo import RayTransform

    half = 0.5 * np.asarray(grid.extent_mm)
    space = uniform_discr(-half, half, grid.shape, dtype="float32")
    transform = RayTransform(space, cone_beam_geometry(view), impl="astra_cuda")
    sinogram = np.asarray(transform(space.element(np.asarray(volume, np.float32))))
    return np.ascontiguousarray(sinogram.reshape(view.cols, view.rows).T, np.float32)
