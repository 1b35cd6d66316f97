"""Work done ahead of its consumer by threads, a bounded amount at a time, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(
    function: Callable[[A], B], tasks: Iterable[tuple[A, int]], threads: int, budget: int
) -> Generator[B, None, None]:
    """``map(function, tasks)``, run in threads.

    Args:
        function: called with each task.
        tasks: each with what it costs while it is under way or waits to be taken, e.g. bytes.
        threads: how many.
        budget: costs under way at once; a task dearer than that runs alone.

    Raises:
        Exception: whatever a call raises, at its place in the order; later tasks are given up.
    """
    waiting: deque[tuple[Future[B], int]] = deque()
    held = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="reader") as pool:
        try:
            for task, cost in tasks:
                while waiting and held + cost > budget:
                    future, paid = waiting.popleft()
                    result = future.result()
                    held -= paid
                    yield result
                waiting.append((pool.submit(function, task), cost))
                held += cost
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
