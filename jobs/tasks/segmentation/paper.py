"""PromptLesion's published figures (anonymous submission, Tables 1 to 3), to stand beside ours.

Mean Dice of lesions as fractions. Their networks learn from 70 private CCTA volumes, or from LiTS, KiTS and
MSD-Pancreas, 500 epochs, three seeds, no spread given: other data than ours, so levels cannot be compared, only what
synthetic data add. "nnU-Net" is DiffTumor's DynUNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NETWORKS: Final = {"unet": "U-Net", "dynunet": "nnU-Net"}
ARMS: Final = {  # our arm -> the paper's row
    "real": "real only",
    "texture": "+ SynTumor",
    "difftumor": "+ DiffTumor",
    "medddpm": "+ Med-DDPM",
    "promptlesion": "+ PromptLesion",
    "promptlesion-mask": "+ PromptLesion†",
}
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "ccta": ("calcified", "non_calcified"),
    "abdomen": ("liver", "kidney", "pancreas"),
}
NUMBER: Final = {"ccta": 1, "abdomen": 2}  # the paper's table

Figures = tuple[float, ...]  # one a column, then the printed mean

# Tables 1 and 2, by domain, network and arm. DiffTumor's row is the mean of models fitted on one class each.
FIGURES: Final[Mapping[tuple[str, str], Mapping[str, Figures]]] = {
    ("ccta", "unet"): {
        "real": (0.681, 0.213, 0.447),
        "texture": (0.695, 0.272, 0.484),
        "difftumor": (0.702, 0.302, 0.502),
        "medddpm": (0.716, 0.343, 0.529),
        "promptlesion": (0.734, 0.382, 0.558),
        "promptlesion-mask": (0.751, 0.390, 0.571),
    },
    ("ccta", "dynunet"): {
        "real": (0.692, 0.231, 0.462),
        "texture": (0.699, 0.283, 0.491),
        "difftumor": (0.706, 0.317, 0.511),
        "medddpm": (0.709, 0.353, 0.531),
        "promptlesion": (0.741, 0.401, 0.571),
        "promptlesion-mask": (0.756, 0.443, 0.599),
    },
    ("abdomen", "unet"): {
        "real": (0.358, 0.500, 0.435, 0.431),
        "texture": (0.483, 0.533, 0.442, 0.486),
        "difftumor": (0.523, 0.542, 0.463, 0.509),
        "medddpm": (0.592, 0.543, 0.526, 0.554),
        "promptlesion": (0.586, 0.589, 0.529, 0.568),
        "promptlesion-mask": (0.640, 0.600, 0.537, 0.592),
    },
    ("abdomen", "dynunet"): {
        "real": (0.472, 0.513, 0.334, 0.439),
        "texture": (0.492, 0.541, 0.364, 0.465),
        "difftumor": (0.538, 0.557, 0.398, 0.497),
        "medddpm": (0.537, 0.553, 0.453, 0.514),
        "promptlesion": (0.560, 0.593, 0.452, 0.535),
        "promptlesion-mask": (0.582, 0.611, 0.466, 0.553),
    },
}

# Table 3: one DiffTumor an organ, each scored on its own organ. Its PromptLesion rows are those of Table 2.
EACH: Final[Mapping[str, Figures]] = {
    "unet": (0.593, 0.609, 0.542, 0.581),
    "dynunet": (0.589, 0.628, 0.448, 0.555),
}
