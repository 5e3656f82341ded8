"""A pool of Python threads over drivers that release the interpreter's lock.

Launching costs some ten microseconds, and waking a sleeping processor some ten more. It is safe from several Python
threads at once and after a fork, which Numba's own thread layers are not.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

#: Work worth a second thread, in seconds: several times what waking one costs.
WORTH_A_THREAD = 60e-6


def run(work: Callable[[int, int], None], tasks: int, threads: int) -> None:
    """Call ``work(first, last)`` until tasks 0 to `tasks` - 1 are done, on `threads` threads.

    The caller is one of them. Tasks are handed out in shrinking ranges as threads become free, so that a slow
    processor does not hold up the others; what a task computes does not depend on who computes it. Returns, or raises
    the first exception of any thread, when no thread works on it any more.
    """
    if threads <= 1 or tasks <= 1:
        work(0, tasks)
        return
    job = _Job(work, tasks, threads)
    helpers = min(threads, tasks) - 1
    with contextlib.suppress(RuntimeError):  # no thread can be started while the interpreter shuts down
        _pool.reach(helpers)
        for _ in range(helpers):
            _pool.jobs.put(job)
    try:
        job.drain()
    finally:
        job.finish()
    if job.errors:
        raise job.errors[0]


class _Job:
    """Tasks of one call, and the threads that are at work on them."""

    def __init__(self, work: Callable[[int, int], None], tasks: int, threads: int) -> None:
        self._work, self._tasks, self._threads = work, tasks, threads
        self._lock = threading.Lock()
        self._next = 0
        self._helping = 0
        self._closed = False
        self._left = threading.Lock()  # released by the last helper to leave a closed job
        self._left.acquire()
        self.errors: list[BaseException] = []

    def drain(self) -> None:
        """Take ranges of tasks, each half of a thread's fair share of what is left, until none is."""
        while True:
            with self._lock:
                first = self._next
                if first >= self._tasks:
                    return
                last = self._next = first + max(1, (self._tasks - first) // (2 * self._threads))
            self._work(first, last)

    def help(self) -> None:
        """Drain as a helper; one that comes too late finds the job closed."""
        if not self._enter():
            return
        try:
            self.drain()
        except BaseException as error:  # raised where the caller is
            self.errors.append(error)
        self._leave()

    def _enter(self) -> bool:
        with self._lock:
            self._helping += not self._closed
            return not self._closed

    def _leave(self) -> None:
        with self._lock:
            self._helping -= 1
            if self._closed and not self._helping:
                self._left.release()

    def finish(self) -> None:
        """Let nobody start any more, and wait for those who did."""
        with self._lock:
            self._closed = True
            self._next = self._tasks
            waiting = self._helping > 0
        if waiting:
            self._left.acquire()


class _Pool:
    """Threads that wait for jobs."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self._count = 0
        self._lock = threading.Lock()

    def reach(self, count: int) -> None:
        """Start threads until there are `count`."""
        if self._count >= count:
            return
        with self._lock:
            while self._count < count:
                threading.Thread(target=self._serve, name="fastconv", daemon=True).start()
                self._count += 1

    def _serve(self) -> None:
        while True:
            self.jobs.get().help()


_pool = _Pool()


def _forget() -> None:
    """In a forked child the pool's threads do not exist."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
