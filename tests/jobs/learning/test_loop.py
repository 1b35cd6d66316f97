"""The loop on a network of a few weights: whatever it is interrupted by, what comes of it is the same to the bit."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.learning import checkpoint, loop  # noqa: E402

STEPS = 12


class Numbers:
    def __getitem__(self, number):
        return np.random.default_rng(number).normal(size=4).astype(np.float32)


class Learning(torch.nn.Module):
    """Dropout draws from torch, batch normalisation has statistics."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)
        )

    def forward(self, batch):
        return (self.body(batch["x"]) - batch["x"].sum(1, keepdim=True)) ** 2


class Toy(loop.Task):
    """Adds noise from a generator of its own."""

    def __init__(self, rate=0.01):
        torch.manual_seed(0)
        self.network, self.rng, self.rate = Learning(), torch.Generator().manual_seed(1), rate

    def optimizers(self):
        return [torch.optim.AdamW(self.network.parameters(), lr=self.rate)]

    def averaged(self):
        return self.network.state_dict()

    def decay(self, step):
        return 0.5

    def generators(self):
        return {"noise": self.rng}

    def on(self, batch, device):
        return {"x": batch + torch.randn(batch.shape, generator=self.rng)}


def train(folder=None, progress=None, settings=None, **changes):
    with torch.random.fork_rng():
        task = Toy(**changes)
        training = loop.Training(STEPS, 4, folder=folder, every=3)
        loop.run(training, task, Numbers(), settings=settings, progress=progress)
    return {name: tensor.clone() for name, tensor in task.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("last", [1, 3, 4, 11])
def test_interrupted_anywhere_it_goes_on_to_the_same_weights_and_losses(tmp_path, last):
    def die(step, of, loss):
        if step == last:
            raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", die)
    assert same(train(tmp_path / "parts"), whole)
    assert same(train(), whole)  # nor does keeping it change it
    logs = []
    for name in ("whole", "parts"):
        rows = [json.loads(line) for line in (tmp_path / name / "losses.jsonl").read_text().splitlines()]
        logs.append([(row["step"], row["loss"]) for row in rows])
    assert logs[0] == logs[1]
    assert len(logs[0]) == STEPS
    assert len({f.stat().st_mode for f in tmp_path.rglob("*") if f.is_file()}) == 1  # the umask's
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} == {".safetensors", ".json", ".jsonl"}


def test_a_save_or_a_line_cut_off_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    whole = train()
    real, saves = checkpoint.save_file, []

    def cut(tensors, file, told):
        saves.append(file)
        if len(saves) == 2:
            file.write_bytes(b"half")
            raise KeyboardInterrupt
        real(tensors, file, told)

    monkeypatch.setattr(checkpoint, "save_file", cut)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    with (tmp_path / "losses.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')
    steps = []
    assert same(train(tmp_path, lambda step, of, loss: steps.append(step)), whole)
    assert steps[0] == 4


def test_a_training_that_is_done_is_not_done_again(tmp_path):
    whole, steps = train(tmp_path), []
    assert same(train(tmp_path, lambda step, of, loss: steps.append(step)), whole)
    assert steps == []


def test_a_folder_of_another_training_is_refused(tmp_path):
    train(tmp_path, settings={"steps": STEPS, "data": "a"})
    with pytest.raises(UsageError, match=r"begun with data 'a', not 'b'.*give another place"):
        train(tmp_path, settings={"steps": STEPS, "data": "b"})
    with pytest.raises(UsageError, match=r"begun without kind, by another .* older version: give another place"):
        train(tmp_path, settings={"steps": STEPS, "data": "a", "kind": "b"})
    with pytest.raises(UsageError, match="begun with data 'a', not 'b'"):
        train(tmp_path, settings={"kind": "b", "steps": STEPS, "data": "b"})
    train(tmp_path, settings={"steps": STEPS, "data": "a", "kind": None})


def test_a_loss_that_is_no_number_ends_it():
    with pytest.raises(UsageError, match="lower the learning rate"):
        train(rate=float("inf"))


def test_torch_s_own_numbers_are_left_alone(tmp_path):
    torch.manual_seed(3)
    train(tmp_path)
    train(tmp_path)  # puts a state back
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
