"""Scratch memory of the drivers: one block a thread, reused from call to call, aligned, never garbage.

Fresh blocks are zeroed and each element type has its own: lanes beyond a row's end compute on whatever lies there, and
an accidental denormal number would cost a hundred cycles.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64  # a cache line, and the widest vector

_local = threading.local()
_generation = 0


def address(size: int, purpose: str) -> int:
    """Return the address of at least `size` bytes for this thread, kept until `clear`.

    `purpose` names the element type, and what the block holds where a thread needs two at a time.
    """
    # A block is forgotten when it is next asked for and not before: another may be in use meanwhile.
    blocks: dict[str, tuple[int, npt.NDArray[np.uint8]]] = _local.__dict__.setdefault("blocks", {})
    generation, block = blocks.get(purpose, (-1, None))
    if block is None or generation != _generation or block.nbytes < allocated(size):
        block = allocate(allocated(size))
        blocks[purpose] = _generation, block
    start: int = block.__array_interface__["data"][0]
    return start + -start % ALIGNMENT


def allocated(size: int) -> int:
    """Return the bytes that a block of `size` bytes takes, room to align it included."""
    return size + ALIGNMENT


def allocate(size: int) -> npt.NDArray[np.uint8]:
    """Return `size` zeroed bytes (in one place, so that tests can count)."""
    return np.zeros(size, np.uint8)


def clear() -> None:
    """Let every thread forget its blocks at its next call."""
    global _generation
    _generation += 1
