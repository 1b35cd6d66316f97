"""What a reader's label of a CT shows of a tree: it ends where vessels grow too fine, and draws fine ones too wide.

ImageCAS's example label ends in 11 (left) and 9 (right) free ends of 1.07 mm radius, where vessels that fine and finer
go on for twice its length in the heart: a CT blurs by about a voxel or two, and readers stop at what they can follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.tree.calibre import RADIUS_GRID_MM, bifurcations
from lesionforge.generators.phantom.tree.curve import STEP_MM
from lesionforge.generators.types import Branch

FINEST_MM = (0.35, 0.95)  # radius
BLUR_MM = 1.6
_STEM_MM = 45.0  # of its root a label shows this much, however fine the vessel
_STUB_MM = 4.0  # a branch that shows less than this outside its parent's lumen is not labelled


@dataclass(frozen=True)
class Reading:
    """How one subject was labelled, both trees alike.

    Attributes:
        finest_mm: radius at which a vessel is given up.
        blur_mm: a vessel of radius r is drawn ``sqrt(r^2 + blur_mm^2)`` wide.
    """

    finest_mm: float
    blur_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Reading:
        """From one that shows every twig as it is to one that shows a handful of branches, all of them wide."""
        return cls(float(rng.uniform(*FINEST_MM)), BLUR_MM * float(rng.random()) ** 2)

    def label(self, branches: Sequence[Branch]) -> tuple[Branch, ...]:
        """The branches of a healthy tree that are labelled, as far and as wide as they are. Murray's law is lost."""
        origin = {child: fork.index for fork in bifurcations(branches) for child in fork.children}
        kept: dict[int, int] = {}  # numbers in the tree: numbers in the label
        out: list[Branch] = []
        for number, branch in enumerate(branches):
            stop = int(np.searchsorted(-branch.radii, -self.finest_mm, side="right"))
            if branch.parent < 0:
                stop = max(stop, round(_STEM_MM / STEP_MM))
            elif branch.parent not in kept:
                continue
            else:
                parent = out[kept[branch.parent]]
                wide = float(branches[branch.parent].radii[origin[number]])
                if origin[number] >= len(parent.radii) or stop * STEP_MM < wide + _STUB_MM:
                    continue
            kept[number] = len(out)
            radii = np.sqrt(branch.radii[:stop] ** 2 + self.blur_mm**2)
            radii = np.rint(radii / RADIUS_GRID_MM) * RADIUS_GRID_MM
            above = kept.get(branch.parent, -1)
            out.append(Branch(branch.name, branch.points[:stop], radii, branch.segments[:stop], above))
        return tuple(out)
