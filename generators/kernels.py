"""How every kernel of the generators is compiled, and how many threads run it.

Why plain threads and not numba's ``prange``: its OpenMP layer dies in forked children (torch data loaders fork) and its
own layer aborts when two Python threads enter at once (the engine's workers overlap stages). Plain threads do neither,
and how work is cut never depends on who runs it, so results are the same for any number of threads.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
_MOST = 256
_compiling = threading.RLock()
_pool: ThreadPoolExecutor | None = None
_told = False


class _Kernel:
    """A function that is compiled when it is first called: plans import kernels, call none, and need no Numba."""

    def __init__(self, function: Callable[..., Any], signature: str | None = None, **options: Any) -> None:
        functools.update_wrapper(self, function)
        self._function, self._signature, self._options = function, signature, options
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        return (self._compiled or self.compiled())(*args)

    def compiled(self) -> Callable[..., Any]:
        """Numba's own object, which also takes this one's place in its module: kernels that call it look there."""
        with _compiling:
            if self._compiled is None:
                import numba

                names = self._function.__globals__
                for name in self._function.__code__.co_names:
                    if isinstance(kernel := names.get(name), _Kernel):
                        names[name] = kernel.compiled()
                options = {"nogil": True, "cache": True, "no_cfunc_wrapper": True, **self._options}
                try:
                    made = numba.njit(self._signature, **options)(self._function)
                except (RuntimeError, OSError) as error:  # no folder to keep it in: a read-only image without a home
                    _tell(error)
                    made = numba.njit(self._signature, **options | {"cache": False})(self._function)
                made._cache.save_overload = _unless_full(made._cache.save_overload)
                self._compiled = made
            return self._compiled


def _unless_full(save: Callable[..., None]) -> Callable[..., None]:
    """What cannot be kept on disk is compiled again in the next process, and used in this one."""

    def saved(*args: Any) -> None:
        try:
            save(*args)
        except OSError as error:
            _tell(error)

    return saved


def _tell(error: Exception) -> None:
    global _told
    if not _told:
        _told = True
        why = getattr(error, "strerror", None) or "no folder can be written"
        logging.getLogger("lesionforge").warning("compiled kernels not kept", extra={"fields": {"reason": why}})


def jit(function: F) -> F:
    """Machine code cached on disk, without the interpreter lock; no fast-math: the same bits everywhere.

    Copy arrays element by element in it: ``a[i] = row`` has Numba compile how shapes are written in an error, 3 s more.
    """
    return cast(F, _Kernel(function, boundscheck=False, error_model="numpy"))


def typed(signature: str) -> Callable[[F], F]:
    """``jit`` for types that are told: one variant to compile where arrays come with gaps as well as without."""

    def wrap(function: F) -> F:
        return cast(F, _Kernel(function, signature, boundscheck=False, error_model="numpy"))

    return wrap


def inline(function: F) -> F:
    """Inlined before the vectoriser looks: a loop that calls is left scalar, three times slower."""
    return cast(F, _Kernel(function, boundscheck=False, error_model="numpy", inline="always"))


def _forget() -> None:
    global _pool, _compiling
    _pool, _compiling = None, threading.RLock()


# A forked child inherits pool and lock but no thread: waiting on the pool, or for who holds the lock, would hang.
os.register_at_fork(after_in_child=_forget)


def thread_count(threads: int | None) -> int:
    """Number of threads to use: ``threads``, or every core this process may run on.

    Raises:
        ValueError: ``threads`` is below 1.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"threads is {threads}: give 1 or more, or None for every core")
    return min(threads, _MOST)


def run_parallel(tasks: Sequence[Callable[[], None]], threads: int) -> None:
    """Run ``tasks``, dealt out in turn to ``threads`` threads, the caller being one of them."""

    def deal(first: int) -> None:
        for task in tasks[first::threads]:
            task()

    hands = min(threads, len(tasks))
    if hands <= 1:
        for task in tasks:
            task()
        return
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_MOST, thread_name_prefix="kernel")
    threads = hands
    waiting = [_pool.submit(deal, first) for first in range(1, hands)]
    try:
        deal(0)
    finally:
        for other in waiting:
            other.result()
