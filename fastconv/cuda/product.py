"""The kernel of the implicit matrix product: a block computes a tile of filters by pixels, a thread a part of it.

Both factors pass through shared memory, `DEPTH` steps of the sum at a time, in two buffers: while the products of one
are summed, the next is loaded into registers. One barrier a buffer is enough. A thread's part is of quads, four filters
by four pixels, so that it reads its factors by 16 bytes and no two threads of a warp wait for one bank.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, Pointer, RealPointer, Wide, WidePointer, finish
from fastconv.cuda.intrinsics import (
    add_products,
    address_of,
    advance,
    block_x_again,
    block_y_again,
    block_z_again,
    get,
    load_columns,
    load_quads,
    other_buffer,
    put_lines,
    quotient,
    set_quad,
    set_quads,
    store,
    thread_x_again,
    zeros,
)
from fastconv.cuda.unroll import static_range
from fastconv.cuda.window import corner, shown

# What the kernel is specialised by; `im2col.Tile` says what for each tile.
FILTERS = PIXELS = 128  # of a block's tile
THREAD_FILTERS = THREAD_PIXELS = 8  # of a thread's part
DEPTH = 8
THREADS = 256
WEIGHT_LOADS = 1  # quads of weights that each thread loads for a buffer
COLUMNS, LINES = 1, 2  # how many columns a thread loads, and how many threads share one
COLUMN_LOADS = DEPTH // LINES  # elements that it loads of each for a buffer
STEPS_AT_ONCE = 1  # 4 where four channels of a pixel lie side by side, from a multiple of 16 bytes on
ENTRY_LOADS = 1  # elements that a thread finds by one entry of the table: of one tap
CHANNELS_LAST = False
WHOLE = True  # whether sums are over all steps; those over some are `parts`, which something else adds and finishes
ALONG = PIXELS  # of a tile, what lies side by side in the result: FILTERS if CHANNELS_LAST
ACROSS = FILTERS  # the other one
ACROSS_STEP = 2  # how many of those the threads store at once
ROUNDS = THREAD_FILTERS  # how many of those a thread has


def multiply(
    x: Pointer,
    weight: RealPointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    parts: RealPointer,
    table: WidePointer,
    image_size: Wide,
    out_image_size: Wide,
    out_size: Wide,
    pixels: int,
    filters: int,
    padded_filters: int,
    padded_steps: int,
    splits: int,
    split_multiplier: int,
    split_shift: int,
    split_tiles: int,
    tiles: int,
    depth: int,
    height: int,
    width: int,
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
    image_pixels: int,
    image_multiplier: int,
    image_shift: int,
    plane_pixels: int,
    plane_multiplier: int,
    plane_shift: int,
    row_pixels: int,
    row_multiplier: int,
    row_shift: int,
    pixel_step: int,
    channel_step: int,
    group_step: int,
    out_pixel_step: int,
    out_filter_step: int,
) -> None:
    """Compute a tile of a group, or its sums over a part of the steps, which `splits` says how many there are of."""
    shared = cuda.shared.array(2 * DEPTH * (PIXELS + FILTERS), Float, alignment=16)  # columns first
    thread = cuda.threadIdx.x
    group = quotient(cuda.blockIdx.z, split_multiplier, split_shift)
    split = cuda.blockIdx.z - group * splits
    first_filter = cuda.blockIdx.y * FILTERS
    first_pixel = cuda.blockIdx.x * PIXELS
    first_tile = int32(split * split_tiles)
    last_tile = int32(min(tiles, first_tile + split_tiles))

    # Where windows begin that this thread loads, and of each a bit for every depth, row and column that is inside.
    column = thread % PIXELS
    line = thread // PIXELS
    sources = cuda.local.array(COLUMNS, int64)
    inside = cuda.local.array(COLUMNS, int32)
    for i in static_range(COLUMNS):
        pixel = int32(first_pixel + column + i * THREADS)
        image, d, h, w = corner(
            *(pixel, image_pixels, image_multiplier, image_shift),
            *(plane_pixels, plane_multiplier, plane_shift, row_pixels, row_multiplier, row_shift),
            *(stride_depth, stride_height, stride_width, padding_depth, padding_height, padding_width),
        )
        inside[i] = int32(0)
        if pixel < pixels:
            inside[i] = shown(
                *(d, h, w, kernel_depth, kernel_height, kernel_width),
                *(dilation_depth, dilation_height, dilation_width, depth, height, width),
            )
        first = image * image_size + group * group_step + ((d * height + h) * width + w) * pixel_step
        sources[i] = address_of(x, first)
    entry_place = int32(first_tile * DEPTH + line * STEPS_AT_ONCE)
    weights = advance(weight, (group * padded_steps + first_tile * DEPTH) * padded_filters + first_filter)
    weights = advance(weights, int32(thread // (FILTERS // 4) * padded_filters + thread % (FILTERS // 4) * 4))
    weight_step = int32(THREADS // (FILTERS // 4) * padded_filters)
    load_step = int32((1 if CHANNELS_LAST else channel_step) * (STEPS_AT_ONCE * LINES))
    # Where it puts what it loaded, and gets what it multiplies.
    put_columns = int32(line * (STEPS_AT_ONCE * PIXELS) + column)
    put_weights = int32(2 * DEPTH * PIXELS + thread * 4)
    get_columns = int32(thread % (PIXELS // THREAD_PIXELS) * 4)
    get_weights = int32(2 * DEPTH * PIXELS + thread // (PIXELS // THREAD_PIXELS) * 4)
    sums = zeros(Float(0), THREAD_FILTERS * THREAD_PIXELS)

    # The loop, after a round that only loads. The last round loads what nobody uses, but there is memory for it.
    for whole in static_range(2):
        while entry_place < int32((last_tile if whole else first_tile) * DEPTH + DEPTH):
            next_weights = load_quads(weights, int32(0), weight_step, WEIGHT_LOADS)
            next_columns = ()
            for i in static_range(COLUMNS):
                # fmt: off
                next_columns = next_columns + load_columns(
                    x, sources[i], inside[i],
                    table, entry_place, COLUMN_LOADS // ENTRY_LOADS, ENTRY_LOADS * LINES,
                    load_step, ENTRY_LOADS // STEPS_AT_ONCE, STEPS_AT_ONCE,
                )
                # fmt: on
            weights = advance(weights, int64(DEPTH * padded_filters))
            entry_place = int32(entry_place + DEPTH)

            if whole:
                # fmt: off
                sums = add_products(
                    sums, shared,
                    get_weights, FILTERS, FILTERS * 4 // THREAD_FILTERS, THREAD_FILTERS // 4,
                    get_columns, PIXELS, PIXELS * 4 // THREAD_PIXELS, THREAD_PIXELS // 4,
                    DEPTH,
                )
                # fmt: on
                get_weights = other_buffer(get_weights, DEPTH * FILTERS, whole)
                get_columns = other_buffer(get_columns, DEPTH * PIXELS, whole)

            set_quads(shared, put_weights, THREADS * 4, next_weights)
            for i in static_range(COLUMNS):
                place = int32(put_columns + i * THREADS)
                # fmt: off
                put_lines(
                    shared, place, next_columns, i * COLUMN_LOADS, COLUMN_LOADS,
                    STEPS_AT_ONCE, STEPS_AT_ONCE * LINES, PIXELS,
                )
                # fmt: on
            put_weights = other_buffer(put_weights, DEPTH * FILTERS, whole)
            put_columns = other_buffer(put_columns, DEPTH * PIXELS, whole)
            cuda.syncthreads()

    # Through shared memory once more, so that threads side by side store what lies side by side: pixels of a filter, or
    # filters of a pixel. A round takes one of each thread's filters, or one of its pixels.
    thread = thread_x_again()
    first_pixel = block_x_again() * PIXELS
    first_filter = block_y_again() * FILTERS
    block = block_z_again()
    group = quotient(block, split_multiplier, split_shift)
    split = block - group * splits
    my_filter = int32(thread // (PIXELS // THREAD_PIXELS) * 4)
    my_pixel = int32(thread % (PIXELS // THREAD_PIXELS) * 4)
    first_of_group = int32(group * filters)
    target = out if WHOLE else advance(parts, split * out_size)
    for turn in range(int32(ROUNDS)):
        for r in static_range(ROUNDS):
            if turn == r:
                if CHANNELS_LAST:
                    for i in static_range(0, THREAD_FILTERS, 4):
                        place = my_pixel // 4 * FILTERS + my_filter + i * FILTERS // THREAD_FILTERS
                        set_quad(shared, place, sums, i * THREAD_PIXELS + r, THREAD_PIXELS)
                else:
                    for j in static_range(0, THREAD_PIXELS, 4):
                        place = my_filter // 4 * PIXELS + my_pixel + j * PIXELS // THREAD_PIXELS
                        set_quad(shared, place, sums, r * THREAD_PIXELS + j, 1)
        cuda.syncthreads()
        for begin in range(int32(0), int32(ALONG), int32(THREADS)):
            along = begin + thread % ALONG
            for line in range(int32(thread // ALONG), int32(ACROSS // ROUNDS), int32(ACROSS_STEP)):
                across = turn // 4 * (ACROSS * 4 // ROUNDS) + line * 4 + turn % 4
                filter_ = first_filter + (along if CHANNELS_LAST else across)
                pixel = int32(first_pixel + (across if CHANNELS_LAST else along))
                if filter_ < filters and pixel < pixels:
                    image = quotient(pixel, image_multiplier, image_shift)
                    place = image * out_image_size + (pixel - image * image_pixels) * out_pixel_step
                    place += (first_of_group + filter_) * out_filter_step
                    total = get(shared, line * ALONG + along)
                    store(target, place, finish(total, bias, int32(first_of_group + filter_), residual, place))
        cuda.syncthreads()
