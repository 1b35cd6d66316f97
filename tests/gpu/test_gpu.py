"""The GPU script at toy size on the CPU, and that no part can take another's time, or the whole down with it."""

import json
import sys
import time
from types import ModuleType

import numpy as np
import pytest

from tests.gpu import __main__ as gpu
from tests.gpu import backends, reconstruction
from tests.gpu.part import Asked, Report, need

TOY = ["--device", "cpu", "--toy", "--in-process", "--out"]


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_whole_script_at_toy_size_where_libraries_are_missing(tmp_path, monkeypatch, capsys):
    pytest.importorskip("diffusers")
    for name in ("ray", "monai", "ultralytics"):  # costly to import; and this is how a bare machine is
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(reconstruction, "TOYS", {"sparse": 1})  # the others are among the backends
    assert gpu.main([*TOY, str(tmp_path)]) == 3, capsys.readouterr().out
    parts = results(tmp_path)["parts"]
    states = {name: part["state"] for name, part in parts.items()}
    assert states == {
        **dict.fromkeys(("reconstruction", "diffusion", "stenoses", "lesions", "projector"), "passed"),
        **dict.fromkeys(("backends", "dataset"), "skipped"),
    }
    assert {one["needs"] for one in parts["backends"]["skipped"]} == {"monai", "ultralytics"}
    assert parts["dataset"]["checks"] == []
    assert {"hull", "sparse"} <= {row["method"] for row in parts["reconstruction"]["table"]}
    assert parts["reconstruction"]["trees"] == {"learnt from": 4, "unseen": 4, "from": "made here"}
    loop, judge = parts["stenoses"]["closed loop"], parts["stenoses"]["judge"]
    assert {(row["backend"], row["meter"].split(",")[0]) for row in loop} == {
        (backend, meter) for backend in ("attenuation", "diffusion") for meter in ("own", "stranger")
    }
    assert {row["told"] for row in judge} == {"attenuation", "undrawn", "diffusion"}
    lesions = parts["lesions"]
    assert [row["model"] for row in lesions["fits"]] == ["vqgan", "latent", "voxel"]
    assert [(row["by"], row["n"]) for row in lesions["lesions"]] == [("texture", 1), ("latent", 1), ("voxel", 1)]
    told = capsys.readouterr().out
    assert "needs monai, ultralytics" in told
    assert "not all passed" in told


def test_the_recipe_makes_what_reconstruction_reads_and_no_more(tmp_path):
    from lesionforge.jobs.commands.generate import generate
    from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
    from tests.gpu.trees import Stored

    place = tmp_path / "trees"
    generate(gpu.ROOT / "tests" / "gpu" / "trees.yaml", place, in_process=True, overrides=["sources.0.options.count=1"])
    stored = [
        Stored(place, split, Reconstruction()) for split in ("train", "test") if [*place.glob(f"shards/{split}*")]
    ]
    pairs = [pair for one in stored for pair in map(one.__getitem__, range(len(one)))]
    assert sorted(pair.side for pair in pairs) == ["left", "right"]
    assert all(pair.target.sum() > 100 for pair in pairs)
    assert all(pair.hull[pair.target].mean() > 0.5 for pair in pairs)
    assert sum(file.stat().st_size for file in place.glob("shards/*.tar")) < 2 * 25_000 + 10_240  # a tar's own end


@pytest.mark.parametrize(("side", "whole"), [(16, False), (16, True), (40, True)])  # 40: larger than the volumes
def test_cubes_cut_on_a_device_are_those_of_the_loader_to_the_bit(tmp_path, side, whole):
    torch = pytest.importorskip("torch")
    from lesionforge.generators.diffusion.batches import stacked
    from lesionforge.jobs.fit.cubes import Cubes
    from lesionforge.jobs.fit.volumes import Volumes
    from lesionforge.sinks.store import Store
    from tests.gpu.cutter import Cutter, Known, Places
    from tests.sinks import lesions

    lesions.write(Store(str(tmp_path)), 6, bed=True)
    volumes = Volumes([str(tmp_path)], "train")
    known = Known(volumes[n] for n in range(len(volumes)))
    classes = ("healthy", "liver_early", "kidney_early", "pancreas_early")  # the last known by its organ's label
    own = {"window": (-1000.0, 1800.0), "bend_hu": 500.0, "classes": classes, "halo_mm": 1.0}
    common = {"side": side, "level": whole, "healthy": 0.2, "empty": 0.3, **own}
    places, cubes = Places(known, "a", **common), Cubes(volumes, "a", **common)
    numbers = range(40)
    made = Cutter(known, "cpu", **own)(stacked([places[n] for n in numbers], "cpu"))
    real = stacked([cubes[n] for n in numbers], "cpu")
    assert made.keys() == real.keys()
    assert {name: made[name].dtype for name in real} == {name: real[name].dtype for name in real}
    assert [name for name in real if not torch.equal(made[name], real[name])] == []
    assert set(real["lesion"].tolist()) == {0, 1, 2, 3}
    assert (len(np.unique(real["shown"][real["hole"] > 0])) > 1) == whole  # levels of their organs, or the middle


def test_noise_of_cut_cubes_is_drawn_anew_and_again_from_the_same_state(tmp_path):
    pytest.importorskip("torch")
    from lesionforge.generators.diffusion.batches import stacked
    from lesionforge.jobs.fit.volumes import Volumes
    from lesionforge.sinks.store import Store
    from tests.gpu.cutter import Cutter, Known, Places
    from tests.sinks import lesions

    lesions.write(Store(str(tmp_path)), 2)
    known = Known([Volumes([str(tmp_path)], "train")[0]])
    own = {"window": (-175.0, 250.0), "bend_hu": 0.0, "classes": ("healthy", "liver_early"), "halo_mm": 1.0}
    places = Places(known, "a", levels=20, side=16, healthy=0.0, **own)
    cutter = Cutter(known, "cpu", noise=(4, 8, 8, 8), **own)
    batch, state = stacked([places[n] for n in range(3)], "cpu"), cutter.random.get_state()
    first, second = cutter(batch), cutter(batch)
    cutter.random.set_state(state)
    assert first["noise"].shape == (3, 4, 8, 8, 8)
    assert not first["noise"].equal(second["noise"])
    assert first["noise"].equal(cutter(batch)["noise"])
    assert 0 <= first["time"].min() <= first["time"].max() < 20


# -- parts that are made up


@pytest.fixture
def parts(monkeypatch):
    """Parts by name: what their ``run`` does."""

    def register(**runs):
        monkeypatch.setattr(gpu, "PARTS", tuple(runs))
        for name, run in runs.items():
            module = ModuleType(name)
            module.NEEDS, module.SHARE, module.run = (), 1.0, run
            monkeypatch.setitem(sys.modules, f"tests.gpu.{name}", module)

    return register


def passes(asked, report):
    report.check("it is so", True, apart=0.25)


def test_a_part_that_fails_stops_none_and_passed_is_said_of_no_other(parts, tmp_path):
    def breaks(asked, report):
        report.row("table", figure=float("nan"))
        raise ValueError("no such thing\nsecond line")

    def misses(asked, report):
        need("sys", "a_module_that_nobody_has")

    def fails(asked, report):
        passes(asked, report)
        report.check("it is so, too", False)

    parts(breaks=breaks, misses=misses, fails=fails, idle=lambda asked, report: None, passes=passes)
    assert gpu.main([*TOY, str(tmp_path)]) == 1
    told = results(tmp_path)
    assert {name: part["state"] for name, part in told["parts"].items()} == {
        **dict.fromkeys(("breaks", "fails", "idle"), "failed"), "misses": "skipped", "passes": "passed",
    }  # fmt: skip
    assert told["parts"]["breaks"]["error"] == "ValueError: no such thing"
    assert told["parts"]["breaks"]["table"] == [{"figure": None}]
    assert told["parts"]["misses"]["skipped"] == [{"what": "the part misses", "needs": "a_module_that_nobody_has"}]
    assert told["passed"] is False
    parts(passes=passes)
    assert gpu.main([*TOY, str(tmp_path)]) == 0
    parts(passes=passes, misses=misses)
    assert gpu.main([*TOY, str(tmp_path)]) == 3


def test_the_time_that_a_part_leaves_goes_to_the_next(parts, tmp_path):
    left = {}

    def quick(asked, report):
        left["quick"] = report.left
        passes(asked, report)

    def last(asked, report):
        left["last"] = report.left
        passes(asked, report)

    parts(quick=quick, last=last)
    assert gpu.main([*TOY, str(tmp_path), "--seconds", str(100 + gpu.GRACE)]) == 0
    assert left["quick"] == pytest.approx(50, abs=5)
    assert left["last"] == pytest.approx(100, abs=10)


def test_a_report_is_on_the_disk_before_its_part_ends(tmp_path):
    report = Report("one", tmp_path, 9)
    report.check("it is so", True)
    told = json.loads((tmp_path / "one.json").read_text())
    assert (told["state"], len(told["checks"])) == ("running", 1)
    assert [file.name for file in tmp_path.iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    ("does", "why"), [("sleep 60 & sleep 60", "did not end within"), ("kill -9 $$", "its process ended with -9")]
)
def test_a_part_is_ended_with_its_workers_and_told_of(does, why, tmp_path, monkeypatch, capsys):
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\n{does}\n")
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub))
    monkeypatch.setattr(gpu, "GRACE", 0.2)
    begun = time.monotonic()
    gpu.apart("one", Asked("cpu", True, None, tmp_path), 0.3)
    assert time.monotonic() - begun < 30
    told = json.loads((tmp_path / "one.json").read_text())
    assert told["state"] == "failed"
    assert why in told["error"]
    assert why in capsys.readouterr().out


def test_a_backend_that_is_not_the_cpu_s_or_not_its_own_fails(tmp_path):
    """On the device ``meta`` of this test, what is made is off by a little, or never twice the same."""
    report, calls = Report("one", tmp_path, 9), []

    def made(off, noise):
        def make(device, folder):
            calls.append(device)
            return {"pixels": [100.0 + (device != "cpu") * (off + noise * len(calls))]}

        return make

    for name, fixed, off, noise in (
        ("near", True, 0.01, 0), ("far", True, 1, 0), ("varies", True, 0, 1e-4), ("may vary", False, 0, 1e-4),
    ):  # fmt: skip
        backends._compare("meta", report, name, 1e-3, fixed, made(off, noise))
    assert {one["check"]: one["met"] for one in report.body["checks"]} == {
        "near": True, "far": False, "varies": False, "may vary": True,
    }  # fmt: skip
