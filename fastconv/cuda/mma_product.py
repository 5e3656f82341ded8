"""The kernel of the implicit matrix product by tensor cores: a block computes a tile of pixels by filters.

For a group, ``out[pixel, filter] = sum over k of columns[pixel, k] * weight[k, filter]``: M is pixels, N filters, K
taps times channels, channels innermost. A round is over as many of K as 128 bytes of a row of columns hold. Copies
bring the factors of the next rounds to shared memory while those of this one are multiplied. `docs/tensor_cores.md`
explains each part.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, IntPointer, Pointer, RealPointer, Wide, WidePointer, finish
from fastconv.cuda.intrinsics import (
    address_of,
    advance,
    block_x_again,
    block_y_again,
    commit_copies,
    copy_async,
    get,
    load,
    load_matrices,
    put,
    put_sums,
    quads,
    quotient,
    shared_address,
    store,
    store_run,
    thread_x_again,
    wait_copies,
    zeros,
)
from fastconv.cuda.unroll import static_range
from fastconv.cuda.window import corner, shown


def _named(*values: object) -> int:
    """Stand for a name that the kernel has only once it is specialised, see `implicit_gemm_mma`."""
    raise NotImplementedError


#: Products of fragments, and what is done before to those that hold columns.
products = rounded = _named

# What the kernel is specialised by; `implicit_gemm_mma` says what for each tile and type.
PIXELS = FILTERS = 128  # of a block's tile
WARP_PIXELS, WARP_FILTERS = 64, 64  # of a warp's part, in steps of 16 and 8: one product's rows and columns
THREADS = 128
WARPS_ALONG = 2  # filters
STAGES = 3  # rounds whose factors are in shared memory, or on their way
COLUMN_ROW = 128  # bytes of a pixel in a round
WEIGHT_ROW = 128  # of a filter
WEIGHT_CHUNKS = 8  # of 16 bytes, which each thread copies in a round
LINES = 16  # pixels that a thread's copies are apart
COLUMN_LINES = 8  # pixels whose chunk of 16 bytes each thread copies
STAGE = 32768  # bytes
STEPS = 4  # products along K in a round
PAIRED = False  # whether two words of columns become one of halves
ITEM = 2  # bytes of an element of x
GRANULE = 16  # bytes of a copy: as many as are sure to lie side by side
GRANULES = 1  # of a chunk
AHEAD = True  # whether entries of the table are loaded a round before they are needed
SUMS = 128  # of a thread
ROW_TILES, COLUMN_TILES = 4, 8  # of the warp's products
COLUMN_STEP, WEIGHT_STEP = 2048, 2048  # bytes from 16 rows of a warp's part to the next 16
CHANNELS_LAST = True  # whether filters of a pixel lie side by side in the result
WHOLE = True  # whether sums are over all of K; those over some are `parts`, which something else adds and finishes
RUNS = True  # whether four elements of the result, from a multiple of four on, can be stored at once
ALONG, ACROSS = FILTERS, PIXELS  # of the tile: what lies side by side in the result, and the other one
PITCH = 136  # floats from one line of sums in shared memory to the next


def multiply(
    x: Pointer,
    weight: IntPointer,
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
    filter_tiles: int,
    filter_tiles_multiplier: int,
    filter_tiles_shift: int,
    splits: int,
    splits_multiplier: int,
    splits_shift: int,
    split_rounds: int,
    rounds: int,
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
    """Compute a tile of a group, or its sums over a part of K, which `splits` says how many there are of."""
    shared = cuda.shared.array(0, Float, alignment=128)
    thread = cuda.threadIdx.x
    tile = quotient(cuda.blockIdx.x, filter_tiles_multiplier, filter_tiles_shift)
    first_filter = int32(cuda.blockIdx.x - tile * filter_tiles) * FILTERS
    first_pixel = int32(tile * PIXELS)
    group = quotient(cuda.blockIdx.y, splits_multiplier, splits_shift)
    split = cuda.blockIdx.y - group * splits
    first_round = int32(split * split_rounds)
    last_round = int32(min(rounds, first_round + split_rounds))

    # The windows of the tile's pixels, each found by one thread: where it begins, and which taps are in the image.
    starts = cuda.shared.array(PIXELS, int64)
    borders = cuda.shared.array(PIXELS, int32)
    if thread < PIXELS:
        pixel = int32(first_pixel + thread)
        image, d, h, w = corner(
            *(pixel, image_pixels, image_multiplier, image_shift),
            *(plane_pixels, plane_multiplier, plane_shift, row_pixels, row_multiplier, row_shift),
            *(stride_depth, stride_height, stride_width, padding_depth, padding_height, padding_width),
        )
        inside = shown(
            *(d, h, w, kernel_depth, kernel_height, kernel_width),
            *(dilation_depth, dilation_height, dilation_width, depth, height, width),
        )
        first = image * image_size + group * group_step + ((int64(d) * height + h) * width + w) * pixel_step
        put(starts, thread, address_of(x, first))
        put(borders, thread, int32(~inside if pixel < pixels else -1))
    cuda.syncthreads()

    # The chunk of 16 bytes that this thread copies of some pixels.
    chunk = int32(thread % (COLUMN_ROW // 16))
    line = int32(thread // (COLUMN_ROW // 16))
    sources = cuda.local.array(COLUMN_LINES, int64)
    outside = cuda.local.array(COLUMN_LINES, int32)
    for i in static_range(COLUMN_LINES):
        sources[i] = get(starts, line + i * LINES)
        outside[i] = get(borders, line + i * LINES)

    # Where its copies go: chunks of a row change places by the row, so that eight rows of one chunk lie in all banks.
    put_columns = int32(line * COLUMN_ROW + (chunk ^ (line % 8)) * 16)
    put_weights = int32(PIXELS * COLUMN_ROW + thread * 16)  # packed as they lie in shared memory
    start = shared_address(shared)
    weights = address_of(weight, (int64(group * rounds) * padded_filters + first_filter) * (WEIGHT_ROW // 4))
    weight_place = int32(first_round * padded_filters * (WEIGHT_ROW // 16) + thread)
    entry_place = int32(first_round * (COLUMN_ROW // 16 * GRANULES) + chunk * GRANULES)
    entries = cuda.local.array(GRANULES, int64)
    if AHEAD:
        for j in static_range(GRANULES):
            entries[j] = load(table, entry_place + j)
        entry_place += int32(COLUMN_ROW // 16 * GRANULES)

    # What it loads of the tile that its warp multiplies.
    lane = int32(thread % 32)
    warp = int32(thread // 32)
    row = int32(warp // WARPS_ALONG * WARP_PIXELS + lane % 16)
    get_columns = int32(start + row * COLUMN_ROW + ((lane // 16) ^ (lane % 8)) * 16)
    row = int32(warp % WARPS_ALONG * WARP_FILTERS + lane % 8 + lane // 16 * 8)
    turn = int32(row % 8 if WEIGHT_ROW == 128 else row // 2 % 4)
    get_weights = int32(start + PIXELS * COLUMN_ROW + row * WEIGHT_ROW + ((lane // 8 % 2) ^ turn) * 16)

    # Rounds, after some that only copy. Of those behind the last one, zeros are copied, which nobody multiplies.
    sums = zeros(Float(0), SUMS)
    put_stage = int32(start)
    get_stage = int32(0)
    coming = first_round
    for whole in static_range(2):
        for _ in range(first_round, last_round if whole else int32(first_round + STAGES - 1)):
            if whole:
                wait_copies(STAGES - 2)
                cuda.syncthreads()

            over = int32(-1) if coming >= last_round else int32(0)
            for j in static_range(GRANULES):
                entry = entries[j] if AHEAD else load(table, entry_place + j)
                offset = int32(entry)
                missing = int32(entry >> 32) | over
                for i in static_range(COLUMN_LINES):
                    target = put_stage + put_columns + (i * LINES * COLUMN_ROW + j * GRANULE)
                    copy_async(target, sources[i], offset, ITEM, outside[i] & missing, GRANULE)
            for i in static_range(WEIGHT_CHUNKS):
                target = put_stage + put_weights + i * THREADS * 16
                copy_async(target, weights, weight_place + i * THREADS, 16, over, 16)
            commit_copies()
            weight_place += int32(padded_filters * (WEIGHT_ROW // 16))
            if AHEAD:
                for j in static_range(GRANULES):
                    entries[j] = load(table, entry_place + j)
            entry_place += int32(COLUMN_ROW // 16 * GRANULES)
            coming += int32(1)
            put_stage = int32(start) if put_stage == start + (STAGES - 1) * STAGE else int32(put_stage + STAGE)

            if whole:
                for k in static_range(STEPS):
                    if PAIRED:
                        a = rounded(
                            load_matrices((get_columns + get_stage) ^ (k * 64), COLUMN_STEP, ROW_TILES),
                            load_matrices((get_columns + get_stage) ^ (k * 64 + 32), COLUMN_STEP, ROW_TILES),
                        )
                    else:
                        a = rounded(load_matrices((get_columns + get_stage) ^ (k * 32), COLUMN_STEP, ROW_TILES))
                    b = load_matrices((get_weights + get_stage) ^ (k * 32), WEIGHT_STEP, COLUMN_TILES // 2)
                    sums = products(sums, a, b)
                get_stage = int32(0) if get_stage == (STAGES - 1) * STAGE else int32(get_stage + STAGE)

    # Through shared memory once more, so that threads side by side store what lies side by side.
    wait_copies(0)
    cuda.syncthreads()
    thread = thread_x_again()
    lane = int32(thread % 32)
    warp = int32(thread // 32)
    my_pixel = int32(warp // WARPS_ALONG * WARP_PIXELS + lane // 4)
    my_filter = int32(warp % WARPS_ALONG * WARP_FILTERS + lane % 4 * 2)
    if CHANNELS_LAST:
        put_sums(shared, my_pixel * PITCH + my_filter, sums, COLUMN_TILES, PITCH, 1)
    else:
        put_sums(shared, my_filter * PITCH + my_pixel, sums, COLUMN_TILES, 1, PITCH)
    cuda.syncthreads()

    block = block_x_again()
    tile = quotient(block, filter_tiles_multiplier, filter_tiles_shift)
    first_filter = int32(block - tile * filter_tiles) * FILTERS
    first_pixel = int32(tile * PIXELS)
    block = block_y_again()
    group = quotient(block, splits_multiplier, splits_shift)
    split = block - group * splits
    first_of_group = int32(group * filters)
    target = out if WHOLE else advance(parts, split * out_size)
    along = int32(thread % (ALONG // 4) * 4)
    for across in range(int32(thread // (ALONG // 4)), int32(ACROSS), int32(THREADS // (ALONG // 4))):
        if RUNS:
            filter_ = int32(first_filter + (along if CHANNELS_LAST else across))
            pixel = int32(first_pixel + (across if CHANNELS_LAST else along))
            if filter_ < filters and pixel < pixels:
                filter_ += first_of_group
                image = quotient(pixel, image_multiplier, image_shift)
                place = image * out_image_size + int64(pixel - image * image_pixels) * out_pixel_step
                place += int64(filter_) * out_filter_step
                total = quads(shared, int32(across * PITCH + along), 0, 1)
                step = int32(1 if CHANNELS_LAST else 0)
                finished = (
                    finish(total[0], bias, filter_, residual, place),
                    finish(total[1], bias, int32(filter_ + step), residual, place + 1),
                    finish(total[2], bias, int32(filter_ + 2 * step), residual, place + 2),
                    finish(total[3], bias, int32(filter_ + 3 * step), residual, place + 3),
                )
                store_run(target, place, finished, 0, 4)
        else:
            for i in range(int32(4)):
                filter_ = int32(first_filter + (along + i if CHANNELS_LAST else across))
                pixel = int32(first_pixel + (across if CHANNELS_LAST else along + i))
                if filter_ < filters and pixel < pixels:
                    filter_ += first_of_group
                    image = quotient(pixel, image_multiplier, image_shift)
                    place = image * out_image_size + int64(pixel - image * image_pixels) * out_pixel_step
                    place += int64(filter_) * out_filter_step
                    total = get(shared, int32(across * PITCH + along + i))
                    store(target, place, finish(total, bias, filter_, residual, place))
