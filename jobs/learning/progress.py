"""A fit as it goes, on standard error."""

from __future__ import annotations

import time
from typing import Any

from lesionforge.jobs import console
from lesionforge.jobs.progress import LOG_SECONDS


def line(steps: int) -> Any:
    """A line on standard error now and then."""
    last = 0.0

    def tell(record: Any) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_SECONDS or record["step"] == steps:
            last = time.monotonic()
            held = f"  held-out {record['held_out_loss']:.4f}" if "held_out_loss" in record else ""
            console.err.print(f"step {record['step']}/{steps}  loss {record['loss']:.4f}{held}")

    return tell
