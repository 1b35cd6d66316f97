"""Small worlds with known lesions, for tests of detection."""

import numpy as np

from jobs.detection.detector import Detections
from jobs.detection.frames import Frame


def frame(boxes=(), classes=(), *, image=None, subject="s", drawn=None, ignore=(), **names):
    image = np.full((512, 512), 128, np.uint8) if image is None else image
    drawn = np.zeros(len(boxes), bool) if drawn is None else np.array(drawn, bool)
    return Frame(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        drawn,
        subject=subject,
        source_id=names.pop("source_id", subject),
        ignore=np.array(ignore, np.float32).reshape(-1, 4),
        **names,
    )


def found(boxes=(), scores=()):
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32).reshape(-1, 2))


def random_world(rng, frames=40, ignored=False):
    """Lesions, and detections that hit some of them more or less; a fifth of the frames have no lesion."""
    image = np.zeros((512, 512), np.uint8)
    world, said = [], []
    for i in range(frames):
        n = 0 if i % 5 == 0 else int(rng.integers(1, 4))
        corner, size = rng.uniform(0, 400, (n, 2)), rng.uniform(25, 80, (n, 1)) * np.ones((1, 2))
        boxes = np.concatenate([corner, corner + size], 1)
        near = boxes + rng.normal(0, 6, boxes.shape)
        far = rng.uniform(0, 400, (int(rng.integers(0, 5)), 2))
        far = np.concatenate([far, far + rng.uniform(25, 80, (len(far), 1))], 1)
        guesses = np.concatenate([near, near + rng.normal(0, 8, near.shape), far])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        scores = rng.uniform(0.01, 1, (len(guesses), 1)) * np.array([1, 0]) + rng.uniform(0, 0.5, (len(guesses), 2))
        blind = far[:1] + 3 if ignored else ()
        world.append(
            frame(boxes, rng.integers(0, 2, n), image=image, subject=str(i // 2), ignore=blind, drawn=np.zeros(n))
        )
        said.append(found(guesses, scores))
    return world, said
