"""Channels moved to the end: what was (N, C, pixels) becomes (N, pixels, C).

Algorithms that read channels side by side take arrays with channels first by a copy, which begins their workspace.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.algorithm import MOST_BLOCKS, Place
from fastconv.cuda.compile import Float, Kernel, Pointer
from fastconv.cuda.driver import Device
from fastconv.cuda.intrinsics import get, load, put, store
from fastconv.cuda.plan import Operand, Step, Target, aligned
from fastconv.problem import ConvProblem

_THREADS = 256
_SIDE = 64  # of a square that a block transposes: 128 bytes of halves
_PITCH = _SIDE + 2  # between its rows: they begin in different banks
_SQUARE = _SIDE * _PITCH


def _transpose(source: Pointer, target: Pointer, images: int, channels: int, pixels: int) -> None:
    """Transpose a square of some images a block; in both directions threads side by side access what lies so."""
    square = cuda.shared.array(_SQUARE, Float)
    across = int32(cuda.threadIdx.x % _SIDE)
    down = int32(cuda.threadIdx.x // _SIDE)
    first_pixel = int32(cuda.blockIdx.x * _SIDE)
    first_channel = int32(cuda.blockIdx.y * _SIDE)
    for image in range(int32(cuda.blockIdx.z), images, int32(cuda.gridDim.z)):
        start = int64(image) * channels * pixels
        for i in range(down, int32(_SIDE), int32(_THREADS // _SIDE)):
            if first_channel + i < channels and first_pixel + across < pixels:
                place = start + int64(first_channel + i) * pixels + first_pixel + across
                put(square, int32(i * _PITCH + across), load(source, place))
        cuda.syncthreads()
        for i in range(down, int32(_SIDE), int32(_THREADS // _SIDE)):
            if first_pixel + i < pixels and first_channel + across < channels:
                place = start + int64(first_pixel + i) * channels + first_channel + across
                store(target, place, get(square, int32(across * _PITCH + i)))
        cuda.syncthreads()


class Moved(NamedTuple):
    """An array whose channels are moved to the end: so many images of channels of pixels of bytes."""

    images: int
    channels: int
    pixels: int
    item: int

    @property
    def nbytes(self) -> int:
        """Bytes of the copy."""
        return self.images * self.channels * self.pixels * self.item

    def seconds(self, device: Device) -> float:
        """Predict the time of the copy: a launch that reads and writes."""
        return device.launch + 2 * self.nbytes / device.bandwidth


def moved(target: Target, array: Moved, source: Operand, result: Operand) -> Step:
    """Return the launch that moves an array's channels to the end, given where it is and the copy is to be."""
    kernel = Kernel(_transpose, f"uint{8 * array.item}", _THREADS)  # bits are copied, of whatever they are
    grid = -(-array.pixels // _SIDE), -(-array.channels // _SIDE), max(1, min(array.images, MOST_BLOCKS))
    return target.step(kernel, grid, (source, result), array[:3])


def _of(problem: ConvProblem) -> Moved | None:
    """The input of a problem, if its channels are first."""
    first = problem.layout == "channels_first"
    return Moved(problem.batch, problem.channels, prod(problem.size), problem.itemsize) if first else None


def room_of(problem: ConvProblem) -> int:
    """Bytes of the copy of x with channels last; 0 where they are last."""
    array = _of(problem)
    return 0 if array is None else aligned(array.nbytes)


def terms_of(problem: ConvProblem, device: Device) -> dict[str, float]:
    """Predict the time of the copy; nothing where there is none."""
    array = _of(problem)
    return {} if array is None else {"transposition": array.seconds(device)}


def channels_moved(target: Target, problem: ConvProblem) -> tuple[list[Step], Operand]:
    """Return the launches that move the channels of x to the end, if they are first, and where x is with them last."""
    array = _of(problem)
    if array is None:
        return [], Operand(Place.X)
    copy = Operand(Place.WORKSPACE)
    return [moved(target, array, Operand(Place.X), copy)], copy
