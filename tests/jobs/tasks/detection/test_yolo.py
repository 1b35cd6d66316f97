"""Ultralytics behind the same interface, off the network."""

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("ultralytics") is None:  # imported, it would change Pillow for every test collected after
    pytest.skip("needs the extra 'yolo'", allow_module_level=True)

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.studies.places import DataPlace  # noqa: E402
from lesionforge.jobs.studies.report import report  # noqa: E402
from lesionforge.jobs.studies.runs import Study, runs  # noqa: E402
from lesionforge.jobs.studies.workers import Room, conduct  # noqa: E402
from lesionforge.jobs.tasks.detection import detector  # noqa: E402
from lesionforge.jobs.tasks.detection.yolo import YoloDetector, YoloSettings, _write  # noqa: E402
from tests.jobs.tasks.detection import worlds  # noqa: E402
from tests.jobs.tasks.detection.worlds import frame, noise  # noqa: E402


def some(count, first=0):
    return [frame([[20, 30, 60, 90]], [i % 2], image=noise(first + i), subject=str(i)) for i in range(count)]


def test_the_preset_is_the_paper_s():
    s = YoloSettings()
    assert (s.rate, s.batch, s.epochs, s.size) == (2e-4, 32, 50, 512)


def test_the_list_has_the_share_of_real_frames_and_the_labels_are_yolo_s(tmp_path):
    data = _write(tmp_path, some(3), some(7, 50), 0.5, 40, 0)
    lines = (tmp_path / "train.txt").read_text().split()
    assert len(lines) == 40
    assert sum("/r" in line.replace(str(tmp_path), "") for line in lines) == 20
    k, *box = (tmp_path / "labels" / "r1.txt").read_text().split()
    assert k == "1"
    assert np.allclose(np.array(box, float) * 256, [40, 60, 40, 60], atol=1e-3)
    assert "0: moderate" in data.read_text()


def test_regions_to_ignore_are_painted_over(tmp_path):
    from PIL import Image

    hidden = frame(image=noise(0), ignore=[[10, 20, 50, 60]])
    _write(tmp_path, [hidden], [], 0.5, 4, 0)
    picture = np.asarray(Image.open(tmp_path / "images" / "r0.png"))
    assert np.ptp(picture[20:60, 10:50]) == 0
    assert np.array_equal(picture[60:], hidden.image[60:])


def test_it_trains_predicts_and_comes_back_from_its_file_without_a_network(tmp_path, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was asked for: {args}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    one = worlds.detector("yolo11n", epochs=1, epoch_frames=4, batch=2, size=64)
    steps = []
    one.fit(some(4), some(2, 50), 0.5, 0, progress=lambda *step: steps.append(step))
    assert [step[:2] for step in steps] == [(1, 1)]
    image = noise(9)
    (said,) = one.predict([image])
    assert said.scores.shape == (len(said.boxes), 2)
    one.save(tmp_path / "yolo.pt")
    torch.load(tmp_path / "yolo.pt", weights_only=True)
    (again,) = detector.load(tmp_path / "yolo.pt").predict([image])
    assert np.array_equal(said.boxes, again.boxes)
    assert np.array_equal(said.scores, again.scores)


def test_a_killed_training_goes_on_with_its_next_epoch_and_knows_its_frames(tmp_path):
    def fit(progress, frames=4):
        one = YoloDetector(YoloSettings(epochs=3, epoch_frames=4, batch=2, size=64))
        one.fit(some(frames), [], 0.5, 0, tmp_path, progress)

    def die(epoch, of, loss):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(die)
    with pytest.raises(UsageError, match="begun with pixels and boxes"):
        fit(None, frames=3)
    epochs = []
    fit(lambda epoch, of, loss: epochs.append(epoch))
    assert epochs == [2, 3]
    fit(die)  # nothing is left to do


def test_a_study_has_it_as_a_learner_and_another_backend_s_frames_as_an_arm(toy, tmp_path):
    """DiGDA's own experiment at toy size: frames that a diffusion model drew, and its detector."""
    places = [DataPlace(f"{worlds.HERE}.ToySource:here", options=options) for options in (worlds.TRAIN, worlds.TEST)]
    changes = {"epochs": 1, "epoch_frames": 4, "batch": 2, "size": 64}
    study = Study("detection", *places, {"diffusion": DataPlace(toy)}, changes)
    results = []
    conduct(study, runs(study, ["yolo11n"], [4], ["diffusionx1"], 1), tmp_path, Room(in_process=True), results.append)
    assert [(r["run"]["model"], r["real"], r["synthetic"]) for r in results] == [("yolo11n", 4, 4)]
    assert results[0]["notes"]["boxes"]["drawn"] == 4
    assert report(tmp_path, "detection").body["runs"] == 1


class Planted:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_that_bring_code_are_refused_and_run_nothing(tmp_path):
    torch.save({"model": Planted(tmp_path / "ran")}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="without running code"):
        worlds.detector("yolo11n", weights=str(tmp_path / "weights.pt")).fit(some(1), [], 1.0, 0)
    assert not (tmp_path / "ran").exists()


def test_missing_weights_are_named():
    with pytest.raises(ValueError, match=r"gone\.pt"):
        worlds.detector("yolo11n", weights="gone.pt").fit(some(1), [], 1.0, 0)
