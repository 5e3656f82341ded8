"""Memory of results: where it begins, and that where a large one lay, the next one of its size lies.

A result begins with a line of the cache, half a page from where the input begins, or rather where it would begin were
both in one page:

- NumPy's arrays begin 16 bytes into a line, mostly, and then every other vector that is stored lies across two lines.
  A layer of 3 channels and 64 filters on 224x224 took 3.75 ms so, and takes 2.43.
- NumPy's large arrays all begin at one place of a page. An element of the result and the ones it is made of then share
  the last 12 bits of their addresses, and with them a set of the first cache, and loads wait for stores that they take
  for theirs. A kernel of 5x5 on an image of 1024x1024 took 1.15 ms so, and takes 0.68.

The C library gives blocks of more than 32 MiB back to the system as soon as they are freed, and the system hands out
new ones page by page, zeroed. For a result of 83 MB that was 12 ms, twice the time of writing it: more than the
arithmetic of a layer with few input channels. Smaller blocks the C library keeps by itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv.cpu.native import LINE, address

Array: TypeAlias = npt.NDArray[np.generic]

__all__ = ["clear", "empty", "maker"]

PLACED = 128 << 10  # bytes from which a result is placed: it takes a microsecond, and what stays in a cache gains less
LEAST, MOST = 32 << 20, 512 << 20  # bytes of a block that is kept
PAGE = 4096  # bytes; of a set of the first cache, too
BLOCKS = 2  # kept: of a network's layers, the next result is written while the last one is read


class _Block:
    """Memory, compared by identity."""

    __slots__ = ("memory",)

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size + PAGE, np.uint8)


_kept: deque[_Block] = deque(maxlen=BLOCKS)  # the oldest gives way; each of its methods is atomic


class _Lease:
    """What an array and all its views hold on to: when the last of them is gone, the block is kept."""

    def __init__(self, block: _Block, beside: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.block = block
        start = address(block.memory) + _apart(block.memory, beside)
        self.__array_interface__ = {"data": (start, False), "shape": shape, "typestr": dtype.str, "version": 3}

    def __del__(self, kept: deque[_Block] = _kept) -> None:  # bound here, as a module may be gone before its objects
        kept.append(self.block)


def maker(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Callable[[Array], Array]:
    """Return what makes arrays of undefined values, each to be written while another one is read."""
    size = math.prod(shape) * dtype.itemsize
    if LEAST < size <= MOST:
        return partial(_leased, shape, dtype)
    return partial(_placed, shape, dtype) if size >= PLACED else lambda beside: np.empty(shape, dtype)


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike, beside: Array) -> Array:
    """Return one such array."""
    return maker(shape, np.dtype(dtype))(beside)


def _placed(shape: tuple[int, ...], dtype: np.dtype[np.generic], beside: Array) -> Array:
    block = np.empty(math.prod(shape) * dtype.itemsize + PAGE, np.uint8)  # costs next to nothing before it is touched
    return np.ndarray(shape, dtype, block, _apart(block, beside))


def _leased(shape: tuple[int, ...], dtype: np.dtype[np.generic], beside: Array) -> Array:
    size = math.prod(shape) * dtype.itemsize
    leased = np.asarray(_Lease(_taken(size) or _Block(size), beside, shape, dtype))
    return leased if leased.dtype == dtype else leased.view(dtype)  # types that the interface lacks come as bytes


def _apart(block: Array, beside: Array) -> int:
    """Return the bytes into a block from where on it lies half a page apart from an array, and begins a line."""
    return (address(beside) // LINE * LINE + PAGE // 2 - address(block)) % PAGE


def _taken(size: int) -> _Block | None:
    """Return a kept block of this size, which is not kept any more."""
    for block in tuple(_kept):
        if block.memory.nbytes == size + PAGE:
            try:
                _kept.remove(block)
            except ValueError:  # another thread was quicker
                continue
            return block
    return None


def clear() -> None:
    """Give all kept memory back."""
    _kept.clear()
