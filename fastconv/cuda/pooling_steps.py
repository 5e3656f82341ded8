"""Kernels of poolings: any windows an output a thread, small windows a strip of outputs a thread, whole planes.

Planes lie one after the other: those of all channels of all images, or those of all images, each element of which is
then as many numbers as there are channels: `lanes`. All divisions are by `intrinsics.quotient`.

In a maximum, NaN wins, and the first of equals: what is greater or NaN takes the place of what was.
"""

from __future__ import annotations

import math

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, Pointer, WidePointer
from fastconv.cuda.intrinsics import advance, load, load_if, quotient, store
from fastconv.cuda.unroll import static_range

# What kernels are specialised by.
KIND = "max"  # or "sum", or "magnitude", the largest
NORM: float | None = None  # of what is summed: its magnitude to this power; 0: to a power that is an argument
NEUTRAL = 0.0  # what padding counts as
ADAPTIVE = INDICES = COUNTED = PADDED = SIDE_BY_SIDE = False
ROWS = KERNEL_HEIGHT = KERNEL_WIDTH = STRIDE_HEIGHT = STRIDE_WIDTH = SPAN = PARTNERS = 1

WARP = 32


def any_windows(
    x: Pointer,
    out: Pointer,
    indices: WidePointer,
    count: int,
    lanes: int,
    lanes_multiplier: int,
    lanes_shift: int,
    depth: int,
    height: int,
    width: int,
    out_depth: int,
    out_height: int,
    out_width: int,
    depth_multiplier: int,
    depth_shift: int,
    height_multiplier: int,
    height_shift: int,
    width_multiplier: int,
    width_shift: int,
    kernel_depth: int,
    kernel_height: int,
    kernel_width: int,
    stride_depth: int,
    stride_height: int,
    stride_width: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    padding_depth: int,
    padding_height: int,
    padding_width: int,
    end_depth: int,
    end_height: int,
    end_width: int,
    divisor: int,
    power: float,
) -> None:
    """Fold one window, whatever it is; where elements are `COUNTED`, those before the ends of the padding or inside."""
    place = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if place < count:
        rest = quotient(place, lanes_multiplier, lanes_shift)
        lane = int32(place - rest * lanes)
        by_width = quotient(rest, width_multiplier, width_shift)
        column = int32(rest - by_width * out_width)
        by_height = quotient(by_width, height_multiplier, height_shift)
        row = int32(by_width - by_height * out_height)
        plane = quotient(by_height, depth_multiplier, depth_shift)
        slice_ = int32(by_height - plane * out_depth)
        source = advance(x, int64(plane) * int64(depth) * int64(height) * int64(width) * int64(lanes) + int64(lane))
        if ADAPTIVE:
            first_depth = int32(int64(slice_) * int64(depth) // int64(out_depth))
            first_height = int32(int64(row) * int64(height) // int64(out_height))
            first_width = int32(int64(column) * int64(width) // int64(out_width))
            last_depth = int32((int64(slice_ + 1) * int64(depth) - 1) // int64(out_depth))
            last_height = int32((int64(row + 1) * int64(height) - 1) // int64(out_height))
            last_width = int32((int64(column + 1) * int64(width) - 1) // int64(out_width))
            taps_depth = int32(last_depth - first_depth + 1)
            taps_height = int32(last_height - first_height + 1)
            taps_width = int32(last_width - first_width + 1)
        else:
            first_depth = int32(slice_ * stride_depth - padding_depth)
            first_height = int32(row * stride_height - padding_height)
            first_width = int32(column * stride_width - padding_width)
            taps_depth, taps_height, taps_width = kernel_depth, kernel_height, kernel_width
        total = Float(NEUTRAL)
        index = int32(-1)
        taps = int32(0)
        for i in range(taps_depth):
            d = int32(first_depth + i * dilation_depth)
            for j in range(taps_height):
                h = int32(first_height + j * dilation_height)
                part = Float(0)  # the sum of a row: rounding grows with the root of far fewer terms
                for k in range(taps_width):
                    w = int32(first_width + k * dilation_width)
                    if PADDED and d < end_depth and h < end_height and w < end_width:
                        taps = int32(taps + 1)
                    if d >= 0 and d < depth and h >= 0 and h < height and w >= 0 and w < width:
                        if COUNTED and not PADDED:
                            taps = int32(taps + 1)
                        position = int32((d * height + h) * width + w)
                        value = load(source, int64(position) * int64(lanes))
                        if NORM is not None:
                            value = abs(value)
                        if NORM == 2:
                            value = value * value
                        if NORM == 0:
                            value = math.pow(value, power)
                        if KIND == "sum":
                            part += value
                        elif INDICES:
                            if index < 0 or value > total or (value != value and total == total):
                                total = value
                                index = position
                        elif value > total or value != value:
                            total = value
                if KIND == "sum":
                    total += part
        if NORM == 2:
            total = math.sqrt(total)
        if NORM == 0:
            total = math.pow(total, Float(1) / power)
        if COUNTED:
            total = total / Float(max(taps, int32(1)))
        elif KIND == "sum" and NORM is None:
            total = total / Float(divisor)
        store(out, place, total)
        if INDICES:
            store(indices, place, int64(index))


def strips(
    x: Pointer,
    out: Pointer,
    count: int,
    lanes: int,
    lanes_multiplier: int,
    lanes_shift: int,
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    row_length: int,
    row_multiplier: int,
    row_shift: int,
    strips_: int,
    strips_multiplier: int,
    strips_shift: int,
    padding_height: int,
    padding_width: int,
    begin_height: int,
    begin_width: int,
    end_height: int,
    end_width: int,
    divisor: int,
) -> None:
    """Fold `ROWS` windows one below the other: rows of the input are folded once, and then by those who share them.

    Threads beside each other have columns (or channels) beside each other. `COUNTED` are elements from `begin` to
    before `end`.
    """
    place = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if place < count:
        by_row = quotient(place, row_multiplier, row_shift)
        along = int32(place - by_row * row_length)
        plane = quotient(by_row, strips_multiplier, strips_shift)
        row = int32((by_row - plane * strips_) * ROWS)
        column = quotient(along, lanes_multiplier, lanes_shift)
        lane = int32(along - column * lanes)
        first_height = int32(row * STRIDE_HEIGHT - padding_height)
        first_width = int32(column * STRIDE_WIDTH - padding_width)
        step = lanes if SIDE_BY_SIDE else int32(1)
        start = int64(first_height) * int64(width) + int64(first_width)
        source = advance(x, (int64(plane) * int64(height) * int64(width) + start) * int64(step) + int64(lane))
        folded = cuda.local.array(SPAN, Float)
        for i in range(SPAN):
            h = int32(first_height + i)
            folded[i] = Float(NEUTRAL)
            for j in range(KERNEL_WIDTH):
                w = int32(first_width + j)
                inside = h >= 0 and h < height and w >= 0 and w < width
                value = load_if(inside, source, int32(j * step), Float(NEUTRAL))
                if NORM is not None:
                    value = abs(value)
                if NORM == 2:
                    value = value * value
                if KIND == "sum":
                    folded[i] += value
                elif value > folded[i] or value != value:
                    folded[i] = value
            source = advance(source, int32(width * step))
        target = advance(out, (int64(plane) * int64(out_height) + int64(row)) * int64(row_length) + int64(along))
        for i in static_range(ROWS):
            total = folded[i * STRIDE_HEIGHT]
            for j in static_range(1, KERNEL_HEIGHT):
                value = folded[i * STRIDE_HEIGHT + j]
                if KIND == "sum":
                    total += value
                elif value > total or value != value:
                    total = value
            if NORM == 2:
                total = math.sqrt(total)
            if COUNTED:
                h = int32(first_height + i * STRIDE_HEIGHT)
                high = int32(min(int32(h + KERNEL_HEIGHT), end_height) - max(h, begin_height))
                wide = int32(min(int32(first_width + KERNEL_WIDTH), end_width) - max(first_width, begin_width))
                total = total / Float(max(int32(high * wide), int32(1)))
            elif KIND == "sum" and NORM is None:
                total = total / Float(divisor)
            if row + i < out_height:
                store(target, int32(i * row_length), total)


def whole_planes(x: Pointer, out: Pointer, planes: int, elements: int, divisor: int) -> None:
    """Fold planes of contiguous elements, each by `PARTNERS` threads of a warp beside each other.

    There is no first among equals: of zeros of both signs it may be either.
    """
    thread = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    plane = int32(thread // PARTNERS)
    inside = min(plane, int32(planes - 1))  # all threads of a warp exchange, also those that have no plane
    source = advance(x, int64(inside) * int64(elements))
    total = Float(NEUTRAL)
    for i in range(thread % PARTNERS, elements, PARTNERS):
        value = load(source, i)
        if NORM is not None:
            value = abs(value)
        if NORM == 2:
            value = value * value
        if KIND == "sum":
            total += value
        elif value > total or value != value:
            total = value
    distance = int32(PARTNERS // 2)
    while distance > 0:
        value = cuda.shfl_xor_sync(0xFFFFFFFF, total, distance)
        if KIND == "sum":
            total += value
        elif value > total or value != value:
            total = value
        distance = int32(distance // 2)
    if NORM == 2:
        total = math.sqrt(total)
    if KIND == "sum" and NORM is None:
        total = total / Float(divisor)
    if thread % PARTNERS == 0 and plane < planes:
        store(out, plane, total)
