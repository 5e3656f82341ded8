"""The kernel of the implicit matrix product by warpgroups: one loads, two multiply tiles of pixels by filters.

A block has three warpgroups. A thread of the last one lets the tensor engine copy, for each step, 128 pixels by a row
of channels and as many filters by the same channels to the next of some buffers (stages). Of each stage there are two
barriers: `full`, where the bytes that arrive are counted, and `empty`, where the two other warpgroups say that they
have read it. Each of these multiplies 64 of the pixels by all filters of the tile; the sums stay in registers. Blocks
stay where they are and take every n-th tile, so that the first steps of the next one are loaded while a tile is stored.

`docs/tensor_cores_hopper.md` has all of it from the instructions up.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import float32, int32, int64

from fastconv.cuda.compile import (
    Array,
    Float,
    Pointer,
    RealPointer,
    TensorMap,
    Tuple,
    Wide,
    finish,
    finish_each,
)
from fastconv.cuda.intrinsics import (
    add_each,
    advance,
    announce_barriers,
    arrive,
    commit_products,
    commit_stores,
    descriptor,
    expect,
    fence_products,
    fence_shared,
    fewer_registers,
    get,
    is_given,
    load_im2col,
    load_run,
    load_tile,
    make_barrier,
    more_registers,
    multiply_float16,
    part,
    prefetch_map,
    put_results,
    put_sums,
    quads,
    quotient,
    settled,
    shared_address,
    store,
    store_run,
    store_tile,
    tensor_map,
    wait,
    wait_for_products,
    wait_for_stores,
    zeros,
)
from fastconv.cuda.unroll import part as inlined_part
from fastconv.cuda.unroll import static_range
from fastconv.cuda.window import corner

# What the kernel is specialised by; `wgmma.Tile` says what for each tile.
RANK = 2  # of the convolution
PIXELS = 128  # of a tile
FILTERS = 128
CHANNELS = 64  # of a step: a row of 128 bytes
STAGES = 6
SUMS = FILTERS // 2  # of a thread: 64 x FILTERS by 128 threads
TURNS = FILTERS // 32  # of the tile's end: as many filters each
CHANNELS_LAST = True  # whether filters of a pixel lie side by side in the result, or pixels of a filter
ALONG, ACROSS = 32, 16  # of a turn: what lies side by side in the result, and the other one
PITCH = 40  # between lines of a turn's sums: those of a half warp lie in different banks
RUN = 8  # neighbours that a thread stores at once: 16 bytes, or 1
STAGE_BYTES = PIXELS * 128 + FILTERS * 128
PIXEL_BYTES = PIXELS * 128
SCRATCH = 0  # where the warps' begins, in numbers of four bytes: 1024 of each
BARRIERS = 0  # where these are, in bytes
STORED = 64  # filters of a tile that the tensor engine stores: 128 bytes; 0 where it cannot
TURN_SUMS = STORED // 2  # of a thread
WHOLE = True  # whether sums are over all steps; those over some are `parts`, which something else adds and finishes

multiply_add = multiply_float16  # which one, `names` says


@inlined_part(results=4)
def tile_place(
    tile: int,
    filter_tiles: int,
    filter_tile_multiplier: int,
    filter_tile_shift: int,
    pixel_tiles: int,
    pixel_tile_multiplier: int,
    pixel_tile_shift: int,
    groups: int,
    group_multiplier: int,
    group_shift: int,
) -> tuple[int, int, int, int]:
    """Return a tile's first filter and pixel, which split of the sums it is of, and its group."""
    rest = quotient(tile, filter_tile_multiplier, filter_tile_shift)
    first_filter = int32((tile - rest * filter_tiles) * FILTERS)
    part_number = quotient(rest, pixel_tile_multiplier, pixel_tile_shift)
    first_pixel = int32((rest - part_number * pixel_tiles) * PIXELS)
    split = quotient(part_number, group_multiplier, group_shift)
    return first_filter, first_pixel, split, int32(part_number - split * groups)


@inlined_part(results=2)
def load_steps(
    stage: int,
    parity: int,
    stages: int,
    barriers: int,
    x_map: int,
    weight_map: int,
    image: int,
    d: int,
    h: int,
    w: int,
    first_step: int,
    last_step: int,
    row_steps: int,
    row_step_multiplier: int,
    row_step_shift: int,
    kernel_height: int,
    tap_height_multiplier: int,
    tap_height_shift: int,
    kernel_width: int,
    tap_width_multiplier: int,
    tap_width_shift: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    first_channel: int,
    group_channels: int,
    first_filter: int,
) -> tuple[int, int]:
    """Let the factors of a tile's steps come, each to the next stage; return that behind the last, and its parity."""
    tap = quotient(first_step, row_step_multiplier, row_step_shift)
    channel = int32((first_step - tap * row_steps) * CHANNELS)
    tap_row = quotient(tap, tap_width_multiplier, tap_width_shift)
    s = int32((tap - tap_row * kernel_width) * dilation_width)
    t = quotient(tap_row, tap_height_multiplier, tap_height_shift)
    r = int32((tap_row - t * kernel_height) * dilation_height)
    t = int32(t * dilation_depth)
    for _ in range(first_step, last_step):
        full = int32(barriers + stage * 16)
        wait(int32(full + 8), parity)
        expect(full, int32(STAGE_BYTES))
        target = int32(stages + stage * STAGE_BYTES)
        at = int32(first_channel + channel)
        if RANK == 1:
            load_im2col(target, x_map, full, (at, w, image), (s,))
        if RANK == 2:
            load_im2col(target, x_map, full, (at, w, h, image), (s, r))
        if RANK == 3:
            load_im2col(target, x_map, full, (at, w, h, d, image), (s, r, t))
        load_tile(int32(target + PIXEL_BYTES), weight_map, full, (channel, tap, first_filter))
        stage = int32(stage + 1)
        if stage == STAGES:
            stage = int32(0)
            parity = int32(parity ^ 1)
        channel = int32(channel + CHANNELS)
        if channel >= group_channels:
            channel = int32(0)
            tap = int32(tap + 1)
            s = int32(s + dilation_width)
            if s == kernel_width * dilation_width:
                s = int32(0)
                r = int32(r + dilation_height)
                if r == kernel_height * dilation_height:
                    r = int32(0)
                    t = int32(t + dilation_depth)
    return stage, parity


@inlined_part()
def store_by_engine(
    place: int,
    shared: Array,
    stages: int,
    out_map: int,
    sums: Tuple,
    bias: Pointer,
    out: Pointer,
    first_filter: int,
    first_pixel: int,
    group: int,
    group_filters: int,
    filters: int,
) -> int:
    """Store a warp's results, 16 pixels by 128 bytes of filters in turns, through its two tiles in shared memory.

    Of each the tensor engine stores what is inside the array. `place` is where the one before was; return the last's.
    """
    lane = int32(cuda.threadIdx.x & 31)
    for turn in range(int32(FILTERS // STORED)):
        results = part(sums, 0, TURN_SUMS)
        for i in static_range(1, FILTERS // STORED):
            if turn == i:
                results = part(sums, TURN_SUMS * i, TURN_SUMS)
        if lane == 0:
            wait_for_stores(1)
        cuda.syncwarp()
        filter_ = int32(group * group_filters + first_filter + turn * STORED + (lane & 3) * 2)
        results = finish_each(results, bias, filter_, int32(filters - 1), True)
        place = int32(place ^ 512)
        put_results(shared, place, lane, results, out)
        fence_shared()
        cuda.syncwarp()
        if lane == 0:
            store_tile(int32(stages + place * 4), out_map, (int32(first_filter + turn * STORED), group, first_pixel))
            commit_stores()
    return place


@inlined_part(results=0)
def store_by_threads(
    shared: Array,
    scratch: int,
    sums: Tuple,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    parts: RealPointer,
    first_filter: int,
    first_pixel: int,
    first_of_group: int,
    group_filters: int,
    filters: int,
    pixels: int,
    image_pixels: int,
    image_multiplier: int,
    image_shift: int,
) -> None:
    """Store a warp's sums, 16 pixels by 32 filters in turns, through its scratch.

    Lanes side by side then store what lies side by side: filters of a pixel, or pixels of a filter.
    """
    lane = int32(cuda.threadIdx.x & 31)
    line = int32(lane // (ALONG // RUN))
    along = int32(lane % (ALONG // RUN) * RUN)
    for turn in range(int32(TURNS)):
        results = part(sums, 0, 16)
        for i in static_range(1, TURNS):
            if turn == i:
                results = part(sums, 16 * i, 16)
        if CHANNELS_LAST:
            put_sums(shared, int32(scratch + (lane >> 2) * PITCH + (lane & 3) * 2), results, 4, PITCH, 1)
        else:
            put_sums(shared, int32(scratch + (lane & 3) * (2 * PITCH) + (lane >> 2)), results, 4, 1, PITCH)
        cuda.syncwarp()
        for i in range(line, int32(ACROSS), int32(32 * RUN // ALONG)):
            filter_ = int32(first_filter + turn * 32 + (along if CHANNELS_LAST else i))
            pixel = int32(first_pixel + (i if CHANNELS_LAST else along))
            if filter_ < group_filters and pixel < pixels:
                number = int32(first_of_group + filter_)
                if CHANNELS_LAST:
                    index = int64(pixel) * int64(filters) + int64(number)
                else:
                    image = quotient(pixel, image_multiplier, image_shift)
                    index = (int64(image) * filters + number) * image_pixels + int64(pixel - image * image_pixels)
                source = int32(scratch + i * PITCH + along)
                if RUN == 1:
                    if WHOLE:
                        store(out, index, finish(get(shared, source), bias, number, residual, index))
                    else:
                        store(parts, index, get(shared, source))
                else:
                    values = quads(shared, source, 4, RUN // 4)
                    if WHOLE:
                        if is_given(residual):
                            values = add_each(values, load_run(residual, index, RUN))
                        last = int32(filters - 1) if CHANNELS_LAST else number
                        store_run(out, index, finish_each(values, bias, number, last, False), 0, RUN)
                    else:
                        for j in static_range(0, RUN, 4):
                            store_run(parts, index + j, values, j, 4)
        cuda.syncwarp()


def multiply(
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    parts: RealPointer,
    x_layout: TensorMap,
    weight_layout: TensorMap,
    out_layout: TensorMap,
    tiles: int,
    filter_tiles: int,
    filter_tile_multiplier: int,
    filter_tile_shift: int,
    pixel_tiles: int,
    pixel_tile_multiplier: int,
    pixel_tile_shift: int,
    groups: int,
    group_multiplier: int,
    group_shift: int,
    split_steps: int,
    steps: int,
    row_steps: int,
    row_step_multiplier: int,
    row_step_shift: int,
    kernel_height: int,
    tap_height_multiplier: int,
    tap_height_shift: int,
    kernel_width: int,
    tap_width_multiplier: int,
    tap_width_shift: int,
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
    pixels: int,
    group_channels: int,
    group_filters: int,
    filters: int,
    out_size: Wide,
) -> None:
    """Compute every n-th tile, n being the number of blocks; filters' tiles are counted first, then pixels', groups."""
    shared = cuda.shared.array(0, float32, alignment=1024)
    x_map, weight_map, out_map = tensor_map(x_layout), tensor_map(weight_layout), tensor_map(out_layout)
    thread = int32(cuda.threadIdx.x)
    stages = shared_address(shared)
    barriers = int32(stages + BARRIERS)  # of stage s: full at 16 s, empty at 16 s + 8
    if thread == 0:
        for s in static_range(STAGES):
            make_barrier(int32(barriers + 16 * s), int32(1))
            make_barrier(int32(barriers + 16 * s + 8), int32(2))
        announce_barriers()
    cuda.syncthreads()
    stage = int32(0)

    if thread >> 7 == 2:
        fewer_registers(40)
        if thread == 256:
            prefetch_map(x_map)
            prefetch_map(weight_map)
            parity = int32(1)  # of the phase before the first: nothing is to be waited for
            for tile in range(int32(cuda.blockIdx.x), tiles, int32(cuda.gridDim.x)):
                first_filter, first_pixel, split, group = tile_place(
                    *(tile, filter_tiles, filter_tile_multiplier, filter_tile_shift),
                    *(pixel_tiles, pixel_tile_multiplier, pixel_tile_shift, groups, group_multiplier, group_shift),
                )
                image, d, h, w = corner(
                    *(first_pixel, image_pixels, image_multiplier, image_shift),
                    *(plane_pixels, plane_multiplier, plane_shift, row_pixels, row_multiplier, row_shift),
                    *(stride_depth, stride_height, stride_width, padding_depth, padding_height, padding_width),
                )
                first_step = int32(split * split_steps)
                stage, parity = load_steps(
                    *(stage, parity, stages, barriers, x_map, weight_map, image, d, h, w),
                    *(first_step, int32(min(steps, first_step + split_steps))),
                    *(row_steps, row_step_multiplier, row_step_shift),
                    *(kernel_height, tap_height_multiplier, tap_height_shift),
                    *(kernel_width, tap_width_multiplier, tap_width_shift),
                    *(dilation_depth, dilation_height, dilation_width),
                    *(int32(group * group_channels), group_channels, int32(group * group_filters + first_filter)),
                )
    else:
        more_registers(232)
        parity = int32(0)
        scratch = int32(SCRATCH + (thread >> 5) * 1024)  # the warp's
        place = scratch  # of the tile that was stored last
        for tile in range(int32(cuda.blockIdx.x), tiles, int32(cuda.gridDim.x)):
            first_filter, first_pixel, split, group = tile_place(
                *(tile, filter_tiles, filter_tile_multiplier, filter_tile_shift),
                *(pixel_tiles, pixel_tile_multiplier, pixel_tile_shift, groups, group_multiplier, group_shift),
            )
            first_pixel = int32(first_pixel + (thread >> 5) * 16)

            # M, N, K of a product: 64 pixels, FILTERS, 32 bytes of channels.
            sums = zeros(Float(0), SUMS)
            before = int32(0)  # where to say that the step before was read
            first_step = int32(split * split_steps)
            for step in range(first_step, int32(min(steps, first_step + split_steps))):
                full = int32(barriers + stage * 16)
                wait(full, parity)
                a = descriptor(int32(stages + stage * STAGE_BYTES + (thread >> 7) * (64 * 128)))
                b = descriptor(int32(stages + stage * STAGE_BYTES + PIXEL_BYTES))
                fence_products()
                for k in static_range(4):
                    sums = multiply_add(sums, a + int64(2 * k), b + int64(2 * k))
                commit_products()
                wait_for_products(1)
                if step > first_step and (thread & 127) == 0:
                    arrive(before)
                before = int32(full + 8)
                stage = int32(stage + 1)
                if stage == STAGES:
                    stage = int32(0)
                    parity = int32(parity ^ 1)
            wait_for_products(0)
            sums = settled(sums)
            if (thread & 127) == 0:
                arrive(before)

            if STORED > 0 and not is_given(residual):
                place = store_by_engine(
                    *(place, shared, stages, out_map, sums, bias, out),
                    *(first_filter, first_pixel, group, group_filters, filters),
                )
            else:
                store_by_threads(
                    *(shared, scratch, sums, bias, residual, out, advance(parts, int64(split) * out_size)),
                    *(first_filter, first_pixel, int32(group * group_filters), group_filters, filters, pixels),
                    *(image_pixels, image_multiplier, image_shift),
                )
        if STORED > 0 and (thread & 31) == 0:
            wait_for_stores(0)
