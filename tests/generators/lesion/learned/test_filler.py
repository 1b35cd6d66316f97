"""The fillers: deterministic, cube by cube, alone or in company; healthy means untouched."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.generators.angio_ct.generator import AngioCt, AngioCtParams
from lesionforge.generators.lesion.blend import composite
from lesionforge.generators.lesion.filler import Patch
from lesionforge.generators.lesion.generator import LesionGenerator, open_backend
from lesionforge.generators.lesion.learned import LearnedFiller
from lesionforge.generators.lesion.learned.crop import hounsfield, unit, upright
from lesionforge.generators.lesion.learned.sample import LesionSampler
from lesionforge.generators.lesion.learned.settings import BACKENDS
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import BadCase, stream
from tests.generators.lesion.learned.conftest import new

WINDOW = (-200.0, 900.0)


def patch(lesion_class="calcified", shape=(20, 18, 16), radius=3.0, seed=0, spacing=(1.0, 1.0, 1.0)):
    rng = np.random.default_rng(seed)
    grid = np.indices(shape) - np.reshape([n / 2 for n in shape], (3, 1, 1, 1))
    mask = (grid**2).sum(0) <= radius**2
    hu = rng.normal(40, 30, shape).astype(np.float32)
    return Patch(hu, mask, np.zeros(shape, np.uint8), {0: "background"}, lesion_class, spacing, radius)


def opened(folders, backend, **options):
    filler = LearnedFiller(folders[backend], backend, **options)
    filler.prepare("cpu")
    return filler


def fill(filler, *patches):
    return filler.fill(patches, [stream(b"lesion", str(n)) for n in range(len(patches))])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_lesion_is_the_same_alone_and_in_company(folders, backend):
    """Micro-batches are filled up with copies; every lesion has its own stream."""
    filler = opened(folders, backend, batch=3, steps=2)
    patches = [patch(seed=0), patch("non_calcified", seed=1), patch("healthy", seed=2), patch(seed=3)]
    streams = [stream(b"lesion", str(n)) for n in range(4)]
    together = filler.fill(patches, streams)
    for n, one in enumerate(patches):
        alone = filler.fill([one], [stream(b"lesion", str(n))])[0]
        assert np.array_equal(alone, together[n])
        assert alone.dtype == np.float32
        assert alone.shape == one.hu.shape
    other = filler.fill([patches[0]], [stream(b"another", "0")])[0]
    assert not np.array_equal(other, together[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_made_hu_lie_in_the_window(folders, backend):
    made = fill(opened(folders, backend, steps=2), patch())[0][patch().mask]
    assert np.isfinite(made).all()
    if backend == "medddpm":  # a decoder may overshoot, as the published one does
        assert made.min() >= WINDOW[0] - 1
        assert made.max() <= WINDOW[1] + 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_healthy_prompt_returns_the_background(folders, backend):
    """Inside within the autoencoder's own error, to the bit outside once composited."""
    filler = opened(folders, backend)
    one = patch("healthy", shape=(16, 16, 16))
    made = fill(filler, one)[0]
    model = filler._model
    image = torch.from_numpy(np.moveaxis(unit(one.hu, WINDOW), -1, 0)[None, None].copy())
    with torch.no_grad():
        rebuilt = hounsfield(upright(model.decode(model.encode(image)).numpy()[0]), WINDOW)
    error = np.abs(rebuilt - one.hu)[one.mask]
    assert np.abs(made - one.hu)[one.mask].max() <= error.max() + 1e-2
    if backend == "medddpm":  # no autoencoder: only the window
        np.testing.assert_allclose(made, np.clip(one.hu, *WINDOW), atol=1e-2)
    background = np.rint(one.hu).astype(np.int16)
    out = composite(background, made, one.mask.astype(np.float32))
    assert np.array_equal(out[~one.mask], background[~one.mask])


def test_promptlesion_leaves_the_latents_outside_of_the_lesion_alone(folders):
    """What the networks say there is never looked at: cells far from the hole decode as the background does."""
    filler = opened(folders, "promptlesion")
    sick, healthy = patch(shape=(16, 16, 16), radius=1.5), patch("healthy", shape=(16, 16, 16), radius=1.5)
    model, spy = filler._model, []
    decode = model.decode
    model.decode = lambda latent: spy.append(latent) or decode(latent)
    fill(filler, sick)
    fill(filler, healthy)
    free = model.free(torch.from_numpy(np.moveaxis(filler.hole(sick), -1, 0)[None, None].astype(np.float32))) > 0
    free = free.expand_as(spy[0])
    torch.testing.assert_close(spy[0][~free], model.encode(_image(sick))[~free], rtol=0, atol=0)
    assert not torch.equal(spy[0][free], model.encode(_image(sick))[free])


def _image(one):
    return torch.from_numpy(np.moveaxis(unit(one.hu, WINDOW), -1, 0)[None, None].copy())


def test_a_lesion_larger_than_the_cube_is_made_whole_in_cubes_that_see_each_other(folders):
    filler = opened(folders, "promptlesion", steps=1)
    one = patch(shape=(40, 24, 24), radius=14.0)
    seen = []
    make = filler._draw
    filler._draw = lambda model, part: seen.append(part[0].view) or make(model, part)
    made = fill(filler, one)[0]
    assert (made != one.hu)[one.mask].all()
    assert len(seen) > 4
    for view in seen:
        assert view["hole"].any()
        assert view["image"].shape == (1, 16, 16, 16)  # memory is that of one cube, whatever the lesion
    final = unit(made, WINDOW)
    second = seen[1]["image"][0]
    assert any(np.isin(second, final[one.mask]).flat)  # what the first cube made is in the second's picture


def test_partial_diffusion_starts_from_the_background_and_full_does_not(folders):
    """With some noise the result depends on what was there; from noise alone it cannot know."""
    bright, dark = (patch(seed=0) for _ in range(2))
    dark = replace(dark, hu=bright.hu - 100 * bright.mask)
    gap = {}
    for strength in (0.5, 1.0):
        filler = opened(folders, "difftumor", strength=strength)  # nothing is put back
        a, b = (fill(filler, one)[0] for one in (bright, dark))
        gap[strength] = np.abs(a - b)[bright.mask].max()
    assert gap[0.5] > 0
    assert gap[1.0] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_strength_0_returns_the_background_as_the_autoencoder_has_it(folders, backend):
    """Oracle: the healthy prompt's way, which samples nothing; the least strength above it changes something."""
    filler = opened(folders, backend, strength=0.0)
    sick, healthy = patch(shape=(16, 16, 16)), patch("healthy", shape=(16, 16, 16))
    made = fill(filler, sick)[0]
    np.testing.assert_allclose(made[sick.mask], fill(filler, healthy)[0][sick.mask], rtol=0, atol=0.01)
    some = fill(opened(folders, backend, strength=0.01), sick)[0]
    assert np.abs(some - made)[sick.mask].max() > 1


def test_what_the_recipe_says_of_the_sampler_reaches_it(folders):
    """And what it leaves out is the model's own."""
    own = LesionParams("promptlesion", str(folders["promptlesion"]))
    filler = {}
    for name, told in (("own", {}), ("same", {"guidance": 1.0}), ("more", {"guidance": 3.0}), ("few", {"steps": 2})):
        filler[name] = open_backend(replace(own, **told))
        filler[name].prepare("cpu")
    assert filler["own"].sampler == filler["same"].sampler == LesionSampler(4, 0.75, 1.0)
    assert filler["few"].sampler == LesionSampler(2, 0.75, 1.0)
    made = {name: fill(one, patch())[0] for name, one in filler.items()}
    assert np.array_equal(made["own"], made["same"])
    assert not np.array_equal(made["own"], made["more"])
    assert not np.array_equal(made["own"], made["few"])


def test_guidance_moves_away_from_no_prompt(folders):
    """Weight 1 takes the prompt as it is, 0 none at all (Ho & Salimans 2022)."""
    filler = opened(folders, "promptlesion")
    made = {}
    for weight in (0.0, 1.0, 3.0):
        for lesion in ("calcified", "non_calcified"):
            filler.sampler = LesionSampler(4, 0.75, weight)
            made[weight, lesion] = fill(filler, patch(lesion))[0]
    assert np.array_equal(made[0.0, "calcified"], made[0.0, "non_calcified"])
    apart = {w: np.abs(made[w, "calcified"] - made[w, "non_calcified"])[patch().mask].mean() for w in (1.0, 3.0)}
    assert apart[1.0] > 0
    assert not np.array_equal(made[1.0, "calcified"], made[3.0, "calcified"])


@pytest.mark.parametrize("backend", ["promptlesion", "promptlesion-mask", "medddpm"])
def test_classes_are_told_apart(folders, backend):
    filler = opened(folders, backend)
    calcified, soft = (fill(filler, patch(kind))[0] for kind in ("calcified", "non_calcified"))
    assert not np.array_equal(calcified, soft)


def test_what_the_generator_asks_of_a_backend(folders):
    for backend in BACKENDS:
        filler = opened(folders, backend)
        assert filler.patch_voxels == 16
        assert len(filler.digest) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "steps is 3: give a divisor of the 8 noise levels"),
        ({"steps": 16}, "steps is 16: give a divisor of the 8 noise levels"),
        ({"strength": 1.5}, "strength is 1.5: give 0 to 1"),
        ({"backend": "difftumor"}, "is of promptlesion, not of difftumor"),
        ({"backend": "gan"}, "give one of difftumor, medddpm, promptlesion, promptlesion-mask"),
        ({"weights": None}, "weights is missing"),
    ],
)
def test_what_cannot_be_is_named(folders, options, message):
    with pytest.raises(ValueError, match=message):
        LearnedFiller(**{"weights": folders["promptlesion"], **options}).prepare("cpu")


def test_what_cannot_be_is_refused_with_the_recipe(folders):
    """Before a run takes its place, and without torch."""
    given = {"backend": "promptlesion", "weights": str(folders["promptlesion"])}
    assert LesionGenerator(LesionParams(**given)).classes == new("promptlesion").settings.classes
    assert AngioCt(AngioCtParams(**given)).classes == new("promptlesion").settings.classes
    for more in ({"steps": 7}, {"backend": "promptlesion-mask"}, {"weights": str(folders["promptlesion"].parent)}):
        with pytest.raises(ValueError, match=r"give|is of promptlesion"):
            LesionGenerator(LesionParams(**given | more))


def test_guidance_needs_a_prompt(folders):
    with pytest.raises(ValueError, match="difftumor has no prompt"):
        opened(folders, "difftumor", guidance=2.0)


def test_patches_that_cannot_be_filled_are_named(folders):
    filler = opened(folders, "promptlesion")
    with pytest.raises(ValueError, match="'liver_early' is none of this model's: healthy, calcified"):
        fill(filler, patch("liver_early"))
    said = r"voxels are 2 x 2 x 2 mm, the model was fitted on 1 x 1 x 1 mm: give .* the option spacing_mm=\[1,1,1\]"
    with pytest.raises(BadCase, match=said):
        fill(filler, patch(spacing=(2.0, 2.0, 2.0)))
    with pytest.raises(RuntimeError, match="prepare"):
        fill(LearnedFiller(folders["promptlesion"]), patch())


def test_an_autoencoder_alone_draws_nothing(tmp_path):
    model = new("promptlesion")
    model.settings = replace(model.settings, backend="vqgan")
    model.save(tmp_path)
    with pytest.raises(ValueError, match="is of vqgan"):
        LearnedFiller(tmp_path).prepare("cpu")


def test_the_backend_is_chosen_without_torch():
    """Recipes are checked on machines that have the core only."""
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom lesionforge.generators.lesion.learned import LearnedFiller\n"
        "LearnedFiller('somewhere', 'promptlesion')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
