"""Stenoses where no mask was drawn, or one with a catheter in it: ``python -m tests.benchmarks.found_lesions OUT``.

The 29 runs of ``angio_runs``, wrapped as DICOM, through source and generator; the 12 frames of ``xacv/frames`` with the
catheter in their masks, three times each. Prints how many were made and how many of the second lie in the catheter;
writes ``OUT/runs.png``, the frames with what was found (vessels red, catheter blue) and the lesion's box, to be judged.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lesionforge.engine.sources.xa.runs import DicomOptions, XaDicom
from lesionforge.generators.stenosis.generator import StenosisGenerator
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.types import Angiogram, BadCase, Rejected, Sample, SampleSpec
from lesionforge.generators.vessel.finder.finder import Finder
from tests.benchmarks.finder import cases
from tests.engine.sources.test_xa import write

REDRAWS = 20  # as the shipped recipes ask for
COLUMNS = 6  # pictures beside each other


def runs(data: Path, place: Path) -> Iterator[Angiogram]:
    """The best frame of every run, as a hospital's files are read."""
    for folder in sorted(p for p in (data / "angio_runs").iterdir() if p.is_dir()):
        frames = [np.asarray(Image.open(f, formats=["JPEG"]).convert("L")) for f in sorted(folder.glob("*.jpg"))]
        write(place / folder.name[:2] / f"{folder.name}.dcm", np.stack(frames), patient=folder.name[:2])
    source = XaDicom(str(place), DicomOptions())
    for case in range(source.cases):
        yield source.read(case)


def made(generator: StenosisGenerator, frame: Angiogram, name: str) -> Sample | str:
    """A sample, drawn again until accepted, or the last reason why not."""
    why = ""
    for attempt in range(REDRAWS + 1):
        spec = SampleSpec(name, "train", 0, 0, 0, "moderate", name.encode().ljust(32, b"."), attempt)
        try:
            return next(generator.generate([frame], [spec]))
        except (BadCase, Rejected) as error:
            why = str(error)
    return why


def picture(image: NDArray[np.uint8], box: list[float] | None) -> Image.Image:
    """Half as large, with what is found in colour."""
    found = Finder.load().find(image)
    colour = np.repeat(image[..., None], 3, axis=2).astype(float)
    for flags, tint in ((found.vessel, (255, 0, 0)), (found.catheter, (0, 160, 255))):
        colour[flags] = 0.6 * colour[flags] + 0.4 * np.array(tint)
    shown = Image.fromarray(colour.astype(np.uint8))
    if box:
        ImageDraw.Draw(shown).rectangle(box, outline=(255, 255, 0), width=3)
    return shown.resize((320, 320))


def main() -> None:
    """Print, and write the picture."""
    data = Path(os.environ.get("LESIONFORGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    generator, shown, count = StenosisGenerator(StenosisParams()), [], 0
    start = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        for n, frame in enumerate(runs(data, Path(place))):
            sample = made(generator, frame, f"run{n}")
            lesion = None if isinstance(sample, str) else sample.labels["lesions"][0]["box"]
            count += lesion is not None
            print(n, sample if isinstance(sample, str) else [round(v) for v in lesion or ()], flush=True)  # noqa: T201
            shown.append(picture(frame.image, lesion))
    print(f"runs: {count} of {len(shown)} made, {time.process_time() - start:.0f} s of CPU")  # noqa: T201
    sheet = Image.new("RGB", (COLUMNS * 322, -(-len(shown) // COLUMNS) * 322))
    for n, one in enumerate(shown):
        sheet.paste(one, (n % COLUMNS * 322, n // COLUMNS * 322))
    sheet.save(out / "runs.png")
    generator, inside, count = StenosisGenerator(StenosisParams(catheters=True)), 0, 0
    for n, (name, image, vessel, catheter) in enumerate(cases(data, "xacv")):
        assert catheter is not None
        whole = Angiogram("s", name, "none", image, vessel | catheter, True)
        for variant in range(3):
            sample = made(generator, replace(whole, source_id=f"{n}"), f"xacv{n}-{variant}")
            if isinstance(sample, str):
                continue
            x, y = (int(v) for v in sample.labels["lesions"][0]["mld_xy"])
            inside += bool((catheter & ~vessel)[y, x])
            count += 1
    print(f"xacv: {inside} of {count} in a catheter")  # noqa: T201


if __name__ == "__main__":
    main()
