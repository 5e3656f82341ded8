"""Tasks on threads: machine code that hands them out to helpers, which wait for the next call without the interpreter.

`fastconv.codegen.launch` is how. Helpers are Python threads that call it and never return. After a call they look for
the next one for some hundred microseconds, and then sleep. Any thread may launch at any time: a helper follows the last
call that it sees, and a call that gets no helper is done by its caller. After a fork there are none, and the first call
starts new ones.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import threading
from collections.abc import Callable
from functools import cached_property

from fastconv.codegen import launch
from fastconv.cpu import native
from fastconv.cpu.native import Slots, held_lock

#: Work worth a thread, in seconds. A launch takes less than one microsecond: two threads that are awake pay from 10 on.
#: Waking a helper takes the caller 3 to 5, and 50 pass until it works: from 30 microseconds of work on, calls that
#: follow each other are faster by half, and one that finds its helper asleep is slower by a tenth at most.
WORTH_A_THREAD = 20e-6

_ENTRY = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)  # converts an int in half the time that c_int64 takes
_TWO_ADDRESSES = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2)
_HEAD = struct.Struct("5q")  # a job's slots FUNCTION to THREADS


class Launch:
    """Machine code and its tasks: what is known before a call.

    Parameters
    ----------
    function : int
        Address of void f(operands, scratch, first, last), all i64: tasks `first` to `last` - 1. The first two are
        addresses, of int64 slots and of a worker's scratch.
    operands : int
        How many.
    tasks : int
        What a task computes does not depend on who computes it.
    threads : int
        That may work on it, the caller one of them.
    """

    def __init__(self, function: int, operands: int, tasks: int, threads: int) -> None:
        self.tasks, self.threads = tasks, workers(tasks, threads)
        self._address, self._entry = function, _ENTRY(function)
        self._pack = struct.Struct(f"{operands}q").pack_into

    def run(self, job: Slots, operands: tuple[int, ...], memory: int = 0, pitch: int = 0) -> None:
        """Do all tasks; worker w has the scratch at `memory` + w * `pitch`, the caller being worker 0."""
        self._pack(job.memory, job.offset + 8 * launch.OPERANDS, *operands)
        if self.threads == 1:
            self._entry(job.address + 8 * launch.OPERANDS, memory, 0, self.tasks)
        else:
            _HEAD.pack_into(job.memory, job.offset, self._address, memory, pitch, self.tasks, self.threads)
            _pool.launch(job.address, self.threads - 1)

    def alone(self, job: Slots, operands: tuple[int, ...], memory: int, first: int, last: int) -> None:
        """Do tasks `first` to `last` - 1 in this thread."""
        self._pack(job.memory, job.offset + 8 * launch.OPERANDS, *operands)
        self._entry(job.address + 8 * launch.OPERANDS, memory, first, last)


def worth(seconds: float, threads: int) -> int:
    """Return how many of `threads` should share work that takes one so long."""
    return threads if seconds >= threads * WORTH_A_THREAD else max(1, int(seconds / WORTH_A_THREAD))


def workers(tasks: int, threads: int) -> int:
    """Return how many of `threads` can have a task."""
    return max(1, min(threads, tasks, launch.MOST_HELPERS + 1))


class _Pool:
    """Helpers and the mailbox that they look at."""

    def __init__(self) -> None:
        self._mailbox = Slots(launch.MAILBOX_SLOTS)
        self._mailbox[launch.RELEASE] = native.function("PyThread_release_lock")
        self._mailbox[launch.ACQUIRE] = native.function("PyThread_acquire_lock")
        self._count = 0
        self._lock = threading.Lock()

    def launch(self, job: int, helpers: int) -> None:
        """Do a job with so many helpers."""
        if self._count < helpers:
            self._reach(helpers)
        self._call(self._mailbox.address, job)

    @cached_property
    def _call(self) -> Callable[[int, int], None]:
        return _TWO_ADDRESSES(launch.launch())

    def _reach(self, helpers: int) -> None:
        """Start threads until there are so many; none can be started while the interpreter shuts down."""
        serve = _TWO_ADDRESSES(launch.serve())
        with self._lock, contextlib.suppress(RuntimeError):
            while self._count < helpers:
                slot = launch.HELPERS + launch.HELPER_SLOTS * self._count
                self._mailbox[slot + launch.LOCK] = held_lock()
                addresses = self._mailbox.address, self._mailbox.address + 8 * slot
                threading.Thread(target=serve, args=addresses, name="fastconv", daemon=True).start()
                self._count += 1


_pool = _Pool()


def _forget() -> None:
    """In a forked child the pool's threads do not exist."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
