"""The centre-point detector: its inputs, its grid, its views, and that it learns."""

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.tasks.detection import augment, detector, network  # noqa: E402
from lesionforge.jobs.tasks.detection import inputs as seen  # noqa: E402
from lesionforge.jobs.tasks.detection.metrics import Scores  # noqa: E402
from tests.jobs.tasks.detection import worlds  # noqa: E402
from tests.jobs.tasks.detection.worlds import dot, frame, noise  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_ridge_is_the_smaller_hessian_eigenvalue_of_scipy():
    picture = np.random.default_rng(0).normal(size=(64, 64))
    for sigma in seen.RIDGES:
        yy, xx, xy = (
            ndimage.gaussian_filter(picture, sigma, order=order, mode="nearest", truncate=3) * sigma**2
            for order in ((2, 0), (0, 2), (1, 1))
        )
        theirs = -np.linalg.eigvalsh(np.stack([np.stack([yy, xy], -1), np.stack([xy, xx], -1)], -1))[..., 0]
        ours = seen._ridge(torch.tensor(picture, dtype=torch.float32)[None, None], sigma)[0, 0].numpy()
        assert np.abs(ours - theirs).max() < 0.02 * theirs.max()


def test_inputs_do_not_see_brightness_and_show_a_dark_line_on_both_channels():
    image = noise(0, 512) // 2
    image[:, 250:258] //= 2
    plain, bright = seen.inputs(image).float(), seen.inputs((image * 2.0).clip(0, 255).astype(np.uint8)).float()
    assert plain.shape == (2, 256, 256)
    assert (plain - bright).abs().mean() < 0.1
    for channel in plain:
        assert channel[:, 126:128].mean() > channel[:, 60:100].mean() + 1.5


def test_cache_gives_the_same_inputs_and_follows_the_pixels(tmp_path):
    a, b = noise(1), noise(2)
    cache = seen.InputCache(tmp_path)
    first, again = cache.stack([a, b]), cache.stack([a, b])
    assert torch.equal(first, again)
    assert torch.equal(again[0], seen.inputs(a))
    assert len(list(tmp_path.iterdir())) == 2


def test_peaks_read_back_the_boxes_that_targets_wrote():
    boxes = torch.tensor([[21.0, 31, 45, 59], [100.5, 60.2, 130.1, 90.9], [200, 201, 240, 239]])
    goal = network.targets([boxes], [torch.tensor([1, 0, 1])], [torch.zeros(0, 4)], 32)
    logit = torch.logit(goal.heat.clamp(1e-6, 1 - 1e-6))
    out = torch.cat([logit[:, None], goal.box, torch.logit(goal.severe.clamp(0.01, 0.99))[:, None]], 1)
    found, scores, severe = network.peaks(out[0], 10)
    order = found[:3, 0].argsort()
    assert torch.allclose(found[:3][order], boxes, atol=1e-3)
    assert (severe[:3][order] > 0.5).tolist() == [True, False, True]
    assert scores[2] > 0.99 > scores[3]


def test_the_perfect_answer_costs_least():
    boxes = torch.tensor([[20.0, 30, 44, 58]])
    goal = network.targets([boxes], [torch.tensor([1])], [torch.zeros(0, 4)], 32)
    best = torch.cat([torch.where(goal.heat >= 1, 9.0, -9.0)[:, None], goal.box, torch.full((1, 1, 32, 32), 9.0)], 1)
    assert network.loss(best, goal) < 0.01
    for change in range(6):
        worse = best.clone()
        worse[:, change] = -worse[:, change] if change in (0, 5) else worse[:, change] + 1
        assert network.loss(worse, goal) > network.loss(best, goal) + 0.02


def test_no_gradient_comes_from_a_region_to_ignore_unless_a_lesion_lies_there():
    blind = torch.tensor([[64.0, 64, 128, 128]])
    out = torch.zeros(1, 6, 32, 32, requires_grad=True)
    network.loss(out, network.targets([torch.zeros(0, 4)], [torch.zeros(0)], [blind], 32)).backward()
    where = out.grad.abs().sum((0, 1)) == 0
    assert where[8:16, 8:16].all()
    assert where.sum() == 64
    own = torch.tensor([[80.0, 80, 112, 112]])
    goal = network.targets([own], [torch.tensor([0])], [blind], 32)
    assert goal.seen[0, 12, 12] == 1


def test_boxes_go_where_the_pixels_go():
    pictures = torch.zeros(24, 2, 256, 256)
    pictures[:, :, 100:108, 150:158] = 50
    boxes = [torch.tensor([[150.0, 100, 158, 108]])] * 24
    views, moved = augment.augment(pictures, boxes, torch.Generator().manual_seed(0))
    middle = torch.arange(256) + 0.5
    sides = []
    for view, box in zip(views, moved, strict=True):
        bright = (view[1] - view[1].median()).clamp(min=5) - 5
        centre = torch.stack([(bright.sum(0) * middle).sum(), (bright.sum(1) * middle).sum()]) / bright.sum()
        assert (centre - (box[0, :2] + box[0, 2:]) / 2).abs().max() < 0.3
        sides.append(float(box[0, 2] - box[0, 0]))
    assert min(sides) < 7 < 9 < max(sides)


def dots(count, first=0):
    rows = []
    for i in range(first, first + count):
        image = noise(i)
        boxes = [dot(image, np.random.default_rng(i))] if i % 4 else []
        rows.append(frame(boxes, [i % 2] * len(boxes), image=image, subject=str(i)))
    return rows


def small(**options):
    return worlds.detector("centre", steps=48, batch=6, warmup=5, average=0.9, **options)


@pytest.fixture(scope="module")
def learnt():
    one = small()
    one.fit(dots(24), [], 0.5, 0)
    return one


def test_it_learns_and_finds_on_frames_it_never_saw(learnt):
    test = dots(16, first=100)
    values = Scores(test, learnt.predict([f.image for f in test])).values()
    assert values["ap50"] > 0.8


def test_same_seed_same_weights_and_another_seed_others():
    images = [f.image for f in dots(2, first=200)]
    said = []
    for seed in (1, 1, 2):
        one = worlds.detector("centre", steps=2, batch=2)
        one.fit(dots(4), dots(4, first=50), 0.5, seed)
        said.append(one.predict(images)[0].scores)
    assert np.array_equal(said[0], said[1])
    assert not np.array_equal(said[0], said[2])


def test_a_saved_detector_says_the_same(learnt, tmp_path):
    path = tmp_path / "dots.safetensors"
    learnt.save(path)
    back = detector.load(path)
    images = [f.image for f in dots(4, first=300)]
    for a, b in zip(learnt.predict(images), back.predict(images), strict=True):
        assert np.array_equal(a.boxes, b.boxes)
        assert np.array_equal(a.scores, b.scores)
    assert back.settings == learnt.settings


def test_every_arm_sees_as_many_pictures_and_the_asked_share_of_real_ones():
    from lesionforge.jobs.tasks.detection.drawing import order as _order

    rng = torch.Generator().manual_seed(0)
    order = _order(5, 40, 0.5, 4000, rng)
    assert abs((order < 5).float().mean() - 0.5) < 0.03
    counts = torch.bincount(order[order >= 5] - 5, minlength=40)
    assert counts.max() - counts.min() <= 1
    assert len(_order(5, 0, 0.5, 4000, rng)) == len(_order(0, 40, 0.5, 4000, rng)) == 4000


def test_an_untaught_detector_says_so():
    with pytest.raises(ValueError, match="learnt nothing"):
        small().predict([noise(0)])
    with pytest.raises(UsageError, match="yolo11n"):
        worlds.detector("magic")


@pytest.mark.parametrize("content", [None, b"", b"junk" * 9])
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_file_that_is_no_detector_is_said_in_one_line(content, ending, tmp_path):
    path = tmp_path / f"nothing.{ending}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"nothing\.{ending} is no file that lesionforge train detection wrote"):
        detector.load(path)
