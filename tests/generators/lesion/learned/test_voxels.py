"""Models of voxels: nothing is lost on the way in, any size, HU that are asked for, the scan's own grain."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.generators.lesion.grain import finer
from lesionforge.generators.lesion.learned import LearnedFiller
from lesionforge.generators.lesion.learned.crop import cubes, hounsfield, unit
from lesionforge.generators.lesion.learned.filler import alike
from lesionforge.generators.lesion.learned.model import LesionModel
from lesionforge.generators.lesion.learned.networks.voxels import VoxelUNet, folded, unfolded
from lesionforge.generators.lesion.learned.settings import BEND_HU, BENT_WINDOW
from lesionforge.generators.lesion.measure import core
from lesionforge.generators.types import BadCase, stream
from tests.generators.lesion.learned.conftest import new
from tests.generators.lesion.learned.test_filler import patch

BACKENDS = ("promptlesion", "promptlesion-mask")


def opened(backend="promptlesion", **changes):
    """A filler of a new model whose last layer says something."""
    model = new(backend, preset="voxel", levels=240, steps=4, strength=1.0, **changes)
    with torch.no_grad():
        torch.manual_seed(1)
        model.unet.last.weight.normal_(0, 0.05)
    filler = LearnedFiller("nowhere")
    filler.use(model, "cpu")
    return filler


def fill(filler, one, seed=0):
    patched = replace(one, core=one.mask, kept=np.zeros(one.mask.shape, bool))
    return filler.fill([patched], [stream(b"lesion", str(seed))])[0]


def test_folding_loses_nothing_and_keeps_what_is_near_together():
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).view(2, 3, 4, 6, 8)
    cells = folded(x)
    assert cells.shape == (2, 24, 2, 3, 4)
    assert torch.equal(unfolded(cells), x)
    assert torch.equal(cells[1, 8:16, 1, 2, 3].sort().values, x[1, 1, 2:4, 4:6, 6:8].flatten())


def test_bent_hu_keep_grain_calcium_and_lumen():
    hu = np.array([-950, -100, -99, 40, 330, 770, 1700], np.float32)
    values = unit(hu, BENT_WINDOW, BEND_HU)
    np.testing.assert_allclose(hounsfield(values, BENT_WINDOW, BEND_HU), hu, atol=0.02)
    assert (np.diff(values) > 0).all()
    assert values[5] - values[4] > 0.2


def test_a_box_is_as_large_as_the_lesion_needs_in_multiples():
    mask = np.zeros((80, 80, 200), bool)
    mask[30:34, 40:47, 20:63] = True
    (box,) = cubes(mask, 16, 4)
    assert box.edges == (16, 16, 52)
    there, _ = box.inside(mask.shape)
    assert mask[there].sum() == mask.sum()
    mask[:, 40, 20:180] = True  # larger than any box
    covered = np.zeros(mask.shape, bool)
    for box in cubes(mask, 16, 4):
        assert max(box.edges) <= 64
        covered[box.inside(mask.shape)[0]] = True
    assert covered[mask].all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_made_of_a_place_does_not_depend_on_how_much_lies_about_it(backend):
    """Convolutions and a norm over channels: beyond their reach nothing counts (but to attention)."""
    unet = VoxelUNet(5, (8, 8), 4, spread=0.2)
    assert (
        sum(p.numel() for p in new(backend, preset="voxel").unet.parameters()) < 1.4e6
    )  # half a float each is shipped
    with torch.no_grad():
        unet.last.weight.normal_(0, 0.05)
        x, time, prompt = torch.randn(1, 5, 48, 16, 16), torch.tensor([7]), torch.randn(1, 4, 1, 1, 1)
        other = torch.cat([x[:, :, :40], torch.randn(1, 5, 8, 16, 16)], 2)
        a, b, c = unet(x, time, prompt), unet(other, time, prompt), unet(x[:, :, :40], time, prompt)
    torch.testing.assert_close(a[:, :, :8], b[:, :, :8])
    torch.testing.assert_close(a[:, :, :8], c[:, :, :8])
    assert not torch.allclose(a[:, :, 36:40], b[:, :, 36:40])
    assert np.isfinite(fill(opened(backend), patch(shape=(36, 16, 16), radius=3.0))).all()


@pytest.mark.parametrize("asked", [-20.0, 95.0, 800.0])
def test_the_mean_that_is_asked_for_is_drawn_whatever_the_network_thinks(asked):
    one = replace(patch(), mean_hu=asked)
    filler = opened()
    assert filler.heeds_hu
    assert abs(fill(filler, one)[one.mask].mean() - asked) < 1
    own = fill(filler, patch())
    assert abs(own[one.mask].mean() - asked) > 5


def test_what_is_asked_for_is_what_the_lesions_measured_that_it_was_fitted_on():
    """Half of the HU about it, and 10 to 50 more, of large ones about 30."""
    seen = {"follows": 0.5, "rest": [10.0, 24.0, 30.0, 36.0, 50.0], "radius_mm": [3.0, 40.0, 40.0, 40.0, 3.0]}
    filler, one = opened(hu={"calcified": seen}), replace(patch(), radius_mm=3.0)
    rngs = [stream(b"hu", str(n)) for n in range(200)]
    hole = filler.hole(one)
    base = 0.5 * float(np.median(one.hu[~hole]))
    asked = [filler.own_hu(one, rng) for rng in rngs]
    assert {(own.low, own.high) for own in asked} == {(base + 10, base + 50)}
    assert np.mean([own.mean for own in asked]) == pytest.approx(base + 30, abs=3)
    large = [filler.own_hu(replace(one, radius_mm=45.0), rng).mean - base for rng in rngs]
    assert sorted(np.unique(np.round(large)))[-4:-1] == [24, 30, 36]
    assert np.mean(np.abs(np.array(large) - 30) > 7) < 0.05
    assert all(own.low <= own.mean <= own.high for own in asked)
    assert filler.own_hu(replace(one, lesion_class="non_calcified"), rngs[0]) is None  # no lesion was seen
    level = 2 * base
    for ends, known in (
        ((level - 30, level - 15), True),
        ((level - 40, level - 25), False),
        ((level + 25, level + 40), False),
    ):
        known_at = opened(hu={"calcified": seen}, levels_hu={"calcified": ends})
        assert (known_at.own_hu(one, rngs[0]) is not None) == known


@pytest.mark.parametrize("darker", [150, 0, -150])
def test_a_scan_of_another_phase_is_shown_as_one_that_is_known(darker):
    """Same weights, same scan, 150 HU off, so is the lesion: its hole, its edge, its margin in the organ."""
    liver = {"others": np.ones(patch().mask.shape, np.uint8), "legend": {1: "liver"}}
    one = replace(patch(), lesion_class="liver_early", mean_hu=80.0, **liver)
    level = float(np.median(one.hu[~opened().hole(one)]))
    filler = opened(classes=("healthy", "liver_early"), levels_hu={"liver_early": (level, level)})
    other = replace(one, hu=one.hu - np.float32(darker), mean_hu=80.0 - darker)
    assert np.array_equal(filler.hole(other), filler.hole(one))
    drawn, shown = fill(filler, one), fill(filler, other)
    assert np.abs(drawn - one.hu).max() > 20
    np.testing.assert_allclose(shown, drawn - darker, atol=0.1)


def test_lesions_about_as_large_are_those_whose_hu_count():
    """Oracles: one lesion, equal sizes, far sizes, and a hundred of two sizes."""
    assert alike([5.0], [70.0], 2.0, 0.3) == 70
    assert [alike([5.0] * 3, [10.0, 20.0, 60.0], 9.0, at) for at in (0.0, 0.5, 0.7, 1.0)] == [10, 20, 60, 60]
    assert alike([1.0, 30.0], [-50.0, 5.0], 1.0, 0.7) == -50
    assert alike([1.0, 30.0], [-50.0, 5.0], 500.0, 0.3) == 5  # the nearest there is
    assert alike([5.0, 5.001], [10.0, 60.0], 5.0, 0.7) == 60  # as good as equal
    many = np.geomspace(2, 30, 40), np.arange(40.0)  # a huge one is as the largest are, not as the largest of all is
    for extreme, end in ((500.0, 39), (0.01, 0)):
        there = {alike(*many, extreme, at) for at in np.linspace(0.01, 1, 50)}
        assert end in there
        assert len(there) > 10
        assert abs(alike(*many, extreme, 0.5) - end) in range(3, 9)
    rng = np.random.default_rng(0)
    radii = rng.choice([4.0, 16.0], 100)
    values = np.where(radii < 8, rng.normal(-40, 4, 100), rng.normal(0, 4, 100))
    order = np.argsort(values)
    for radius, middle in ((4.0, -40), (16.0, 0)):
        drawn = [alike(radii[order], values[order], radius, at) for at in rng.uniform(size=300)]
        assert np.mean(drawn) == pytest.approx(middle, abs=3)


def test_what_is_hidden_is_not_read_and_the_healthy_prompt_returns_the_background():
    filler, one = opened(), patch()
    hole = filler.hole(one)
    other = replace(one, hu=np.where(hole, one.hu + 300, one.hu).astype(np.float32))
    assert np.array_equal(fill(filler, one)[hole], fill(filler, other)[hole])
    healthy = replace(one, lesion_class="healthy")
    np.testing.assert_allclose(fill(filler, healthy), one.hu, atol=0.02)


def test_missing_grain_is_the_scan_s_own_and_takes_nothing_from_the_mean():
    """A new network says nothing: the hole is as flat as can be before."""
    one = replace(patch(shape=(32, 32, 32), radius=6.0), mean_hu=300.0)
    made = {}
    for times in (None, 0.7, 1.0):
        filler = LearnedFiller("nowhere")
        grain = {} if times is None else {"calcified": (0.0, times)}
        filler.use(new("promptlesion", preset="voxel", grain=grain), "cpu")
        (made[times],) = filler.fill([one], [stream(b"lesion", "0")])
        assert abs(made[times][core(one.mask, one.spacing_mm)].mean() - 300) < 1
    hole = filler.hole(one)
    scan = finer(one.hu, one.spacing_mm, 1.0)[~hole].std()
    for times in (0.7, 1.0):
        added = made[times] - made[None]
        assert not added[~hole].any()
        assert added[one.mask].std() == pytest.approx(times * scan, rel=0.15)


@pytest.mark.parametrize("uneven", [0.0, 80.0])
def test_in_another_phase_a_lesion_has_the_scan_s_grain_and_no_more(uneven):
    """Networks that speckle there are smoothed, within the label and beside it; a phase that is known may be uneven."""
    liver = {"others": np.ones((32, 32, 32), np.uint8), "legend": {1: "liver"}}
    one = replace(patch(shape=(32, 32, 32), radius=6.0), lesion_class="liver_early", mean_hu=80.0, **liver)
    hole, inner = opened().hole(one), core(one.mask, one.spacing_mm)
    level = float(np.median(one.hu[~hole]))
    fine = {}
    for phase, at in (("known", level), ("other", level + 200)):
        own = {"levels_hu": {"liver_early": (at, at)}, "grain": {"liver_early": (uneven, 0.9)}}
        made = fill(opened(classes=("healthy", "liver_early"), **own), one)
        assert abs(made[one.mask].mean() - 80) < 1
        fine[phase] = finer(made, one.spacing_mm, 1.0)
    scan = finer(one.hu, one.spacing_mm, 1.0)[~hole].std()
    assert fine["other"][inner].std() == pytest.approx(scan, rel=0.15)
    assert fine["other"][hole & ~one.mask].std() < 1.5 * scan < fine["known"][hole & ~one.mask].std()
    assert fine["known"][inner].std() > max(uneven, 1.5 * scan)


def test_weights_are_kept_in_half_the_bytes_and_draw_the_same(tmp_path):
    filler, one = opened(), patch()
    filler._model.save(tmp_path)
    assert (tmp_path / "unet.safetensors").stat().st_size < 2.2 * sum(
        p.numel() for p in filler._model.unet.parameters()
    )
    again = LearnedFiller("nowhere")
    again.use(LesionModel.load(tmp_path), "cpu")
    assert np.abs(fill(again, one) - fill(filler, one)).max() < 5
    told = tmp_path / "lesionforge.json"
    before = told.read_text()
    told.write_text(json.dumps(json.loads(before) | {"hu": {"calcified": [0.0, [600.0, 700.0]]}}))
    with pytest.raises(ValueError, match=r"hu of calcified is told without the sizes of its lesions; fit it again"):
        LesionModel.load(tmp_path)
    told.write_text(before)
    told.write_text(told.read_text().replace('"spread"', '"sprawl"'))
    with pytest.raises(ValueError, match=r"is of another version .*sprawl.*: fit it again"):
        LesionModel.load(tmp_path)


def test_guidance_and_strength_are_none_of_theirs():
    with pytest.raises(ValueError, match=r"strength is 0\.5: models of voxels begin at noise, leave it at 1"):
        LearnedFiller("nowhere", strength=0.5).use(new("promptlesion", preset="voxel"), "cpu")
    with pytest.raises(ValueError, match="guidance is 2: models of voxels are fitted with their prompt alone"):
        LearnedFiller("nowhere", guidance=2.0).use(new("promptlesion", preset="voxel"), "cpu")


def test_each_class_may_have_voxels_of_its_own():
    filler = opened(spacings_mm={"non_calcified": (2.0, 2.0, 2.0)})
    fill(filler, patch("non_calcified", spacing=(2.0, 2.0, 2.0)))
    with pytest.raises(BadCase, match="fitted on 2 x 2 x 2 mm"):
        fill(filler, patch("non_calcified"))
    fill(filler, patch())
