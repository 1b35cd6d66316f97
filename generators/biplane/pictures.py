"""Pictures of a bi-plane sample for people: the views as they are, the truth inside its hull as projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Panel


def panels(fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    """One panel per view, one coronal projection of the volumes; see ``Generator.panels``."""
    out = []
    for n, view in enumerate(meta["views"]):
        image = fields.get(f"view{n}.png")
        if image is None:
            image = _grey(fields[f"view{n}.npy"])
        out.append(Panel(f"view {n + 1}: {view['name']}", {"vessel": np.asarray(image, np.uint8)}))
    size = meta["grid"][0]
    end = ".npy.gz" if f"volume{size}.npy.gz" in fields else ".npy"
    truth, carved = (_coronal(fields[f"{name}{size}{end}"]) for name in ("volume", "hull"))
    out.append(Panel(f"{meta['side']} tree from the front", {"truth": truth, "hull": carved}))
    return out


def _coronal(volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Maximum along front-back of a volume in LPS order: patient's left on the image's right, head up."""
    flat: NDArray[np.uint8] = (volume.max(axis=1).T[::-1] > 0).astype(np.uint8) * np.uint8(255)
    return flat


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    top = float(image.max()) or 1.0
    return (image * (255 / top)).astype(np.uint8)
