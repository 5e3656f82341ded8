"""Copies on the device: of arrays that do not lie densely, of weights into the order of steps, of sums in parts."""

from __future__ import annotations

from math import prod

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda import epilogue
from fastconv.cuda import plan as plans
from fastconv.cuda.arrays import DeviceArray, Library
from fastconv.cuda.compile import Float, Kernel, Pointer, RealPointer, Wide, WidePointer, finish
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import division, load, quotient, store
from fastconv.cuda.plan import Operand, Step, Target
from fastconv.cuda.window import distance, needed
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem

_THREADS = 256
_AXES = 6


def _copy(
    source: Pointer,
    target: Pointer,
    count: Wide,
    size1: int,
    size2: int,
    size3: int,
    size4: int,
    size5: int,
    from0: Wide,
    from1: Wide,
    from2: Wide,
    from3: Wide,
    from4: Wide,
    from5: Wide,
    to0: Wide,
    to1: Wide,
    to2: Wide,
    to3: Wide,
    to4: Wide,
    to5: Wide,
) -> None:
    """Copy an element a thread; places of both arrays are sums over six axes of index times stride."""
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        rest = place // size5
        index5 = place - rest * size5
        place = rest
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
        read += index5 * from5
        written = index0 * to0 + index1 * to1 + index2 * to2 + index3 * to3 + index4 * to4
        written += index5 * to5
        store(target, written, load(source, read))


def copied(array: DeviceArray, library: Library, stream: int) -> DeviceArray:
    """Return a dense array of the same elements: itself if it is one."""
    return array if array.dense else duplicate(array, library, stream)


def duplicate(array: DeviceArray, library: Library, stream: int) -> DeviceArray:
    """Return a dense array of the same elements, in memory of its own."""
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
    made = copying(made_for, source.itemsize, source.shape, source.strides, target.strides, (Operand(0), Operand(1)))
    plans.Plan(made_for, (made,), 0).run((source.pointer, target.pointer), stream)


def copying(
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


_SIDE = 32  # of a square that a block of `_THREADS` transposes
_PITCH = _SIDE + 1  # between its rows: they begin in different banks
_SQUARE = _SIDE * _PITCH
FLIP = False  # what the kernel is specialised by
INSIDE = False  # whether all windows are inside their image


def _pack(
    weight: Pointer,
    packed: RealPointer,
    table: WidePointer,
    channels: int,
    filters: int,
    padded_filters: int,
    steps: int,
    padded_steps: int,
    taps: int,
    taps_multiplier: int,
    taps_shift: int,
    height: int,
    width: int,
    kernel_height: int,
    kernel_width: int,
    kernel_depth: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    pixel_step: int,
    channel_step: int,
) -> None:
    """Turn a group's filters x (channels x taps) into steps x filters, zeros in the padding, and fill the table.

    A step is a tap and a channel, channels innermost. Its entry in the table: in the lower half how far its element is
    from a window's first; in the upper half a bit for the depth, the row and the column of its tap, all bits in the
    padding.
    """
    square = cuda.shared.array(_SQUARE, Float)
    across = cuda.threadIdx.x % _SIDE
    down = cuda.threadIdx.x // _SIDE
    first_step = cuda.blockIdx.x * _SIDE
    first_filter = cuda.blockIdx.y * _SIDE
    group = int64(cuda.blockIdx.z)
    for i in range(down, _SIDE, _THREADS // _SIDE):
        value = Float(0)
        if first_filter + i < filters and first_step + across < steps:
            value = load(weight, (group * filters + first_filter + i) * steps + first_step + across)
        square[i * _PITCH + across] = value
    cuda.syncthreads()
    for i in range(down, _SIDE, _THREADS // _SIDE):
        step = int32(first_step + i)
        if step < padded_steps:
            row = int64(step)
            if step < steps:
                channel = quotient(step, taps_multiplier, taps_shift)
                tap = step - channel * taps
                row = (taps - 1 - tap if FLIP else tap) * channels + channel
            place = (group * padded_steps + row) * padded_filters + first_filter + across
            store(packed, place, square[across * _PITCH + i])
    step = int32(first_step + across)
    if cuda.blockIdx.y == 0 and group == 0 and down == 0 and step < padded_steps:
        tap = int32(step // channels)
        places = needed(tap, kernel_depth, kernel_height, kernel_width)
        far = distance(
            tap, kernel_height, kernel_width, dilation_depth, dilation_height, dilation_width, height, width
        )
        far = int32(far * pixel_step + (step - tap * channels) * channel_step)
        if INSIDE:
            places = int32(1)  # that of the window's corner
        if step >= steps:
            places = int32(-1)
            far = int32(0)
        store(table, step, int64(places) << 32 | int64(far))


def pack(
    target: Target,
    problem: ConvProblem,
    padded_filters: int,
    padded_steps: int,
    pointers: tuple[Operand, ...],
    *,
    inside: bool = False,
) -> Step:
    """Return the step that packs weights, given where these are, and the packed ones and the table are to be.

    The bits of windows that are `inside` their image are that of their corner's depth alone.
    """
    shape = geometry(problem)
    steps = shape.group_channels * shape.taps
    return target.step(
        Kernel(_pack, problem.dtype, _THREADS, constants={"FLIP": problem.flip, "INSIDE": inside}),
        (-(-padded_steps // _SIDE), padded_filters // _SIDE, problem.groups),
        pointers,
        (
            *(shape.group_channels, shape.group_filters, padded_filters, steps, padded_steps),
            *(shape.taps, *division(shape.taps), *shape.size[1:], *shape.kernel[1:], shape.kernel[0]),
            *(*shape.dilation, shape.pixel_step, shape.channel_step),
        ),
    )


CHANNELS_LAST = False  # what the next kernel is specialised by


def _reduce(
    parts: RealPointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    count: Wide,
    splits: int,
    filters: int,
    plane: int,
) -> None:
    """Add the parts of an element of the result, and do what follows a convolution; a thread an element."""
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        total = load(parts, place)
        for split in range(1, splits):
            total += load(parts, split * count + place)
        filter_ = place % filters if CHANNELS_LAST else place // plane % filters
        store(out, place, finish(total, bias, filter_, residual, place))


def reduce(
    target: Target, problem: ConvProblem, activation: str | None, splits: int, pointers: tuple[Operand, ...]
) -> Step:
    """Return the step that adds parts of sums, given where these, bias, residual and result are."""
    count = prod(problem.output_shape)
    kernel = Kernel(
        _reduce,
        problem.dtype,
        _THREADS,
        constants={"CHANNELS_LAST": problem.layout == "channels_last"},
        names={"finish": epilogue.place(activation)},
    )
    numbers = (count, splits, problem.filters, prod(problem.output_size))
    return target.step(kernel, (-(-count // _THREADS), 1, 1), pointers, numbers)
