"""Fitting the learned lesion backends: resume to the bit, frozen autoencoder, two discriminators, the whole job."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.learned import LearnedFiller
from lesionforge.generators.lesion.learned.crop import hounsfield, unit
from lesionforge.generators.lesion.learned.model import LesionModel
from lesionforge.generators.lesion.learned.networks.vqgan import Discriminators
from lesionforge.generators.lesion.learned.settings import BACKENDS, PRESETS
from lesionforge.generators.types import stream
from lesionforge.jobs.commands import verify
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import fidelity
from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion, new_model
from lesionforge.jobs.fit.lesion_tasks import shown
from lesionforge.jobs.fit.losses import AutoencoderLoss, DiffusionLoss, slices
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store
from tests.jobs.fit.balls import CLASSES, SPACING, Balls, patch

SIDE = PRESETS["tiny"].side


def config(kind, out, **options):
    given = {"preset": "tiny", "batch": 2, "rate": 2e-3, "warmup": 5, "ema": 0.9, "precision": "float32", "loaders": 0}
    given |= {"classes": CLASSES[1:], "levels": None if kind == "vqgan" else 8, "adversarial": 3}
    return LesionFit(kind=kind, data=(), out=str(out), **{**given, **options})


def run(asked, progress=None):
    """A fit from the very beginning, or from the checkpoint."""
    model = new_model(asked, set(), SPACING)
    own = model.settings
    noise = (model.shape(), own.levels) if own.levels else None
    healthy = 0.15 if (own.prompted and not own.whole) or not own.levels else 0.0
    given = {"noise": noise, "bent": own.whole}
    return fit_lesion(
        asked, model, (Balls(SIDE, healthy=healthy, **given), Balls(SIDE, seed=b"held", **given)), progress
    )


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()]


def weights(folder):
    return {f.name: f.read_bytes() for f in sorted(folder.glob("*.safetensors"))}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """Fitted for a moment."""
    return run(config("vqgan", tmp_path_factory.mktemp("vqgan"), steps=6, every=6))


# -- the losses


class Perfect(torch.nn.Module):
    """Knows the noise."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def forward(self, x, time, prompt=None):
        return self.noise


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_perfect_predictor_has_no_loss_and_another_has(autoencoder, tmp_path, kind):
    model = new_model(config(kind, tmp_path, vqgan=str(autoencoder)), set(), SPACING)
    some = Balls(SIDE, (model.shape(), model.settings.levels))
    batch = stacked([some[n] for n in range(3)], "cpu")
    with torch.no_grad():
        assert (DiffusionLoss(model)(batch) > 0.1).all()
        model.unet = Perfect(batch["noise"])
        assert torch.equal(DiffusionLoss(model)(batch), torch.zeros(3))


def test_promptlesion_s_loss_is_of_the_hole_and_of_everything_where_nothing_is_hidden(autoencoder, tmp_path):
    model = new_model(config("promptlesion", tmp_path, vqgan=str(autoencoder)), set(), SPACING)
    some = Balls(SIDE, (model.shape(), 8), healthy=0.5)
    batch = stacked([some[n] for n in range(6)], "cpu")
    free = model.free(batch["hole"]).bool()
    model.unet = Perfect(batch["noise"] + 2 * ~free)  # wrong by 2 outside of the holes
    loss = DiffusionLoss(model)(batch)
    hidden = free.flatten(1).any(1)
    assert hidden.any()
    assert not hidden.all()
    torch.testing.assert_close(loss, torch.where(hidden, 0.0, 4.0))


def test_the_autoencoder_stays_frozen_and_everything_else_learns(autoencoder, tmp_path):
    asked = config("promptlesion", tmp_path, vqgan=str(autoencoder), steps=4, batch=6, ema=0.0)
    before = new_model(asked, set(), SPACING)
    after = LesionModel.load(run(asked))
    old, new = before.vqgan.state_dict(), after.vqgan.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    for name in ("unet", "prompt"):
        first, last = (dict(getattr(m, name).named_parameters()) for m in (before, after))
        same = [key for key in first if torch.equal(first[key], last[key])]
        assert same == (["positions.speed"] if name == "unet" else [])


def autoencoding(adversarial=1):
    model = new_model(config("vqgan", "nowhere"), set(), SPACING)
    torch.manual_seed(0)
    network = AutoencoderLoss(model, Discriminators(**PRESETS["tiny"].discriminators), None, adversarial)
    some = Balls(SIDE)
    return network, stacked([some[n] for n in range(2)], "cpu")


def test_each_turn_teaches_its_own_network():
    network, batch = autoencoding()
    network({**batch, "step": 1, "turn": 0}).mean().backward()
    silent = [name for name, p in network.vqgan.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    network.zero_grad()
    network({**batch, "step": 1, "turn": 1}).mean().backward()
    assert all(p.grad is None for p in network.vqgan.parameters())
    biases = ("0.conv.bias", "final_conv.conv.bias")  # before a normalisation; in a hinge that may cancel
    silent = [
        name
        for name, p in network.discriminators.named_parameters()
        if (p.grad is None or not p.grad.any()) and not name.endswith(biases)
    ]
    assert silent == []
    assert all(not p.requires_grad for p in network.features.parameters())


def test_the_discriminators_take_part_from_their_step_on():
    network, batch = autoencoding(adversarial=5)
    called = []
    network.discriminators.register_forward_hook(lambda *_: called.append(1))
    network({**batch, "step": 4, "turn": 0})
    assert called == []
    network({**batch, "step": 5, "turn": 0})
    assert len(called) == 2


def test_slices_lie_across_each_axis():
    volume = torch.arange(2 * 27.0).view(2, 1, 3, 3, 3)
    cut = slices(volume, torch.tensor([[0, 1, 2], [2, 0, 1]]))
    assert cut.shape == (6, 1, 3, 3)
    expected = [volume[0, :, 0], volume[1, :, 2], volume[0, :, :, 1], volume[1, :, :, 0]]
    expected += [volume[0, :, :, :, 2], volume[1, :, :, :, 1]]
    assert torch.equal(cut, torch.stack(expected))


# -- the loop


@pytest.mark.parametrize("kind", ["vqgan", "promptlesion"])
def test_resume_continues_the_same_loss_curve_to_the_bit(autoencoder, tmp_path, kind):
    """The codebook, both optimizers, both discriminators' statistics and the moving average come back."""

    def die(step, of, loss):
        if step == 5:
            raise KeyboardInterrupt

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = {"vqgan": str(autoencoder) if kind != "vqgan" else None, "steps": 6, "every": 4}
    run(config(kind, whole, **given))
    with pytest.raises(KeyboardInterrupt):
        run(config(kind, parts, **given), die)
    assert len(losses(parts)) == 5
    run(config(kind, parts, **given))
    assert losses(parts) == losses(whole)
    assert weights(parts / "model") == weights(whole / "model")
    assert {f.suffix for f in whole.rglob("*") if f.is_file()} == {".safetensors", ".json", ".jsonl", ".png"}


def test_a_fit_of_more_steps_than_are_asked_for_is_left_as_it_is(tmp_path):
    run(config("vqgan", tmp_path, steps=3, every=3))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(
        UsageError, match=r"has 3 steps already, more than steps=2: give 3 or more to go on, or another"
    ):
        run(config("vqgan", tmp_path, steps=2, every=3))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("kind", ["vqgan", "promptlesion-mask"])
def test_mixed_precision_fits_the_same_curve_nearly_and_keeps_full_weights(autoencoder, tmp_path, kind):
    given = {"vqgan": str(autoencoder) if kind != "vqgan" else None, "steps": 2, "every": 2, "adversarial": 2}
    for precision in ("float32", "bf16"):
        fitted = LesionModel.load(run(config(kind, tmp_path / precision, precision=precision, **given)))
        assert {p.dtype for _, network in fitted.networks() for p in network.parameters()} == {torch.float32}
    assert losses(tmp_path / "bf16") != losses(tmp_path / "float32")
    np.testing.assert_allclose(losses(tmp_path / "bf16"), losses(tmp_path / "float32"), rtol=0.05)


def test_a_perceptual_network_that_is_none_is_named(tmp_path):
    (tmp_path / "vgg").write_bytes(b"none")
    with pytest.raises(UsageError, match="features="):
        run(config("vqgan", tmp_path / "out", features=str(tmp_path / "vgg")))


def test_the_autoencoder_learns(tmp_path):
    """The tissue at least: in so few steps no more than that. Its discriminators join it on the way."""
    asked = config("vqgan", tmp_path, steps=20, batch=4, rate=1.5e-3, adversarial=15, every=20)
    untrained = new_model(asked, set(), SPACING).vqgan
    held = stacked([Balls(SIDE, None, b"held")[n] for n in range(8)], "cpu")["image"]
    with torch.no_grad():
        before = float((untrained(held)[0] - held).abs().mean())
    run(asked)
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert lines[-1]["held_out_loss"] < 0.55 * before
    assert ["discriminator_loss" in line for line in lines] == [n >= 15 for n in range(1, 21)]
    with Image.open(tmp_path / "sheets" / "0000020.png") as picture:
        assert picture.size == (8 * 100, 3 * 100)


def test_lesions_count_as_much_as_all_else_in_an_autoencoder_that_is_to_keep_calcium():
    """Oracle: what one voxel's error adds to the loss, in a lesion and beside it."""
    added = {}
    for domain in ("ccta", "all"):
        model = new_model(config("vqgan", "nowhere", domain=domain), set(), SPACING)
        network = AutoencoderLoss(model, Discriminators(**PRESETS["tiny"].discriminators), None, 9)
        hole = torch.zeros(1, 1, SIDE, SIDE, SIDE)
        hole[..., :4, :4, :4] = 1
        cube = {"image": torch.zeros_like(hole), "hole": hole, "seed": torch.tensor([0]), "turn": 0, "step": 0}
        cube["slices"] = torch.tensor([[SIDE - 1] * 3])  # which show neither
        for where in ((0, 0, 0), (8, 8, 8)):
            made = torch.zeros_like(hole)
            made[0, 0, *where] = 1.0
            network.vqgan.forward = lambda image, seed, made=made: (made, torch.zeros(1), None)
            added[domain, where[0] == 0] = float(network(cube)) / 4
    voxel, inside = 1 / SIDE**3, 1 / 64
    assert added["ccta", True] == added["ccta", False] == pytest.approx(voxel)
    assert added["all", False] == pytest.approx(voxel)
    assert added["all", True] == pytest.approx(voxel + inside)


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_backend_is_fitted_and_draws(autoencoder, tmp_path, kind):
    asked = config(kind, tmp_path, vqgan=None if kind == "medddpm" else str(autoencoder), steps=15, batch=4, every=15)
    folder = run(asked)
    curve = losses(tmp_path)
    assert np.mean(curve[-5:]) < np.mean(curve[:5])
    filler = LearnedFiller(folder, kind)
    filler.prepare("cpu")
    made = filler.fill([patch("calcified", stream(b"t", "0"))], [stream(b"n", "0")])[0]
    assert np.isfinite(made).all()
    with Image.open(tmp_path / "sheets" / "0000015.png") as picture:
        assert picture.size == (8 * 100, 3 * 100)


@pytest.mark.parametrize("kind", ["promptlesion", "promptlesion-mask"])
def test_a_model_of_voxels_needs_no_autoencoder_and_tells_classes_apart_after_seconds(tmp_path, kind):
    """Balls of 200 and of -120 HU in tissue of 20 to 60."""
    asked = config(kind, tmp_path, preset="voxel", steps=40, batch=8, every=40, rate=2e-3, ema=0.8)
    filler = LearnedFiller(run(asked), kind, steps=4)
    filler.prepare("cpu")
    assert np.mean(losses(tmp_path)[-5:]) < 0.3 * np.mean(losses(tmp_path)[:3])
    bright, dark = (
        [
            filler.fill([one], [stream(b"n", str(n))])[0][one.mask].mean()
            for n in range(3)
            for one in [patch(lesion, stream(b"t", str(n)))]
        ]
        for lesion in CLASSES[1:]
    )
    assert min(bright) > max(dark) + 100


def test_the_voxel_preset_is_promptlesion_s_alone(tmp_path):
    with pytest.raises(UsageError, match="preset voxel is of promptlesion and promptlesion-mask, not of medddpm"):
        config("medddpm", tmp_path, preset="voxel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, "give one of paper, small, tiny, voxel"),
        ({"domain": "head"}, "give one of abdomen, ccta, all"),
        ({"factor": 3}, "factor is 3: give 4 or 2"),
        ({"batch": 0}, "batch is 0"),
        ({"vqgan": None}, "works on latents: give --set vqgan=FOLDER"),
    ],
)
def test_settings_that_cannot_be_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        config("promptlesion", "x", **{"vqgan": "y", **options})


def test_a_finer_companded_autoencoder_is_taken_over_as_it_is(tmp_path):
    base = run(config("vqgan", tmp_path, steps=1, every=1, domain="all", factor=2))
    own = LesionModel.load(base)
    assert (own.cell, own.shape()) == (2, (4, SIDE // 2, SIDE // 2, SIDE // 2))
    model = new_model(config("promptlesion", "x", vqgan=str(base)), set(), SPACING)
    assert (model.cell, model.settings.window, model.settings.bend_hu) == (2, (-1000.0, 1800.0), 500.0)
    assert set(json.loads((base / "card.json").read_text())["hu_error"]) <= set(fidelity.TISSUES)


class Off:
    """An autoencoder that makes calcium 60 HU too dark, and soft tissue right."""

    settings = SimpleNamespace(window=(-1000.0, 1800.0), bend_hu=500.0)

    def encode(self, image):
        hu = hounsfield(image.numpy(), **vars(self.settings))
        return torch.from_numpy(unit(np.where(hu > 550, hu - 60, hu), **vars(self.settings)))

    def decode(self, latent):
        return latent


def test_the_error_of_each_tissue_is_told():
    hu = np.full((1, 4, 4, 4), 700.0)
    hu[:, :3] = 40
    items = [{"image": unit(hu, **vars(Off.settings))}] * fidelity.CUBES
    found = fidelity.errors(Off(), items, "cpu")
    assert found["calcium"] == pytest.approx({"voxels": 16 * fidelity.CUBES, "error": 60, "bias": -60}, abs=0.1)
    assert found["soft tissue"]["error"] < 0.1
    assert set(found) == {"calcium", "soft tissue"}
    assert "calcium 60 (-60)" in fidelity.told(found)


@pytest.mark.parametrize(
    ("kind", "levels", "published", "steps"),
    [
        ("difftumor", None, 4, 4),
        ("difftumor", 200, 200, 50),
        ("medddpm", None, 250, 250),
        ("promptlesion", None, 200, 50),
    ],
)
def test_levels_and_steps_are_the_published_ones(autoencoder, kind, levels, published, steps):
    """DiffTumor: 4 ancestral steps for early tumours, DDIM with 50 of 200 for late ones."""
    asked = config(kind, "x", vqgan=None if kind == "medddpm" else str(autoencoder), levels=levels)
    own = new_model(asked, set(), SPACING).settings
    assert (own.levels, own.steps) == (published, steps)


def test_an_autoencoder_that_does_not_fit_is_named(autoencoder, tmp_path):
    with pytest.raises(UsageError, match=r"lesionforge\.json is missing"):
        new_model(config("difftumor", "x", vqgan=str(tmp_path)), set(), SPACING)
    with pytest.raises(UsageError, match="is of preset tiny, not small"):
        new_model(config("difftumor", "x", vqgan=str(autoencoder), preset="small"), set(), SPACING)
    with pytest.raises(UsageError, match="vqgan is of voxels"):
        new_model(config("difftumor", "x", vqgan=str(autoencoder)), set(), (1.0, 1.0, 3.0))
    with pytest.raises(UsageError, match="give data with lesions, and with their organs"):
        new_model(config("difftumor", "x", vqgan=str(autoencoder), classes=()), set(), SPACING)


def test_a_sheet_shows_of_all_hu_the_window_that_readers_look_at():
    """A tumour of 40 HU less than its liver, and calcium beside a lumen."""
    own = SimpleNamespace(window=(-1000.0, 1800.0), bend_hu=500.0)
    hu = np.zeros((3, 1, 2, 1, 1), np.float32)
    hu[:, 0, :, 0, 0] = (100, 60), (900, 350), (100, 60)
    volumes, batch = torch.from_numpy(unit(hu, **vars(own))), {"lesion": torch.tensor([1, 2, 0])}
    seen = 127.5 * shown(own, ("healthy", "liver_early", "calcified"), batch, volumes).numpy()[:, 0, :, 0, 0]
    np.testing.assert_allclose(seen[:, 0] - seen[:, 1], [40 / 425 * 255, 550 / 1100 * 255, 40 / 425 * 255], rtol=1e-3)
    batch = {"lesion": torch.tensor([0, 1, 0])}  # of an autoencoder of vessels alone
    seen = 127.5 * shown(own, ("healthy", "calcified"), batch, volumes).numpy()[:, 0, :, 0, 0]
    np.testing.assert_allclose(seen[:, 0] - seen[:, 1], np.array([40, 550, 40]) / 1100 * 255, rtol=1e-3)


# -- the whole job: texture, shards, autoencoder, diffusion, and lesions drawn by it

OPTIONS = ["--preset", "tiny", "--device", "cpu", "--json"]
for pair in ("steps=2", "batch=2", "every=2", "precision=float32", "loaders=0"):
    OPTIONS += ["--set", pair]


def recipe(folder, out, **params):
    told = {
        "name": out,
        "seed": 7,
        "sources": [
            {"uri": "tests.generators.lesion.toys.Toy:here", "options": {"count": 2}, "split": {"train": 1}},
        ],
        "generator": {
            "name": "lesionforge.generators.lesion.generator.LesionGenerator",
            "params": {"size": 40, "early": [1, 1], "early_mm": [6, 8], "keep_source": True, **params},
        },
        "multiply": 2,
        "splits": ["train"],
        "balance": {"liver_early": 0.5, "kidney_early": 0.5},
        "quality": {"redraws": 20},
    }
    file = folder / f"{out}.json"
    file.write_text(json.dumps(told))
    assert generate(file, str(folder / out), None, in_process=True).body()["samples"] == 4
    assert verify.verify(Store(str(folder / out)), rebuild=True).problems == []
    return str(folder / out)


def test_from_texture_to_a_fitted_backend_s_shards(tmp_path):
    from typer.testing import CliRunner

    from lesionforge.jobs.fit.commands import app

    made = recipe(tmp_path, "made")
    first, second = str(tmp_path / "vqgan"), str(tmp_path / "prompt")
    prompt = ["--set", f"vqgan={first}/model", "--set", "levels=4", "--set", "guidance=2"]
    for words in (["vqgan", made, "--out", first], ["promptlesion-mask", made, "--out", second, *prompt]):
        done = CliRunner().invoke(app, [*words, *OPTIONS])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["model"] == f"{words[3]}/model"
    own = LesionModel.load(tmp_path / "prompt" / "model").settings
    assert own.classes == ("healthy", "liver_early", "kidney_early")
    assert own.backend == "promptlesion-mask"
    assert own.window == (-175.0, 250.0)
    assert own.guidance == 2
    assert own.spacing_mm == (1.5, 1.5, 1.5)
    assert len(losses(tmp_path / "prompt")) == 2
    drawn = recipe(tmp_path, "drawn", backend="promptlesion-mask", weights=second + "/model", check_hu=False)
    for sample in Samples(drawn):
        told, changed = sample["json"], sample["ct.delta.npy.zst"] != sample["source_ct.delta.npy.zst"]
        assert told["drawn"]["weights"] == own.digest
        assert changed[sample["label.npy.zst"] == told["lesions"][0]["label"]].any()
        assert not changed[sample["changed.npy.zst"] == 0].any()
    third = tmp_path / "voxel"
    words = ["promptlesion", made, "--out", str(third), *OPTIONS, "--preset", "voxel"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    own = LesionModel.load(third / "model").settings
    assert own.spacings_mm == {"liver_early": [1.5, 1.5, 1.5], "kidney_early": [1.5, 1.5, 1.5]}
    assert set(own.grain) == set(own.classes[1:])
    assert json.loads((third / "model" / "card.json").read_text())["settings"]["steps"] == 2
    drawn = recipe(tmp_path, "prompted", backend="promptlesion", weights=f"{third}/model")
    told = [one for sample in Samples(drawn) for one in sample["json"]["lesions"]]
    assert all(one["hu_in_class"] and abs(one["measured_hu"] - one["requested_hu"]) <= 15 for one in told)
    for change, message in (
        (["promptlesion", drawn], r"voxel was begun with datasets \['.+ \w{12}'\], not \['.+ \w{12}'\]: keep it"),
        ([*words[:2], "--set", "rate=.5"], "was begun with rate 0.002, not 0.5"),
    ):
        done = CliRunner().invoke(app, [*change, *words[2:]])
        assert isinstance(done.exception, UsageError)
        assert re.search(message, str(done.exception)), done.exception


def test_a_hospital_s_own_folder_of_ct_with_lesions_is_fitted_on_by_one_command(tmp_path):
    import nibabel as nib
    from typer.testing import CliRunner

    from lesionforge.jobs.fit.commands import app

    legend = {1: "liver", 2: "liver_tumour"}
    for number in range(3):
        rng = np.random.default_rng(number)
        label = np.ones((40, 36, 32), np.uint8)
        label[16:24, 14:22, 12:20] = 2
        hu = np.where(label == 2, 50, 110) + rng.normal(0, 10, label.shape)
        label[:2], hu[:2] = 0, -900  # air, as CT has
        label[-2:] = 3  # a spleen, which the legend does not name
        hu = hu / 1000 if number == 2 else hu.astype(np.int16)  # no Hounsfield units any more
        for kind, array in (("images", hu), ("labels", label)):
            (tmp_path / "ct" / kind).mkdir(parents=True, exist_ok=True)
            nib.save(
                nib.Nifti1Image(array.astype(np.float32) if number == 2 else array, np.diag([1.5, 1.5, 1.5, 1])),
                tmp_path / "ct" / kind / f"case{number}.nii.gz",
            )
    words = ["promptlesion", f"ct:{tmp_path / 'ct'}", "--option", "layout=pair", "--option", f"legend={legend}"]
    words += ["--preset", "voxel", "--device", "cpu", "--set", "steps=2", "--out", str(tmp_path / "out")]
    for wrong, message in (("stpes=5", "did you mean steps"), ("classes=[spleen_early]", "no class 'spleen_early'")):
        done = CliRunner().invoke(app, [*words, "--set", wrong])
        assert message in str(done.exception)
    assert not (tmp_path / "out").exists()  # all is said before anything is made
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"note: ct:{tmp_path / 'ct'}: 1 of 3 are left out: 1 x source: volume 3: holds values from" in done.stderr
    assert "what the option legend does not name is background" in done.stderr
    own = LesionModel.load(tmp_path / "out" / "model").settings
    assert own.classes == ("healthy", "liver_early")  # 8^3 voxels of 1.5 mm
    assert own.spacings_mm == {"liver_early": [1.5, 1.5, 1.5]}
    for words, message in (
        (["finder", f"ct:{tmp_path / 'ct'}"], "fit finder learns from datasets"),
        (["vqgan", str(tmp_path / "out" / "data" / "0"), "--option", "layout=pair"], "--option is of a source"),
    ):
        done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "other")])
        assert isinstance(done.exception, UsageError)
        assert message in str(done.exception)


def test_a_setting_that_is_none_or_cannot_be_is_named_and_all_are_listed():
    from typer.testing import CliRunner

    from lesionforge.jobs.fit.commands import _prepared, app

    for changes, message in (
        ({"stepz": 3}, "--set stepz: no such setting; did you mean steps"),
        ({"guidance": 2}, "--set guidance: no such setting"),  # of promptlesion alone
        ({"steps": "many"}, "--set steps: .*integer"),
    ):
        with pytest.raises(UsageError, match=message):
            _prepared("vqgan", ["x"], Path("out"), "tiny", 0, "cpu", changes)
    shown = CliRunner().invoke(app, ["vqgan", "--settings"]).stdout
    assert "adversarial=10000" in shown
    assert not any(word in shown for word in ("guidance", "voxel;"))
    shown = CliRunner().invoke(app, ["promptlesion", "--settings"]).stdout
    latent, voxels = shown.split("preset voxel; ")
    assert "preset paper, small, tiny; " in latent
    assert "vqgan=none" in latent
    assert "steps=1500" in voxels
    assert not any(word in voxels for word in ("vqgan", "guidance", "levels"))
