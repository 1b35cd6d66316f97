"""Fitting learns, resumes exactly, touches what it should, and writes what the editor reads."""

import json
import multiprocessing
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.stenosis.diffusion.crop import views
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler, uint8
from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.commands import app
from lesionforge.jobs.fit.losses import InpaintingLoss
from lesionforge.jobs.fit.stenosis import StenosisFit, fill, fit_stenosis
from lesionforge.jobs.learning.sheet import GAP
from lesionforge.sinks.store import Store
from tests.jobs.fit import stable_diffusion
from tests.jobs.fit.toy import SIDE, Toy, hole, percent_ds, tube
from tests.sinks import stenoses


def config(out, **options):
    given = {"preset": "tiny", "batch": 4, "rate": 3e-3, "warmup": 10, "ema": 0.9, "precision": "float32", "loaders": 0}
    return StenosisFit(data=(), out=str(out), **{**given, **options})


def toys(model):
    shape = model.shape(SIDE)
    return Toy(shape), Toy(shape, b"held out")


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()]


# -- what it learns (the slow one)


def fitted(out, strength, steps=84):
    """A toy model with, or without, a look at the vessel mask."""
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    asked = config(out, steps=steps, batch=8, rate=5e-3, warmup=15, ema=0.96, every=steps)
    fit_stenosis(asked, model, toys(model), strength=strength)
    batch = stacked([toys(model)[1][n] for n in range(100, 132)], "cpu")  # crops that no sheet has shown
    made = fill(model, StenosisSampler(8, strength=strength), batch)
    real = [percent_ds(image) for image in uint8(batch["image"])]
    return abs(np.subtract([percent_ds(image) for image in made], real)), np.array(real), model


def drawn(model, target):
    """%DS of tubes made with the mask of that %DS into one and the same surroundings."""
    rows = []
    for n in range(8):
        image, _, _ = tube(stream(b"same", str(n)), 0)
        _, mask, _ = tube(stream(b"same", str(n)), target)
        noise = stream(b"noise", str(n)).standard_normal(model.shape(SIDE), np.float32)
        rows.append({**views(image, mask, hole()), "noise": noise, "prompt": "coronary angiogram"})
    return [percent_ds(image) for image in fill(model, StenosisSampler(8), stacked(rows, "cpu"))]


def test_the_condition_is_learned(tmp_path):
    """Must be shown 4: with the mask, %DS on the made pixels comes out as asked; without, no better than guessing."""
    with_mask, real, model = fitted(tmp_path / "with", (1.0, 1.0))
    without, _, _ = fitted(tmp_path / "without", (1.0, 0.0))
    guess = abs(real - np.median(real)).mean()  # the best that knows nothing of its sample: about 21 points
    assert with_mask.mean() < 13
    assert with_mask.mean() < 0.6 * guess
    assert with_mask.mean() < 0.5 * without.mean()
    early, late = np.mean(losses(tmp_path / "with")[:15]), np.mean(losses(tmp_path / "with")[-25:])
    assert late < 0.4 * early
    means = [np.mean(drawn(model, target)) for target in (20, 50, 80)]  # the same tubes and noise
    assert means[0] + 15 < means[1] < means[2] - 15


# -- gradients


def trainable(network):
    return [(name, p) for name, p in network.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_trainable_parameter_receives_a_gradient_and_changes(checkpointing):
    """After three steps: two zero convolutions lie one behind the other before the condition encoder."""
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    network = InpaintingLoss(model, checkpointing=checkpointing)
    before = {name: p.detach().clone() for name, p in trainable(network)}
    assert len(before) == sum(1 for _, net in model.networks() for _ in net.parameters())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    batch = stacked([toys(model)[0][n] for n in range(4)], "cpu")
    batch["tokens"] = model.tokens(batch["prompt"])
    silent = []
    for _ in range(3):
        optimizer.zero_grad()
        network(batch).mean().backward()
        silent = [name for name, p in trainable(network) if p.grad is None or not p.grad.any()]
        optimizer.step()
    assert silent == []
    assert [name for name, p in trainable(network) if torch.equal(p, before[name])] == []


def test_a_frozen_base_stays_bit_identical_while_its_controls_learn():
    tiny = PRESETS["tiny"]
    model = StenosisModel.new(replace(tiny, settings=replace(tiny.settings, train_base=False)), seed=0)
    network = InpaintingLoss(model)
    assert {name.split(".")[0] for name, _ in trainable(network)} == {"controls"}
    base = {name: p.detach().clone() for name, p in network.named_parameters() if not name.startswith("controls")}
    first = {name: p.detach().clone() for name, p in trainable(network)}
    optimizer = torch.optim.AdamW([p for _, p in trainable(network)], lr=1e-3)
    batch = stacked([toys(model)[0][n] for n in range(4)], "cpu")
    batch["tokens"] = model.tokens(batch["prompt"])
    for _ in range(3):
        optimizer.zero_grad()
        network(batch).mean().backward()
        optimizer.step()
    assert all(torch.equal(p, base[name]) for name, p in network.named_parameters() if name in base)
    assert [name for name, p in trainable(network) if torch.equal(p, first[name])] == []


def test_sd15_fits_controls_on_a_frozen_local_folder(tmp_path):
    """The paper's way, its networks shrunk: shards in, a self-contained folder out, the base bit-identical in it."""
    from safetensors.torch import load_file

    base = stable_diffusion.write(tmp_path / "base")
    stenoses.write(Store(str(tmp_path / "made")), 4)
    preset = replace(PRESETS["sd15"], settings=replace(PRESETS["sd15"].settings, crop=64, steps=2))
    model = StenosisModel.on_stable_diffusion(preset, base, seed=0)
    made = (str(tmp_path / "made"),)
    asked = replace(config(tmp_path / "fit", steps=4, batch=2, preset="sd15", base=str(base)), data=made)
    folder = fit_stenosis(asked, model)
    for part in ("unet", "vae"):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        old, new = load_file(base / name), load_file(folder / name)
        assert all(torch.equal(old[key], new[key]) for key in old)
    first = load_file(folder / "controlnet" / "diffusion_pytorch_model.safetensors")
    assert first["controlnet_mid_block.weight"].any()  # no longer zero
    state = load_file(tmp_path / "fit" / "checkpoint.safetensors")
    assert {name.split("/")[1].split(".")[0] for name in state if name.startswith("parameter/")} == {"controls"}
    assert replace(StenosisModel.load(folder).settings, digest="") == preset.settings


# -- resume


def weights(folder):
    return {f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*.safetensors"))}


def test_resume_continues_the_same_loss_curve_to_the_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for out, steps in ((whole, 8), (parts, 5), (parts, 8)):
        model = StenosisModel.new(PRESETS["tiny"], seed=0)
        fit_stenosis(config(out, steps=steps, every=3), model, toys(model))
    assert losses(parts) == losses(whole)
    assert len(losses(whole)) == 8
    assert weights(parts / "model") == weights(whole / "model")
    assert len(weights(whole / "model")) == 4


def test_mixed_precision_fits_the_same_curve_nearly_and_keeps_full_weights(tmp_path):
    for precision in ("float32", "bf16"):
        model = StenosisModel.new(PRESETS["tiny"], seed=0)
        fit_stenosis(config(tmp_path / precision, steps=3, precision=precision, checkpointing=True), model, toys(model))
        assert {p.dtype for p in model.unet.parameters()} == {torch.float32}
    assert losses(tmp_path / "bf16") != losses(tmp_path / "float32")
    np.testing.assert_allclose(losses(tmp_path / "bf16"), losses(tmp_path / "float32"), rtol=0.02)


def test_a_killed_fit_resumes_at_its_last_checkpoint(tmp_path):
    def die(step, of, loss):
        if step == 5:
            raise KeyboardInterrupt

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(whole, steps=7, every=3), model, toys(model))
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    with pytest.raises(KeyboardInterrupt):
        fit_stenosis(config(parts, steps=7, every=3), model, toys(model), die)
    assert len(losses(parts)) == 5  # two of them after the checkpoint
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(parts, steps=7, every=3), model, toys(model))
    assert losses(parts) == losses(whole)
    assert weights(parts / "model") == weights(whole / "model")


def test_a_folder_holds_one_fit(tmp_path):
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(tmp_path, steps=1), model, toys(model))
    with pytest.raises(UsageError, match=r"begun with batch 4, not 8"):
        fit_stenosis(config(tmp_path, steps=2, batch=8), model, toys(model))


def test_no_pickle_is_written_and_the_sheet_shows_what_was_made(tmp_path):
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    folder = fit_stenosis(config(tmp_path, steps=2, every=2), model, toys(model))
    kinds = {f.suffix for f in tmp_path.rglob("*") if f.is_file()}
    assert kinds == {".safetensors", ".json", ".jsonl", ".png"}
    with Image.open(tmp_path / "sheets" / "0000002.png") as picture:
        assert picture.size == (8 * (SIDE + GAP), 4 * (SIDE + GAP))
    loaded = StenosisModel.load(folder)
    assert torch.equal(loaded.unet.conv_in.weight, model.unet.conv_in.weight)


def test_the_saved_model_is_the_moving_average(tmp_path):
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(tmp_path, steps=4, ema=0.9), model, toys(model))
    from safetensors.torch import load_file

    state = load_file(tmp_path / "checkpoint.safetensors")
    names = [name for name, _ in trainable(InpaintingLoss(model))]
    for name in names:
        assert torch.equal(state[f"average/{name}"], model_parameter(model, name))
    assert any(not torch.equal(state[f"average/{name}"], state[f"parameter/{name}"]) for name in names)


def model_parameter(model, name):
    return dict(InpaintingLoss(model).named_parameters())[name].detach()


# -- what cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, "give one of sd15, small, tiny"),
        ({"precision": "fp16"}, "give one of float32, bf16"),
        ({"batch": 0}, "batch is 0"),
        ({"empty": 1.0}, "empty is 1.0"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        config(tmp_path, **options)


def test_base_belongs_to_sd15(tmp_path):
    with pytest.raises(UsageError, match="give --set base=FOLDER"):
        fit_stenosis(config(tmp_path / "a", preset="sd15"))
    with pytest.raises(UsageError, match="leave base=somewhere away"):
        fit_stenosis(config(tmp_path / "b", base="somewhere"))
    with pytest.raises(UsageError, match="has no unet, text_encoder"):
        fit_stenosis(config(tmp_path / "c", preset="sd15", base=str(tmp_path)))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(tmp_path / "a", steps=1), model, toys(model))
    other = tmp_path / "b"
    other.mkdir()
    shutil.copy(tmp_path / "a" / "checkpoint.safetensors", other)
    frozen = replace(PRESETS["tiny"], settings=replace(PRESETS["tiny"].settings, train_base=False))
    model = StenosisModel.new(frozen, seed=0)
    with pytest.raises(UsageError, match="of another network"):
        fit_stenosis(config(other, steps=2), model, toys(model))


# -- processes and the command line


def share(out, rank, port):
    """One of two processes."""
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(out, steps=3, warmup=1, every=3, ema=0.9995), model, toys(model))


def test_two_processes_share_the_batches_of_one(tmp_path):
    """The same crops, the same curve; gradients are summed in another order, so not to the bit."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["lesionforge.jobs.fit.stenosis", "diffusers"])
    runs = [server.Process(target=share, args=(tmp_path / "two", rank, port)) for rank in "01"]
    for run in runs:
        run.start()
    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    fit_stenosis(config(tmp_path / "one", steps=3, warmup=1, every=3, ema=0.9995), model, toys(model))
    for run in runs:
        run.join(200)
        assert run.exitcode == 0
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)


def test_the_command_fits_from_shards(tmp_path):
    stenoses.write(Store(str(tmp_path / "made")), 6)
    options = ["--preset", "tiny", "--device", "cpu", "--json", "--out", str(tmp_path / "fit")]
    for pair in ("steps=2", "batch=2", "every=2", "precision=float32"):
        options += ["--set", pair]
    run = CliRunner().invoke(app, ["stenosis", str(tmp_path / "made"), *options])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert told["model"] == str(tmp_path / "fit" / "model")
    assert len(losses(tmp_path / "fit")) == 2
    assert StenosisModel.load(tmp_path / "fit" / "model").settings.preset == "tiny"
