"""What a network sees of a frame, how frames are changed and drawn, and its beginning."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.tasks.images import arms, networks, training  # noqa: E402
from lesionforge.jobs.tasks.images.augment import Change  # noqa: E402
from lesionforge.jobs.tasks.images.networks import Classifier  # noqa: E402
from lesionforge.jobs.tasks.images.pictures import flattened, ridges, shrunk  # noqa: E402
from lesionforge.jobs.tasks.images.training import ImageSettings, drawn, pace  # noqa: E402
from lesionforge.jobs.tasks.runs import HeldFilm, Run  # noqa: E402


def test_a_frame_is_shrunk_by_its_longer_side_and_continued():
    frame = np.zeros((64, 128), np.uint8)
    frame[:, 64:] = 200
    small = shrunk(frame, 32)
    assert small.dtype == torch.uint8
    assert small.shape == (32, 32)
    assert (small[:, :14] == 0).all()
    assert (small[:, 18:] == 200).all()  # the lower half repeats the border
    assert torch.equal(shrunk(frame[:32, :32], 32), torch.from_numpy(frame[:32, :32]))


def test_ridges_follow_dark_vessels_alone_and_in_proportion():
    grey = torch.full((2, 64, 64), 160.0)
    grey[0, :, 30:33] = 100
    grey[1, :, 30:33] = 220
    dark, bright = ridges(flattened(grey))[:, 0]
    assert dark[:, 31].min() > 5 * bright[:, 31].max()
    assert dark[:, :20].max() < 0.02
    deeper = grey.clone()
    deeper[0, :, 30:33] = 168 * (108 / 168) ** 2 - 8  # twice the attenuation
    assert ridges(flattened(deeper))[0, 0, 32, 31] == pytest.approx(2 * float(dark[32, 31]), rel=1e-3)


def test_a_change_keeps_left_left_and_changes_a_film_alike():
    picture = torch.full((1, 64, 64), 180.0)
    picture[0, 22:42, 12:18] = 20  # left of the middle, and higher than it is wide
    rng, left = torch.Generator().manual_seed(0), 0
    for _ in range(40):
        out = Change.draw(1, rng)(picture, rng)
        assert 0 <= out.min() <= out.max() <= 255
        inner = 255 - out[0, 8:56, 8:56]
        inner = (inner - inner.median()).clamp(min=0)
        left += int((inner * torch.arange(48)[None]).sum() / inner.sum() < 24)
    assert left > 34
    film = picture.expand(3, -1, -1)
    change = replace(Change.draw(1, rng), noise=torch.zeros(1, 1, 1))
    changed = change(film, rng)
    assert torch.equal(changed[0], changed[2])


def test_a_bend_shifts_as_drawn_and_takes_along_what_is_marked():
    rng, n = torch.Generator().manual_seed(0), 400
    wide = Change.draw(n, rng, turn_deg=30.0, bend=0.05)
    turns = torch.atan2(-wide.inverse[:, 0, 1], wide.inverse[:, 0, 0]).abs().rad2deg()
    assert 25 < turns.max() < 38  # a stretch turns an axis a little further
    assert 0.095 < wide.bend.abs().max() <= 0.1  # in half sides
    plain = torch.eye(2, 3)[None]
    still = replace(
        Change.draw(1, rng), inverse=plain, gamma=torch.ones(1, 1, 1), gain=torch.ones(1, 1, 1),
        noise=torch.zeros(1, 1, 1), offset=torch.zeros(1, 1, 1),
        soft=torch.zeros(1, 1, 1, dtype=torch.bool), rim=torch.zeros(1, 4),
    )  # fmt: skip
    picture = torch.rand(1, 64, 64, generator=rng) * 200 + 20
    assert torch.allclose(still(picture, rng), picture, atol=1e-3)
    right = replace(still, bend=torch.tensor([4 * 2 / 64, 0.0])[None, :, None, None].expand(1, 2, 5, 5))
    assert torch.allclose(right(picture, rng)[:, :, :60], picture[:, :, 4:], atol=0.1)
    dot, mark = torch.full((n, 64, 64), 200.0), torch.zeros(n, 1, 32, 32)
    dot[:, 28:32, 36:40], mark[:, :, 14:16, 18:20] = 0, 1
    wide = replace(wide, rim=torch.zeros(n, 4), noise=torch.zeros(n, 1, 1), soft=torch.zeros(n, 1, 1, dtype=torch.bool))
    seen = (wide(dot, rng) < wide(torch.full_like(dot, 200.0), rng) - 20).float()
    moved = torch.nn.functional.grid_sample(mark, wide.grid(n, 32), align_corners=False)[:, 0]
    at = [
        torch.stack([(one.sum(k) * torch.arange(side) / side).sum(1) / one.sum((1, 2)) for k in (1, 2)], 1)
        for one, side in ((seen, 64), (moved, 32))
    ]
    inside = ((at[1] > 0.15) & (at[1] < 0.85)).all(1)
    assert inside.sum() > 200
    assert (at[0] - at[1])[inside].abs().max() < 0.04


def test_classes_and_kinds_are_drawn_by_their_shares_every_frame_as_often():
    labels = torch.tensor([0] * 30 + [1] * 10 + [0] * 5 + [1] * 50)
    order = drawn(labels, 40, 0.25, 4000, torch.Generator().manual_seed(0))
    assert (order < 40).float().mean() == pytest.approx(0.25, abs=0.03)
    for part in (order[order < 40], order[order >= 40]):
        assert labels[part].float().mean() == pytest.approx(0.5, abs=0.05)
    times = torch.bincount(order, minlength=95)
    for pool in (times[:30], times[30:40], times[40:45], times[45:]):
        assert pool.max() - pool.min() <= 1
    assert (drawn(labels, 0, 0.25, 50, torch.Generator()) >= 0).all()


def test_the_networks_of_the_papers_and_what_learns_first(tmp_path):
    from torchvision import models

    for name, width in {"small": 256, "resnet18": 512, "inception": 2048}.items():
        net = Classifier(name, 3).eval()
        with torch.no_grad():
            assert net(torch.zeros(1, 80, 80)).shape == (1, 3)
        assert net.width == width
    torch.manual_seed(0)
    whole = models.resnet18(weights=None)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    settings = ImageSettings("resnet18", init=str(tmp_path / "resnet18.pth"), frozen=0.5, steps=10, size=32, batch=2)
    net = training.fresh(settings, 2)
    assert torch.equal(net.body.conv1.weight, whole.conv1.weight)
    task = training.Telling(settings, net, torch.nn.functional.cross_entropy, torch.Generator())
    assert [task.turns(step) for step in (1, 5, 6, 10)] == [(1,), (1,), (0,), (0,)]
    first = {id(p) for group in task.optimizers()[1].param_groups for p in group["params"]}
    assert first == {id(p) for n, p in net.named_parameters() if n.startswith(("body.layer4.", "head."))}
    with pytest.raises(UsageError, match="no weights of this network"):
        networks.begin(Classifier("resnet50", 2), tmp_path / "resnet18.pth")
    with pytest.raises(UsageError, match=r"bend 0.2: give 0 to 180 degrees, 0 to 0.1 sides"):
        ImageSettings(bend=0.2)
    with pytest.raises(UsageError, match="size is 64: inception needs 75"):
        ImageSettings("inception", size=64)


def test_the_rate_falls_as_it_is_said():
    cosine, drops = ImageSettings(steps=100, warmup=10), ImageSettings(steps=60, fall="drops")
    assert [pace(s, cosine) for s in (0, 9)] == [0.1, 1]
    assert pace(10 + 45, cosine) == pytest.approx(0.02 + 0.98 * (1 + math.cos(math.pi / 2)) / 2)
    assert [pace(s, drops) for s in (0, 39, 40, 50)] == [1, 1, 0.2, pytest.approx(0.04)]


def test_arms_and_subjects_of_a_study():
    assert arms.names(["", "far"]) == ["x1", "x1-alone", "far", "far-alone"]
    assert [arms.data_of(arm, ["", "far"]) for arm in ("real", "x1-alone", "far")] == [None, "", "far"]
    real = [Run(str(n // 3), str(n), HeldFilm([])) for n in range(12)]
    few, more = (arms.training_set("view", "real", size, 4, real, [], 0.5).real for size in (2, 3))
    assert len(few) == 6
    assert {run.source_id for run in few} < {run.source_id for run in more}
    alone = arms.training_set("view", "far-alone", 2, 4, real, real[:1], 0.5)
    assert (list(alone.real), list(alone.synthetic)) == ([], real[:1])
    with pytest.raises(UsageError, match="9 subjects are asked for; there are 4"):
        arms.training_set("view", "real", 9, 4, real, [], 0.5)
