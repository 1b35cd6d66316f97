"""The finder's parts against closed forms, and the shipped weights on frames that they have not seen."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.stenosis.vessels import ridges
from lesionforge.generators.vessel.finder import finder
from lesionforge.generators.vessel.finder.components import told_apart
from lesionforge.generators.vessel.finder.finder import Finder, FinderError, Thresholds, digest_of, write
from lesionforge.generators.vessel.finder.networks.segmenter import LAYERS, Finding, Learning
from lesionforge.generators.vessel.finder.normalise import MOST, normalise
from tests.benchmarks.finder import cases, score
from tests.generators.vessel.finder.frames import drawn, line


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_display_and_dose_hardly_change_what_is_seen():
    """Normalised attenuation: grey^gamma times a constant is the same picture."""
    grey = drawn(0)[0].astype(float)
    seen = normalise(np.rint(grey).astype(np.uint8)).astype(int)
    other = normalise(np.rint(200 * (grey / 255) ** 0.7).astype(np.uint8)).astype(int)
    assert np.abs(seen - other).mean() < 1.2
    assert np.abs(seen).max() <= MOST
    # Far from any structure a constant slope of attenuation is gone, and the spread of noise is one.
    noise = np.random.default_rng(0).normal(0, 0.06, (256, 256))
    ramp = 230 * np.exp(-np.linspace(0, 0.8, 256)[None] - noise)
    flat = normalise(np.clip(np.rint(ramp), 0, 255).astype(np.uint8))[64:-64, 64:-64] / 16
    assert abs(flat.mean()) < 0.1
    assert flat.std() == pytest.approx(0.06 / np.hypot(0.06, 0.02), abs=0.05)


@pytest.fixture(scope="module")
def trained_a_little():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = Learning()
        optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
        for step in range(8):
            grey, labels = zip(*(drawn(10 * step + n, 128) for n in range(4)), strict=True)
            x = torch.from_numpy(np.stack([normalise(one) for one in grey])[:, None].astype(np.float32))
            loss = torch.nn.functional.cross_entropy(net(x), torch.from_numpy(np.stack(labels)).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def test_whole_numbers_say_what_the_trained_network_says(trained_a_little):
    x = torch.from_numpy(np.stack([normalise(drawn(n)[0]) for n in range(4)])[:, None].astype(np.float32))
    weights = trained_a_little.rewritten(x)
    with torch.no_grad():
        floats = trained_a_little(x)
    whole = Finding(weights)(x)
    assert (whole - floats).abs().mean() < 0.05 * floats.abs().mean()
    assert (whole.argmax(1) == floats.argmax(1)).float().mean() > 0.99


def test_sums_are_exact_in_any_order(trained_a_little):
    """Oracle: the same network in float64, whose convolutions go another way through other kernels."""
    x = torch.from_numpy(normalise(drawn(3)[0])[None, None].astype(np.float32))
    net = Finding(trained_a_little.rewritten(x))
    out = net(x)
    net._weights = {name: w.double() for name, w in net._weights.items()}
    net._biases = {name: b.double() for name, b in net._biases.items()}
    assert torch.equal(out.double(), net(x.double()))


def test_weights_that_would_not_be_exact_or_fit_are_refused(trained_a_little):
    weights = trained_a_little.rewritten(torch.zeros(1, 1, 64, 64))
    loud = weights | {"sixteenth3.weight": torch.full_like(weights["sixteenth3.weight"], 127)}
    with pytest.raises(ValueError, match="sixteenth3 would not be exact"):
        Finding(loud)
    with pytest.raises(ValueError, match="another network"):
        Finding({name: w for name, w in weights.items() if name != "half1.bias"})
    assert set(weights) == {f"{n}.{k}" for n in LAYERS for k in ("weight", "bias", "shift")}


def test_a_catheter_comes_from_outside():
    image = np.full((256, 256), 150, np.uint8)
    inside, outside = line([(100, 60), (100, 200)], 7), line([(-5, 40), (90, 60)], 7)
    found = told_apart(inside | outside, inside | outside, image)
    assert (found.catheter == (inside | outside)).all()  # one piece that touches the border
    found = told_apart(inside, inside, image)
    assert (found.vessel == inside).all()
    assert not found.catheter.any()
    # Over a gap of some pixels it is the same catheter; under a collimator's shadow it begins at the shadow's border.
    gap = outside & ~line([(40, 0), (40, 255)], 8)
    assert (told_apart(gap, gap, image).catheter == gap).all()
    shadow = image.copy()
    shadow[:70] = 12
    shown = outside & (np.arange(256)[:, None] >= 74)
    assert (told_apart(shown, shown, shadow).catheter == shown).all()
    assert not told_apart(shown, shown, image).catheter.any()


def test_specks_are_nothing_and_scraps_beside_a_catheter_are_its_own():
    image = np.full((256, 256), 150, np.uint8)
    tube, vessel = line([(-5, 40), (90, 60)], 7), line([(95, 62), (200, 200)], 9)
    scrap = line([(40, 52), (48, 54)], 8) & ~tube
    speck = line([(200, 30), (203, 30)], 3)
    found = told_apart(tube | vessel | scrap | speck, tube, image)
    assert (found.catheter == (tube | scrap)).all()
    assert (found.vessel == (vessel & ~tube)).all()


@pytest.mark.parametrize("shape", [(300, 300), (512, 480), (1024, 1000), (130, 517)])
def test_frames_of_any_size_are_found_in_their_own_pixels(shape):
    image = np.resize(drawn(5)[0], shape)
    found = Finder.load().find(image)
    assert found.vessel.shape == found.catheter.shape == shape
    assert not (found.vessel & found.catheter).any()


def test_scale_hardly_matters():
    frame = phantom_angiogram(bytes([7]) * 32, "left", "s")
    own = Finder.load().find(frame.image).vessel
    twice = Finder.load().find(frame.image.repeat(2, 0).repeat(2, 1)).vessel
    assert dice(own, twice[::2, ::2]) > 0.9


def test_the_shipped_finder_finds_phantoms_vessels():
    """Frames of another make than those it was fitted on: today's angiogram phantom."""
    for n, side in enumerate(("left", "right")):
        frame = phantom_angiogram(bytes([40 + n]) * 32, side, "s")
        found = Finder.load().find(frame.image)
        assert dice(found.vessel, frame.mask) > 0.7
        assert (found.catheter & frame.mask).sum() < 0.03 * frame.mask.sum()


def test_the_shipped_card_says_what_made_the_weights():
    card = json.loads((finder.SHIPPED / finder.CARD).read_text())
    assert {"data", "licences", "settings", "thresholds", "licence"} <= set(card)
    assert (finder.SHIPPED / finder.WEIGHTS).stat().st_size < 4_000_000


def test_a_folder_that_holds_no_finder_is_refused_in_one_line(tmp_path, trained_a_little):
    with pytest.raises(FinderError, match="holds no finder"):
        Finder.load(tmp_path)
    write(tmp_path, {"half1.weight": torch.zeros(1)}, {"thresholds": {"vessel": 0, "catheter": 0}})
    with pytest.raises(FinderError, match="another network"):
        Finder.load(tmp_path)
    write(tmp_path, trained_a_little.rewritten(torch.zeros(1, 1, 64, 64)), {"thresholds": vars(Thresholds())})
    first = digest_of(tmp_path)
    write(tmp_path, trained_a_little.rewritten(torch.zeros(1, 1, 64, 64)), {"thresholds": vars(Thresholds(1.0))})
    assert digest_of(tmp_path) != first  # thresholds decide as well


def test_without_torch_it_says_what_to_install():
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['safetensors.torch'] = None\n"
        "from lesionforge.generators.vessel.finder.finder import Finder\n"
        "try: Finder.load()\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "FinderError the vessel finder needs torch: pip install 'lesionforge[train]'"


def test_ridges_are_dark_and_long():
    frame = phantom_angiogram(bytes([42]) * 32, "left", "s")
    assert dice(ridges(frame.image), frame.mask) > 0.5
    flat = np.clip(150 + gaussian_filter(np.random.default_rng(0).normal(0, 4, (256, 256)), 0.5), 0, 255)
    assert ridges(flat.astype(np.uint8)).mean() < 0.01


def test_drawn_masks_agree(data_dir):
    """A quarter of the frames of tests/benchmarks/finder.py, with room below its figures."""
    some = list(cases(data_dir, "xacv"))[::4]
    figures = score("xacv", some, Finder.load().find)
    assert figures["dice"] > 0.75
    assert figures["worst"] > 0.65
    assert figures["vessel"] < 0.05
