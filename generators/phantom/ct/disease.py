"""The phantoms' own disease: what counts as real where backends of the ``lesion`` generator are compared.

It follows the literature and nothing that a backend draws by: no module of ``generators.lesion`` is used here or uses
it (a test says so), so that none has the truth's law for nothing. It is painted as tissue, finer than voxels, before
the scanner blurs the canvas and adds its noise; an annotator then marks what the blurred picture shows, with errors of
a person: a bias that is the subject's, and a border that wanders.

Numbers and where they come from (HU, mm; sd after ±, quartiles in brackets; "assumed" where no figure was found):

| what | figure | source |
|---|---|---|
| lumen, non-calcified plaque | 326: 48 [28-69]; 118: 11, hence .18 HU a HU of the lumen | seeds D10 |
| the same, arterial and delayed | 106 ± 58 and 64 ± 43 | Maffei, Radiol Med 117 (2012) 230 |
| fibrous, lipid-rich, calcified | 91 ± 22, 49 ± 22, 391 ± 156 | Leber, JACC 43 (2004) 1241 |
| plaques of a patient, left and right | 2,140 and 1,062 in 1,478; twice as many here | 10.1016/j.amjcard.2021.07.040 |
| share of LAD, circumflex, right | 58.6, 10.0, 32.8 mm3 | Bax, EHJ-CVI 22 (2021) 322 |
| along the LAD, by third | 1.00, .79, .07 of sections diseased | 75 LADs by IVUS, repub.eur.nl/pub/57181 |
| myocardial, lateral, epicardial | .467, .208, .125; half concentric | 10.1186/s12947-016-0090-3 |
| at forks | 48 % opposite the divider, 9 % on it | OCT, 44 forks, PubMed 25356817 |
| length, %DS, remodelling | 9.3 ± 4.6, 23 [14-33], 1.26 ± .15 at risk, else 1.13 ± .15 | PMC8047372, table 2 |
| soft, mixed, calcified, rings | 254, 191, 32, 38 sections | Maurovich-Horvat, JACC CVI 5 (2012) 1243 |
| spotty calcium | under 3 mm and 90 degrees | Motoyama, JACC 50 (2007) 319 |
| calcified share (raised to clinics'), thickness of caps, density of calcium | | assumed |
| liver metastases | rim in 73 %, 84 % of them enhancing | Ann Acad Med Singap 32 (2003) 191 |
| contrast of these and of HCC, portal venous | -45 ± 15, -18 ± 12 | assumed |
| clear-cell RCC, nephrographic | 149 ± 34, 13 of 23 hypervascular | 10.5301/uj.5000256 |
| papillary RCC, portal venous | 41-95, diameter 28 [12-110] | AJR, papers.gwu smhs_rad_facpubs/990 |
| RCC's kinds | clear .75, papillary .07-.15, chromophobe .05 | Kidney Cancer 2 (2018), kca180028 |
| pancreatic cancer, portal venous | -40 ± 23, diameter 30 ± 9; 14 % even (-7 ± 5), 12 ± 5 | PubMed 17961951 |
| neuroendocrine tumours | 15 %, +25 ± 12 | assumed |
| two people's outlines of kidney tumours | Dice .923 | KiTS19, arXiv 1912.01054 |
| outlines of plaques | .15 mm | assumed |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats


@dataclass(frozen=True)
class Wobble:
    """Smooth irregularity of mean 0 and standard deviation 1 over a place along and an angle about something."""

    turns: Floats  # whole ones a circle (n,)
    waves: Floats  # a unit of the place
    phases: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, waves: float = 2.5, terms: int = 6) -> Wobble:
        """``waves``: the most there are of them in a unit of the place."""
        turns = rng.integers(0, 4, terms).astype(np.float64)
        return cls(turns, rng.uniform(-waves, waves, terms), rng.uniform(0.0, 2 * math.pi, terms))

    def at(self, place: Floats, angle: Floats) -> Floats:
        """Of places and angles (radians) of any one shape."""
        out: Floats = np.zeros(np.shape(place))
        for turn, wave, phase in zip(self.turns, self.waves, self.phases, strict=True):
            out += np.cos(turn * angle + 2 * math.pi * wave * place + phase)
        return out * math.sqrt(2.0 / len(self.turns))


def cut_normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """One value, at most two deviations off."""
    return mean + sd * float(np.clip(rng.standard_normal(), -2.0, 2.0))


def spread(rng: np.random.Generator, median: float, sd: float, low: float, high: float) -> float:
    """One value of a log-normal, ``sd`` that of its logarithm, moved to the end that it is beyond."""
    return float(np.clip(median * math.exp(sd * float(rng.standard_normal())), low, high))


def pick(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    """Which of several, by their shares, which need not add up to 1."""
    ends = np.cumsum(shares)
    return int(np.searchsorted(ends, float(rng.uniform(0.0, float(ends[-1]))), side="right").clip(0, len(shares) - 1))


@dataclass(frozen=True)
class Annotator:
    """Who marks a subject's lesions, and how far off: mm by which outlines lie outside of what is there.

    ``bias`` is the subject's own; the border wanders about it by ``hand``, over ``STROKE_MM``.
    """

    bias: float
    hand: float

    @classmethod
    def draw(cls, rng: np.random.Generator, bias: float, hand: float) -> Annotator:
        """``bias``: standard deviation over subjects."""
        return cls(cut_normal(rng, 0.0, bias), hand)

    def off(self, canvas: Canvas, stroke_mm: float) -> Floats:
        """mm on a canvas, outwards."""
        out: Floats = self.bias + self.hand * canvas.waves("disease annotator", stroke_mm)
        return out


def mark(canvas: Canvas, seen: NDArray[np.bool_], label: int, least: int) -> int:
    """Label what an annotator sees, pieces of fewer than ``least`` voxels left out; how many voxels that is."""
    parts, count = scipy.ndimage.label(seen, np.ones((3, 3, 3)))
    kept = np.bincount(parts.ravel(), minlength=count + 1) >= least
    kept[0] = False
    chosen = kept[parts]
    canvas.labels[chosen] = label
    return int(chosen.sum())
