"""What failed: a sample, or what surrounds it? The one place that reads it from an exception; ``blame`` judges by it.

What the surroundings did - storage, network, a listed file that is gone, a full disk, a GPU or its driver, a node
without memory, a place that is not as the driver saw it - is a ``Fault``. It fails the *shard*, which is made again
(``engine.retries``), elsewhere where that can be. Any other exception, and ``BadCase``, is the sample's own.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Literal

from lesionforge.generators.types import BadCase, UserError
from lesionforge.sinks.quarantine import MAX_TEXT

Kind = Literal["storage", "network", "device", "memory", "time", "place"]

#: What a call refuses because of the numbers that it was given: a broken file makes its reader ask for such things.
_ASKED_WRONG = {errno.EINVAL, errno.EDOM, errno.ERANGE, errno.EOVERFLOW, errno.ESPIPE, errno.EBADF, errno.EILSEQ}
#: What a place in good order may answer about one file.
_ONE_FILE = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
#: What programs look for and do without, so that an exception raised meanwhile need not be about it.
_LOOKED_FOR = _ONE_FILE | {errno.ENOENT, errno.ENOTDIR, errno.EEXIST}
_BUILTIN = {
    FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES, IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR, ConnectionError: errno.ECONNRESET, TimeoutError: errno.ETIMEDOUT,
}  # fmt: skip
#: Packages whose exceptions tell of a line or a server.
_NETWORK = {
    "adlfs", "aiohttp", "asyncssh", "azure", "botocore", "gcsfs", "google", "http", "httpcore", "httpx", "paramiko",
    "requests", "smbprotocol", "socket", "ssl", "urllib", "urllib3",
}  # fmt: skip
_DEVICE_PACKAGES = {"cupy_backends", "pycuda"}
#: Words of torch's and other libraries' messages about a GPU, its driver or its libraries.
_DEVICE = re.compile(
    r"\bCUDA\b|cuda runtime error|\bHIP (error|out)|cuDNN|CUDNN_|CUBLAS|cuBLAS|CUSOLVER|cusolver|CUFFT|cuFFT|CUSPARSE"
    r"|NCCL|NVML|NVRTC|nvrtc: error|NVIDIA driver|MIOpen|Triton Error"
)
_DEVICE_FULL = re.compile(r"out of memory|ALLOC_FAILED")
_NUMBER = re.compile(r"errno\D{0,3}(\d+)", re.IGNORECASE)  # as h5py and others write it into their text


class Fault(UserError):
    """A shard that its surroundings failed; the message names no path.

    Attributes:
        kind: what failed.
        own: whether it may be the fault of the samples at which it showed.
        samples: those, as far as they are known.
    """

    def __init__(self, kind: Kind, text: str, own: bool = False, samples: frozenset[str] = frozenset()) -> None:
        super().__init__(kind, text, own, samples)
        self.kind, self.text, self.own, self.samples = kind, text, own, samples

    def __str__(self) -> str:
        return self.text

    def at(self, where: str) -> Fault:
        """The same, with the place at which it showed."""
        return Fault(self.kind, f"{where}: {self.text}"[:MAX_TEXT], self.own, self.samples)


def find(error: BaseException) -> Fault | None:
    """What the surroundings did, if that is what an exception tells, or another one that led to it."""
    link: BaseException | None = error
    said = True  # by the exception itself or what it names as its cause, not only by what was handled meanwhile
    while link is not None:
        if isinstance(link, Fault):
            return link
        fault = _told(link)
        if fault and (said or (fault.kind != "memory" and _number(link) not in _LOOKED_FOR)):
            return fault
        said = said and link.__cause__ is not None and not isinstance(link, BadCase)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def why(error: BaseException) -> str:
    """What the system says, without the path."""
    number = _number(error)
    if number is not None and number > 0:
        return os.strerror(number)
    return type(error).__name__


def _told(error: BaseException) -> Fault | None:
    """What an exception itself says of the surroundings."""
    kinds = type(error).__mro__
    names, packages = {k.__name__ for k in kinds}, {k.__module__.partition(".")[0] for k in kinds}
    line = next(iter(str(error).splitlines()), "")
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
        return Fault("memory", f"{type(error).__name__}: {line}" if line else "no memory is left", True)
    speaks = isinstance(error, RuntimeError | AssertionError) and _DEVICE.search(line)
    if "AcceleratorError" in names or packages & _DEVICE_PACKAGES or speaks:
        return Fault("memory" if _DEVICE_FULL.search(line) else "device", line or type(error).__name__, True)
    if packages & _NETWORK or isinstance(error, TimeoutError | ConnectionError):
        return Fault("network", why(error))
    number = _number(error)
    if number is None or number in _ASKED_WRONG:
        return None
    return Fault("storage", why(error), number in _ONE_FILE)


def _number(error: BaseException) -> int | None:
    """The system's number of an error, where it came from the system: decoders raise OSErrors of their own."""
    if not isinstance(error, OSError):
        return None
    if isinstance(error.errno, int):
        return error.errno
    if number := next((number for kind, number in _BUILTIN.items() if isinstance(error, kind)), None):
        return number
    told = _NUMBER.search(str(error))
    return int(told[1]) if told else None
