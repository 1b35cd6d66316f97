"""Whole samples: promises, labels that belong to the picture, phases, views, real backgrounds."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.carm.view import View
from lesionforge.generators.cine import views
from lesionforge.generators.cine.contrast import Injection, Weights, phases
from lesionforge.generators.cine.disease import PERCENT_DS
from lesionforge.generators.cine.flow import Flow
from lesionforge.generators.cine.generator import Cine, vessel_contrast
from lesionforge.generators.cine.params import CLASSES, CineParams
from lesionforge.generators.cine.thinned import thinned
from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.testing import check_generator
from lesionforge.generators.types import BadCase, Scene
from tests.generators.cine.toys import narrowed, sample, tree


@pytest.fixture(scope="module")
def run():
    """A whole run at 20 frames, small: full contrast, then some more."""
    return sample(tree(4, "left"), 3, "severe", frames=24, fps=(6.0, 6.0), size=256)


def view_of(labels):
    view = {key: value for key, value in labels["view"].items() if key != "name"}
    return View.from_json(view)


def test_it_keeps_its_promises():
    cases = [tree(0, "left"), tree(1, "right")]
    for made in check_generator(Cine(CineParams(frames=1, size=192)), cases):
        worst = max(made.labels["arteries"].values())
        wanted = made.spec.target
        assert made.drawn["severity"] == wanted
        if wanted == "none":
            assert worst == 0
            assert not made.labels["lesions"]
        else:
            least, most = PERCENT_DS[wanted]
            assert least <= worst <= most
        assert made.labels["frames"][0]["phase"] == "full"


def test_a_run_keeps_its_promises():
    bare = CineParams(frames=5, size=128, pan=1, masks=False, points=False)
    check_generator(Cine(bare), [tree(2, "right")], targets=("moderate",))


def test_points_fall_where_their_view_says(run):
    """Correspondences in every frame, and lesions at rest on the centreline that is stored."""
    view, track = view_of(run.labels), run.fields["track.npy.zst"]
    assert track.shape[0] == 24
    for frame in track:
        assert view.project(frame[:, 2:]) == pytest.approx(frame[:, :2], abs=2e-3)
    rest = run.fields["points.npy.zst"]
    assert len(rest) == track.shape[1]
    for lesion in run.labels["stenoses"]:
        gaps = np.linalg.norm(rest[:, 1:] - np.array(lesion["point_mm"]), axis=1)
        assert gaps.min() < 4  # one of every 4 mm is stored
    assert 1 < np.abs(track[:, :, 2:] - track[0, :, 2:]).max() < 25  # it beats


def test_runs_of_one_tree_show_one_patient():
    """Other views of the same lesions; points of one number are one point."""
    params = {"frames": 1, "size": 192, "same_lesions": True, "natural": (0, 0, 0.5, 0.5, 0)}
    one, other = (sample(tree(6, "right"), number, **params) for number in (1, 2))
    assert one.labels["view"] != other.labels["view"]
    assert one.labels["arteries"] == other.labels["arteries"]
    a, b = (made.fields["points.npy.zst"][:, 1:] - made.drawn["shift_mm"] for made in (one, other))
    assert np.array_equal(one.fields["points.npy.zst"][:, 0], other.fields["points.npy.zst"][:, 0])
    assert np.linalg.norm(a - b, axis=1).max() < 1e-3
    with pytest.raises(BadCase, match="leave out the recipe's balance"):
        sample(tree(6, "right"), 1, "severe", **params)


def test_labels_belong_to_the_pictures(run):
    """In frames of full contrast visible boxes hold labelled vessel that is darker than what is around it."""
    full = [n for n, frame in enumerate(run.labels["frames"]) if frame["phase"] == "full"]
    assert full
    assert (run.labels["begin"], run.labels["end"]) == (full[0], full[-1])
    for n in full:
        image, mask = run.fields[f"frame{n:03d}.png"].astype(float), run.fields[f"mask{n:03d}.png"]
        vessel = (mask > 0) & (mask < 254)
        near = ndimage.binary_dilation(mask > 0, iterations=2)
        ring = ndimage.binary_dilation(near, iterations=4) & ~near
        assert image[vessel].mean() < image[ring & (image > 50)].mean() - 4  # the collimator's shadow apart
        for box in run.labels["frames"][n]["boxes"]:
            x0, y0, x1, y1 = box["box"]
            assert 0 <= x0 < x1 <= 256
            assert 0 <= y0 < y1 <= 256
            if box["visible"]:
                assert vessel[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1].any()
    shares = [frame["contrast"] for frame in run.labels["frames"]]
    filled = [((m := run.fields[f"mask{n:03d}.png"]) > 0)[m < 254].sum() for n in range(24)]
    assert np.corrcoef(shares, filled)[0, 1] > 0.9
    assert json.dumps(run.labels)


def test_phases_follow_a_front_in_closed_form():
    """A tube of 100 mm filled at 50 mm a second without dispersion: the opacified share grows by half a second."""
    along = np.linspace(0, 100, 201)
    injection = Injection(1.0, 1e-3, 5.0, 1e-3, 0.0)
    weights = Weights.of(np.full(201, 0.5), np.ones(201), np.ones(201), 0.5)
    times = np.arange(0, 9, 0.25)
    still = np.zeros(201)
    shares = np.array([weights.share(injection.at(t, along / 50, still, still + 1, 0.0)) for t in times])
    expected = np.clip((times - 1) / 2, 0, 1) - np.clip((times - 5) / 2.6, 0, 1)  # clears 1.3 times as slowly
    assert shares == pytest.approx(expected, abs=0.012)
    names, begin, end = phases(shares)
    assert times[begin] == 3.0  # .88 is reached at 2.76 s
    assert times[end] == 5.25
    assert [names[n] for n in (0, 4, 5, begin, end, end + 1)] == [
        "before",
        "before",
        "filling",
        "full",
        "full",
        "washout",
    ]
    never = phases(np.array([0.0, 0.3, 0.6, 0.4]))
    assert never == (["before", "filling", "filling", "washout"], None, None)


def test_half_the_points_say_the_same():
    vessels = narrowed(others=[(np.stack([np.full(40, -20.0), np.zeros(40), np.arange(40) / 2], 1), 0.5)])
    count = len(vessels.points)
    flow = Flow(np.arange(count) / 10, np.zeros(count), np.ones(count, np.float32))
    few, less, numbers = thinned(vessels, flow)
    old, new = vessels.lesions[0], few.lesions[0]
    assert len(few.points) < 0.85 * count
    assert np.array_equal(few.points, vessels.points[numbers])
    for name in ("minimum", "first", "last"):
        assert np.array_equal(vessels.points[getattr(old, name)], few.points[getattr(new, name)])
    assert new.last - new.first == old.last - old.first
    assert few.along[-1] == pytest.approx(vessels.along[-1])
    assert (few.parent < np.arange(len(few.parent))).all()
    assert less.arrival_s[new.minimum] == flow.arrival_s[old.minimum]


def test_views_show_the_side_they_are_for():
    names = views.chosen(["paper"])
    assert len(names) == 7
    assert len(views.chosen(["clinical"])) == 11
    rng = np.random.default_rng(0)
    for side in ("left", "right"):
        vessels = replace(narrowed(), side=side)
        for _ in range(20):
            stand = views.Stand.draw(rng, names, vessels, 256, 1.0)
            assert views.VIEWS[stand.name].side == side
            low, high = views.VIEWS[stand.name].primary_deg
            assert low - 0.05 <= stand.view.primary_deg <= high + 0.05
            row, col = stand.view.project(vessels.points[:1] + stand.shift_mm)[0]
            assert 0 <= row < 256
            assert 0 <= col < 256
    with pytest.raises(BadCase, match="show no left tree"):
        views.Stand.draw(rng, ("RCA LAO",), narrowed(), 256, 1.0)
    with pytest.raises(ValueError, match="views has 'sideways'"):
        CineParams(views=("sideways",))
    assert views.Stand.draw(rng, ("spider",), narrowed(), 256, 1.0).name == "LCA LAO CAU"
    assert views.name_of("right", 45, 0) == "RCA LAO"


def test_a_still_keeps_the_pixels_of_a_real_background():
    """But for what vessels, devices and the removal of the frame's own vessels cover."""
    frame = phantom_angiogram(b"0" * 32, "left", "a", size=256)
    made = sample(Scene(tree(0, "left"), frame), frames=1, size=256, devices=0)
    view = made.labels["view"]
    assert (view["primary_deg"], view["secondary_deg"]) == pytest.approx(frame.view_deg, abs=0.06)
    away = ~ndimage.binary_dilation((made.fields["mask.png"] > 0) | frame.mask, iterations=14)
    same = made.fields["image.png"][away] == frame.image[away]
    assert same.mean() > 0.9
    assert made.drawn["severity"] in CLASSES
    with pytest.raises(BadCase, match="size to less"):
        sample(Scene(tree(0, "left"), frame), frames=1, size=512)


def test_contrast_is_read_from_the_picture():
    image = np.full((100, 100), 150, np.uint8)
    mask = np.zeros((100, 100), np.uint8)
    mask[40:46], image[40:46] = 6, 120
    mask[:, 10:14], image[:, 10:14] = 255, 30  # a catheter counts for nothing
    contrast, share = vessel_contrast(image, mask, np.ones((100, 100), bool))
    assert contrast == pytest.approx(0.2, abs=1e-6)
    assert share == pytest.approx(6 * 96 / 1e4, abs=1e-6)
