"""PromptLesion's experiment on phantoms that a CPU can carry: real-only, and with the samples of each backend 1:1.

    python -m tests.benchmarks.segmentation_study --out FOLDER [--domain plaques|tumours] [--quick]

"Real" are phantom CTs with a disease of their own law (below): its edges, shapes and numbers are not what the
``texture`` backend draws by default, so that no backend has the truth's own law for nothing. The learned backends are
fitted on the real training subjects alone; every backend draws on the same subjects without their disease; ``placebo``
adds those healthy CTs with nothing drawn; ``medddpm-checked`` keeps only what measures as it is labelled. Every stage
resumes: the same command goes on where it stopped.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"
LEARNED = ("difftumor", "medddpm", "promptlesion", "promptlesion-mask")
CHECKED = "medddpm"  # also with its lesions drawn again until they measure as what they are labelled
LEVELS = {"difftumor": 4, "medddpm": 20, "promptlesion": 20, "promptlesion-mask": 20}

DOMAINS: Mapping[str, Mapping[str, Any]] = {
    "plaques": {
        "recipe": "plaque_phantom.yaml",
        "window": "ccta",
        "tolerance": 200,  # HU of the checked arm: plaques have their class's own range
        "balance": {"calcified": 0.5, "non_calcified": 0.5},
        "set": {
            "sources.0.options.shape": [96, 96, 96],
            "sources.0.options.spacing_mm": [0.6, 0.6, 0.6],
            "generator.params.size": 64,
            "generator.params.hu_tolerance": 40,
        },
        "disease": {
            "plaques": [1, 3],
            "others": [0, 1],
            "percent_ds": [20, 60],
            "remodelling": [1.15, 1.4],
            "eccentric": [0.3, 0.8],
            "psf_mm": [0.4, 0.55],
        },
    },
    "tumours": {
        "recipe": "lesion_phantom.yaml",
        "window": "abdomen",
        "tolerance": 60,  # tumours are held to their organ's HU less a contrast, by this
        "balance": {f"{o}_{s}": 1 / 6 for o in ("liver", "kidney", "pancreas") for s in ("early", "late")},
        "set": {
            "sources.0.options.shape": [128, 96, 80],
            "sources.0.options.spacing_mm": [2.5, 2.5, 2.5],
            "generator.params.size": 64,
            "generator.params.hu_tolerance": 40,
            "generator.params.early": [1, 2],
            "generator.params.early_mm": [5, 9.5],
        },
        "disease": {
            "others": [0, 2],
            "capsule": 0.5,
            "mass_effect": 0.2,
            "bend": [0.1, 0.3],
            "blend": [0.15, 0.3],
        },
    },
}


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def lesionforge(*words: str) -> None:
    subprocess.run([str(Path(sys.executable).with_name("lesionforge")), *words], check=True)


def made(out: Path, domain: str, name: str, subjects: int, splits: str, more: Mapping[str, Any]) -> Path:
    """A dataset of the domain's phantoms, half of them for the test; the same subjects whatever is drawn on them."""
    own = DOMAINS[domain]
    if (out / name / "_SUCCESS").exists():
        return out / name
    fields = {
        "sources.0.options.count": subjects,
        "sources.0.split": {"train": 0.5, "val": 0, "test": 0.5},
        "multiply": 1,
        "splits": [s for s in ("train", "test") if s in splits],
        "balance": own["balance"],
        "quality.max_quarantined": 0.2,
        **own["set"],
        **more,
    }
    words = [word for name, value in fields.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    say(f"{domain}: {name}")
    lesionforge("generate", str(RECIPES / own["recipe"]), "--in-process", "--out", str(out / name), *words)
    return out / name


def fitted(out: Path, domain: str, kind: str, steps: int) -> Path:
    """A model of the size ``tiny``, fitted on the real training subjects."""
    say(f"{domain}: fit {kind}")
    latent = kind not in ("vqgan", "medddpm")
    config = LesionFit(
        kind=kind, data=(str(out / "real"),), out=str(out / "fit" / kind), preset="tiny", batch=8, rate=1e-3,
        warmup=50, ema=0.99, precision="float32", loaders=0, every=500, steps=steps, adversarial=100_000,
        domain=DOMAINS[domain]["window"], classes=tuple(DOMAINS[domain]["balance"]), levels=LEVELS.get(kind),
        vqgan=str(out / "fit" / "vqgan" / "model") if latent else None,
    )  # fmt: skip
    return fit_lesion(config)


def study(out: Path, domain: str, subjects: int, steps: Mapping[str, int], seeds: int, networks: str) -> None:
    disease = {f"generator.params.{name}": value for name, value in DOMAINS[domain]["disease"].items()}
    arms = {"real": made(out, domain, "real", subjects, "train test", disease)}
    arms["placebo"] = made(out, domain, "placebo", subjects, "train", {"balance": {"healthy": 1}})
    arms["texture"] = made(out, domain, "texture", subjects, "train", {})
    fitted(out, domain, "vqgan", steps["vqgan"])
    for kind in LEARNED:
        weights = fitted(out, domain, kind, steps[kind])
        more: dict[str, Any] = {"generator.params.backend": kind, "generator.params.weights": str(weights)}
        arms[kind] = made(out, domain, kind, subjects, "train", {**more, "generator.params.check_hu": False})
        if kind == CHECKED:
            more |= {
                "generator.params.hu_tolerance": DOMAINS[domain]["tolerance"],
                "quality.redraws": 40,
                "quality.max_quarantined": 0.9,
            }
            arms[f"{kind}-checked"] = made(out, domain, f"{kind}-checked", subjects, "train", more)
    synthetic = [word for name in arms if name != "real" for word in ("--synthetic", f"{name}={arms[name]}")]
    lesionforge(
        "study", "segmentation", "--real", str(arms["real"]), "--test", str(arms["real"]),
        "--domain", DOMAINS[domain]["window"], *synthetic,
        "--arms", ",".join(arms), "--networks", networks, "--seeds", str(seeds), "--out", str(out / "study"),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--domain", choices=list(DOMAINS), default="plaques")
    parser.add_argument("--networks", default="unet,dynunet")
    parser.add_argument("--quick", action="store_true", help="a few minutes: does it run?")
    given = parser.parse_args()
    out = given.out / given.domain
    if given.quick:
        study(out, given.domain, 8, dict.fromkeys(("vqgan", *LEARNED), 20), 1, given.networks)
    else:
        steps = {"vqgan": 2000, "difftumor": 2000, "medddpm": 2000, "promptlesion": 2000, "promptlesion-mask": 2000}
        study(out, given.domain, 48, steps, 3, given.networks)


if __name__ == "__main__":
    main()
