"""What an input may not do while it is read: take memory beyond a limit, touch a file outside its folder, unpickle."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"}
LINKS = {"os.link", "os.symlink", "os.rename"}  # they name two places
AT = {
    "os.remove": (1,),
    "os.rmdir": (1,),
    "os.mkdir": (2,),
    "os.rename": (2, 3),
}  # arguments: folders of relative paths
LOOKS = {"os.listdir", "os.scandir"}
OTHERS = {"os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "ctypes.dlopen"}
OURS = (sys.prefix, sys.base_prefix, str(ROOT), "/proc", "/sys", "/usr/share", "/usr/lib", "/dev/null", "/dev/urandom")


WATCHED = {"open", "pickle.find_class", *CHANGES, *LINKS, *LOOKS, *OTHERS}


def _numbas_own() -> bool:
    """Whether numba asks: for its cache of compiled code, and for constants in it, which no input can name."""
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        if "/numba/" in frame.f_code.co_filename:
            return True
    return False


class Guard:
    """An audit hook of this process, once for all inputs: it stays silent except inside ``with guard.on(folder)``."""

    def __init__(self) -> None:
        self.escapes: list[str] = []
        self._inside = ""
        self._folder = ""
        sys.addaudithook(self._hook)

    def on(self, folder: Path) -> Guard:
        """Only this folder may be touched now; the installed code may be read."""
        self.escapes.clear()
        self._folder = str(folder.resolve())
        return self

    def __enter__(self) -> Guard:
        self._inside = self._folder
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = ""

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._inside or event not in WATCHED or _numbas_own():
            return
        if event == "open":
            path, mode, flags = args
            changing = bool(set(mode or "") & set("wax+")) or bool(mode is None and flags & WRITING)
            self._touched(path, changing, "written" if changing else "read")
        elif event in CHANGES or event in LINKS:
            for n, path in enumerate(args[: 2 if event in LINKS else 1]):
                self._touched(path, True, event, args[AT[event][n]] if event in AT else -1)
        elif event in LOOKS:
            self._touched(args[0] if args[0] is not None else ".", False, event)
        elif event == "pickle.find_class":
            self.escapes.append(f"unpickled {args[0]}.{args[1]}")
        elif event in OTHERS:
            self.escapes.append(f"{event} {str(args[:2])[:80]}")

    def _touched(self, path: Any, changing: bool, how: str, at: int = -1) -> None:
        if isinstance(path, int):  # a descriptor that is open already
            return
        inside, self._inside = self._inside, ""  # resolving links looks at files, too
        try:
            base = os.readlink(f"/proc/self/fd/{at}") if at >= 0 else ""
            real = os.path.realpath(os.path.join(base, os.fsdecode(path)))
        finally:
            self._inside = inside
        if real == inside or real.startswith(inside + "/"):
            return
        if changing or not real.startswith(OURS):
            self.escapes.append(f"{how} {real}")


def limit_growth(nbytes: int) -> None:
    """Let this process's address space grow by so many bytes from now on: RLIMIT_AS, which the kernel enforces."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + nbytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
