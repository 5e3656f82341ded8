"""Winograd's convolution in one kernel, for tiles of 16 frequencies: what is transformed stays on the multiprocessor.

A block computes 64 filters by 32 tiles of inputs, all frequencies of them: 32768 sums, 128 of each thread's registers.
Four channels at a time, half of its threads transform a tile of a channel each while all of them multiply; a warp has
two frequencies. In the end products pass through shared memory, a quarter of them at a time, so that a thread gets all
frequencies of a tile. Such a block was proposed by Yan, Wang and Chu, Optimizing Batched Winograd Convolution on GPUs
(2020). Sums are those of the kernels in `winograd_steps`, to the last bit.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Array, Float, IntPointer, Pointer, Tuple, Wide
from fastconv.cuda.intrinsics import (
    add_products,
    advance,
    block_x_again,
    block_z_again,
    load_quads,
    mark,
    other_buffer,
    put,
    quotient,
    set_quad,
    set_quads,
    thread_x_again,
    zeros,
)
from fastconv.cuda.transform import gather, load_tile, transform_input, transform_output
from fastconv.cuda.unroll import part, static_range
from fastconv.cuda.winograd_tiles import store_tile, tile_place

# What it is specialised by.
THREADS = 256
FILTERS, TILES, DEPTH = 64, 32, 4  # of a block, and channels at a time
PITCH = 20  # from a filter's products of 16 tiles to the next one's: they begin in different banks
ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE = COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE = 2, 3, 1
ROWS, COLUMNS, FREQUENCIES = 4, 4, 16
RUN = 1  # outputs that are stored at once: 1 or 2

BLOCK = {"FILTERS": FILTERS, "TILES": TILES, "DEPTH": DEPTH, "PITCH": PITCH}


@part(results=0)
def put_tile(shared: Array, place: int, tile: Tuple) -> None:
    """Store the frequencies of a tile, each to the matrix of its own."""
    found = transform_input(tile, ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE, COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE)
    for i in static_range(FREQUENCIES):
        put(shared, place + i * (DEPTH * TILES), found[i])


@part(results=0)
def put_products(shared: Array, thread: int, turn: int, first_sums: Tuple, second_sums: Tuple) -> None:
    """Store a turn's products of the warp's two frequencies: of half of the filters by half of the tiles."""
    lane = int32(thread % 32)
    place = int32((thread // 32 * 64 + lane // 4 * 4) * PITCH + lane % 4 * 4)
    for r in static_range(4):
        if turn == r:
            for i in static_range(4):
                set_quad(shared, place + i * PITCH, first_sums, (r // 2 * 4 + i) * 8 + r % 2 * 4, 1)
                set_quad(shared, place + (32 + i) * PITCH, second_sums, (r // 2 * 4 + i) * 8 + r % 2 * 4, 1)


@part(results=0)
def store_turn(
    shared: Array,
    thread: int,
    first_filter: int,
    filters: int,
    first_of_group: int,
    image: int,
    row: int,
    column: int,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    marks: IntPointer,
    out_image_size: Wide,
    row_gap: int,
    column_gap: int,
    out_height: int,
    out_width: int,
) -> None:
    """Transform a tile's products back and store its outputs, of two of a turn's filters; mark images in doubt."""
    for half in range(int32(2)):
        in_round = int32(half * 16 + thread // 16)
        filter_ = int32(first_filter + in_round)
        if filter_ < filters:
            values = gather(shared, int32(in_round * PITCH + thread % 16), 32 * PITCH, FREQUENCIES)
            found = transform_output(
                values, ROW_OUTPUTS, ROW_TAPS, ROW_STRIDE, COLUMN_OUTPUTS, COLUMN_TAPS, COLUMN_STRIDE
            )
            filter_ = int32(first_of_group + filter_)
            begin = int64(image) * out_image_size + int64(filter_) * int64(out_height * out_width)
            doubt = store_tile(
                *(Float(0), found, filter_, bias, residual, out, begin, row, column),
                *(row_gap, column_gap, out_height, out_width, int32(1)),
            )
            if doubt != Float(0):
                mark(marks, int32(0))
                mark(marks, int32(image + 1))


def fused(
    x: Pointer,
    weight: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    marks: IntPointer,
    image_size: Wide,
    out_image_size: Wide,
    frequency_step: int,
    filter_blocks: int,
    filter_blocks_multiplier: int,
    filter_blocks_shift: int,
    tiles: int,
    channels: int,
    padded_channels: int,
    filters: int,
    padded_filters: int,
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
    out_height: int,
    out_width: int,
) -> None:
    """Compute a block of a group; channels lie first. Nobody clears the marks here: that was done before."""
    shared = cuda.shared.array(2 * FREQUENCIES * DEPTH * (FILTERS + TILES), Float, alignment=16)  # weights first
    thread = int32(cuda.threadIdx.x)
    lane = int32(thread % 32)
    group = int32(cuda.blockIdx.z)
    tile_block = quotient(cuda.blockIdx.x, filter_blocks_multiplier, filter_blocks_shift)
    first_filter = int32((int32(cuda.blockIdx.x) - tile_block * filter_blocks) * FILTERS)

    # Which tile of a plane this thread transforms, if it is one of those that do, and which weights it copies.
    tile = int32(tile_block * TILES + lane)
    image, row, column = tile_place(
        *(tile, image_tiles, image_multiplier, image_shift, row_tiles, row_multiplier, row_shift),
        *(row_gap, row_gap_multiplier, row_gap_shift, column_gap, column_gap_multiplier, column_gap_shift),
    )
    row = int32(row - padding_height)
    column = int32(column - padding_width)
    channel = int32(thread // 32)
    transforms = thread < 32 * DEPTH
    channel_step = int32(height * width)
    start = int64(image) * image_size + int64(group * channels + channel) * int64(channel_step)
    source = advance(x, start)
    line = group * padded_channels + thread // (FILTERS // 4) % DEPTH
    start = int64(thread // (DEPTH * FILTERS // 4)) * int64(frequency_step) + int64(line) * int64(padded_filters)
    factors = advance(weight, start + int64(first_filter + thread % (FILTERS // 4) * 4))
    my_tile = int32(lane + channel * TILES + 2 * FREQUENCIES * DEPTH * FILTERS)
    # Where it puts weights and gets its factors.
    put_weights = int32(thread * 4)
    get_weights = int32(thread // 32 * (2 * DEPTH * FILTERS) + lane // 4 * 4)
    get_tiles = int32(thread // 32 * (2 * DEPTH * TILES) + lane % 4 * 4 + 2 * FREQUENCIES * DEPTH * FILTERS)
    next_tile = zeros(Float(0), ROWS * COLUMNS)
    first_sums = zeros(Float(0), 64)
    second_sums = zeros(Float(0), 64)
    for whole in static_range(2):
        for _ in range(int32(padded_channels // DEPTH) if whole else int32(1)):
            next_weights = load_quads(factors, int32(0), int32(4 * frequency_step), 4)
            if transforms:
                rows = height if channel < channels and tile < tiles else int32(0)
                next_tile = load_tile(source, row, column, rows, width, row_gap, column_gap, int32(1), ROWS, COLUMNS)
            channel = int32(channel + DEPTH)
            source = advance(source, int32(DEPTH * channel_step))
            factors = advance(factors, int32(DEPTH * padded_filters))

            if whole:
                a, b = get_weights, get_tiles
                first_sums = add_products(first_sums, shared, a, FILTERS, 32, 2, b, TILES, 16, 2, DEPTH)
                a = int32(a + DEPTH * FILTERS)
                b = int32(b + DEPTH * TILES)
                second_sums = add_products(second_sums, shared, a, FILTERS, 32, 2, b, TILES, 16, 2, DEPTH)
                get_weights = other_buffer(get_weights, FREQUENCIES * DEPTH * FILTERS, whole)
                get_tiles = other_buffer(get_tiles, FREQUENCIES * DEPTH * TILES, whole)

            set_quads(shared, put_weights, THREADS * 4, next_weights)
            if transforms:
                put_tile(shared, my_tile, next_tile)
            put_weights = other_buffer(put_weights, FREQUENCIES * DEPTH * FILTERS, whole)
            my_tile = other_buffer(my_tile, FREQUENCIES * DEPTH * TILES, whole)
            cuda.syncthreads()

    # A round takes half of the filters and half of the tiles.
    thread = thread_x_again()
    group = block_z_again()
    block = block_x_again()
    tile_block = quotient(block, filter_blocks_multiplier, filter_blocks_shift)
    first_filter = int32((block - tile_block * filter_blocks) * FILTERS)
    for turn in range(int32(4)):
        put_products(shared, thread, turn, first_sums, second_sums)
        cuda.syncthreads()
        tile = int32(tile_block * TILES + turn % 2 * 16 + thread % 16)
        image, row, column = tile_place(
            *(tile, image_tiles, image_multiplier, image_shift, row_tiles, row_multiplier, row_shift),
            *(row_gap, row_gap_multiplier, row_gap_shift, column_gap, column_gap_multiplier, column_gap_shift),
        )
        if tile < tiles:
            store_turn(
                *(shared, thread, int32(first_filter + turn // 2 * 32), filters, int32(group * filters)),
                *(image, row, column, bias, residual, out, marks),
                *(out_image_size, row_gap, column_gap, out_height, out_width),
            )
        cuda.syncthreads()
