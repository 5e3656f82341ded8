"""The kernel of the implicit matrix product: a block computes a tile of filters by pixels, a thread a part of it.

Both factors pass through shared memory, `DEPTH` steps of the sum at a time, in two buffers: while the products of one
are summed, the next is loaded into registers. One barrier a buffer is enough. A thread's part is of quads, four filters
by four pixels, so that it reads its factors by 16 bytes and no two threads of a warp wait for one bank.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32

from fastconv.cuda.compile import Float, Pointer, RealPointer, Wide, WidePointer, finish
from fastconv.cuda.intrinsics import (
    add_products,
    advance,
    block_x_again,
    block_y_again,
    block_z_again,
    get,
    load,
    load4_inside,
    load_inside,
    load_quads,
    put,
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
WEIGHT_QUADS = DEPTH * FILTERS // 4  # to load for a buffer
WEIGHT_LOADS = 1  # of them by each thread
COLUMN_LOADS = 4  # elements of columns that each thread loads for a buffer
STEPS_AT_ONCE = 1  # 4 where four channels of a pixel lie side by side, from a multiple of 16 bytes on
CHANNELS_LAST = False
WHOLE = True  # whether sums are over all steps; those over some are `parts`, which something else adds and finishes
ALONG = PIXELS  # of a tile, what lies side by side in the result: FILTERS if CHANNELS_LAST
ACROSS = FILTERS  # the other one
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

    # Which pixel's window this thread loads, and a bit for each depth, row and column of it that is inside the image.
    column = thread % PIXELS
    line = thread // PIXELS
    pixel = int32(first_pixel + column)
    image, d, h, w = corner(
        *(pixel, image_pixels, image_multiplier, image_shift),
        *(plane_pixels, plane_multiplier, plane_shift, row_pixels, row_multiplier, row_shift),
        *(stride_depth, stride_height, stride_width, padding_depth, padding_height, padding_width),
    )
    inside = int32(0)
    if pixel < pixels:
        inside = shown(
            *(d, h, w, kernel_depth, kernel_height, kernel_width),
            *(dilation_depth, dilation_height, dilation_width, depth, height, width),
        )
    source = advance(x, image * image_size + group * group_step + ((d * height + h) * width + w) * pixel_step)
    entry_place = int32(first_tile * DEPTH + line * STEPS_AT_ONCE)
    weights = advance(weight, (group * padded_steps + first_tile * DEPTH) * padded_filters + first_filter)
    next_weights = zeros(Float(0), 4 * WEIGHT_LOADS)
    next_columns = cuda.local.array(COLUMN_LOADS, Float, alignment=16)
    weight_place = int32(thread // (FILTERS // 4) * padded_filters + thread % (FILTERS // 4) * 4)
    weight_step = int32(THREADS // (FILTERS // 4) * padded_filters)
    my_filter = int32(thread // (PIXELS // THREAD_PIXELS) * 4)
    my_pixel = int32(thread % (PIXELS // THREAD_PIXELS) * 4)
    put_columns = int32(line * (STEPS_AT_ONCE * PIXELS) + column)
    buffer = int32(0)  # the one that is computed with, and before that the one to load
    sums = zeros(Float(0), THREAD_FILTERS * THREAD_PIXELS)

    # The loop, after a round that only loads. The last round loads what nobody uses, but there is memory for it.
    for whole in static_range(2):
        for _ in range(first_tile, last_tile if whole else int32(first_tile + 1)):
            if WEIGHT_QUADS >= THREADS or thread < WEIGHT_QUADS:
                next_weights = load_quads(weights, weight_place, weight_step, WEIGHT_LOADS)
            for i in static_range(COLUMN_LOADS // STEPS_AT_ONCE):
                entry = load(table, entry_place + i * STEPS_AT_ONCE * (THREADS // PIXELS))
                if STEPS_AT_ONCE == 4:
                    set_quad(next_columns, 4 * i, load4_inside(source, entry, inside), 0, 1)
                else:
                    next_columns[i] = load_inside(source, entry, inside)
            weight_place += int32(DEPTH * padded_filters)
            entry_place += int32(DEPTH)

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
            for i in static_range(COLUMN_LOADS):
                ahead = (i // STEPS_AT_ONCE * STEPS_AT_ONCE * (THREADS // PIXELS) + i % STEPS_AT_ONCE) * PIXELS
                put(shared, int32(put_columns + buffer * (DEPTH * PIXELS)) + ahead, next_columns[i])
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
    along = thread % ALONG
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
        for line in range(int32(thread // ALONG), int32(ACROSS // ROUNDS), int32(THREADS // ALONG)):
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
