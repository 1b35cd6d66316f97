"""Real runs, which came as JPEG frames and a table of their headers, as the DICOM files that they were."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.engine.sources.test_xa import write

TAGS = {
    "primary_deg": "PositionerPrimaryAngle",
    "secondary_deg": "PositionerSecondaryAngle",
    "sid_mm": "DistanceSourceToDetector",
    "sod_mm": "DistanceSourceToPatient",
    "frame_time_ms": "FrameTime",
}
FRAME_TIME_MS = "133.3333333"  # of all of them


def frames(folder: Path) -> np.ndarray:
    """uint8 (frames, rows, cols) of a run's folder."""
    return np.stack([np.asarray(Image.open(file).convert("L")) for file in sorted(folder.glob("*.jpg"))])


def wrapped(data: Path, name: str, path: Path) -> Path:
    """The run ``name`` of ``data``/angio_runs as an XA DICOM file; where its header is not known, without geometry."""
    folder = data / "angio_runs"
    geometry = json.loads((folder / "runs.json").read_text())[name]["geometry"]
    patient, pixels = name[:2], frames(folder / name)
    if geometry is None:
        lacking = ("ImagerPixelSpacing", *(tag for tag in TAGS.values() if tag.startswith(("Pos", "Dis"))))
        return write(path, pixels=pixels, patient=patient, drop=lacking, FrameTime=FRAME_TIME_MS)
    tags = {tag: geometry[key] for key, tag in TAGS.items()}
    tags["ImagerPixelSpacing"] = geometry["imager_spacing_mm"].split(", ")
    return write(path, pixels=pixels, patient=patient, PixelIntensityRelationship=geometry["intensity"], **tags)
