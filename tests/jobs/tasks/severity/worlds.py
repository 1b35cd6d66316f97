"""Small runs with known lesions: a dark disc is a stenosis, as large as it is severe."""

from dataclasses import dataclass

import numpy as np

from lesionforge.engine.sources.base import Source
from lesionforge.generators.base import Generator
from lesionforge.generators.types import Angiogram, Lesion, Panel, Sample, stream
from lesionforge.jobs.tasks.runs import HeldFilm, Run

SIDE = 64
PHASES = ["before"] * 3 + ["filling"] + ["full"] * 4 + ["washout"]


def film(percent, rng, phases=PHASES):
    """Frames, the disc's box; nothing is drawn for 0 %DS, nor before the contrast."""
    x, y = rng.integers(4, SIDE - 28, 2)
    box = [float(x), float(y), float(x + 24), float(y + 24)]
    frames = [rng.normal(170, 6, (SIDE, SIDE)).clip(1, 255).astype(np.uint8) for _ in phases]
    yy, xx = np.mgrid[:24, :24] - 11.5
    for frame, phase in zip(frames, phases, strict=True):
        if percent and phase != "before":
            frame[y : y + 24, x : x + 24][np.hypot(yy, xx) < 3 + percent / 12] = 60
    return frames, box


def record(percent, box, side="left", angles=(30.0, 20.0), phases=PHASES, visible=True):
    """The json of a cine sample, as far as runs are made of it."""
    boxes = [{"stenosis": 0, "box": box, "visible": visible}] if percent else []
    return {
        "side": side,
        "view": {
            **{"name": "LAO CRA", "primary_deg": angles[0], "secondary_deg": angles[1], "pixel_mm": [0.3, 0.3]},
            **{"sid_mm": 1000.0, "sod_mm": 750.0},
        },
        "fps": 15.0,
        "begin": phases.index("full"),
        "end": len(phases) - 1 - phases[::-1].index("full"),
        "dominance": "right",
        "stenoses": [{"segment": "6", "artery": "LAD", "percent_ds": percent}] if percent else [],
        "arteries": {"LAD": percent},
        "frames": [{"phase": phase, "boxes": [] if phase == "before" else boxes} for phase in phases],
    }


def run(percent=60.0, seed=0, subject=None, **options):
    """A run in memory."""
    frames, box = film(percent, np.random.default_rng(seed))
    told = record(percent, box, **options)
    name = f"s{seed}" if subject is None else subject
    return Run(
        name,
        f"{name}/{seed}",
        HeldFilm(frames),
        side=told["side"],
        angles=(told["view"]["primary_deg"], told["view"]["secondary_deg"]),
        begin=told["begin"],
        end=told["end"],
        frames=told["frames"],
        stenoses=told["stenoses"],
        arteries=told["arteries"],
    )


@dataclass(frozen=True)
class ToyOptions:
    cases: int = 4


class ToySource(Source):
    """Empty frames, one a patient; every other one holds a graded lesion."""

    Options = ToyOptions
    licence = "none"

    def __init__(self, place, options):
        super().__init__(place, options)
        self.subjects = options.cases

    def fingerprint(self):
        return f"toy runs {self.subjects}"

    def read(self, case):
        percent = 60.0 * (case % 2)
        (image,), box = film(percent, stream(b"toy", str(case)), ["full"])
        lesions = (Lesion(tuple(box), "moderate"),) if percent else ()
        return Angiogram(f"patient {case}", f"id{case}", "none", image, lesions=lesions)


@dataclass(frozen=True)
class ToyParams:
    pass


class ToyGenerator(Generator):
    """Runs of either tree."""

    Params = ToyParams
    classes = ("none", "severe")

    def generate(self, cases, specs):
        for spec in specs:
            percent = 80.0 if spec.target == "severe" else 0.0
            frames, box = film(percent, spec.rng("film"))
            fields = {f"frame{n:03d}.png": frame for n, frame in enumerate(frames)}
            yield Sample(spec, fields, record(percent, box, ("left", "right")[spec.case % 2]), {}, {})

    def sample_bytes(self):
        return 50_000

    def panels(self, fields, meta):
        return [Panel("frame", {"image": fields["frame000.png"]})]


HERE = "tests.jobs.tasks.severity.worlds"


def make_dataset(folder):
    """A dataset of toy runs, through the engine: splits train and test, 2 runs a case."""
    import yaml

    from lesionforge.jobs.commands.generate import generate

    recipe = {
        "name": "toy",
        "seed": 1,
        "sources": [
            {"uri": f"{HERE}.ToySource:here", "options": {"cases": 12}, "split": {"train": 0.5, "test": 0.5}},
        ],
        "generator": {"name": f"{HERE}.ToyGenerator"},
        "multiply": 2,
        "splits": ["train", "test"],
        "balance": {"none": 0.5, "severe": 0.5},
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(recipe))
    generate(path, str(folder / "toy"), 1, True, [])
    return str(folder / "toy")
