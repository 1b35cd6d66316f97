"""What a cardiologist looks at first: the tree on its silhouettes, from the front and the side, and turning."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from lesionforge.generators.carm.surface import Surface, surface
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.tree.line import along
from lesionforge.jobs.tasks.reconstruction.tree.tree import Tree, lumen

Floats = NDArray[np.float64]
Rgb = NDArray[np.uint8]

EDGE_PX = 360  # of a turntable's frame
FRAMES = 24
FRAME_MS = 90
GROUND = np.array([18, 20, 26])
LUMEN, NARROW, UNSEEN = np.array([232, 208, 196]), np.array([255, 60, 40]), np.array([128, 128, 134])
COLOURS = ("#ffd84d", "#5ad1ff", "#8be07a", "#f59bd0", "#c3a6ff")  # of branches, by the forks before them
DOUBT, DASHES, RING = "#ffffff", (0, (2, 1.5)), "#ff5a4d"
LABEL = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 0.8}
LIGHT = np.array([0.35, -0.45, 0.82])  # right, down, towards the eye


def sheet(tree: Tree, volume: NDArray[np.float32], pair: Pair) -> Rgb:
    """One picture, uint8 (rows, cols, 3): the tree on each silhouette; below, likelihoods and surface from two sides.

    Silhouettes are grey, branches lines (the main branch the widest; white and dashed where it cannot be assessed),
    narrowings red circles with their %DS and its sd, or ``hidden`` in a view that does not show them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(pair.views), 4)
    figure = Figure(figsize=(3.4 * columns, 7.2), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1)
    for n, axes in enumerate(np.atleast_1d(halves[0].subplots(1, len(pair.views)))):
        _draw_view(axes, tree, pair, n)
    _explain(halves[0], tree)
    shown = _Model.of(tree)
    panels: list[tuple[str, NDArray[Any]]] = [
        *(("likelihood from the front", _mip(volume, 1)), ("likelihood from the left", _mip(volume, 0))),
        *(("lumen from the front; grey: cannot be assessed", shown.frame(0)), ("lumen from the left", shown.frame(90))),
    ]
    for axes, (title, image) in zip(halves[1].subplots(1, len(panels)), panels, strict=True):
        axes.imshow(image, cmap="magma", vmin=0, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def turntable(tree: Tree) -> bytes:
    """A GIF of the lumen turning about the body's axis, narrowings red, grey where unassessed; ``EDGE_PX``."""
    shown = _Model.of(tree)
    frames = [
        Image.fromarray(shown.frame(360 * n / FRAMES)).quantize(256, dither=Image.Dither.NONE) for n in range(FRAMES)
    ]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return out.getvalue()


class _Model:
    """A surface to be looked at from all sides about the body's axis.

    Args:
        skin: closed, LPS mm.
        colours: (n, 3) of its vertices.
    """

    def __init__(self, skin: Surface, colours: Floats) -> None:
        points = skin.vertices.astype(np.float64)
        self._colours = colours
        self._points = points - (points.min(0) + points.max(0)) / 2
        self._scale = (EDGE_PX - 12) / (2 * float(np.linalg.norm(self._points, axis=1).max()))
        a, b, c = (points[skin.triangles[:, n]] for n in range(3))
        faces = np.cross(b - a, c - a)
        normals = np.zeros_like(points)
        for corner in range(3):
            np.add.at(normals, skin.triangles[:, corner], faces)
        self._normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    @classmethod
    def of(cls, tree: Tree) -> _Model:
        """A tree's lumen, narrowings reddened from 15 to 50 %DS, grey where it cannot be assessed."""
        skin = surface(lumen(tree))
        line = np.concatenate([branch.points for branch in tree.branches])
        percent = np.concatenate([tree.percent_ds(n) for n in range(len(tree.branches))])
        sure, hidden = np.zeros(len(line), np.bool_), np.zeros(len(line), np.bool_)
        branch = np.repeat([one.name for one in tree.branches], [len(one.points) for one in tree.branches])
        for one in tree.narrowings:
            sure |= (branch == one.segment) & (np.linalg.norm(line - one.point, axis=1) <= max(one.length_mm, 2))
        for name, part in zip(*_hidden(tree), strict=True):
            hidden[branch == name] = part
        near = cKDTree(line).query(skin.vertices)[1]
        share = np.clip((np.where(sure, percent, 0)[near] - 15) / 35, 0, 1)[:, None]
        colours = np.where(hidden[near][:, None], UNSEEN, (1 - share) * LUMEN + share * NARROW)
        return cls(skin, colours)

    def frame(self, degrees: float) -> Rgb:
        """uint8 (EDGE_PX, EDGE_PX, 3) as seen from the front (0) or, turning, from the patient's left (90); head up."""
        turn = np.deg2rad(degrees)
        right = np.array([np.cos(turn), np.sin(turn), 0])
        eye = np.array([np.sin(turn), -np.cos(turn), 0])
        axes = np.stack([right, [0, 0, -1], eye])
        seen, normal = self._points @ axes.T, self._normals @ axes.T
        light = 0.25 + 0.75 * np.clip(normal @ LIGHT, 0, 1)
        front = np.flatnonzero(normal[:, 2] > -0.2)
        front = front[np.argsort(seen[front, 2], kind="stable")]  # the nearest is drawn last
        at = np.rint(seen[front, 1::-1] * self._scale + EDGE_PX / 2).astype(int)
        out = np.broadcast_to(GROUND, (EDGE_PX, EDGE_PX, 3)).astype(np.uint8)
        shade = (self._colours[front] * light[front, None]).astype(np.uint8)
        spot = np.array([(r, c) for r in (0, 1) for c in (0, 1)])
        rows, cols = (at[:, None] + spot).reshape(-1, 2).T
        out[rows, cols] = np.repeat(shade, len(spot), axis=0)
        return out


def _mip(volume: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Maximum along an axis, head up; from the front the patient's left is on the right, from the left his back is."""
    out: NDArray[np.float32] = volume.max(axis=axis).T[::-1]
    return out


def _draw_view(axes: Any, tree: Tree, pair: Pair, n: int) -> None:
    view, shadow = pair.views[n], pair.shadows[n]
    axes.set_facecolor("black")
    axes.imshow(shadow, cmap="gray", vmin=0, vmax=3.4, interpolation="nearest")
    each = zip(tree.branches, _generations(tree), _hidden(tree)[1], strict=True)
    for branch, generation, hidden in each:
        rows, cols = view.project(branch.points).T
        wide = 1.6 if branch.parent < 0 else 1.0
        axes.plot(cols, np.where(hidden, np.nan, rows), color=COLOURS[generation], lw=wide)
        axes.plot(cols, np.where(hidden, rows, np.nan), color=DOUBT, lw=wide, ls=DASHES)
    for one in tree.narrowings:
        ((row, col),) = view.project(np.array([one.point]))
        shows = n in one.views
        axes.plot(col, row, "o", ms=11, mfc="none", mec=RING, mew=1.5, alpha=1 if shows else 0.5)
        text = f"{one.percent_ds:.0f} \u00b1 {one.uncertainty:.0f} %" if shows else "hidden"
        axes.annotate(text, (col, row), (9, 6), textcoords="offset points", color="#ff8a7d", size=8, bbox=LABEL)
    places = np.argwhere(shadow)
    (row, col), half = (places.min(0) + places.max(0)) / 2, 0.56 * max(np.ptp(places, axis=0).max(), 32)
    axes.set(xticks=[], yticks=[], xlim=(col - half, col + half), ylim=(row + half, row - half))
    axes.set_title(view.name, fontsize=10)


def _explain(half: Any, tree: Tree) -> None:
    """A line below the views that says what their colours are."""
    from matplotlib.lines import Line2D

    deepest = max(_generations(tree))
    words = ["main branch", "its branches", "their branches", "and theirs", "and all of them"][: deepest + 1]
    lines = [Line2D([], [], color=colour, lw=2, label=word) for colour, word in zip(COLOURS, words, strict=False)]
    lines.append(Line2D([], [], color=DOUBT, lw=2, ls=DASHES, label="cannot be assessed"))
    if tree.narrowings:
        lines.append(
            Line2D([], [], color="none", marker="o", ms=8, mec=RING, mew=1.5, label="narrowing, %DS \u00b1 sd")
        )
    looks = {"frameon": True, "facecolor": "black", "labelcolor": "white", "fontsize": 9, "fancybox": False}
    half.legend(handles=lines, loc="outside lower center", ncols=len(lines), **looks)


def _generations(tree: Tree) -> list[int]:
    """Of each branch how many forks lie before it; all from the last colour's on alike."""
    out: list[int] = []
    for branch in tree.branches:
        out.append(0 if branch.parent < 0 else min(out[branch.parent] + 1, len(COLOURS) - 1))
    return out


def _hidden(tree: Tree) -> tuple[list[str], list[NDArray[np.bool_]]]:
    """Of each branch its name and which of its points (n,) cannot be assessed."""
    out = []
    for branch in tree.branches:
        s = along(branch.points)
        hidden = np.zeros(len(s), np.bool_)
        for one in tree.unassessed:
            if one.branch == branch.name:
                hidden |= (s >= one.start_mm - 1e-6) & (s <= one.start_mm + one.length_mm + 1e-6)
        out.append(hidden)
    return [branch.name for branch in tree.branches], out
