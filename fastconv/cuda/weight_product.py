"""The kernel of gradients by the weight on tensor cores: a block computes a tile of filters by columns.

For a group, ``dw[filter, k] = sum over pixels of grad[pixel, filter] * columns[pixel, k]``, with k counting taps and,
innermost, channels: M is filters, N columns, K the pixels of all images, of which splits take some rounds each. Both
factors lie with K outermost, and so they are copied to shared memory as they lie, and transposed on the way to
registers. Which element of x a column is, each thread knows from the beginning; where windows lie, a table says.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, IntPointer, Pointer, RealPointer, Wide, WidePointer
from fastconv.cuda.intrinsics import (
    address_of,
    advance,
    commit_copies,
    copy_async,
    load,
    load_transposed,
    quotient,
    shared_address,
    store,
    store_sums,
    wait_copies,
    zeros,
)
from fastconv.cuda.unroll import part, static_range
from fastconv.cuda.window import corner, distance, needed, shown


def _named(*values: object) -> int:
    """Stand for a name that the kernel has only once it is specialised, see `implicit_gemm_mma_weight`."""
    raise NotImplementedError


#: Products of fragments, how these are loaded, and what is done to them before: to all, and to those of columns.
products = rounded = of_columns = _named
load_factors = load_transposed

# What the kernel is specialised by; `implicit_gemm_mma_weight` says what for each tile and type.
FILTERS, COLUMNS = 128, 128  # of a block's tile
WARP_FILTERS, WARP_COLUMNS = 64, 64  # of a warp's part, in steps of 16
THREADS = 128
WARPS_ALONG = 2  # columns
STAGES = 3  # rounds whose factors are in shared memory, or on their way
DEPTH = 32  # pixels of a round
ITEM = 2  # bytes of a factor in memory
FILTER_ROW, COLUMN_ROW = 256, 256  # bytes of a pixel's factors of a tile
FILTER_CHUNKS, COLUMN_CHUNKS = 16, 16  # of 16 bytes in a row: so many threads side by side copy one
FILTER_LINES, COLUMN_LINES = 8, 8  # pixels that a thread's copies are apart
FILTER_COPIES, COLUMN_COPIES = 4, 4  # pixels whose chunk each thread copies in a round
FILTER_GRANULE, COLUMN_GRANULE = 16, 16  # bytes of a copy: as many as are sure to lie side by side
FILTER_GRANULES, COLUMN_GRANULES = 1, 1  # of a chunk
STAGE = 16384  # bytes
WORDS = False  # whether elements are of 32 bits: how chunks of rows change places
PAIRED = False  # whether two of them become one word of halves
STEPS, STEP_ROWS = 2, 16  # products along K in a round, and the pixels of each
SUMS = 128  # of a thread
FLIP = False


@part()
def swapped(chunk: int, line: int) -> int:
    """Return where a chunk of a row lies: as fragments are read, eight threads then find theirs in all banks."""
    place: int = int32(chunk ^ (line % 4 * 2 if WORDS else line % 8))
    return place


@part()
def first_read(lane: int, chunk: int, row_bytes: int, of_columns: int) -> int:
    """Return where a lane's first element of a fragment is, whose warp's part begins at a chunk of each row.

    Of halves, a lane says where a row of a matrix begins that the hardware transposes. Four of them are 16 rows of A,
    above those of later columns; or, one of A being the other way round, 16 columns of B, each with all of its rows.
    """
    if WORDS:
        row = int32(lane % 4)
        found: int = int32(row * row_bytes + swapped(int32(chunk + lane // 16), row) * 16 + lane // 4 % 4 * 4)
    else:
        along = int32(lane // 16 if of_columns else lane // 8 % 2)
        row = int32(lane % 8 + (lane // 8 % 2 if of_columns else lane // 16) * 8)
        found = int32(row * row_bytes + swapped(int32(chunk + along), row) * 16)
    return found


def windows(
    x: Pointer,
    starts: WidePointer,
    borders: IntPointer,
    count: int,
    pixels: int,
    image_size: Wide,
    pixel_step: int,
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
) -> None:
    """Write the address where a pixel's window begins, and a bit for what of it is outside; a thread a pixel.

    Of what is behind the last pixel, as far as copies run ahead, everything is outside.
    """
    pixel = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if pixel < count:
        image, d, h, w = corner(
            *(pixel, image_pixels, image_multiplier, image_shift),
            *(plane_pixels, plane_multiplier, plane_shift, row_pixels, row_multiplier, row_shift),
            *(stride_depth, stride_height, stride_width, padding_depth, padding_height, padding_width),
        )
        inside = shown(
            *(d, h, w, kernel_depth, kernel_height, kernel_width),
            *(dilation_depth, dilation_height, dilation_width, depth, height, width),
        )
        first = image * image_size + ((int64(d) * height + h) * width + w) * pixel_step
        store(starts, pixel, address_of(x, first))
        store(borders, pixel, int32(~inside) if pixel < pixels else int32(-1))


def multiply_weight(
    grad: Pointer,
    starts: WidePointer,
    borders: IntPointer,
    parts: RealPointer,
    pixels: int,
    filters: int,
    group_filters: int,
    padded_filters: int,
    channels: int,
    group_channels: int,
    channels_multiplier: int,
    channels_shift: int,
    columns: int,
    padded_columns: int,
    filter_tiles: int,
    filter_tiles_multiplier: int,
    filter_tiles_shift: int,
    groups: int,
    groups_multiplier: int,
    groups_shift: int,
    split_rounds: int,
    rounds: int,
    kernel_depth: int,
    kernel_height: int,
    kernel_width: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    height: int,
    width: int,
) -> None:
    """Compute a tile of a group over the pixels of a split: an array of sums for each, which something else adds."""
    shared = cuda.shared.array(0, Float, alignment=128)
    thread = int32(cuda.threadIdx.x)
    column_tile = quotient(cuda.blockIdx.x, filter_tiles_multiplier, filter_tiles_shift)
    first_filter = int32((int32(cuda.blockIdx.x) - column_tile * filter_tiles) * FILTERS)
    first_column = int32(column_tile * COLUMNS)
    split = quotient(cuda.blockIdx.y, groups_multiplier, groups_shift)
    group = int32(int32(cuda.blockIdx.y) - split * groups)
    first_round = int32(split * split_rounds)
    last_round = int32(min(rounds, first_round + split_rounds))

    # Of the chunk of 16 bytes that this thread copies of some pixels: how far its elements lie from a window's first
    # ones, and the bits that they need; all of them, where there is no such column.
    chunk = int32(thread % COLUMN_CHUNKS)
    column_line = int32(thread // COLUMN_CHUNKS)
    offsets = cuda.local.array(COLUMN_GRANULES, int32)
    wanted = cuda.local.array(COLUMN_GRANULES, int32)
    for j in static_range(COLUMN_GRANULES):
        column = int32(first_column + chunk * (16 // ITEM) + j * (COLUMN_GRANULE // ITEM))
        tap = quotient(column, channels_multiplier, channels_shift)
        far = distance(
            tap, kernel_height, kernel_width, dilation_depth, dilation_height, dilation_width, height, width
        )
        offsets[j] = int32(far * channels + group * group_channels + column - tap * group_channels)
        wanted[j] = needed(tap, kernel_depth, kernel_height, kernel_width) if column < columns else int32(-1)
    put_columns = int32(column_line * COLUMN_ROW + swapped(chunk, column_line) * 16)

    # The same of filters, which lie as they are.
    chunk = int32(thread % FILTER_CHUNKS)
    filter_line = int32(thread // FILTER_CHUNKS)
    put_filters = int32(DEPTH * COLUMN_ROW + filter_line * FILTER_ROW + swapped(chunk, filter_line) * 16)
    chunk = int32(first_filter + chunk * (16 // ITEM))
    there = int32(group_filters - chunk)  # filters from this one on, of those that are
    first_pixel = int32(first_round * DEPTH + filter_line)
    left = int32(pixels - first_pixel)  # pixels from this one on
    gradients = address_of(grad, int64(first_pixel) * filters + group * group_filters + chunk)

    # Windows of the pixels of the round whose copies are next.
    place = int32(first_round * DEPTH + column_line)
    sources = cuda.local.array(COLUMN_COPIES, int64)
    outside = cuda.local.array(COLUMN_COPIES, int32)
    for i in static_range(COLUMN_COPIES):
        sources[i] = load(starts, place + i * COLUMN_LINES)
        outside[i] = load(borders, place + i * COLUMN_LINES)

    # What it loads of the tile that its warp multiplies.
    start = shared_address(shared)
    lane = int32(thread % 32)
    warp = int32(thread // 32)
    chunk = int32(warp // WARPS_ALONG * (WARP_FILTERS * ITEM // 16))
    get_filters = int32(start + DEPTH * COLUMN_ROW + first_read(lane, chunk, int32(FILTER_ROW), int32(0)))
    chunk = int32(warp % WARPS_ALONG * (WARP_COLUMNS * ITEM // 16))
    get_columns = int32(start + first_read(lane, chunk, int32(COLUMN_ROW), int32(1)))

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
            for i in static_range(COLUMN_COPIES):
                missing = outside[i] | over
                for j in static_range(COLUMN_GRANULES):
                    target = put_stage + put_columns + (i * COLUMN_LINES * COLUMN_ROW + j * COLUMN_GRANULE)
                    copy_async(target, sources[i], offsets[j], ITEM, missing & wanted[j], COLUMN_GRANULE)
            for i in static_range(FILTER_COPIES):
                missing = over if int32(i * FILTER_LINES) < left else int32(-1)
                for j in static_range(FILTER_GRANULES):
                    target = put_stage + put_filters + (i * FILTER_LINES * FILTER_ROW + j * FILTER_GRANULE)
                    offset = int32(i * FILTER_LINES * filters + j * (FILTER_GRANULE // ITEM))
                    absent = missing if int32(j * (FILTER_GRANULE // ITEM)) < there else int32(-1)
                    copy_async(target, gradients, offset, ITEM, absent, FILTER_GRANULE)
            commit_copies()
            gradients += int64(filters) * (DEPTH * ITEM)
            left = int32(left - DEPTH)
            place = int32(place + DEPTH)
            for i in static_range(COLUMN_COPIES):
                sources[i] = load(starts, place + i * COLUMN_LINES)
                outside[i] = load(borders, place + i * COLUMN_LINES)
            coming = int32(coming + 1)
            put_stage = int32(start) if put_stage == start + (STAGES - 1) * STAGE else int32(put_stage + STAGE)

            if whole:
                for k in static_range(STEPS):
                    row = int32(get_filters + get_stage)
                    column = int32(get_columns + get_stage)
                    if PAIRED:
                        a = rounded(
                            load_factors(row, k * 16 * FILTER_ROW, FILTER_ROW, WARP_FILTERS // 16),
                            load_factors(row, (k * 16 + 8) * FILTER_ROW, FILTER_ROW, WARP_FILTERS // 16),
                        )
                        b = rounded(
                            load_factors(column, k * 16 * COLUMN_ROW, COLUMN_ROW, WARP_COLUMNS // 16),
                            load_factors(column, (k * 16 + 8) * COLUMN_ROW, COLUMN_ROW, WARP_COLUMNS // 16),
                        )
                    else:
                        a = rounded(
                            load_factors(row, k * STEP_ROWS * FILTER_ROW, FILTER_ROW, WARP_FILTERS // 16)
                        )
                        b = rounded(
                            load_factors(column, k * STEP_ROWS * COLUMN_ROW, COLUMN_ROW, WARP_COLUMNS // 16)
                        )
                    sums = products(sums, a, of_columns(b))
                get_stage = int32(0) if get_stage == (STAGES - 1) * STAGE else int32(get_stage + STAGE)
    wait_copies(0)

    # Four lanes side by side store 32 bytes. There is room for all of the tile, filters and columns that are not, too.
    filter_ = int32(first_filter + warp // WARPS_ALONG * WARP_FILTERS + lane // 4)
    column = int32(first_column + warp % WARPS_ALONG * WARP_COLUMNS + lane % 4 * 2)
    line = int64(split * groups + group) * padded_filters + filter_
    store_sums(advance(parts, line * padded_columns + column), sums, WARP_COLUMNS // 8, padded_columns)


def add_weight(
    parts: RealPointer,
    out: Pointer,
    count: int,
    splits: int,
    split_size: Wide,
    group_filters: int,
    padded_filters: int,
    padded_columns: int,
    channels: int,
    taps: int,
) -> None:
    """Add the sums of an element of the gradient, in the order of the splits; a thread an element."""
    place = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if place < count:
        rest = int32(place // taps)
        tap = int32(place - rest * taps)
        if FLIP:  # stored at the other end
            tap = int32(taps - 1 - tap)
        number = int32(rest // channels)
        channel = int32(rest - number * channels)
        group = int32(number // group_filters)
        row = int64(group) * padded_filters + (number - group * group_filters)
        source = advance(parts, row * padded_columns + (tap * channels + channel))
        total = load(source, 0)
        for split in range(1, splits):
            total += load(source, split * split_size)
        store(out, place, total)
