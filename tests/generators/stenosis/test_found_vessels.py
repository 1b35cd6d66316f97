"""Lesions in frames without a vessel mask, and in masks that hold a catheter."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.stenosis.generator import StenosisGenerator
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.stenosis.sites import ENTRY, FOUND, FrameAnatomy
from lesionforge.generators.stenosis.vessels import VesselMasks, without
from lesionforge.generators.types import Rejected
from lesionforge.generators.vessel.finder import finder
from tests.benchmarks.finder import cases
from tests.engine.sources.test_xa import write
from tests.generators.stenosis.test_generator import one, spec
from tests.generators.vessel.finder.frames import line


@pytest.fixture(scope="module")
def frame():
    return phantom_angiogram(bytes([3]) * 32, "left", "s")


def test_nothing_goes_where_a_found_vessel_may_be_a_catheter(frame):
    """What ends near the border holds no new lesion in a mask that was found, and may in one that was drawn."""
    drawn = FrameAnatomy.of(frame, 7.0)
    found = FrameAnatomy.of(replace(frame, notes={FOUND: True}), 7.0)
    same = {vessel.lumen.points.tobytes(): vessel for vessel in drawn.vessels}
    entering = elsewhere = 0
    for own in found.vessels:
        ends = own.lumen.points[[0, -1]]
        twin = same.get(own.lumen.points.tobytes())
        if min(ends.min(), (511 - ends).min()) < ENTRY * 511:
            entering += 1
            assert not own.central.any()
        elif twin:  # others end where what enters leads on
            elsewhere += own.central.any()
            assert np.array_equal(own.central, twin.central)
            assert np.array_equal(own.open, twin.open)
    assert entering
    assert elsewhere
    assert 0 < len(found.places) < len(drawn.places)


def centre(sample):
    return np.asarray(sample.labels["lesions"][0]["mld_xy"]) - 0.5


def test_a_frame_without_a_mask_gets_its_lesion_on_a_vessel(frame):
    sample = one(StenosisGenerator(StenosisParams()), replace(frame, mask=None))
    x, y = np.rint(centre(sample)).astype(int)
    assert binary_dilation(frame.mask, iterations=2)[y, x]
    assert sample.drawn["vessels"] == "finder"
    assert sample.labels["mask_is_complete"] is False
    found = finder.Finder.load().find(frame.image)
    assert np.array_equal(sample.fields["source_mask.png"] > 0, found.vessel)


def test_dark_lines_do_where_somebody_asks_for_them(frame):
    sample = one(StenosisGenerator(StenosisParams(vessels="ridges")), replace(frame, mask=None))
    assert sample.drawn["vessels"] == "ridges"


def test_a_source_s_mask_stands_unless_it_may_hold_catheters(frame):
    assert VesselMasks(StenosisParams(), True).of(frame) is frame
    assert one(StenosisGenerator(StenosisParams()), frame).drawn["vessels"] == "source"
    seen = VesselMasks(StenosisParams(catheters=True), False).of(frame)
    assert (seen.mask <= frame.mask).all()
    assert seen.mask.sum() > 0.9 * frame.mask.sum()


def test_a_catheter_leaves_a_mask_with_its_walls_and_stubs():
    tube, vessel = line([(-5, 40), (90, 60)], 7), line([(95, 62), (200, 200)], 9)
    drawn = binary_dilation(tube, iterations=2) | vessel
    left = without(drawn, tube)
    assert not (left & tube).any()
    assert (left & vessel).sum() > 0.9 * vessel.sum()
    assert (left & ~vessel).sum() < 20
    assert np.array_equal(without(drawn, tube & False), drawn)


def folder(place, frame, masks):
    for n in range(3):
        for name, picture in (("images", frame.image[n:]), ("masks", frame.mask[n:] * np.uint8(255))):
            (place / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place / name / f"{n}.png")
        (place / "labels").mkdir(exist_ok=True)
        (place / "labels" / f"{n}.txt").write_text("")
    options = {"masks": "masks"} if masks else {}
    return {"uri": f"yolo:{place}", "options": options}


def pipeline(source, **params):
    return Pipeline(
        Recipe.model_validate(
            {"name": "r", "seed": 1, "sources": [source], "generator": {"name": "stenosis", "params": params}}
        )
    )


def test_plan_and_identity_say_who_finds_the_vessels(tmp_path, frame, monkeypatch):
    masked, bare = folder(tmp_path / "a", frame, True), folder(tmp_path / "b", frame, False)
    assert not pipeline(masked).generator.notes
    assert "finder" not in pipeline(masked).sealed.generator.params
    own = pipeline(bare)
    assert any("the vessel finder finds them" in note for note in own.notes)
    shipped = own.sealed.generator.params["finder"]
    assert shipped == "shipped:" + finder.digest_of()
    again = pipeline(bare, finder=shipped)  # as a dataset's recipe says it
    assert again.identity == own.identity
    assert pipeline(bare, vessels="ridges").identity != own.identity
    assert any("Sato" in note for note in pipeline(bare, vessels="ridges").notes)
    monkeypatch.setattr(finder, "digest_of", lambda: "0" * 64)
    assert pipeline(bare).identity != own.identity
    with pytest.raises(finder.FinderError, match="other weights made this dataset"):
        _ = pipeline(bare, finder=shipped).identity


def test_without_torch_plan_says_so_in_a_line(tmp_path, frame):
    source = folder(tmp_path, frame, False)
    code = (
        "import sys, importlib.util as u\nreal = u.find_spec\n"
        "import lesionforge.generators.vessel.finder.finder as f\nf.find_spec = lambda name: None\n"
        "from lesionforge.jobs.commands.plan import plan\n"
        f"recipe = {{'name': 'r', 'seed': 1, 'sources': [{source!r}], 'generator': {{'name': 'stenosis'}}}}\n"
        "print(plan(recipe).notes[-1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs torch, which is not here: pip install 'lesionforge[train]', or vessels: ridges" in done.stdout


def test_no_lesion_lies_in_a_catheter_that_a_mask_holds(data_dir):
    """Three of the twelve drawn frames; tests/benchmarks/found_lesions.py makes all, three times."""
    generator = StenosisGenerator(StenosisParams(catheters=True))
    made = 0
    for n, (_, image, vessel, catheter) in enumerate(list(cases(data_dir, "xacv"))[::5]):
        case = phantom_angiogram(bytes(32), "left", "s", size=128)
        case = replace(case, image=image, mask=vessel | catheter, lesions=(), source_id=str(n))
        for attempt in range(20):
            try:
                (sample,) = generator.generate([case], [spec(n, attempt=attempt)])
            except Rejected:
                continue
            x, y = np.rint(centre(sample)).astype(int)
            assert not (catheter & ~vessel)[y, x]
            made += 1
            break
    assert made >= 2


def test_a_real_run_gets_a_lesion(tmp_path, data_dir):
    """A run of ``angio_runs`` as DICOM, without a mask: tests/benchmarks/found_lesions.py makes all."""
    run = data_dir / "angio_runs" / "p2c3"
    frames = [
        np.asarray(Image.open(file, formats=["JPEG"]).convert("L")) for file in sorted(run.glob("*.jpg"))[12:30:3]
    ]
    write(tmp_path / "run.dcm", np.stack(frames))
    made = pipeline({"uri": f"dicom:{tmp_path}", "options": {}})
    case = made.sources[0].read(0)
    assert made.sources[0].unmasked == 1
    assert case.mask is None
    assert case.notes["frames"] == 6
    sample = one(made.generator, case)
    assert sample.drawn["vessels"] == "finder"
