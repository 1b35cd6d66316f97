"""The phantom's trees beside real ones: ``python -m tests.benchmarks.variety [--subjects N] [--data FOLDER]``.

One meter for all: voxels of .33 x .33 x .5 mm, skeleton (scikit-image), spanning tree (networkx), short spurs cut.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from lesionforge.engine.sources.trees.vtk import PolyLines
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import Branch

STEP = np.array([0.33, 0.33, 0.5])
FINE = 1 / 6  # mm: every second and third of such voxels make the meter's
TOUCH = np.ones((3, 3, 3))
ROWS = {
    "ends": "free ends",
    "forks": "forks",
    "length": "length, mm",
    "far": "farthest end, mm",
    "radius": "mean radius, mm",
    "first": "radius of the first 20 mm",
    "last": "radius at the ends",
    "lumen": "lumen, ml",
    "x": "box, left to right, mm",
    "y": "front to back",
    "z": "feet to head",
    "bend": "length over chord, between forks",
    "bend20": "the same, over 20 mm",
}
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Figures = dict[str, float]


def dense(index: NDArray[np.int64]) -> Mask:
    """Voxels (n, 3) as a mask, with room about them."""
    grid = np.zeros(np.ptp(index, axis=0) + 5, bool)
    grid[tuple((index - index.min(0) + 2).T)] = True
    return grid


def drawn(branches: Sequence[Branch]) -> Mask:
    """The meter's voxels of a tree's branches, the largest piece."""
    index = np.rint(voxelise(branches, FINE) / FINE).astype(int)
    on = (index[:, 0] % 2 == 0) & (index[:, 1] % 2 == 0) & (index[:, 2] % 3 == 0)
    grid = dense(index[on] // np.array([2, 2, 3]))
    pieces, count = ndimage.label(grid, TOUCH)
    return grid if count == 1 else pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1


def skeleton(grid: Mask) -> tuple[nx.Graph, Floats, Floats]:
    """A spanning tree of the skeleton's largest piece, its points in mm, and their distance from the wall."""
    at = np.argwhere(skeletonize(grid))
    near = cKDTree(at).query_pairs(np.sqrt(3) + 0.01, output_type="ndarray")
    graph = nx.Graph()
    graph.add_nodes_from(range(len(at)))
    lengths = np.linalg.norm((at[near[:, 0]] - at[near[:, 1]]) * STEP, axis=1)
    graph.add_weighted_edges_from((int(a), int(b), float(mm)) for (a, b), mm in zip(near, lengths, strict=True))
    tree = nx.Graph(nx.minimum_spanning_tree(graph.subgraph(max(nx.connected_components(graph), key=len))))
    shell = np.argwhere(ndimage.maximum_filter(grid, 3) & ~grid) * STEP
    radii: Floats = cKDTree(shell).query(at * STEP)[0]
    for _ in range(3):
        prune(tree, radii)
    return tree, at * STEP, radii


def prune(tree: nx.Graph, radii: Floats) -> None:
    """Cut ends shorter than 3 mm, or than their fork's radius and 2 mm, the shortest first."""
    cut = []
    for leaf in [v for v in tree if tree.degree(v) == 1]:
        path = follow(tree, [leaf])
        mm = sum(tree[a][b]["weight"] for a, b in itertools.pairwise(path))
        if tree.degree(path[-1]) >= 3 and mm < max(3.0, radii[path[-1]] + 2.0):
            cut.append((mm, path))
    for _, path in sorted(cut):
        if tree.degree(path[-1]) >= 3:  # its fork may have lost another
            tree.remove_nodes_from(path[:-1])


def follow(tree: nx.Graph, path: list[int]) -> list[int]:
    """On to the next fork or end."""
    while len(path) < 2 or tree.degree(path[-1]) == 2:
        onward = [v for v in tree[path[-1]] if len(path) < 2 or v != path[-2]]
        if not onward:
            break
        path.append(onward[0])
    return path


def sections(tree: nx.Graph) -> Iterator[list[int]]:
    """The paths between forks and ends, each once."""
    seen = set()
    for node in [v for v in tree if tree.degree(v) != 2]:
        for after in tree[node]:
            path = follow(tree, [node, after])
            if (ends := frozenset((path[0], path[-1]))) not in seen:
                seen.add(ends)
                yield path


def smooth(points: Floats, sigma: float) -> Floats:
    """A line without the lattice's steps; its ends stay."""
    if len(points) <= 4:
        return points
    out: Floats = ndimage.gaussian_filter1d(np.pad(points, ((6, 6), (0, 0)), "edge"), sigma, axis=0)[6:-6]
    out[0], out[-1] = points[0], points[-1]
    return out


def along(points: Floats) -> Floats:
    """Length from the first point to each."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def measured(grid: Mask) -> Figures:
    """What the table tells of one tree."""
    tree, points, radii = skeleton(grid)
    ends = [v for v in tree if tree.degree(v) == 1]
    total, bends, wide = 0.0, list[tuple[float, float]](), list[float]()
    for path in sections(tree):
        line = smooth(points[path], 2)
        mm, chord = along(line)[-1], float(np.linalg.norm(line[0] - line[-1]))
        total += mm
        wide += list(radii[path])
        if chord > 15:
            bends.append((mm / chord, mm))
    reach = {v: nx.single_source_dijkstra_path_length(tree, v, cutoff=22) for v in ends}
    first = {v: float(np.mean([radii[u] for u, mm in reach[v].items() if 2 <= mm <= 20] or [0])) for v in ends}
    ostium = max(ends, key=lambda v: first[v])
    tips = [v for v in ends if v != ostium]
    last = [np.mean([radii[u] for u, mm in reach[v].items() if 1 <= mm <= 5] or [radii[v]]) for v in tips]
    turns = {}
    for tip in tips:
        path = nx.shortest_path(tree, tip, ostium)
        line = ndimage.gaussian_filter1d(points[path], 2.5, axis=0, mode="nearest")
        way = along(line)
        for start in np.arange(0, way[-1] - 20, 10.0):
            i, j = np.searchsorted(way, [start, start + 20])
            turns.setdefault(path[i], (way[j] - way[i]) / np.linalg.norm(line[j] - line[i]))
    box = np.ptp(np.argwhere(grid) * STEP, axis=0)
    ratio, weight = zip(*bends or [(1.0, 1.0)], strict=True)
    return {
        "ends": len(tips),
        "forks": sum(tree.degree(v) >= 3 for v in tree),
        "length": total,
        "far": max(nx.single_source_dijkstra_path_length(tree, ostium).values()),
        "radius": float(np.mean(wide)),
        "first": first[ostium],
        "last": float(np.mean(last)) if last else 0.0,
        "lumen": float(grid.sum() * STEP.prod() / 1000),
        "x": box[0],
        "y": box[1],
        "z": box[2],
        "bend": float(np.average(ratio, weights=weight)),
        "bend20": float(np.median(list(turns.values()))) if turns else 1.0,
    }


def real(data: Path) -> dict[str, Figures]:
    """ImageCAS's example, both trees, and 721A."""
    import nibabel

    image = nibabel.load(data / "coronary_tree_3d" / "imagecas_example.label.nii.gz")
    pieces, _ = ndimage.label(np.asarray(image.dataobj) > 0, TOUCH)
    sizes = np.bincount(pieces.ravel())[1:]
    trees = [np.argwhere(pieces == n) for n in np.argsort(-sizes)[:2] + 1]  # its voxels are .33008 mm wide
    trees.sort(key=lambda index: float(index[:, 0].mean() * image.affine[0, 0]))
    out = {side: measured(dense(index)) for side, index in zip(("left", "right"), trees, strict=True)}  # +x is RAS
    raw = (data / "coronary_tree_3d" / "721A_Centreline.vtk").read_bytes()
    lines, radii = PolyLines.read(raw), np.array(raw.split(b"LOOKUP_TABLE default")[1].split()[:357], float)
    branches = [
        Branch("", np.asarray(lines.points[line], float), radii[line], ("",) * len(line), 0 if n else -1)
        for n, line in enumerate(lines.lines)
    ]
    return {**out, "LAD": measured(drawn(branches))}


def phantoms(subject: int) -> dict[str, Figures]:
    """Of one subject both trees, and left main, LAD and first diagonal alone."""
    trees: dict[str, Any] = {}
    key = hashlib.blake2b(f"phantom/0/{subject}".encode(), digest_size=32).digest()
    for side in ("left", "right"):
        trees[side] = phantom_tree(key, side, "s").branches
    trees["LAD"] = [branch for branch in trees["left"] if branch.name in ("LM", "LAD", "D1")]
    return {name: measured(drawn(branches)) for name, branches in trees.items()}


def text(found: Sequence[Mapping[str, Figures]], beside: Mapping[str, Figures]) -> str:
    """The table of generators/README.md: 5th, 50th and 95th percentile, and the real tree, marked where outside."""
    lines = []
    for key, title in ROWS.items():
        cells = []
        for name in ("left", "right", "LAD"):
            low, middle, high = np.percentile([one[name][key] for one in found], [5, 50, 95])
            is_real = beside[name][key]
            mark = "" if low <= is_real <= high else "**"
            cells.append(f"{low:.4g}, {middle:.4g}, {high:.4g} | {mark}{is_real:.4g}{mark}")
        lines.append(f"| {title} | {' | '.join(cells)} |\n")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.variety", description=__doc__)
    parser.add_argument("--subjects", type=int, default=200)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    asked = parser.parse_args()
    sys.stdout.write(text([phantoms(n) for n in range(asked.subjects)], real(asked.data)))


if __name__ == "__main__":
    main()
