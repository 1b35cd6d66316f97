"""``lesionforge reconstruct`` from masks to files: a bent tube whose place and shape are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from lesionforge.generators.carm.view import View
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.clinical.case import cell_mm, clinical_pair
from lesionforge.jobs.tasks.reconstruction.clinical.inputs import Angle
from lesionforge.jobs.tasks.reconstruction.clinical.work import doubts, reconstructed
from lesionforge.jobs.tasks.reconstruction.models import learner
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.reprojection import view_scores
from tests.command_line import inside

EDGE = 128
VIEWS = [View(1050, 750, angle, tilt, EDGE, EDGE, (1.2, 1.2)) for angle, tilt in ((30, 5), (-40, 15))]


def line() -> NDArray[np.float64]:
    """A bent tube's centreline (n, 3) mm about the isocentre."""
    t = np.linspace(-1, 1, 200)
    points = np.stack([25 * np.cos(1.5 * t), 25 * np.sin(1.5 * t), 30 * t], 1)
    return points - (points.max(0) + points.min(0)) / 2


def seen(view: View, points: NDArray[np.float64], move: tuple[int, int] = (0, 0)) -> Angle:
    shadow = np.zeros((EDGE, EDGE), np.bool_)
    shadow[tuple((np.rint(view.project(points)).astype(int) + move).T)] = True
    return Angle(view, binary_dilation(shadow, iterations=2).astype(np.uint8))


@pytest.fixture(scope="module")
def angles() -> list[Angle]:
    """As a table that moved between the runs leaves them: each tube elsewhere in its picture."""
    return [seen(view, line(), move) for view, move in zip(VIEWS, ((6, 9), (-8, 5)), strict=True)]


def test_moved_pictures_give_the_tree_about_the_isocentre(angles: list[Angle]) -> None:
    case = clinical_pair(angles, "right", 60)
    centres = case.pair.grid.centres(np.argwhere(case.pair.hull))
    near = cKDTree(centres).query(line())[0]
    assert np.quantile(near, 0.9) < 5  # mm; the pictures were 8 mm away, and the scale along the lines is not told


def test_the_hull_covers_the_masks_and_the_line_alone_does_not(angles: list[Angle]) -> None:
    pair = clinical_pair(angles, "right", 60).pair
    part = pair.hull.copy()
    part[:, :, 30:] = False
    for whole, half in zip(view_scores(pair, pair.hull), view_scores(pair, part), strict=True):
        assert whole["covered"] > 0.97
        assert 0.3 < half["covered"] < 0.7
        assert whole["dsc"] > half["dsc"]
        assert whole["chamfer"] < half["chamfer"]


def test_command_writes_tree_pictures_and_summary(tmp_path: Path, angles: list[Angle]) -> None:
    words = ["reconstruct"]
    for n, one in enumerate(angles):
        Image.fromarray(one.shadow * np.uint8(255)).save(tmp_path / f"m{n}.png")
        (tmp_path / f"g{n}.json").write_text(json.dumps(one.view.to_json()))
        words += [str(tmp_path / f"m{n}.png"), "--geometry", str(tmp_path / f"g{n}.json")]
    out = tmp_path / "out"
    low = line()[0]  # the higher end would be taken
    done = inside(*words, "--side", "right", "--out", out, "--json", "--ostium", *low)
    body = json.loads(done.stdout)
    assert body == json.loads((out / "summary.json").read_text())
    assert body["tree"]["branches"] >= 1
    assert 80 < body["tree"]["length_mm"] < 140
    assert all(view["covered"] > 0.97 for view in body["hull"]["reprojection"])
    assert any("no --model" in note for note in body["notes"])
    assert {"sheet.png", "turntable.gif", "tree.stl", "tree.nii.gz", "tree.swc", "summary.json"} <= {
        p.name for p in out.iterdir()
    }
    first = np.loadtxt(out / "tree.swc")[0, 2:5]
    assert np.linalg.norm(first - low) < 10
    again = inside(*words, "--side", "right", "--out", out, code=1)
    assert "not an empty folder" in again.stderr
    under = inside(*words, "--side", "right", "--out", out / "summary.json" / "under", code=1)
    assert "--out cannot be made (Not a directory)" in under.stderr
    elsewhere = inside(*words, "--side", "right", "--out", tmp_path / "more", "--device", "nothing", code=2)
    assert "--device nothing" in elsewhere.stderr


def test_a_model_of_another_number_of_views_is_refused(
    tmp_path: Path, angles: list[Angle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "opened_learner", lambda *_: SimpleNamespace(views=3))
    with pytest.raises(UsageError, match="learnt from 3 views, 2 masks"):
        reconstructed(angles, "right", tmp_path, tmp_path / "model.safetensors", "cpu")


def test_a_model_gets_the_cells_it_learnt_from(
    tmp_path: Path, angles: list[Angle], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def hull(pair: Pair) -> NDArray[np.float32]:
        given.append(pair.grid)
        return pair.hull.astype(np.float32)

    known = {
        "views": 2,
        "sides": ["left"],
        "options": {"size": 40},
        "threshold": 0.5,
        "settings": SimpleNamespace(network="sparse"),
    }
    monkeypatch.setattr(learner, "opened_learner", lambda *_: SimpleNamespace(**known, predict=hull))
    body = reconstructed(angles, "right", tmp_path / "out", tmp_path / "model.safetensors", "cpu")
    assert any("learnt from left trees alone: what it makes of right ones" in note for note in body["notes"])
    assert given[0].shape == (40, 40, 40)
    assert given[0].spacing_mm >= cell_mm(40) == 1.5 * cell_mm(60)


def test_views_that_tell_little_depth_are_said() -> None:
    near = [seen(View(1050, 750, angle, 0, EDGE, EDGE, (1.2, 1.2)), line()) for angle in (0, 12)]
    case = clinical_pair(near, "right", 60)
    (note,) = doubts(case)
    assert "12 degrees apart" in note
    assert case.pair.grid.spacing_mm == cell_mm(60)  # the hull is 200 mm deep, the tree as wide as it shows
    far = [seen(view, line()) for view in VIEWS]
    assert not doubts(clinical_pair(far, "right", 60))
    large = [seen(view, line()) for view in VIEWS]
    large = [replace(one, view=replace(one.view, pixel_mm=(4.5, 4.5))) for one in large]
    assert any("pixel spacing" in note for note in doubts(clinical_pair(large, "right", 60)))
