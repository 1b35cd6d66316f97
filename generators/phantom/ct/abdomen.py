"""A procedural CT of the abdomen in the portal-venous phase."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.ct.abdomen_organs import paint_organs
from lesionforge.generators.phantom.ct.abdomen_wall import paint_wall
from lesionforge.generators.phantom.ct.canvas import AIR, Canvas, CtGrid
from lesionforge.generators.phantom.ct.disease_abdomen import paint_tumours
from lesionforge.generators.phantom.ct.scanner import KERNELS, scan
from lesionforge.generators.phantom.tree.coronary import LICENCE
from lesionforge.generators.types import Volume, stream

NAMES = (
    "liver", "kidney", "pancreas", "spleen", "stomach", "gallbladder", "duodenum", "colon", "small_bowel", "aorta",
    "inferior_vena_cava", "portal_vein", "lung", "bone", "liver_tumour", "kidney_tumour", "pancreas_tumour",
)  # fmt: skip
LEGEND = dict(enumerate(NAMES, 1))
VALUE = {name: number for number, name in LEGEND.items()}


@dataclass(frozen=True)
class ContrastPhase:
    """HU of a subject's organs ``delay_s`` after the contrast agent was given.

    The kidneys' cortex takes it up first; their medulla has come to the same HU by about 105 s.
    """

    liver: float
    kidney: float  # mean of cortex and medulla
    medulla: float
    pancreas: float
    spleen: float
    aorta: float
    veins: float
    fat: float
    delay_s: float

    @classmethod
    def draw(cls, rng: np.random.Generator, delay_s: float) -> ContrastPhase:
        """One subject's: blood first, organs follow it."""
        aorta = float(rng.uniform(135, 175))
        liver, kidney = float(rng.uniform(92, 122)), aorta + float(rng.uniform(15, 40))
        return cls(
            liver=liver,
            kidney=kidney,
            medulla=kidney - 0.9 * (105.0 - delay_s),
            pancreas=float(rng.uniform(80, 106)),
            spleen=float(rng.uniform(108, 132)),
            aorta=aorta,
            veins=aorta + float(rng.uniform(5, 20)),
            fat=float(rng.uniform(-110, -98)),
            delay_s=delay_s,
        )


def phantom_abdomen(
    key: bytes,
    subject: str,
    *,
    shape: tuple[int, int, int] = (144, 112, 96),
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 2.5),
    kernel: str = "medium",
    noise_hu: float | None = None,
    disease: bool = False,
) -> Volume:
    """The abdomen of one subject: a pure function of its arguments.

    Args:
        key: the subject's random key.
        shape, spacing_mm: the field of view, centred on the body at the height of the first lumbar vertebra.
        kernel: name of a reconstruction kernel (``ct_scanner.KERNELS``).
        noise_hu: standard deviation of the noise; drawn from 8 to 15 HU where None.
        disease: tumours of the phantom's own (``disease``), labelled.

    Returns:
        A volume with organ labels (``LEGEND``); vessels inside the liver belong to it, the kidneys' sinus does not.
    """
    rng = stream(key, "phantom/abdomen")
    phase = ContrastPhase.draw(rng, float(stream(key, "phantom/abdomen/delay").uniform(60.0, 95.0)))
    noise = float(rng.uniform(8.0, 15.0)) if noise_hu is None else noise_hu
    grid, chosen = CtGrid.around((0.0, 0.0, 0.0), shape, spacing_mm), KERNELS[kernel]
    canvas = Canvas(grid, AIR, key)

    def healthy(on: Canvas) -> None:
        for tile in on.tiles():
            if (cavity := paint_wall(tile, phase.fat, VALUE)) is not None:
                paint_organs(tile, cavity, phase, VALUE)

    healthy(canvas)
    tumours = paint_tumours(canvas, healthy, phase, phase.delay_s, VALUE) if disease else []
    hu = scan(rng, canvas, chosen, noise)
    return Volume(
        subject=subject,
        source_id=hashlib.blake2b(np.ascontiguousarray(hu, "<i2").tobytes(), digest_size=16).hexdigest(),
        licence=LICENCE,
        hu=hu,
        spacing_mm=grid.spacing_mm,
        origin_mm=grid.origin_mm,
        labels=canvas.labels,
        legend={value: name for value, name in LEGEND.items() if (canvas.labels == value).any()},
        notes={
            "phase": "portal venous",
            "delay_s": round(phase.delay_s),
            "noise_hu": round(noise, 1),
            "psf_fwhm_mm": (chosen.plane_mm, chosen.plane_mm, chosen.slice_mm),
            "kernel": kernel,
            **({"tumours": tumours} if disease else {}),
        },
    )
