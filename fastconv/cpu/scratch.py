"""Memory of a call besides its arrays: scratch, and the slots that its tasks are handed out by.

A call takes a `Workspace` and gives it back, and the next one takes it again: there are as many as calls ever ran at
the same time, on several threads or one within another (a signal handler may call, too).

Scratch is aligned and never garbage. Fresh blocks are zeroed and each element type has its own: lanes beyond a row's
end compute on whatever lies there, and an accidental denormal number would cost a hundred cycles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastconv.codegen import launch
from fastconv.cpu.native import LINE, Slots, address, held_lock

ALIGNMENT = LINE  # and the widest vector


class Workspace:
    """What one call at a time works with."""

    def __init__(self) -> None:
        self.job = Slots(launch.JOB_SLOTS)
        self.job[launch.LEFT_LOCK] = held_lock()
        self._blocks: dict[str, tuple[int, int, int, npt.NDArray[np.uint8]]] = {}

    def scratch(self, size: int, purpose: str) -> int:
        """Return the address of at least `size` bytes, kept until `clear`.

        `purpose` names the element type, and what the block holds where a call needs two at a time.
        """
        generation, room, start, _ = self._blocks.get(purpose, _NONE)
        if generation == _generation and room >= size:
            return start
        start, block = aligned(size)
        self._blocks[purpose] = _generation, size, start, block
        return start

    def clear(self) -> None:
        """Give the scratch back."""
        self._blocks.clear()


_NONE = (-1, 0, 0, np.empty(0, np.uint8))
_generation = 0
_idle: list[Workspace] = []  # each of its methods is atomic


def take() -> Workspace:
    """Return a workspace that nobody uses. One that is not given back, for an exception, is lost and no harm done."""
    try:
        return _idle.pop()
    except IndexError:
        return Workspace()


def give(workspace: Workspace) -> None:
    """Let others take it."""
    _idle.append(workspace)


def aligned(size: int) -> tuple[int, npt.NDArray[np.uint8]]:
    """Return the aligned address of `size` zeroed bytes, and the block that they lie in."""
    block = allocate(allocated(size))
    start = address(block)
    return start + -start % ALIGNMENT, block


def allocated(size: int) -> int:
    """Return the bytes that a block of `size` bytes takes, room to align it included."""
    return size + ALIGNMENT


def pitch(size: int) -> int:
    """Return the bytes from one block of `size` bytes to the next, for all to be aligned."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def allocate(size: int) -> npt.NDArray[np.uint8]:
    """Return `size` zeroed bytes (in one place, so that tests can count)."""
    return np.zeros(size, np.uint8)


def clear() -> None:
    """Give idle scratch back, and let calls that are running forget theirs when they next ask for it."""
    global _generation
    _generation += 1
    idle = []
    while _idle:
        idle.append(take())  # cleared by who holds it, as others may take one at any time
    for workspace in idle:
        workspace.clear()
        give(workspace)
