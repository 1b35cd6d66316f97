"""DiGDA's published figures (Seo et al., MICCAI 2025, arXiv 2508.00438), to stand beside ours.

Their detectors learn from 5,156 private frames (Ultralytics YOLO, 512 px, mean of three runs, no spread given) and are
tested on private frames or on ARCADE's validation part: other training data than ours, so levels cannot be compared,
only what synthetic data add.
"""

from __future__ import annotations

COLUMNS = ("f1", "map50", "ap50_moderate", "ap50_severe")

# Table 2, times N -> figures of COLUMNS.
INTERNAL = {
    0: (0.650, 0.688, 0.731, 0.646),
    1: (0.656, 0.699, 0.749, 0.649),
    2: (0.658, 0.710, 0.767, 0.654),
    4: (0.670, 0.717, 0.771, 0.663),
}
ARCADE = {
    0: (0.500, 0.464, 0.436, 0.492),
    1: (0.519, 0.484, 0.440, 0.527),
    2: (0.524, 0.501, 0.448, 0.555),
    4: (0.513, 0.492, 0.438, 0.546),
}

# Figure 4a's two numbers in the text: mAP50, x4, YOLO large, internal frames.
BALANCED, IMBALANCED = 0.717, 0.707

# Figure 4b (subset sizes) prints no numbers.
