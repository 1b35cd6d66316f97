"""This machine and the cluster it would use: cores, memory, disk, GPUs, Ray."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lesionforge.engine.recipe import Recipe
from lesionforge.engine.sources import cache
from lesionforge.generators.types import UserError
from lesionforge.jobs.commands.doctor_packages import Found
from lesionforge.sinks.card import counted, human_bytes

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")


def look(cgroup: Path = CGROUP) -> Iterator[Found]:
    """Cores, memory, temporary disk, open files; within the limits of a container."""
    cores = cores_of(cgroup)
    yield "cores", "ok", f"{cores:g}: that many workers of one CPU run at full speed"
    total, free = memory_of(cgroup)
    text = f"{human_bytes(total)}, {human_bytes(free)} free"
    yield _warned("memory", free < 2 * GIB, text, "Ray and a worker need about 2 GiB")
    disk = shutil.disk_usage(tempfile.gettempdir())
    text = f"{human_bytes(disk.free)} free in {tempfile.gettempdir()}, where Ray keeps its logs"
    tight = disk.free < GIB or disk.free < 0.05 * disk.total
    yield _warned("scratch", tight, text, "Ray refuses work on a disk that is 95 % full")
    yield _cache()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < 4096
    text = f"{soft:,} may be open at once" if soft != resource.RLIM_INFINITY else "any number may be open"
    yield _warned("files", few, text, "`ulimit -n 65536` before a run of many workers")


def _cache() -> Found:
    """The folder of what was read, painted, measured and hashed: where it is, how full, and how full it may be."""
    folder = cache.cache_folder()
    if folder is None:
        return "cache", "ok", "none, as LESIONFORGE_CACHE is empty: cases are read and painted for every variant"
    if why := cache.distrust(folder):
        advice = "remove it, or name one of your own in LESIONFORGE_CACHE"
        return _warned("cache", True, f"{folder} is not used: {why}", advice)
    held = sum(nbytes for _, nbytes, _ in cache.entries(folder))
    try:
        most = cache.bound(folder, held)
    except UserError as error:
        return "cache", "fail", str(error)
    return "cache", "ok", f"{human_bytes(held)} of at most {human_bytes(most)} ({cache.SIZE}) in {folder}"


def _warned(name: str, bad: bool, text: str, advice: str) -> Found:
    return (name, "warn", f"{text}: {advice}") if bad else (name, "ok", text)


def cores_of(cgroup: Path = CGROUP) -> float:
    """Cores that this process may use."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def memory_of(cgroup: Path = CGROUP) -> tuple[int, int]:
    """Bytes of memory that this process may use, and those free of it."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
    total, free = sizes["MemTotal"], sizes["MemAvailable"]
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no limit: "max"
        return total, free
    return min(total, limit), min(free, max(0, limit - used))


def gpus(recipe: Recipe | None, nvml: Any = None) -> Iterator[Found]:
    """The GPUs of this machine; a recipe that needs some and finds none fails, unless a cluster is to have them."""
    if nvml is None:
        from ray._private.thirdparty import pynvml

        nvml = pynvml
    here = []
    try:
        nvml.nvmlInit()
        for number in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            name = nvml.nvmlDeviceGetName(handle)
            size = human_bytes(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            here.append(f"{name.decode() if isinstance(name, bytes) else name} ({size})")
        driver = nvml.nvmlSystemGetDriverVersion()
    except nvml.NVMLError:
        here = []
    if here:
        driver = driver.decode() if isinstance(driver, bytes) else driver
        yield "gpu", "ok", f"{', '.join(here)}, driver {driver}"
        yield from _torch()
    elif recipe and recipe.resources.gpus and not os.environ.get("RAY_ADDRESS"):
        asked = f"resources.gpus is {recipe.resources.gpus:g}"
        yield "gpu", "fail", f"none here, and {asked}: set RAY_ADDRESS to a cluster that has some, or gpus to 0"
    else:
        yield "gpu", "ok", "none here; nothing asks for one" if not os.environ.get("RAY_ADDRESS") else "none here"


def _torch() -> Iterator[Found]:
    try:
        import torch
    except ImportError:
        yield "torch", "warn", "not installed, and learned generators need it: pip install 'lesionforge[train]'"
        return
    if torch.cuda.is_available():
        yield "torch", "ok", f"{torch.__version__} sees {torch.cuda.device_count()} GPUs"
    else:
        yield "torch", "fail", f"{torch.__version__} sees no GPU, the driver does: the build and the driver do not fit"


def ray(recipe: Recipe | None) -> Iterator[Found]:
    """The cluster that RAY_ADDRESS names, and whether it has room for a worker of the recipe."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        yield "ray", "ok", "RAY_ADDRESS is not set: a run starts Ray on this machine and ends it again"
        return
    if refused := _unreachable(address):
        yield "ray", "fail", f"{address}: {refused}; correct RAY_ADDRESS, or unset it to run on this machine"
        return
    import ray

    from lesionforge.engine.ray import placement

    try:
        ray.init(log_to_driver=False, logging_level="error")
    except Exception as error:  # wrong version, wrong token, not a Ray cluster: each says it in its own way
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        token = " (set RAY_AUTH_MODE=token and give the token as Ray says)" if "auth" in text.lower() else ""
        yield "ray", "fail", f"{address}: {text}{token}"
        return
    try:
        cluster = placement.look()
    finally:
        ray.shutdown()
    cpus, have = (sum(node.get(kind, 0) for node in cluster.total) for kind in ("CPU", "GPU"))
    text = f"{address}: {counted(len(cluster.total), 'node')}, {cpus:g} CPUs, {have:g} GPUs"
    if recipe:
        room, free = placement.places(cluster.total, recipe.resources), placement.places(cluster.free, recipe.resources)
        text += f"; room for {counted(room, 'worker')} of this recipe, {free} now"
        yield "ray", "ok" if free else "warn", text + ("" if free else ": see --wait-for-nodes")
    else:
        yield "ray", "ok", text


def _unreachable(address: str, seconds: float = 5.0) -> str:
    """Why nothing answers at ``host:port``, or nothing; asked first, as Ray itself tries for a minute."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not port.isdigit():
        return ""  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except OSError as error:
        return f"nothing answers ({error.strerror or error})"
    return ""
