"""Copies on the device: of arrays that do not lie densely into ones that do, and back."""

from __future__ import annotations

from math import prod

from numba import cuda
from numba.cuda.types import int64

from fastconv.cuda import plan as plans
from fastconv.cuda.arrays import DeviceArray, Library
from fastconv.cuda.compile import Kernel, Pointer, Wide
from fastconv.cuda.intrinsics import load, store
from fastconv.cuda.plan import Operand, Step, Target
from fastconv.errors import UnsupportedError

_THREADS = 256
_AXES = 5


def _copy(
    source: Pointer,
    target: Pointer,
    count: Wide,
    size1: int,
    size2: int,
    size3: int,
    size4: int,
    from0: Wide,
    from1: Wide,
    from2: Wide,
    from3: Wide,
    from4: Wide,
    to0: Wide,
    to1: Wide,
    to2: Wide,
    to3: Wide,
    to4: Wide,
) -> None:
    """Copy an element a thread; places of both arrays are sums over five axes of index times stride."""
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        rest = place // size4
        index4 = place - rest * size4
        place = rest
        rest = place // size3
        index3 = place - rest * size3
        place = rest
        rest = place // size2
        index2 = place - rest * size2
        index0 = rest // size1
        index1 = rest - index0 * size1
        read = index0 * from0 + index1 * from1 + index2 * from2 + index3 * from3 + index4 * from4
        written = index0 * to0 + index1 * to1 + index2 * to2 + index3 * to3 + index4 * to4
        store(target, written, load(source, read))


def copied(array: DeviceArray, library: Library, stream: int) -> DeviceArray:
    """Return a dense array of the same elements: itself if it is one."""
    if array.dense:
        return array
    made = library.look(library.empty(array, array.shape, array.dtype))
    copy(array, made, stream)
    return made


def copy(source: DeviceArray, target: DeviceArray, stream: int) -> None:
    """Copy elements between arrays of one shape and type, of any strides."""
    count = prod(source.shape)
    if not count:
        return
    if len(source.shape) > _AXES:
        raise UnsupportedError(f"arrays on a device must be contiguous if they have {len(source.shape)} axes")
    made_for = plans.target(source.device)
    made = step(made_for, source.dtype.itemsize, source.shape, source.strides, target.strides, (Operand(0), Operand(1)))
    plans.Plan(made_for, (made,), 0).run((source.pointer, target.pointer), stream)


def step(
    target: Target,
    itemsize: int,
    shape: tuple[int, ...],
    source_strides: tuple[int, ...],
    target_strides: tuple[int, ...],
    operands: tuple[Operand, Operand],
) -> Step:
    """Return the launch that copies elements of so many bytes, of arrays of one shape; strides are in elements."""
    missing = _AXES - len(shape)
    sizes, none, count = (1,) * missing + shape, (0,) * missing, prod(shape)
    kernel = Kernel(_copy, f"uint{8 * itemsize}", _THREADS)  # bits are copied, of whatever they are
    numbers = (count, *sizes[1:], *none, *source_strides, *none, *target_strides)
    return target.step(kernel, (-(-count // _THREADS), 1, 1), operands, numbers)
