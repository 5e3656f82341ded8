"""Memory of large results: where a released result lay, the next one of its size lies.

The C library gives blocks of more than 32 MiB back to the system as soon as they are freed, and the
system hands out new ones page by page, zeroed. For a result of 83 MB that was 12 ms, twice the time of
writing it: more than the arithmetic of a layer with few input channels. Smaller blocks the C library
keeps by itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

__all__ = ["clear", "empty", "maker"]

LEAST, MOST = 32 << 20, 512 << 20  # bytes of a block that is kept
BLOCKS = 2  # kept: of a network's layers, the next result is written while the last one is read


class _Block:
    """Memory, compared by identity."""

    __slots__ = ("memory",)

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size, np.uint8)


_kept: deque[_Block] = deque(maxlen=BLOCKS)  # the oldest gives way; each of its methods is atomic


class _Lease:
    """What an array and all its views hold on to: when the last of them is gone, the block is kept."""

    def __init__(self, block: _Block, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.block = block
        self.__array_interface__ = {**block.memory.__array_interface__, "shape": shape, "typestr": dtype.str}

    def __del__(self, kept: deque[_Block] = _kept) -> None:  # bound here, as a module may be gone before its objects
        kept.append(self.block)


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return an array of undefined values, as `numpy.empty`, in kept memory if it is large."""
    array = np.empty(shape, dtype)  # costs next to nothing before it is touched, however large
    size = array.nbytes
    if not _is_kept(size):
        return array
    return np.asarray(_Lease(_taken(size) or _Block(size), shape, array.dtype))


def maker(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Callable[[], npt.NDArray[np.generic]]:
    """Return what makes such arrays, in the least time where they are small."""
    size = math.prod(shape) * dtype.itemsize
    return partial(empty if _is_kept(size) else np.empty, shape, dtype)


def _is_kept(size: int) -> bool:
    """Whether a block of so many bytes is kept."""
    return LEAST < size <= MOST


def _taken(size: int) -> _Block | None:
    """Return a kept block of this size, which is not kept any more."""
    for block in tuple(_kept):
        if block.memory.nbytes == size:
            try:
                _kept.remove(block)
            except ValueError:  # another thread was quicker
                continue
            return block
    return None


def clear() -> None:
    """Give all kept memory back."""
    _kept.clear()
