"""A pool of Python threads over drivers that release the interpreter's lock.

Launching costs some tens of microseconds and is safe from several Python threads at once and after a fork, which
Numba's own thread layers are not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

#: Work worth a second thread, in seconds: several times what waking one costs.
WORTH_A_THREAD = 60e-6

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def run(work: Callable[[int, int], None], tasks: int, threads: int) -> None:
    """Call ``work(first, last)`` until tasks 0 to `tasks` - 1 are done, on `threads` threads.

    The caller is one of them. Tasks are handed out in shrinking ranges as threads become free, so that a slow
    processor does not hold up the others; what a task computes does not depend on who computes it.
    """
    if threads <= 1 or tasks <= 1:
        work(0, tasks)
        return
    ranges = _ranges(tasks, threads)

    def drain() -> None:
        for first, last in ranges:
            work(first, last)

    helpers: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # no thread can be started while the interpreter shuts down
        for _ in range(min(threads, tasks) - 1):
            helpers.append(_executor(threads - 1).submit(drain))
    try:
        drain()
    finally:
        # a helper that has not started finds nothing left to do
        errors = [helper.exception() for helper in helpers if not helper.cancel()]
    for error in errors:
        if error is not None:
            raise error


class _ranges(Iterator[tuple[int, int]]):
    """Hands out ranges of tasks, each half of a thread's fair share of what is left.

    ``next`` runs under the interpreter's lock up to its first bytecode boundary only, so it takes one of its own.
    """

    def __init__(self, tasks: int, threads: int) -> None:
        from threading import Lock

        self._next, self._tasks, self._threads, self._lock = 0, tasks, threads, Lock()

    def __next__(self) -> tuple[int, int]:
        with self._lock:
            first = self._next
            if first >= self._tasks:
                raise StopIteration
            self._next = first + max(1, (self._tasks - first) // (2 * self._threads))
            return first, self._next


def _executor(workers: int) -> ThreadPoolExecutor:
    """The pool, grown to at least `workers`."""
    global _pool, _pool_size
    if _pool is None or _pool_size < workers:
        _pool, _pool_size = ThreadPoolExecutor(workers, "fastconv"), workers
    return _pool


def _forget() -> None:
    """In a forked child the pool's threads do not exist."""
    global _pool, _pool_size
    _pool, _pool_size = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
