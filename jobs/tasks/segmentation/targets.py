"""What is segmented: the classes of a domain, and which of a volume's labels belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import ORGANS, TUMOURS
from lesionforge.jobs.errors import UsageError

#: PromptLesion's, background aside. Early and late tumours of an organ are one class, as in its Table 2.
CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "ccta": ("calcified", "non_calcified"),
    "abdomen": tuple(f"{organ}_tumour" for organ in ORGANS),
}
#: Labels that belong to a class of another name. Low-attenuation plaque is the lipid-rich kind of non-calcified; mixed
#: plaque, one label in our maps, is non-calcified tissue with specks of calcium.
_PART_OF: Final = {
    "low_attenuation": "non_calcified",
    "mixed": "non_calcified",
    **{name: f"{name.split('_')[0]}_tumour" for name in TUMOURS},
}


def classes_of(domain: str) -> tuple[str, ...]:
    """The classes of ``ccta`` or ``abdomen``, background aside.

    Raises:
        UsageError: for another domain.
    """
    if domain not in CLASSES:
        raise UsageError(f"domain {domain!r} is unknown; give {' or '.join(CLASSES)}")
    return CLASSES[domain]


def class_of(name: str) -> str:
    """The class that lesions of a name are segmented as."""
    return _PART_OF.get(name, name)


def target(labels: NDArray[np.uint8], legend: Mapping[int, str], domain: str) -> NDArray[np.uint8]:
    """A label map with 0 as background and n + 1 as the domain's class n; organs and vessels are background.

    Args:
        labels: uint8, any shape.
        legend: what its values mean, by standard names.
        domain: see ``classes_of``.
    """
    classes = classes_of(domain)
    table = np.zeros(256, np.uint8)
    for value, name in legend.items():
        name = class_of(name)
        if value and name in classes:
            table[value] = 1 + classes.index(name)
    return table[labels]
