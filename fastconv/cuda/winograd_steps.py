"""Kernels of Winograd's convolution on a device: three transforms, and the products of each frequency.

A frequency is a place of the transformed tile. What is transformed lies frequency after frequency and group after
group: weights as channels x filters, inputs as channels x tiles, products as filters x tiles. So in every kernel
threads beside each other write numbers beside each other, and the products are as many matrix products, whose factors
and results are read and written by 16 bytes.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, IntPointer, Pointer, Wide
from fastconv.cuda.intrinsics import (
    add_products,
    advance,
    load_quads,
    load_row,
    mark,
    set_quads,
    store,
    store_run,
    zeros,
)
from fastconv.cuda.transform import load_tile, store_each, transform_input, transform_output, transform_weight
from fastconv.cuda.unroll import static_range
from fastconv.cuda.winograd_tiles import store_tile, tile_place

# What kernels are specialised by.
ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE = COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE = 4, 3, 1  # F(m, r) along each axis
ROWS, COLUMNS, FREQUENCIES, TAPS = 6, 6, 36, 9  # of a tile of inputs, its elements, those of a kernel
FLIP = False
THREADS = 256
WARP_TILES = BLOCK_TILES = 32  # that a warp of a transform has beside each other, and a block
FILTERS = PIXELS = 128  # of a product's block, whose pixels are tiles; see `im2col.Tile` for these and the others
THREAD_FILTERS = THREAD_PIXELS = 8
DEPTH = 8
WEIGHT_QUADS = COLUMN_QUADS = 256
WEIGHT_LOADS = COLUMN_LOADS = 1


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


def multiply(
    weight: Pointer,
    transformed: Pointer,
    products: Pointer,
    filters: int,
    padded_filters: int,
    padded_channels: int,
    padded_tiles: int,
) -> None:
    """Compute a tile of ``products[filter, pixel] = sum over channels of weight[channel, filter] * x[channel, pixel]``.

    M is the filters of a group, N the pixels, which are tiles of the input, K the channels; the grid's third axis is
    frequencies and groups. The loop is that of `product.multiply`: while the products of one buffer in shared memory
    are summed, the next is loaded into registers. The last round loads what nobody uses, but there is memory for it.
    Its frame stands there and here, as what is loaded differs: there elements of windows, here quads.
    """
    shared = cuda.shared.array(2 * DEPTH * (PIXELS + FILTERS), Float, alignment=16)  # columns first
    thread = cuda.threadIdx.x
    matrix = int64(cuda.blockIdx.z)
    first_filter = int32(cuda.blockIdx.y * FILTERS)
    first_pixel = int32(cuda.blockIdx.x * PIXELS)
    factors = advance(weight, matrix * int64(padded_channels) * int64(padded_filters) + int64(first_filter))
    source = advance(transformed, matrix * int64(padded_channels) * int64(padded_tiles) + int64(first_pixel))
    next_weights = zeros(Float(0), 4 * WEIGHT_LOADS)
    weight_place = int32(thread // (FILTERS // 4) * padded_filters + thread % (FILTERS // 4) * 4)
    weight_step = int32(THREADS // (FILTERS // 4) * padded_filters)
    column_place = int32(thread // (PIXELS // 4) * padded_tiles + thread % (PIXELS // 4) * 4)
    column_step = int32(THREADS // (PIXELS // 4) * padded_tiles)
    my_filter = int32(thread // (PIXELS // THREAD_PIXELS) * 4)
    my_pixel = int32(thread % (PIXELS // THREAD_PIXELS) * 4)
    buffer = int32(0)  # the one that is computed with, and before that the one to load
    sums = zeros(Float(0), THREAD_FILTERS * THREAD_PIXELS)
    for whole in static_range(2):
        for _ in range(int32(padded_channels // DEPTH) if whole else int32(1)):
            if WEIGHT_QUADS >= THREADS or thread < WEIGHT_QUADS:
                next_weights = load_quads(factors, weight_place, weight_step, WEIGHT_LOADS)
            next_columns = load_quads(source, column_place, column_step, COLUMN_LOADS)
            weight_place = int32(weight_place + DEPTH * padded_filters)
            column_place = int32(column_place + DEPTH * padded_tiles)

            if whole:
                get_weights = int32(my_filter + buffer * (DEPTH * FILTERS) + 2 * DEPTH * PIXELS)
                get_columns = int32(my_pixel + buffer * (DEPTH * PIXELS))
                # fmt: off
                sums = add_products(
                    sums, shared,
                    get_weights, FILTERS, FILTERS * 4 // THREAD_FILTERS, THREAD_FILTERS // 4,
                    get_columns, PIXELS, PIXELS * 4 // THREAD_PIXELS, THREAD_PIXELS // 4,
                    DEPTH,
                )
                # fmt: on
                buffer ^= int32(1)

            if WEIGHT_QUADS >= THREADS or thread < WEIGHT_QUADS:
                put_weights = int32(thread * 4 + buffer * (DEPTH * FILTERS) + 2 * DEPTH * PIXELS)
                set_quads(shared, put_weights, THREADS * 4, next_weights)
            put_columns = int32(thread * 4 + buffer * (DEPTH * PIXELS))
            set_quads(shared, put_columns, THREADS * 4, next_columns)
            cuda.syncthreads()

    target = advance(products, matrix * int64(filters) * int64(padded_tiles))
    for i in static_range(THREAD_FILTERS):
        filter_ = int32(first_filter + my_filter + (i // 4 * (FILTERS * 4 // THREAD_FILTERS) + i % 4))
        if filter_ < filters:
            place = int32(filter_ * padded_tiles + first_pixel + my_pixel)
            for j in static_range(0, THREAD_PIXELS, 4):
                store_run(target, place + j * PIXELS // THREAD_PIXELS, sums, i * THREAD_PIXELS + j, 4)


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
