"""Learning, predicting, saving: on balls that a minute network can tell apart."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.tasks.segmentation.metrics import dice  # noqa: E402
from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter  # noqa: E402
from tests.jobs.tasks.segmentation.worlds import fresh, scans_of  # noqa: E402


@pytest.fixture(scope="module")
def scans(balls):
    return scans_of(balls["real"]), scans_of(balls["real"], "test")


@pytest.mark.parametrize("network", ["unet", "dynunet"])
def test_it_learns_to_tell_the_balls_apart(scans, network):
    train, test = scans
    model = fresh(network, steps=100, warmup=5, rate=1e-2)
    losses = []
    model.fit(train, [], 0.5, 0, progress=lambda step, of, loss: losses.append((step, of, loss)))
    assert [step for step, _, _ in losses] == list(range(1, 101))
    assert losses[-1][2] < losses[0][2]
    scores = {1: [], 2: []}
    for scan in test:
        found = model.predict(scan)
        assert found.shape == scan.target.shape
        assert found.dtype == np.uint8
        for value in scan.voxels:
            scores[value].append(dice(scan.target == value, found == value))
    means = [np.mean(values) for values in scores.values() if values]
    assert min(means) > 0.5  # calling everything the class: .03


def weights(model):
    return model._net.state_dict()


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_s_numbers_alone(scans):
    train, _ = scans
    one, same, other = fresh(), fresh(loaders=2), fresh()  # whoever cuts the patches
    torch.manual_seed(5)
    one.fit(train, train[:2], 0.5, 1)
    after = torch.rand(1)
    torch.manual_seed(6)
    same.fit(train, train[:2], 0.5, 1)
    other.fit(train, train[:2], 0.5, 2)
    assert all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(same).values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)


def test_a_file_brings_the_network_back(scans, tmp_path):
    train, test = scans
    model = fresh()
    model.fit(train, [], 0.5, 0)
    model.save(tmp_path / "model.safetensors")
    again = Segmenter.load(tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="nonsense"):  # no fault of the file
        Segmenter.load(tmp_path / "model.safetensors", "nonsense")
    assert again.settings == model.settings
    assert (again.domain, again.spacing_mm) == ("ccta", (1.0, 1.0, 1.0))
    assert np.array_equal(again.predict(test[0]), model.predict(test[0]))


def test_its_own_labels_are_not_looked_at(scans):
    train, test = scans
    model = fresh()
    model.fit(train, [], 0.5, 0)
    blank = replace(test[0], target=np.zeros_like(test[0].target))
    assert np.array_equal(model.predict(blank), model.predict(test[0]))


def test_what_cannot_be_used_is_named(scans, tmp_path):
    train, test = scans
    model = fresh()
    with pytest.raises(UsageError, match="nothing to learn from"):
        model.fit([], [], 0.5, 0)
    with pytest.raises(ValueError, match="learnt nothing yet"):
        model.predict(test[0])
    model.fit(train, [], 0.5, 0)
    with pytest.raises(UsageError, match=r"voxels are \[2.0, 1.0, 1.0\] mm, this network has learnt from"):
        model.predict(replace(test[0], spacing_mm=(2.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    "told",
    [
        None,
        "[" * 100_000,
        "{}",
        '{"domain": "ccta", "spacing_mm": [1, 1, 1], "settings": {"network": "unet", '
        '"channels": [9999999, 99999, 99999], "patch": 64, "batch": 1, "steps": 1, "rate": 1e-3, "warmup": 1}}',
    ],
)
def test_a_file_that_is_no_segmenter_takes_no_room_and_is_said_in_one_line(told, tmp_path):
    file = tmp_path / "none.safetensors"
    file.write_bytes(b"no weights")
    if told:
        save_file({"model.0.weight": torch.zeros(1)}, file, {"segmenter": told})
    with pytest.raises(UsageError, match="no file that lesionforge train segmentation wrote"):
        Segmenter.load(file)
