"""Channels moved to the end: what was (N, C, pixels) becomes (N, pixels, C).

Algorithms that read channels side by side take arrays with channels first by a copy, which begins their workspace.
"""

from __future__ import annotations

from math import prod

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


def room_of(problem: ConvProblem) -> int:
    """Bytes of the copy of x with channels last; 0 where they are last."""
    return 0 if problem.layout == "channels_last" else aligned(prod(problem.input_shape) * problem.itemsize)


def terms_of(problem: ConvProblem, device: Device) -> dict[str, float]:
    """Predict the time of the copy: a launch that reads and writes; nothing where there is none."""
    room = room_of(problem)
    return {"transposition": device.launch + 2 * room / device.bandwidth} if room else {}


def channels_moved(target: Target, problem: ConvProblem) -> tuple[list[Step], Operand]:
    """Return the launches that move the channels of x to the end, if they are first, and where x is with them last."""
    if not room_of(problem):
        return [], Operand(Place.X)
    pixels = prod(problem.size)
    kernel = Kernel(_transpose, f"uint{8 * problem.itemsize}", _THREADS)  # bits are copied, of whatever they are
    grid = -(-pixels // _SIDE), -(-problem.channels // _SIDE), min(problem.batch, MOST_BLOCKS)
    moved = Operand(Place.WORKSPACE)
    return [target.step(kernel, grid, (Operand(Place.X), moved), (problem.batch, problem.channels, pixels))], moved
