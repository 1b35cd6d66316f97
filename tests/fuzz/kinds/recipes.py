"""Recipes: values, types, keys and YAML's own tricks, through ``recipe_yaml.load`` and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lesionforge.engine import recipe_yaml
from lesionforge.engine.pipeline import Pipeline
from tests.fuzz.command import command
from tests.fuzz.mutate import Rng, number, plain, some_bytes, value, word

SOUND: dict[str, Any] = {
    "name": "fuzz",
    "seed": 7,
    "sources": [{"uri": "phantom:coronary", "options": {"count": 3, "sides": ["left"]}, "split": {"train": 1.0}}],
    "generator": {"name": "biplane", "params": {"image": "silhouette", "views": 2, "grid": 32}},
    "multiply": 2,
    "splits": ["train"],
    "balance": {"still": 0.75, "motion": 0.25},
    "shard": {"samples": 16, "bytes": "1 MiB"},
    "resources": {"cpus": 1, "gpus": 0, "batch": 2, "memory": None, "sample_seconds": 30},
    "quality": {"limits": {"visible_fraction": {"min": 0.5}}, "redraws": 2, "max_quarantined": 0.1},
    "storage_options": {"endpoint_url": "http://127.0.0.1:9"},
}
LOOKS_ANYWHERE = True  # a recipe may name any place to read from; it may not have anything written or run
LAUGHS = "a: &a0 [x]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
TEXTS = (
    LAUGHS,
    LAUGHS.replace("b9", "name").replace("b10", "sources").replace("b11", "generator"),
    "a: &a [*a]\nname: *a\n",
    "sources: &s\n- *s\n",
    "[" * 3000,
    "{a: " * 3000,
    "- " * 5000 + "x",
    "!!python/object/apply:os.system ['touch escaped']",
    "name: !!python/object:pathlib.Path ../x",
    "name: !!python/name:os.system\n",
    "generator: !!python/module:os\n",
    "name: !!binary '***'\nseed: !!timestamp x\n",
    "seed: !!int '0x'\n",
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "name: a\nname: b\n<<: [1]\n",
    "<<: *nothing\n",
    "%YAML 9.9\n---\na: b\n",
    "%TAG ! tag:x,2000:\n---\n!a b\n",
    "--- a\n--- b\n",
    "\x00\x01",
    "seed: " + ":".join(["59"] * 3000),
    "seed: " + "9" * 10_000,
    "seed: 1_0e5\nname: 2001-13-45\n",
    "seed: 2001-02-30\n",
    "x: " + "é" * 200_000,
    "k" * 2000 + ": 1\n",
    "sources: [" + "{a: 1}, " * 20_000 + "]\nname: x\n",
    "",
    "null",
    "[]",
    "#" * 10_000,
)
URIS = (
    "s3:/x",
    "imagecas:https://",
    "nifti:nowhere::x",
    "dicom:abc://x",
    "masks:zip://x::y",
    "voc:",
    ":",
    "arcade:~",
    "x",
)
URIS = (
    *URIS,
    "os:x",
    "tests.faulty.Toy:x",
    "os.path:x",
    "os.system:ls",
    ".:x",
    "..a:x",
    "phantom:x",
    "yolo:memory://x/y",
)
URIS = (
    *URIS,
    "masks:reference://",
    "nifti:tar://a::b",
    "arcade:\0",
    "imagecas:" + "a" * 5000,
    "voc:github://",
    "a.b.c:",
)
SETS = ("seed=1", "a", "=", "sources.0.uri=phantom:coronary", "sources.²=1", "sources.9.uri=x", "sources.x=1")
SETS = (*SETS, "name.x=1", "generator.params.grid=[", "seed=" + "9" * 5000, "quality..=1", "balance=!!python/name:os.x")
SETS = (*SETS, "seed=2001-99-99", "sources.-1.uri=x", "out=" + "[" * 3000, "multiply=1e400", "shard.bytes=9e999GB")


def told(message: str) -> bool:
    """Every line of a refusal names the file or the option."""
    fields = ("recipe.yaml", "--set", "--unset", "sources.", "balance", "the recipe asks")
    return all(any(field in line for field in fields) for line in message.splitlines())


def build(rng: Rng, folder: Path) -> None:
    """One file."""
    data = yaml.safe_load(yaml.safe_dump(SOUND))
    if rng.sound:
        text = yaml.safe_dump(data).encode()
    elif rng.random() < 0.2:
        text = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
    else:
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            data = spoil(rng, data) if isinstance(data, dict) else data
        dumped = yaml.dump(data, Dumper=yaml.SafeDumper, allow_unicode=rng.random() < 0.5)
        text = dumped.encode("utf-8", "surrogatepass")
        if rng.random() < 0.3:
            text = some_bytes(rng, text)
        if rng.random() < 0.05:
            text += rng.choice(TEXTS).encode("utf-8", "surrogatepass")
    (folder / "recipe.yaml").write_bytes(text)


def spoil(rng: Rng, data: dict[str, Any]) -> Any:
    """One fault."""
    match rng.randrange(6):
        case 0:
            data["sources"] = [{"uri": rng.choice((*URIS, word(rng)))}]
        case 1:
            data["generator"] = {"name": rng.choice(("biplane", "stenosis", "os.path", "os.nothing", "x", word(rng)))}
        case 2:
            key = rng.choice(tuple(data))
            data[key] = value(rng, data[key])
        case 3 if isinstance(data.get("shard"), dict):
            data["shard"]["bytes"] = rng.choice((number(rng), "1e9 GB", "9" * 400 + " GB", "1.2.3 MB", "-1 B", "٣ kB"))
        case 4:
            data["balance"] = {word(rng)[:30]: number(rng, 1), "still": number(rng, 1)}
        case _:
            return plain(rng, data)
    return data


def run(rng: Rng, folder: Path) -> list[str]:
    """Load it, open the job; one in ten through ``lesionforge plan`` itself, which must end in one line."""
    path = folder / "recipe.yaml"
    sets = [rng.choice((*SETS, word(rng))) for _ in range(rng.choice((1, 2)))] if rng.chance(0.2) else []
    if rng.chance(0.1):
        command(["plan", str(path), *(part for text in sets for part in ("--set", text))])
        return []
    recipe = recipe_yaml.load(path, sets)
    job = Pipeline(recipe)
    assert len(job.identity) == 64
    assert job.plan[0].sample_id
    assert job.plan.counts()
    return []
