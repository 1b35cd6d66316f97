"""The short form of ``make cpus``."""

import json

from tests.cpus.campaign import made


def test_a_cpu_without_avx2_makes_the_same_bytes(tmp_path):
    """trust.md A8: floats in the json differed in their last bits, and ``replay`` with them."""
    source = {
        "uri": "phantom:angiogram",
        "options": {"count": 2, "sides": ["left"], "size": 256},
        "split": {"train": 1},
    }
    recipe = {"name": "a", "seed": 7, "sources": [source], "splits": ["train"], "generator": {"name": "stenosis"}}
    recipe |= {"quality": {"redraws": 20, "max_quarantined": 0.5}}
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(recipe))
    first, second = (made(setting, path, tmp_path / setting) for setting in ("this CPU", "SSE4.2"))
    assert first
    assert first == second
