"""Kernels of depthwise convolutions: small ones a strip of outputs a thread, large ones by runs of outputs in a row.

Every filter reads one channel, `per_channel` filters the same one. All divisions are by `intrinsics.quotient`.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, Pointer, finish
from fastconv.cuda.intrinsics import (
    advance,
    get,
    load_if,
    load_row,
    put,
    quads,
    quotient,
    set_quad,
    slide,
    store,
    zeros,
)
from fastconv.cuda.unroll import static_range

# What kernels are specialised by.
CHANNELS_LAST = FLIP = False
KERNEL_HEIGHT = KERNEL_WIDTH = TAPS = STRIDE_HEIGHT = STRIDE_WIDTH = DILATION_HEIGHT = DILATION_WIDTH = 1
ROWS = SPAN = 1  # of a strip: outputs, and rows of the input that they see
ALONG = ACROSS = PLANES = 1  # of a tile: runs of outputs beside each other, rows of them, and planes of a block
TILE_ROWS = TILE_PITCH = TILE_MULTIPLIER = TILE_SHIFT = TILE_SIZE = 1  # of the input that a tile sees
FACTOR_PITCH = FACTOR_MULTIPLIER = FACTOR_SHIFT = FACTOR_SIZE = 1  # of a filter's rows
VALUES = 1  # that a run sees of a row
VALUE_QUADS = FACTOR_QUADS = 1  # 16 bytes at a time that a run reads of a row, and of a filter's
OUT_PITCH = 1  # of results

RUN = 8  # outputs of a thread, in a row


def strips(
    x: Pointer,
    weight: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    count: int,
    channels: int,
    filters: int,
    filters_multiplier: int,
    filters_shift: int,
    channel_multiplier: int,
    channel_shift: int,
    height: int,
    width: int,
    out_height: int,
    row_length: int,
    row_multiplier: int,
    row_shift: int,
    strips_: int,
    strips_multiplier: int,
    strips_shift: int,
    padding_height: int,
    padding_width: int,
) -> None:
    """Compute `ROWS` outputs one below the other: of each column of the window, a number is loaded once for all.

    Threads beside each other have columns beside each other, or filters.
    """
    place = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if place < count:
        by_row = quotient(place, row_multiplier, row_shift)
        along = int32(place - by_row * row_length)
        plane = quotient(by_row, strips_multiplier, strips_shift)
        row = int32((by_row - plane * strips_) * ROWS)
        by_filters = quotient(along if CHANNELS_LAST else plane, filters_multiplier, filters_shift)
        filter_ = int32((along if CHANNELS_LAST else plane) - by_filters * filters)
        channel = quotient(filter_, channel_multiplier, channel_shift)
        image = plane if CHANNELS_LAST else by_filters
        column = by_filters if CHANNELS_LAST else along
        step = channels if CHANNELS_LAST else int32(1)
        plane_step = int64(1) if CHANNELS_LAST else int64(height) * int64(width)
        first_height = int32(row * STRIDE_HEIGHT - padding_height)
        first_width = int32(column * STRIDE_WIDTH - padding_width)
        start = int64(image) * int64(channels) * int64(height) * int64(width) + int64(channel) * plane_step
        source = advance(x, start + (int64(first_height) * int64(width) + int64(first_width)) * int64(step))
        factors = advance(weight, int32(filter_ * TAPS + (TAPS - 1 if FLIP else 0)))
        sums = zeros(Float(0), ROWS)
        for i in range(KERNEL_WIDTH):
            w = int32(first_width + i * DILATION_WIDTH)
            limit = height if w >= 0 and w < width else int32(0)
            values = load_row(source, int32(width * step), first_height, limit, SPAN)
            direction = int32(-1 if FLIP else 1)
            taps = load_row(factors, int32(direction * KERNEL_WIDTH), int32(0), int32(KERNEL_HEIGHT), KERNEL_HEIGHT)
            sums = slide(sums, values, taps, STRIDE_HEIGHT, DILATION_HEIGHT, KERNEL_HEIGHT)
            source = advance(source, int32(DILATION_WIDTH * step))
            factors = advance(factors, direction)
        first = (int64(plane) * int64(out_height) + int64(row)) * int64(row_length) + int64(along)
        for k in static_range(ROWS):
            if row + k < out_height:
                target = first + int64(k * row_length)
                store(out, target, finish(sums[k], bias, filter_, residual, target))


def tiles(
    x: Pointer,
    weight: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    planes: int,
    channels: int,
    filters: int,
    filters_multiplier: int,
    filters_shift: int,
    channel_multiplier: int,
    channel_shift: int,
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    across: int,
    across_multiplier: int,
    across_shift: int,
    down: int,
    down_multiplier: int,
    down_shift: int,
    padding_height: int,
    padding_width: int,
) -> None:
    """Compute a tile of `ALONG` runs by `ACROSS` rows, of each of `PLANES` planes whose channels lie first.

    What it sees of the input lies in shared memory, as does the filter. A thread computes a run of outputs: of a row of
    the filter it reads each number once, and those of the input that the run sees.
    """
    tile = cuda.shared.array(TILE_SIZE * PLANES, Float, alignment=16)
    factors = cuda.shared.array(FACTOR_SIZE * PLANES, Float, alignment=16)
    thread = int32(cuda.threadIdx.x)
    by_across = quotient(cuda.blockIdx.x, across_multiplier, across_shift)
    first_column = int32((int32(cuda.blockIdx.x) - by_across * across) * (ALONG * RUN))
    group = quotient(by_across, down_multiplier, down_shift)
    first_row = int32((by_across - group * down) * ACROSS)
    top = int32(first_row * STRIDE_HEIGHT - padding_height)
    left = int32(first_column * STRIDE_WIDTH - padding_width)
    for i in range(PLANES):
        plane = int32(group * PLANES + i)
        image = quotient(plane, filters_multiplier, filters_shift)
        filter_ = int32(plane - image * filters)
        channel = quotient(filter_, channel_multiplier, channel_shift)
        source = advance(x, (int64(image) * int64(channels) + int64(channel)) * int64(height) * int64(width))
        for j in range(thread, TILE_SIZE, ALONG * ACROSS * PLANES):
            line = quotient(int32(j), int32(TILE_MULTIPLIER), int32(TILE_SHIFT))
            h = int32(top + line)
            w = int32(left + (int32(j) - line * TILE_PITCH))
            inside = plane < planes and h >= 0 and h < height and w >= 0 and w < width
            put(tile, int32(i * TILE_SIZE + j), load_if(inside, source, int32(h * width + w), Float(0)))
        for j in range(thread, FACTOR_SIZE, ALONG * ACROSS * PLANES):
            line = quotient(int32(j), int32(FACTOR_MULTIPLIER), int32(FACTOR_SHIFT))
            tap = int32(j) - line * FACTOR_PITCH
            index = int32(line * KERNEL_WIDTH + tap)
            index = int32(filter_ * TAPS + (TAPS - 1 - index if FLIP else index))
            inside = plane < planes and tap < KERNEL_WIDTH
            put(factors, int32(i * FACTOR_SIZE + j), load_if(inside, weight, index, Float(0)))
    cuda.syncthreads()

    # Of eight threads that read 16 bytes each at once, four are beside each other and two below: that is all banks.
    inner = int32(thread % (ALONG * ACROSS))
    if ALONG >= 4 and ACROSS >= 2:
        run = int32(inner % 4 + inner // 8 % (ALONG // 4) * 4)
        row = int32(inner // 4 % 2 + inner // (2 * ALONG) * 2)
    else:
        run = int32(inner % ALONG)
        row = int32(inner // ALONG)
    mine = int32(thread // (ALONG * ACROSS))
    value_place = int32(mine * TILE_SIZE + row * (STRIDE_HEIGHT * TILE_PITCH) + run * (RUN * STRIDE_WIDTH))
    factor_place = int32(mine * FACTOR_SIZE)
    sums = zeros(Float(0), RUN)
    for _ in range(KERNEL_HEIGHT):
        values = quads(tile, value_place, 4, VALUE_QUADS)
        taps = quads(factors, factor_place, 4, FACTOR_QUADS)
        sums = slide(sums, values, taps, STRIDE_WIDTH, DILATION_WIDTH, KERNEL_WIDTH)
        value_place = int32(value_place + DILATION_HEIGHT * TILE_PITCH)
        factor_place = int32(factor_place + FACTOR_PITCH)

    # Results pass through shared memory, so that threads beside each other store elements beside each other.
    cuda.syncthreads()
    place = int32((mine * ACROSS + row) * OUT_PITCH + run * RUN)
    set_quad(tile, place, sums, 0, 1)
    set_quad(tile, int32(place + 4), sums, 4, 1)
    cuda.syncthreads()
    for i in range(thread, PLANES * ACROSS * ALONG * RUN, ALONG * ACROSS * PLANES):
        line = int32(i) // (ALONG * RUN)
        column = int32(first_column + (int32(i) - line * (ALONG * RUN)))
        plane = int32(group * PLANES + line // ACROSS)
        row = int32(first_row + line % ACROSS)
        if plane < planes and row < out_height and column < out_width:
            total = get(tile, int32(line * OUT_PITCH + (column - first_column)))
            filter_ = int32(plane - quotient(plane, filters_multiplier, filters_shift) * filters)
            target = int64(plane) * int64(out_height * out_width) + int64(row * out_width + column)
            store(out, target, finish(total, bias, filter_, residual, target))


def runs(
    x: Pointer,
    weight: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    count: int,
    channels: int,
    filters: int,
    filters_multiplier: int,
    filters_shift: int,
    channel_multiplier: int,
    channel_shift: int,
    height: int,
    width: int,
    out_height: int,
    height_multiplier: int,
    height_shift: int,
    out_width: int,
    along: int,
    along_multiplier: int,
    along_shift: int,
    padding_height: int,
    padding_width: int,
) -> None:
    """Compute a run of outputs of a filter, whose threads lie beside each other as channels do, and weights as well."""
    place = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if place < count:
        by_filter = quotient(place, filters_multiplier, filters_shift)
        filter_ = int32(place - by_filter * filters)
        channel = quotient(filter_, channel_multiplier, channel_shift)
        by_run = quotient(by_filter, along_multiplier, along_shift)
        first_column = int32((by_filter - by_run * along) * RUN)
        image = quotient(by_run, height_multiplier, height_shift)
        row = int32(by_run - image * out_height)
        first_height = int32(row * STRIDE_HEIGHT - padding_height)
        first_width = int32(first_column * STRIDE_WIDTH - padding_width)
        start = (int64(image) * int64(height) + int64(first_height)) * int64(width) + int64(first_width)
        source = advance(x, start * int64(channels) + int64(channel))
        factors = advance(weight, filter_)
        sums = zeros(Float(0), RUN)
        for i in range(KERNEL_HEIGHT):
            h = int32(first_height + i * DILATION_HEIGHT)
            if h >= 0 and h < height:
                values = load_row(source, channels, first_width, width, VALUES)
                taps = load_row(factors, filters, int32(0), int32(KERNEL_WIDTH), KERNEL_WIDTH)
                sums = slide(sums, values, taps, STRIDE_WIDTH, DILATION_WIDTH, KERNEL_WIDTH)
            source = advance(source, int64(DILATION_HEIGHT * width) * int64(channels))
            factors = advance(factors, int32(KERNEL_WIDTH * filters))
        first = (int64(by_run) * int64(out_width) + int64(first_column)) * int64(filters) + int64(filter_)
        for i in static_range(RUN):
            if first_column + i < out_width:
                target = first + int64(i * filters)
                store(out, target, finish(sums[i], bias, filter_, residual, target))
