"""A tree's centreline and surface in the formats of others: VTK (legacy and XML), SWC, STL. Millimetres, LPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.surface import Surface
from lesionforge.jobs.tasks.reconstruction.tree.tree import Tree

Numbers = NDArray[np.float64] | NDArray[np.int64]

TITLE = "coronary tree, LPS mm from the isocentre"


@dataclass(frozen=True)
class Centreline:
    """A tree as points that know the one before them; a branch's first is a point of its parent.

    ``before`` int64 (n,): -1 of the ostium. ``lines``: the points of each branch in order. ``at_points``: what is known
    of each: ``radius_mm``, ``healthy_diameter_mm``, ``percent_ds``, ``branch``, ``generation`` (0 of the main branch)
    and ``start_points`` (1 of the ostium alone), as ImageCAS-X calls it.
    """

    points: NDArray[np.float64]
    before: NDArray[np.int64]
    lines: tuple[NDArray[np.int64], ...]
    at_points: Mapping[str, Numbers]

    @classmethod
    def of(cls, tree: Tree) -> Centreline:
        """Of a tree."""
        points: list[NDArray[np.float64]] = []
        before: list[NDArray[np.int64]] = []
        lines: list[NDArray[np.int64]] = []
        generations: list[int] = []
        count = 0
        for branch in tree.branches:
            own = branch.points if branch.parent < 0 else branch.points[1:]
            numbers = np.arange(count, count + len(own))
            if branch.parent >= 0:
                nearest = ((tree.branches[branch.parent].points - branch.points[0]) ** 2).sum(1).argmin()
                numbers = np.concatenate([[lines[branch.parent][nearest]], numbers])
            points.append(own)
            before.append(np.concatenate([[-1], numbers[:-1]]) if branch.parent < 0 else numbers[:-1])
            lines.append(numbers)
            generations.append(0 if branch.parent < 0 else generations[branch.parent] + 1)
            count += len(own)
        skip = [int(branch.parent >= 0) for branch in tree.branches]

        def gathered(each: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
            return np.concatenate([one[s:] for one, s in zip(each, skip, strict=True)])

        size = [len(own) for own in points]
        at_points: dict[str, Numbers] = {
            "radius_mm": gathered([branch.radii for branch in tree.branches]),
            "healthy_diameter_mm": gathered(tree.healthy_mm),
            "percent_ds": gathered([tree.percent_ds(n) for n in range(len(size))]),
            "branch": np.repeat(np.arange(len(size)), size),
            "generation": np.repeat(np.array(generations), size),
            "start_points": (np.arange(count) == 0).astype(np.int64),
        }
        return cls(np.concatenate(points), np.concatenate(before), tuple(lines), at_points)


def vtk(line: Centreline) -> str:
    """Legacy VTK (``.vtk``), POLYDATA in ASCII."""
    out = ["# vtk DataFile Version 3.0", TITLE, "ASCII", "DATASET POLYDATA", f"POINTS {len(line.points)} double"]
    out += _rows(line.points)
    out.append(f"LINES {len(line.lines)} {sum(len(one) + 1 for one in line.lines)}")
    out += [" ".join(map(str, [len(one), *one.tolist()])) for one in line.lines]
    others = {name: values for name, values in line.at_points.items() if name != "radius_mm"}
    out += [f"POINT_DATA {len(line.points)}", "SCALARS radius_mm double 1", "LOOKUP_TABLE default"]
    out += [*_rows(line.at_points["radius_mm"][:, None]), f"FIELD FieldData {len(others)}"]
    for name, values in others.items():
        out.append(f"{name} 1 {len(values)} {'int' if values.dtype.kind == 'i' else 'double'}")
        out += _rows(values[:, None])
    return "\n".join(out) + "\n"


def vtp(line: Centreline) -> str:
    """XML VTK (``.vtp``), PolyData in ASCII."""
    ends = np.cumsum([len(one) for one in line.lines])
    return "\n".join(
        [
            '<?xml version="1.0"?>',
            f"<!-- {TITLE} -->",
            '<VTKFile type="PolyData" version="0.1" byte_order="LittleEndian">',
            "<PolyData>",
            f'<Piece NumberOfPoints="{len(line.points)}" NumberOfVerts="0" NumberOfLines="{len(line.lines)}" '
            'NumberOfStrips="0" NumberOfPolys="0">',
            "<Points>",
            _array("points", line.points),
            "</Points>",
            "<Lines>",
            _array("connectivity", np.concatenate(line.lines)),
            _array("offsets", ends),
            "</Lines>",
            '<PointData Scalars="radius_mm">',
            *(_array(name, values) for name, values in line.at_points.items()),
            "</PointData>",
            "</Piece>",
            "</PolyData>",
            "</VTKFile>\n",
        ]
    )


def swc(line: Centreline) -> str:
    """SWC: number, type (0, undefined: none is a vessel's), x, y, z, radius, number before it (-1 of the ostium)."""
    rows = zip(line.points.tolist(), line.at_points["radius_mm"].tolist(), line.before.tolist(), strict=True)
    out = [f"# {TITLE}; the radius, too, is in mm", "# id type x y z radius parent"]
    for n, ((x, y, z), radius, before) in enumerate(rows, 1):
        out.append(f"{n} 0 {x:.4f} {y:.4f} {z:.4f} {radius:.4f} {before + 1 if before >= 0 else -1}")
    return "\n".join(out) + "\n"


def stl(surface: Surface) -> bytes:
    """Binary STL; its header names the axes as 3D Slicer reads them."""
    corners = surface.vertices[surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    rows = np.zeros(len(corners), kind)
    rows["normal"], rows["corners"] = normals, corners
    return b"coronary tree, mm; SPACE=LPS".ljust(80) + len(rows).to_bytes(4, "little") + bytes(rows.tobytes())


def _rows(values: Numbers) -> list[str]:
    form = "{:d}" if values.dtype.kind == "i" else "{:.4f}"
    return [" ".join(form.format(value) for value in row) for row in values.tolist()]


def _array(name: str, values: Numbers) -> str:
    kind = "Int64" if values.dtype.kind == "i" else "Float64"
    width = f' NumberOfComponents="{values.shape[1]}"' if values.ndim > 1 else ""
    body = "\n".join(_rows(values.reshape(len(values), -1)))
    return f'<DataArray type="{kind}" Name={quoteattr(name)}{width} format="ascii">\n{body}\n</DataArray>'
