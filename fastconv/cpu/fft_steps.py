"""The loops of a convolution by Fourier transforms of tiles.

    Y[k][f] = sum over c of X[c][f] * conj(W[k][c][f])

for each frequency f of a tile, where the sum over a kernel is the cyclic correlation of a tile; results that would see
the other end of their tile are left out (overlap-save). Two tiles are the real and the imaginary part of one transform:
weights are real, so the results are, too. A spectrum is [row][column][part][L lanes]:

- where a plane has many tiles, lanes are pairs of tiles, and weights are scalars for all of them (`fft_planes`);
- where it has few, lanes are the channels of a pair of tiles, and the filters of its results (`fft_channels`,
  `fft_filters`).

Of volumes each slice of the result is an image, and each slice that its windows see of a channel is a channel: the sum
over a window's depth is one over channels, which costs products, and no transforms of results.
"""

from __future__ import annotations

from fastconv.codegen import fourier
from fastconv.codegen import spectrum as slot
from fastconv.cpu import plan as at
from fastconv.cpu.kernel import (
    FRAME_SLOTS,
    Ints,
    Reals,
    address_of,
    call_tile,
    copy_run,
    driver,
    fill_zeros,
    ints_at,
    kernel,
)
from fastconv.cpu.packing import copy_row

# fmt: off
(
    TILE_H, TILE_W,                               # results of a tile
    SIZE_H, SIZE_W,                               # of its transform
    TILES_W, TILES, PAIRS, ALL_PAIRS,             # tiles along a row, of a plane; pairs of a plane, of all images
    PITCH, SPECTRUM,                              # elements of a spectrum's row, of all
    LINES, LENGTH, LINE, NEXT,                    # that are multiplied: how many, elements of one, strides
    IMAGE, CHANNEL, SLICE, ROW, PIXEL,            # strides of the input
    DEPTH, DEPTH_TAPS,                            # slices of a window, and the address of their places in it
    KERNEL_H, KERNEL_W,
    COMPACT,                                      # spectra of weights are scalars, not vectors
    KEPT,                                         # weights are spectra already
    DEPTHWISE,                                    # a filter reads the channel of its lane
    AS_THEY_LIE,                                  # results are written where they belong, not to a row of scratch
    LANE_CHANNELS,                                # of a group: channels that lanes are
    CHANNEL_VECTORS, FILTER_VECTORS,              # vectors of these, and of filters
    BLOCK_PAIRS,                                  # pairs of tiles whose spectra are held at once
    FORWARD_ROW, FORWARD_COLUMN, INVERSE_ROW, INVERSE_COLUMN,  # addresses of tables of passes
    ROW_PASSES, COLUMN_PASSES,                    # how many
    ADJACENT,                                     # taps of a row lie side by side in a tile, as weights do
    GATHER, GATHER_WEIGHTS, SCATTER, TRANSFORM, PRODUCT,  # addresses of functions
    LANE_TABLE, ROW_TABLE, STAGED, SUMS, SPECTRA,  # places of buffers, in elements
    PLAN_SLOTS,
) = range(at.FIRST_OWN_SLOT, at.FIRST_OWN_SLOT + 49)
# fmt: on

#: What is known of a lane: image (of a volume each slice of the result is one; -1: none), tile, channel (or filter)
#: behind the first one; whether its rows are copied before they are gathered, and where.
LANE_IMAGE, LANE_TILE, LANE_OFFSET, LANE_COPIED, LANE_PLANE, LANE_TOP, LANE_LEFT, LANE_SLOTS = range(8)

#: Where in the frame the operands of codelets begin.
OPERANDS = FRAME_SLOTS - slot.PRODUCT_OPERANDS


@kernel
def transform(plan: Ints, frame: Ints, data: int, step: int, lines: int, passes: int, count: int) -> None:
    """Transform lines in place."""
    frame[OPERANDS + fourier.DATA] = data
    frame[OPERANDS + fourier.LINE] = step
    frame[OPERANDS + fourier.LINES] = lines
    frame[OPERANDS + fourier.PASSES] = passes
    frame[OPERANDS + fourier.COUNT] = count
    call_tile(plan[TRANSFORM], ints_at(address_of(frame) + 8 * OPERANDS))


@kernel
def move_line(plan: Ints, frame: Ints, memory: Reals, function: int, row: int, columns: int, line: int) -> None:
    """Gather or scatter a row of all lanes."""
    item = plan[at.ITEM]
    frame[OPERANDS + slot.TABLE] = address_of(memory) + plan[ROW_TABLE] * item
    frame[OPERANDS + slot.ROW] = row
    frame[OPERANDS + slot.COLUMNS] = columns
    frame[OPERANDS + slot.LINE] = line
    frame[OPERANDS + slot.SUM] = address_of(memory) + plan[SUMS] * item
    call_tile(function, ints_at(address_of(frame) + 8 * OPERANDS))


@kernel
def lanes_are_tiles(plan: Ints, memory: Reals, first_pair: int) -> None:
    """Each lane a pair of tiles, of one image."""
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * plan[at.ITEM])
    lanes = plan[at.LANES]
    for lane in range(2 * lanes):
        image, pair = divmod(first_pair + lane % lanes, plan[PAIRS])
        tile = 2 * pair + lane // lanes
        there = first_pair + lane % lanes < plan[ALL_PAIRS] and tile < plan[TILES]
        table[lane * LANE_SLOTS + LANE_IMAGE] = image if there else -1
        table[lane * LANE_SLOTS + LANE_TILE] = tile
        table[lane * LANE_SLOTS + LANE_OFFSET] = 0


@kernel
def lanes_are_channels(plan: Ints, memory: Reals, pair: int) -> None:
    """Each lane a channel (or a filter) of one pair of tiles."""
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * plan[at.ITEM])
    lanes = plan[at.LANES]
    image, pair = divmod(pair, plan[PAIRS])
    for lane in range(2 * lanes):
        tile = 2 * pair + lane // lanes
        table[lane * LANE_SLOTS + LANE_IMAGE] = image if tile < plan[TILES] else -1
        table[lane * LANE_SLOTS + LANE_TILE] = tile
        table[lane * LANE_SLOTS + LANE_OFFSET] = lane % lanes


@kernel
def find_tiles(plan: Ints, memory: Reals, x: Reals, first: int, after: int) -> None:
    """Where gather finds the rows of each lane, of the channels `first` to `after` - 1: in the input, or copied."""
    item = plan[at.ITEM]
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * item)
    rows = ints_at(address_of(memory) + plan[ROW_TABLE] * item)
    map_d, depth_taps = ints_at(plan[at.MAP_D]), ints_at(plan[DEPTH_TAPS])
    for lane in range(2 * plan[at.LANES]):
        place = lane * LANE_SLOTS
        staged = plan[STAGED] + lane * plan[SIZE_W]
        channel = first + table[place + LANE_OFFSET]
        tile_row, tile_column = divmod(table[place + LANE_TILE], plan[TILES_W])
        top, left = tile_row * plan[TILE_H] - plan[at.BEFORE_H], tile_column * plan[TILE_W] - plan[at.BEFORE_W]
        there = table[place + LANE_IMAGE] >= 0 and channel < after
        inside = top >= 0 and left >= 0 and top + plan[SIZE_H] <= plan[at.IN_H]
        inside = inside and left + plan[SIZE_W] <= plan[at.IN_W] and plan[PIXEL] == 1
        image, slice_ = divmod(table[place + LANE_IMAGE], plan[at.OUT_D])
        slice_ = map_d[slice_ * plan[at.STRIDE_D] + depth_taps[channel % plan[DEPTH]]] if there else 0
        there = there and slice_ >= 0
        plane = image * plan[IMAGE] + channel // plan[DEPTH] * plan[CHANNEL] + slice_ * plan[SLICE]
        table[place + LANE_COPIED] = there and not inside
        table[place + LANE_PLANE] = plane
        table[place + LANE_TOP] = top + plan[at.BEFORE_H]
        table[place + LANE_LEFT] = left + plan[at.BEFORE_W]
        if there and inside:
            rows[lane * slot.GATHER_SLOTS + slot.FROM] = address_of(x) + (plane + top * plan[ROW] + left) * item
            rows[lane * slot.GATHER_SLOTS + slot.FROM_ROW] = plan[ROW] * item
        else:
            rows[lane * slot.GATHER_SLOTS + slot.FROM] = address_of(memory) + staged * item
            rows[lane * slot.GATHER_SLOTS + slot.FROM_ROW] = 0
            fill_zeros(memory, staged, plan[SIZE_W])


@kernel
def copy_rows(plan: Ints, memory: Reals, x: Reals, row: int) -> None:
    """One row of each tile that reaches beyond the input, or whose pixels lie apart."""
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * plan[at.ITEM])
    map_h, map_w = ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    for lane in range(2 * plan[at.LANES]):
        place = lane * LANE_SLOTS
        if table[place + LANE_COPIED] == 0:
            continue
        staged = plan[STAGED] + lane * plan[SIZE_W]
        left = table[place + LANE_LEFT]
        source = map_h[table[place + LANE_TOP] + row]
        begin = table[place + LANE_PLANE] + source * plan[ROW]
        if source < 0:
            fill_zeros(memory, staged, plan[SIZE_W])
        elif plan[PIXEL] == 1:
            copy_row(plan, map_w, memory, staged, x, begin, left, 1, plan[SIZE_W])
        else:
            for j in range(plan[SIZE_W]):
                column = map_w[left + j]
                memory[staged + j] = x[begin + column * plan[PIXEL]] if column >= 0 else 0.0


@kernel
def forward_rows(plan: Ints, frame: Ints, memory: Reals, x: Reals, first: int, after: int, to: int) -> None:
    """Tiles of the lanes to the spectrum at `to`, transformed along their rows."""
    find_tiles(plan, memory, x, first, after)
    for row in range(plan[SIZE_H]):
        line = to + row * plan[PITCH] * plan[at.ITEM]
        copy_rows(plan, memory, x, row)
        move_line(plan, frame, memory, plan[GATHER], row, plan[SIZE_W], line)
        transform(plan, frame, line, 0, 1, plan[FORWARD_ROW], plan[ROW_PASSES])


@kernel
def forward_columns(plan: Ints, frame: Ints, spectrum: int, first: int, count: int) -> None:
    """Transform some columns."""
    step = 2 * plan[at.LANES] * plan[at.ITEM]
    transform(plan, frame, spectrum + first * step, step, count, plan[FORWARD_COLUMN], plan[COLUMN_PASSES])


@kernel
def inverse_columns(plan: Ints, frame: Ints, spectrum: int, first: int, count: int) -> None:
    """Transform some columns back."""
    step = 2 * plan[at.LANES] * plan[at.ITEM]
    transform(plan, frame, spectrum + first * step, step, count, plan[INVERSE_COLUMN], plan[COLUMN_PASSES])


@kernel
def place_results(
    plan: Ints, memory: Reals, bias: int, residual: Reals, out: Reals, first: int, after: int
) -> int:
    """Where scatter puts the rows of each lane, of the filters `first` to `after` - 1; returns the most rows."""
    item = plan[at.ITEM]
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * item)
    rows = ints_at(address_of(memory) + plan[ROW_TABLE] * item)
    most = 0
    for lane in range(2 * plan[at.LANES]):
        place, entry = lane * LANE_SLOTS, lane * slot.SCATTER_SLOTS
        filter_ = first + table[place + LANE_OFFSET]
        image, slice_ = divmod(table[place + LANE_IMAGE], plan[at.OUT_D])
        tile_row, tile_column = divmod(table[place + LANE_TILE], plan[TILES_W])
        top = tile_row * plan[TILE_H] // plan[at.STRIDE_H]
        left = tile_column * plan[TILE_W] // plan[at.STRIDE_W]
        there = image >= 0 and filter_ < after
        height, width = plan[at.OUT_H] - top, plan[at.OUT_W] - left  # from here on
        rows[entry + slot.ROWS] = min(plan[TILE_H], (height - 1) * plan[at.STRIDE_H] + 1) if there else 0
        rows[entry + slot.WIDTH] = min(plan[TILE_W], (width - 1) * plan[at.STRIDE_W] + 1)
        rows[entry + slot.BIAS] = bias + filter_ * item if bias != 0 else 0
        pixel = (slice_ * plan[at.OUT_H] + top) * plan[at.OUT_W] + left
        to = image * plan[at.OUT_IMAGE] + filter_ * plan[at.OUT_FILTER] + pixel * plan[at.OUT_PIXEL]
        added = image * plan[at.RESIDUAL_IMAGE] + filter_ * plan[at.RESIDUAL_FILTER] + pixel * plan[at.RESIDUAL_PIXEL]
        rows[entry + slot.RESIDUAL] = 0
        if plan[AS_THEY_LIE]:
            rows[entry + slot.TO] = address_of(out) + to * item
            rows[entry + slot.TO_ROW] = plan[at.OUT_W] * item
            if address_of(residual) != 0:
                rows[entry + slot.RESIDUAL] = address_of(residual) + added * item
                rows[entry + slot.RESIDUAL_ROW] = plan[at.OUT_W] * item
        else:  # through a row of its own, which holds the residual before
            table[place + LANE_PLANE] = to
            table[place + LANE_TOP] = added
            rows[entry + slot.TO] = address_of(memory) + (plan[STAGED] + lane * plan[SIZE_W]) * item
            rows[entry + slot.TO_ROW] = 0
            if address_of(residual) != 0:
                rows[entry + slot.RESIDUAL] = rows[entry + slot.TO]
                rows[entry + slot.RESIDUAL_ROW] = 0
        most = max(most, rows[entry + slot.ROWS])
    fill_zeros(memory, plan[SUMS], 2 * plan[at.LANES])
    return most


@kernel
def spread_rows(plan: Ints, memory: Reals, residual: Reals, out: Reals, row: int, after: bool) -> None:
    """Where pixels lie apart: rows of the residual into those of the lanes, and `after` the results from there.

    With a stride, only every so many of a row are results.
    """
    item = plan[at.ITEM]
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * item)
    rows = ints_at(address_of(memory) + plan[ROW_TABLE] * item)
    if plan[AS_THEY_LIE]:
        return
    for lane in range(2 * plan[at.LANES]):
        entry = lane * slot.SCATTER_SLOTS
        if row >= rows[entry + slot.ROWS]:
            continue
        staged = plan[STAGED] + lane * plan[SIZE_W]
        begin = row // plan[at.STRIDE_H] * plan[at.OUT_W]
        to = table[lane * LANE_SLOTS + LANE_PLANE] + begin * plan[at.OUT_PIXEL]
        added = table[lane * LANE_SLOTS + LANE_TOP] + begin * plan[at.RESIDUAL_PIXEL]
        for j in range((rows[entry + slot.WIDTH] - 1) // plan[at.STRIDE_W] + 1):
            if after:
                out[to + j * plan[at.OUT_PIXEL]] = memory[staged + j * plan[at.STRIDE_W]]
            elif address_of(residual) != 0:
                memory[staged + j * plan[at.STRIDE_W]] = residual[added + j * plan[at.RESIDUAL_PIXEL]]


@kernel
def inverse_rows(
    plan: Ints, frame: Ints, memory: Reals, spectrum: int,
    bias: int, residual: Reals, out: Reals, broken: Ints, first: int, after: int,
) -> None:  # fmt: skip
    """The results of the lanes from a spectrum that was transformed back along its columns."""
    rows = place_results(plan, memory, bias, residual, out, first, after)
    for row in range(0, rows, plan[at.STRIDE_H]):
        line = spectrum + row * plan[PITCH] * plan[at.ITEM]
        transform(plan, frame, line, 0, 1, plan[INVERSE_ROW], plan[ROW_PASSES])
        spread_rows(plan, memory, residual, out, row, False)
        move_line(plan, frame, memory, plan[SCATTER], row, plan[TILE_W], line)
        spread_rows(plan, memory, residual, out, row, True)
    table = ints_at(address_of(memory) + plan[LANE_TABLE] * plan[at.ITEM])
    for lane in range(2 * plan[at.LANES]):
        image = table[lane * LANE_SLOTS + LANE_IMAGE]
        total = memory[plan[SUMS] + lane]
        if image >= 0 and first + table[lane * LANE_SLOTS + LANE_OFFSET] < after and total != total:
            broken[image // plan[at.OUT_D]] = 1


@kernel
def multiply(
    plan: Ints, frame: Ints, x: int, x_next: int, x_step: int, w: int, w_next: int, w_step: int,
    y: int, y_next: int, count: int, steps: int, adds: bool,
) -> None:  # fmt: skip
    """Y = (Y +) sum over steps of X * conj(W); strides in elements."""
    item = plan[at.ITEM]
    frame[OPERANDS + slot.X] = x
    frame[OPERANDS + slot.X_NEXT] = x_next * item
    frame[OPERANDS + slot.X_STEP] = x_step * item
    frame[OPERANDS + slot.W] = w
    frame[OPERANDS + slot.W_NEXT] = w_next * item
    frame[OPERANDS + slot.W_STEP] = w_step * item
    frame[OPERANDS + slot.Y] = y
    frame[OPERANDS + slot.Y_NEXT] = y_next * item
    frame[OPERANDS + slot.COUNT] = count
    frame[OPERANDS + slot.STEPS] = steps
    frame[OPERANDS + slot.ADDS] = adds
    call_tile(plan[PRODUCT], ints_at(address_of(frame) + 8 * OPERANDS))


@kernel
def transform_filters(
    plan: Ints, frame: Ints, memory: Reals, weight: Reals, first: int, after: int, channel: int, to: int
) -> None:
    """The spectrum of a channel's weights of L filters from `first` on, up to `after`; divided by its size."""
    item, lanes = plan[at.ITEM], plan[at.LANES]
    rows = ints_at(address_of(memory) + plan[ROW_TABLE] * item)
    tap_h, tap_w = ints_at(plan[at.TAP_H]), ints_at(plan[at.TAP_W])
    there = min(lanes, after - first)
    columns = plan[KERNEL_W] if plan[ADJACENT] else plan[SIZE_W]
    memory[plan[SUMS]] = 1.0 / (plan[SIZE_H] * plan[SIZE_W])
    for lane in range(2 * lanes):
        staged = plan[STAGED] + lane * plan[SIZE_W]
        entry = lane * slot.GATHER_SLOTS
        if plan[ADJACENT] and lane < there:
            taps = ((first + lane) * plan[at.CHANNELS] + channel) * plan[at.TAPS]
            rows[entry + slot.FROM] = address_of(weight) + taps * item
            rows[entry + slot.FROM_ROW] = plan[KERNEL_W] * item
        else:
            rows[entry + slot.FROM] = address_of(memory) + staged * item
            rows[entry + slot.FROM_ROW] = 0
            fill_zeros(memory, staged, columns)
    spectrum = (to - address_of(memory)) // item
    fill_zeros(memory, spectrum, plan[SPECTRUM])
    for i in range(plan[KERNEL_H]):
        for lane in range(0 if plan[ADJACENT] else there):
            taps = ((first + lane) * plan[at.CHANNELS] + channel) * plan[at.TAPS] + i * plan[KERNEL_W]
            for j in range(plan[KERNEL_W]):
                memory[plan[STAGED] + lane * plan[SIZE_W] + tap_w[i * plan[KERNEL_W] + j]] = weight[taps + j]
        line = to + tap_h[i * plan[KERNEL_W]] * plan[PITCH] * item
        move_line(plan, frame, memory, plan[GATHER_WEIGHTS], i, columns, line)
        transform(plan, frame, line, 0, 1, plan[FORWARD_ROW], plan[ROW_PASSES])
    forward_columns(plan, frame, to, 0, plan[SIZE_W])


@kernel
def compact(plan: Ints, memory: Reals, spectrum: int, spectra: Reals, first: int, after: int, channel: int) -> None:
    """The lanes of a spectrum of weights apart: [filter][channel][line][element of the line][part]."""
    lanes = plan[at.LANES]
    size = 2 * plan[LINES] * plan[LENGTH]
    for lane in range(min(lanes, after - first)):
        to = ((first + lane) * plan[at.CHANNELS] + channel) * size
        for line in range(plan[LINES]):
            for i in range(plan[LENGTH]):
                place = spectrum + line * plan[LINE] + i * plan[NEXT] + lane
                spectra[to] = memory[place]
                spectra[to + 1] = memory[place + lanes]
                to += 2


@kernel
def filters_at(plan: Ints, vector: int) -> tuple[int, int]:
    """Of all filters: the first of a vector's, and the one behind the last that it may hold."""
    group, within = divmod(vector, plan[FILTER_VECTORS])
    return group * plan[at.FILTERS] + within * plan[at.LANES], (group + 1) * plan[at.FILTERS]


@driver
def fft_weights(
    plan: Ints, frame: Ints, memory: Reals, weight: Reals, spectra: Reals, first_task: int, last_task: int
) -> None:
    """Spectra of all weights; a task is a channel of L filters."""
    item = plan[at.ITEM]
    for task in range(first_task, last_task):
        vector, channel = divmod(task, plan[at.CHANNELS])
        first, after = filters_at(plan, vector)
        own = address_of(memory) + plan[SPECTRA] * item
        transform_filters(plan, frame, memory, weight, first, after, channel, own)
        if plan[COMPACT]:
            compact(plan, memory, plan[SPECTRA], spectra, first, after, channel)
        else:
            copy_run(spectra, task * plan[SPECTRUM], memory, plan[SPECTRA], plan[SPECTRUM])


@driver
def fft_planes(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, spectra: int,
    bias: int, residual: Reals, out: Reals, broken: Ints, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Results of L pairs of tiles and a group of filters, a task; a column at a time while it is in the first cache."""
    item, channels = plan[at.ITEM], plan[at.CHANNELS]
    sets = (plan[ALL_PAIRS] + plan[at.LANES] - 1) // plan[at.LANES]
    size = 2 * plan[LINES] * plan[LENGTH]
    at_x = address_of(memory) + plan[SPECTRA] * item
    # a single filter's products take the place of its first channel
    at_y = at_x if plan[at.FILTERS] == 1 else at_x + channels * plan[SPECTRUM] * item
    for task in range(first_task, last_task):
        group, set_ = divmod(task, sets)
        lanes_are_tiles(plan, memory, set_ * plan[at.LANES])
        for c in range(channels):
            channel = group * channels + c
            forward_rows(plan, frame, memory, x, channel, channel + 1, at_x + c * plan[SPECTRUM] * item)
        for k in range(group * plan[at.FILTERS], (group + 1) * plan[at.FILTERS]):
            for line in range(plan[LINES]):
                step = line * plan[LINE] * item
                if k == group * plan[at.FILTERS]:
                    for c in range(channels):
                        forward_columns(plan, frame, at_x + c * plan[SPECTRUM] * item, line, 1)
                w = spectra + (k * channels * size + 2 * line * plan[LENGTH]) * item
                multiply(
                    plan, frame, at_x + step, plan[NEXT], plan[SPECTRUM], w, 2, size,
                    at_y + step, plan[NEXT], plan[LENGTH], channels, False,
                )  # fmt: skip
                inverse_columns(plan, frame, at_y, line, 1)
            inverse_rows(plan, frame, memory, at_y, bias, residual, out, broken, k, k + 1)


@driver
def fft_channels(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, v: int, first_pair: int, first_task: int, last_task: int
) -> None:
    """Spectra of the input, [pair][channel / L]; a task is L channels of a pair of tiles."""
    vectors = plan[CHANNEL_VECTORS]
    channels = plan[LANE_CHANNELS]
    for task in range(first_task, last_task):
        pair, rest = divmod(task, plan[at.GROUPS] * vectors)
        if first_pair + pair >= plan[ALL_PAIRS]:  # the last block has fewer
            break
        group, vector = divmod(rest, vectors)
        lanes_are_channels(plan, memory, first_pair + pair)
        to = v + task * plan[SPECTRUM] * plan[at.ITEM]
        first = group * channels + vector * plan[at.LANES]
        forward_rows(plan, frame, memory, x, first, (group + 1) * channels, to)
        forward_columns(plan, frame, to, 0, plan[SIZE_W])


@driver
def fft_filters(
    plan: Ints, frame: Ints, memory: Reals, v: int, weight: Reals,
    bias: int, residual: Reals, out: Reals, broken: Ints, first_pair: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Results of L filters, a task, for a block of pairs of tiles; `weight` may be spectra."""
    item, lanes, channels = plan[at.ITEM], plan[at.LANES], plan[at.CHANNELS]
    spectrum = plan[SPECTRUM] * item
    own = address_of(memory) + plan[SPECTRA] * item
    at_y = own + plan[at.BLOCK] * spectrum
    pairs = min(plan[BLOCK_PAIRS], plan[ALL_PAIRS] - first_pair)
    count = plan[SPECTRUM] // (2 * lanes)
    for task in range(first_task, last_task):
        first, after = filters_at(plan, task)
        group = task // plan[FILTER_VECTORS]
        for c in range(0, channels, plan[at.BLOCK]):
            steps = min(plan[at.BLOCK], channels - c)
            w = own
            if plan[KEPT]:
                w = address_of(weight) + (task * channels + c) * spectrum
            else:
                for i in range(steps):
                    transform_filters(plan, frame, memory, weight, first, after, c + i, own + i * spectrum)
            for pair in range(pairs):
                vector = (pair * plan[at.GROUPS] + group) * plan[CHANNEL_VECTORS]
                vector += task if plan[DEPTHWISE] else c // lanes
                multiply(
                    plan, frame, v + vector * spectrum + c % lanes * item, 2 * lanes, 1, w, 2 * lanes, plan[SPECTRUM],
                    at_y + pair * spectrum, 2 * lanes, count, steps, c > 0,
                )  # fmt: skip
        for pair in range(pairs):
            lanes_are_channels(plan, memory, first_pair + pair)
            inverse_columns(plan, frame, at_y + pair * spectrum, 0, plan[SIZE_W])
            inverse_rows(
                plan, frame, memory, at_y + pair * spectrum, bias, residual, out, broken, first, after
            )  # fmt: skip
