"""Kernels of Winograd's convolution on a device: three transforms, between which `matrices` multiplies.

A frequency is a place of the transformed tile. What is transformed lies frequency after frequency and group after
group: weights as channels x filters, inputs as channels x tiles, products as filters x tiles. So in every kernel
threads beside each other write numbers beside each other, and the products are as many matrix products.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, IntPointer, Pointer, Wide
from fastconv.cuda.intrinsics import (
    advance,
    load_row,
    mark,
    store,
)
from fastconv.cuda.transform import load_tile, store_each, transform_input, transform_output, transform_weight
from fastconv.cuda.winograd_tiles import store_tile, tile_place

# What kernels are specialised by.
ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE = COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE = 4, 3, 1  # F(m, r) along each axis
ROWS, COLUMNS, FREQUENCIES, TAPS = 6, 6, 36, 9  # of a tile of inputs, its elements, those of a kernel
FLIP = False
THREADS = 256
WARP_TILES = BLOCK_TILES = 32  # that a warp of a transform has beside each other, and a block


def weights(
    weight: Pointer,
    transformed: Pointer,
    frequency_step: Wide,
    channels: int,
    padded_channels: int,
    filters: int,
    padded_filters: int,
) -> None:
    """Transform the weights of a filter and a channel of a group; in the padding they are zeros."""
    filter_ = int32(cuda.blockIdx.x * 32 + cuda.threadIdx.x % 32)
    channel = int32(cuda.blockIdx.y * (THREADS // 32) + cuda.threadIdx.x // 32)
    group = int64(cuda.blockIdx.z)
    place = (group * int64(filters) + int64(filter_)) * int64(channels) + int64(channel)
    first = advance(weight, place * int64(TAPS) + int64(TAPS - 1 if FLIP else 0))
    limit = int32(TAPS) if channel < channels and filter_ < filters else int32(0)
    taps = load_row(first, int32(-1 if FLIP else 1), int32(0), limit, TAPS)
    found = transform_weight(taps, ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE, COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE)
    place = (group * int64(padded_channels) + int64(channel)) * int64(padded_filters) + int64(filter_)
    store_each(advance(transformed, place), frequency_step, found)


def inputs(
    x: Pointer,
    transformed: Pointer,
    marks: IntPointer,
    image_size: Wide,
    frequency_step: Wide,
    first_tile: int,
    tiles: int,
    padded_tiles: int,
    channels: int,
    padded_channels: int,
    image_tiles: int,
    image_multiplier: int,
    image_shift: int,
    row_tiles: int,
    row_multiplier: int,
    row_shift: int,
    row_gap: int,
    row_gap_multiplier: int,
    row_gap_shift: int,
    column_gap: int,
    column_gap_multiplier: int,
    column_gap_shift: int,
    height: int,
    width: int,
    padding_height: int,
    padding_width: int,
    pixel_step: int,
    channel_step: int,
) -> None:
    """Transform a tile of a channel, zeros for channels in the padding; take the marks of images away."""
    thread = int32(cuda.threadIdx.x)
    in_block = thread % WARP_TILES + thread // (THREADS * WARP_TILES // BLOCK_TILES) * WARP_TILES
    place = int32(cuda.blockIdx.x * BLOCK_TILES + in_block)
    channel = int32(cuda.blockIdx.y * (THREADS // BLOCK_TILES) + thread // WARP_TILES % (THREADS // BLOCK_TILES))
    group = int32(cuda.blockIdx.z)
    if place < tiles and channel < padded_channels:
        image, row, column = tile_place(
            *(int32(first_tile + place), image_tiles, image_multiplier, image_shift, row_tiles, row_multiplier),
            *(row_shift, row_gap, row_gap_multiplier, row_gap_shift),
            *(column_gap, column_gap_multiplier, column_gap_shift),
        )
        if row == 0 and column == 0 and channel == 0 and group == 0:
            store(marks, int32(image + 1), int32(0))
            if image == 0:
                store(marks, int32(0), int32(0))
        row = int32(row * ROW_STRIDE - padding_height)
        column = int32(column * COLUMN_STRIDE - padding_width)
        start = int64(image) * image_size + int64(group * channels + channel) * int64(channel_step)
        rows = height if channel < channels else int32(0)
        source = advance(x, start)
        values = load_tile(source, row, column, rows, width, row_gap, column_gap, pixel_step, ROWS, COLUMNS)
        found = transform_input(values, ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE, COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE)
        start = int64(group * padded_channels + channel) * int64(padded_tiles) + int64(place)
        store_each(advance(transformed, start), frequency_step, found)


def outputs(
    products: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    marks: IntPointer,
    image_size: Wide,
    frequency_step: int,
    first_tile: int,
    tiles: int,
    padded_tiles: int,
    filters: int,
    image_tiles: int,
    image_multiplier: int,
    image_shift: int,
    row_tiles: int,
    row_multiplier: int,
    row_shift: int,
    row_gap: int,
    row_gap_multiplier: int,
    row_gap_shift: int,
    column_gap: int,
    column_gap_multiplier: int,
    column_gap_shift: int,
    height: int,
    width: int,
    pixel_step: int,
    filter_step: int,
) -> None:
    """Transform the products of a tile and a filter, and do what follows a convolution; mark what is not finite."""
    thread = int32(cuda.threadIdx.x)
    in_block = thread % WARP_TILES + thread // (THREADS * WARP_TILES // BLOCK_TILES) * WARP_TILES
    place = int32(cuda.blockIdx.x * BLOCK_TILES + in_block)
    filter_ = int32(cuda.blockIdx.y * (THREADS // BLOCK_TILES) + thread // WARP_TILES % (THREADS // BLOCK_TILES))
    group = int32(cuda.blockIdx.z)
    if place < tiles and filter_ < filters:
        filter_ = int32(group * filters + filter_)
        image, row, column = tile_place(
            *(int32(first_tile + place), image_tiles, image_multiplier, image_shift, row_tiles, row_multiplier),
            *(row_shift, row_gap, row_gap_multiplier, row_gap_shift),
            *(column_gap, column_gap_multiplier, column_gap_shift),
        )
        source = advance(products, int64(filter_) * int64(padded_tiles) + int64(place))
        values = load_row(source, frequency_step, int32(0), int32(FREQUENCIES), FREQUENCIES)
        found = transform_output(values, ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE, COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE)
        begin = int64(image) * image_size + int64(filter_) * int64(filter_step)
        doubt = store_tile(
            *(Float(0), found, filter_, bias, residual, out, begin, row, column),
            *(row_gap, column_gap, height, width, pixel_step),
        )
        if doubt != Float(0):
            mark(marks, int32(0))
            mark(marks, int32(image + 1))
