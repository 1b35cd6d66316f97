"""How far stills of ``cine`` are from real frames: a small network's AUC on crops and whole frames, and 30 statistics.

    python -m tests.benchmarks.cine_realism --stills DATASET --real arcade:FOLDER --half 1

Pools are kept apart by subject: of the stills those whose background's subject is in one half (all of those before the
procedural chest), of the real frames those in the other. Frames of 512 x 512; real frames are compared with others of
the same pool beside it, for what the network and the statistics say where there is nothing to tell.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter as blurred
from scipy.stats import ks_2samp
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_objects, skeletonize

from lesionforge.engine import dataset as document
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import open_source
from lesionforge.generators.cine import removal
from lesionforge.jobs.tasks.realism import network
from lesionforge.jobs.tasks.realism.judge import _normal, auc
from lesionforge.sinks import dataset
from lesionforge.sinks.store import Store

SIZE, CROP, PER_FRAME = 512, 96, 6
BANDS = ((0.01, 0.03), (0.03, 0.07), (0.07, 0.15), (0.15, 0.3), (0.3, 0.5))
Frames = list[NDArray[np.uint8]]


def half_of(subject: str) -> int:
    """In which half a subject is, by its name."""
    return hashlib.sha256(subject.encode()).digest()[0] % 2


def pools(stills: str, real: str, half: int) -> tuple[Frames, Frames]:
    """Stills on backgrounds of one half, and real frames of the other."""
    options = {"require": "any"} if real.startswith("arcade:") else {}
    source = open_source(SourceRecipe(uri=real, options=options))
    own, frames = dict[str, int](), Frames()
    for n in range(source.cases):
        case = source.read(n)
        own[case.source_id] = half_of(case.subject)
        if own[case.source_id] == half and case.image.shape == (SIZE, SIZE):
            frames.append(case.image)
    store, made = Store(stills), Frames()
    plan = document.read(store).plan
    for record, rows in dataset.indexes(store, [plan.shard(k).name for k in range(plan.shards)]):
        for row in rows:
            if row.status == "quarantined":
                continue
            fields = dataset.decoded(dataset.sample(store, record.shard, row))
            background = fields["json"].get("background")
            if background is None or own.get(background) == 1 - half:
                made.append(fields["image.png"])
    order = np.random.Generator(np.random.Philox(0)).permutation(len(frames))
    return made, [frames[n] for n in order]


def statistics(image: NDArray[np.uint8]) -> dict[str, float]:
    """What is simple to say of a frame, by name."""
    x, field = image.astype(np.float32), removal.open_field(image)
    inner = removal._least(field, 15, 15)
    grey = x[field]
    out = {f"grey p{q}": float(np.percentile(grey, q)) for q in (5, 25, 50, 75, 95)} | {"field": float(field.mean())}
    high = x - blurred(x, 2.2)
    noise = 1.4826 * float(np.median(np.abs(high[inner])))
    even = np.clip(high, -3 * noise, 3 * noise) * inner
    out["noise"] = noise
    for lag in (1, 2):
        out[f"correlation {lag}"] = float((even[:, lag:] * even[:, :-lag]).sum() / (even * even).sum())
    level, strength = blurred(x, 6)[inner], np.abs(high)[inner]
    dark, bright = np.quantile(level, [0.1, 0.9])
    ratio = float(np.median(strength[level >= bright]) / np.median(strength[level <= dark]))
    out["noise slope"] = float(np.log(ratio + 1e-6) / np.log(max(bright / max(dark, 1), 1.1)))
    part = x[64:448, 64:448]
    power = np.abs(np.fft.rfft2((part - part.mean()) * np.outer(np.hanning(384), np.hanning(384)))) ** 2
    radius = np.hypot(np.fft.fftfreq(384)[:, None], np.fft.rfftfreq(384)[None])
    out |= {f"spectrum {a}-{b}": float(np.log(power[(radius >= a) & (radius < b)].mean() + 1)) for a, b in BANDS}
    edges = np.hypot(blurred(x, 3, order=(0, 1)), blurred(x, 3, order=(1, 0)))[inner] / np.median(grey)
    out |= {f"edges p{q}": float(np.percentile(edges, q)) for q in (50, 90, 99)}
    return out | _lines(x, inner)


def _lines(x: NDArray[np.float32], inner: NDArray[np.bool_]) -> dict[str, float]:
    best = np.zeros(x.shape, np.float32)
    small, shrunk = x / np.maximum(scipy.ndimage.uniform_filter(x, 33), 10), 1
    for sigma, times in removal.SCALES:
        while shrunk < times:
            small, shrunk = removal._half(small), shrunk * 2
        dark, bright = removal._ridge(small, sigma)
        best = np.maximum(best, removal._grown(dark / (np.median(bright) + 1e-9), times, x.shape))
    mask = remove_small_objects(apply_hysteresis_threshold(best * inner, removal.LOW, removal.HIGH), max_size=90)
    line = skeletonize(mask)
    near = scipy.ndimage.convolve(line.astype(int), np.ones((3, 3), int)) * line
    out = {"length": float(line.sum()), "ends": float((near == 2).sum()), "branch points": float((near > 3).sum())}
    if line.any():
        width = 2 * scipy.ndimage.distance_transform_edt(mask)[line]
        out |= {f"width p{q}": float(np.percentile(width, q)) for q in (25, 50, 75, 95)}
        about = blurred(np.where(mask, 0, x), 9) / np.maximum(blurred((~mask).astype(np.float32), 9), 1e-3)
        contrast = blurred(1 - x / np.maximum(about, 10), 1)[line]
        out |= {f"contrast p{q}": float(np.percentile(contrast, q)) for q in (50, 90)}
    return out


def distances(a: list[dict[str, float]], b: list[dict[str, float]]) -> dict[str, float]:
    """Kolmogorov-Smirnov's distance of each statistic."""
    return {
        name: float(ks_2samp(*([x[name] for x in each if name in x] for each in (a, b))).statistic) for name in a[0]
    }


def crops(frames: Frames) -> NDArray[np.uint8]:
    """Places inside the field, some of each frame."""
    rng, out = np.random.Generator(np.random.Philox(1)), []
    for frame in frames:
        field = removal.open_field(frame)
        corners = (rng.integers(0, SIZE - CROP, 2) for _ in range(8 * PER_FRAME))
        parts = (np.s_[r : r + CROP, c : c + CROP] for r, c in corners)
        out += [frame[part] for part in parts if field[part].all()][:PER_FRAME]
    return np.stack(out)


def wholes(frames: Frames) -> NDArray[np.uint8]:
    """Each frame at 128 x 128."""
    return np.stack([f.reshape(128, 4, 128, 4).mean((1, 3)).astype(np.uint8) for f in frames])


def told_apart(made: Frames, real: Frames, cut: Callable[[Frames], NDArray[np.uint8]], seed: int, steps: int) -> float:
    """AUC on frames that the network did not see: the last two fifths of both."""
    shown = {kind: _normal(cut(f[: len(f) * 3 // 5])) for kind, f in (("made", made), ("real", real))}
    net = network.fit(shown, "made", seed, steps, None)
    held = (_normal(cut(f[len(f) * 3 // 5 :])) for f in (made, real))
    return auc(*(network.scores(net, pixels) for pixels in held))


def say(text: str) -> None:
    """At once, also into a file."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cine_realism", description=__doc__)
    parser.add_argument("--stills", required=True, help="a dataset of stills on real backgrounds")
    parser.add_argument("--real", required=True, metavar="URI", help="the source of its backgrounds")
    parser.add_argument("--half", type=int, default=1, choices=(0, 1), help="of which real frames are taken")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    made, real = pools(asked.stills, asked.real, asked.half)
    count = min(len(made), len(real), 300)
    say(f"{len(made)} stills, {len(real)} real frames; {count} of each are judged")
    made, real = made[:count], real[:count]
    for name, cut in (("crops of 96", crops), ("whole frames at 128", wholes)):
        for what, others in (("stills", made), ("another half of the real frames", real[1::2])):
            against = real if others is made else real[::2]
            aucs = [told_apart(others, against, cut, seed, asked.steps) for seed in range(asked.seeds)]
            say(f"AUC, {name}, {what}: {' '.join(f'{one:.3f}' for one in aucs)}, mean {np.mean(aucs):.3f}")
    n = min(count, 150)
    one, other, third = ([statistics(f) for f in part] for part in (made[:n], real[:n], real[-n:]))
    apart, halves = distances(one, other), distances(other, third)
    say(f"mean KS {np.mean(list(apart.values())):.3f}, real halves {np.mean(list(halves.values())):.3f}")
    for name in sorted(apart, key=lambda key: -apart[key]):
        made_is, real_is = (float(np.median([x[name] for x in each if name in x])) for each in (one, other))
        say(f"  {name:18} {apart[name]:.2f}, halves {halves[name]:.2f}; made {made_is:.3g}, real {real_is:.3g}")


if __name__ == "__main__":
    main()
