"""The folder of a fitted model: what is refused, and what a folder fitted before still is."""

import json
from dataclasses import dataclass

import pytest

from lesionforge.generators.diffusion.batches import chunks, filled, placed
from lesionforge.generators.diffusion.model import FILE, FittedModel, FittedSettings


@dataclass(frozen=True)
class ToySettings(FittedSettings):
    window: tuple[float, float]
    side: int = 8


class ToyModel(FittedModel[ToySettings]):
    NETWORKS = ()
    schedule = None

    def __init__(self, weights):
        self.settings, self._weights = ToySettings(preset="tiny", window=(-1.0, 1.0)), weights

    def _save_networks(self, folder):
        (folder / "unet").mkdir()
        (folder / "unet" / "net.safetensors").write_bytes(self._weights)
        (folder / "unet" / "net.safetensors").chmod(0o600)  # as the library does


def test_settings_come_back_and_tell_which_weights_they_are_of(tmp_path):
    digests = []
    for n, weights in enumerate((b"a", b"a", b"b")):
        model = ToyModel(weights)
        model.save(tmp_path / str(n))
        assert ToySettings.load(tmp_path / str(n)) == model.settings
        digests.append(model.settings.digest)
        assert len({file.stat().st_mode for file in (tmp_path / str(n)).rglob("*") if file.is_file()}) == 1
    assert digests[0] == digests[1] != digests[2]


def test_a_folder_without_settings_or_with_others_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"{FILE} is missing: give the folder"):
        ToySettings.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="elsewhere is not there"):  # which may pass
        ToySettings.load(tmp_path / "elsewhere")
    ToyModel(b"").save(tmp_path)
    record = json.loads((tmp_path / FILE).read_text())
    for wrong in ({**record, "other": 1}, {k: v for k, v in record.items() if k != "side"}, [1]):
        (tmp_path / FILE).write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=rf"{FILE} is not of this version: its fields are not .*; fit it again"):
            ToySettings.load(tmp_path)


def test_a_batch_is_always_full():
    parts = list(chunks([1, 2, 3, 4, 5], 2))
    assert parts == [[1, 2], [3, 4], [5]]
    assert [filled(part, 2) for part in parts] == [[1, 2], [3, 4], [5, 5]]


def test_a_side_is_moved_into_its_axis():
    assert [placed(start, 4, 10) for start in (-3, 2, 9)] == [0, 2, 6]
    assert placed(5, 8, 4) == -2  # about its middle
