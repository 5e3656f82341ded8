"""The steps of a Winograd convolution.

    U[f] (channels, filters) = G w G^T     V[f] (tiles, channels) = B^T d B     M[f] = V[f] U[f]     y = A^T M A

for each frequency f, an element of a transformed tile. Everything between the first and the last step is in vectors of
L channels or L filters, so that no plane is too small for them:

    V   [frequency][channel / L][tile][channel % L]         of a block of tiles, shared by all tasks
    U   [frequency][panel][channel][filter of the panel]    of a task's panels and a block of channels
    M   [frequency][filter / L][tile][filter % L]           of a task's filters

M (tiles, filters) is a product on register tiles, whose rows are tiles, once for each frequency. U is as many times as
large as the weights as a transformed tile is larger than the kernel: reading it from beyond the cache takes longer than
computing it, where tiles are not very many.
"""

from __future__ import annotations

from fastconv.codegen import blocked
from fastconv.codegen import tile as slot
from fastconv.codegen import transform as codelet
from fastconv.cpu import plan as at
from fastconv.cpu.kernel import FRAME_SLOTS, Ints, Reals, address_of, call_tile, driver, ints_at, kernel
from fastconv.cpu.packing import filters_of, inside, pack_panels
from fastconv.cpu.product import call_rows

# fmt: off
(
    TILE_H, TILE_W, SIZE_H, SIZE_W, FREQUENCIES,  # of a tile: outputs, inputs; their product
    STEP_H, STEP_W, TAPS_W,                       # inputs from one tile to the next; taps of a row
    PHASES_H, PHASES_W,                           # places between the elements of a tile: the dilation
    TILES_H, TILES_W, ALL_ROWS,                   # rows of tiles of an image, tiles of a row and phase; rows of all
                                                  # images
    BLOCK_H, BLOCK_W, BLOCKS_W, TILES,            # the same of a block, blocks side by side, tiles of a block in all;
                                                  # its rows may be of several images
    PART_H, PARTS_H,                              # rows of tiles that a task takes of a block, and how many such parts
    V_FREQUENCY, V_GROUP, M_FREQUENCY, M_VECTOR,  # strides
    U_FREQUENCY, U_PANEL, U_GROUP,
    FORM,                                         # of the weights, one of those below
    IMAGE, CHANNEL, ROW, PIXEL,                   # strides of the input
    STAGED, HALFWAY, TAPS, U, M, Y,               # where the buffers of a worker begin
    STAGED_ROW, Y_ROW,                            # pitches of the first and the last of them
    REVERSED,                                     # 1: taps are read from the last to the first
    BY_MAPS,                                      # 1: what lies outside is not zero
    INTO, INPUT_FIRST, INPUT_LAST, LAST_ROWS,     # addresses of codelets; the first pass over the input may be missing,
    WEIGHTS, OUTPUT, OUT_OF,                      # then the last one takes all rows of a tile together, else one by one
    PLAN_SLOTS,
) = range(at.FIRST_OWN_SLOT, at.FIRST_OWN_SLOT + 49)
# fmt: on

#: Forms of weights: (filter, channel, tap); [panel][channel][tap][filter of the panel]; U of all of them.
AS_THEY_LIE, IN_PANELS, TRANSFORMED = range(3)

#: Where in the frame the operands of codelets begin.
OPERANDS = FRAME_SLOTS - blocked.OPERANDS


@kernel
def stage_rows(
    plan: Ints, frame: Ints, x: Reals, memory: Reals, group: int, channel: int, image: int,
    top: int, rows: int, left: int, columns: int,
) -> None:  # fmt: skip
    """To STAGED, [row][column][L]: L channels of `rows` x `columns` places of the padded input, from (top, left) on."""
    item, lanes = plan[at.ITEM], plan[at.LANES]
    first = image * plan[IMAGE] + (group * plan[at.CHANNELS] + channel) * plan[CHANNEL]
    frame[OPERANDS + blocked.CHANNEL] = plan[CHANNEL] * item
    frame[OPERANDS + blocked.PIXEL] = plan[PIXEL] * item
    frame[OPERANDS + blocked.ROW_FROM] = plan[ROW] * item
    frame[OPERANDS + blocked.ROW_TO] = plan[STAGED_ROW] * item
    frame[OPERANDS + blocked.CHANNELS] = min(lanes, plan[at.CHANNELS] - channel)
    above, height = inside(top, 1, rows, plan[at.IN_H])
    before, width = inside(left, 1, columns, plan[at.IN_W])
    frame[OPERANDS + blocked.BEFORE] = before
    frame[OPERANDS + blocked.COLUMNS] = width
    frame[OPERANDS + blocked.AFTER] = columns - before - width
    frame[OPERANDS + blocked.TO] = address_of(memory) + plan[STAGED] * item
    if plan[BY_MAPS]:
        stage_rows_by_maps(plan, frame, x, memory, first, channel, top, rows, left, columns)
        return
    if width == 0:
        above, height = rows, 0
    frame[OPERANDS + blocked.ABOVE] = above
    frame[OPERANDS + blocked.ROWS] = height
    frame[OPERANDS + blocked.BELOW] = rows - above - height
    place = first + (top + above) * plan[ROW] + (left + before) * plan[PIXEL]
    frame[OPERANDS + blocked.FROM] = address_of(x) + place * item
    call_tile(plan[INTO], ints_at(address_of(frame) + 8 * OPERANDS))


@kernel
def stage_rows_by_maps(
    plan: Ints, frame: Ints, x: Reals, memory: Reals, first: int, channel: int,
    top: int, rows: int, left: int, columns: int,
) -> None:  # fmt: skip
    """The same where padding is no zeros: each row from the one that its map says, and so the columns outside."""
    item, lanes = plan[at.ITEM], plan[at.LANES]
    map_h, map_w = ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    before, width = frame[OPERANDS + blocked.BEFORE], frame[OPERANDS + blocked.COLUMNS]
    frame[OPERANDS + blocked.ABOVE] = 0
    frame[OPERANDS + blocked.ROWS] = 1
    frame[OPERANDS + blocked.BELOW] = 0
    channels = frame[OPERANDS + blocked.CHANNELS]
    for i in range(rows):
        row = first + max(0, map_h[top + plan[at.BEFORE_H] + i]) * plan[ROW]
        begin = plan[STAGED] + i * plan[STAGED_ROW]
        frame[OPERANDS + blocked.FROM] = address_of(x) + (row + (left + before) * plan[PIXEL]) * item
        frame[OPERANDS + blocked.TO] = address_of(memory) + begin * item
        call_tile(plan[INTO], ints_at(address_of(frame) + 8 * OPERANDS))
        for outside in range(columns - width):
            column = outside if outside < before else outside + width
            place = row + max(0, map_w[left + plan[at.BEFORE_W] + column]) * plan[PIXEL]
            for lane in range(channels):
                memory[begin + column * lanes + lane] = x[place + lane * plan[CHANNEL]]


@kernel
def top_of(plan: Ints, tile_row: int, step: int) -> int:
    """The first row of a row of tiles, of which those of all phases of some rows come one after the other.

    `step` is from one tile to the next: TILE_H for results, STEP_H for the input.
    """
    rows, phase = divmod(tile_row, plan[PHASES_H])
    return rows * step * plan[PHASES_H] + phase


@kernel
def transform_input(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, v: int, group: int,
    first_row: int, rows: int, first_column: int, columns: int, channel: int,
) -> None:  # fmt: skip
    """V of a block of `rows` x `columns` tiles and the L channels from `channel` on."""
    item, lanes = plan[at.ITEM], plan[at.LANES]
    staged = address_of(memory) + plan[STAGED] * item
    halfway = address_of(memory) + plan[HALFWAY] * item
    width = ((columns - 1) * plan[STEP_W] + plan[SIZE_W]) * plan[PHASES_W]
    row = 0
    while row < rows:
        image, tile_row = divmod(first_row + row, plan[TILES_H])
        together = min(rows - row, plan[TILES_H] - tile_row)
        top = top_of(plan, tile_row, plan[STEP_H])
        last = top_of(plan, tile_row + together - 1, plan[STEP_H])
        height = last - top + (plan[SIZE_H] - 1) * plan[PHASES_H] + 1
        left = first_column * plan[STEP_W] * plan[PHASES_W]
        stage_rows(
            plan, frame, x, memory, group, channel, image,
            top - plan[at.BEFORE_H], height, left - plan[at.BEFORE_W], width,
        )  # fmt: skip
        for i in range(together):
            source = staged + (top_of(plan, tile_row + i, plan[STEP_H]) - top) * plan[STAGED_ROW] * item
            between = plan[PHASES_H] * plan[STAGED_ROW] * item
            if plan[INPUT_FIRST]:
                frame[OPERANDS + codelet.FROM] = source
                frame[OPERANDS + codelet.TO] = halfway
                frame[OPERANDS + codelet.IN_ROW] = between
                frame[OPERANDS + codelet.OUT_ROW] = plan[STAGED_ROW] * item
                frame[OPERANDS + codelet.COUNT] = width
                frame[OPERANDS + codelet.FROM_STEP] = lanes * item
                frame[OPERANDS + codelet.TO_STEP] = lanes * item
                frame[OPERANDS + codelet.OUTER] = 1
                call_tile(plan[INPUT_FIRST], ints_at(address_of(frame) + 8 * OPERANDS))
                source, between = halfway, plan[STAGED_ROW] * item
            tile = (channel // lanes * plan[TILES] + (row + i) * columns * plan[PHASES_W]) * lanes
            frame[OPERANDS + codelet.IN_ROW] = between
            frame[OPERANDS + codelet.IN_COLUMN] = plan[PHASES_W] * lanes * item
            frame[OPERANDS + codelet.OUT_ROW] = plan[SIZE_W] * plan[V_FREQUENCY] * item
            frame[OPERANDS + codelet.OUT_COLUMN] = plan[V_FREQUENCY] * item
            frame[OPERANDS + codelet.COUNT] = columns
            frame[OPERANDS + codelet.FROM_STEP] = plan[STEP_W] * plan[PHASES_W] * lanes * item
            frame[OPERANDS + codelet.TO_STEP] = lanes * item
            frame[OPERANDS + codelet.OUTER] = plan[LAST_ROWS]
            frame[OPERANDS + codelet.FROM_OUTER] = between
            frame[OPERANDS + codelet.TO_OUTER] = plan[SIZE_W] * plan[V_FREQUENCY] * item
            for phase in range(plan[PHASES_W]):
                frame[OPERANDS + codelet.FROM] = source + phase * lanes * item
                frame[OPERANDS + codelet.TO] = v + (tile + phase * columns * lanes) * item
                call_tile(plan[INPUT_LAST], ints_at(address_of(frame) + 8 * OPERANDS))
        row += together


@kernel
def transform_weights(
    plan: Ints, frame: Ints, memory: Reals, weight: int, u: int, group: int, panel: int, channel: int, channels: int
) -> None:
    """U of one panel of filters and some channels, whose first is at `u`."""
    item, lanes = plan[at.ITEM], plan[at.LANES]
    step = plan[at.WEIGHT_STEP] * item
    if plan[FORM] == IN_PANELS:
        place = group * plan[at.WEIGHT_GROUP] + panel * plan[at.WEIGHT_PART]
        taps = weight + place * item + channel * plan[at.TAPS] * step
    else:
        taps = address_of(memory) + plan[TAPS] * item
        first = (group * plan[at.FILTERS] * plan[at.CHANNELS] + channel) * plan[at.TAPS]
        pack_panels(
            plan, frame, taps - panel * plan[at.WEIGHT_PART] * item, weight + first * item, panel, panel + 1,
            channels * plan[at.TAPS], plan[at.CHANNELS] * plan[at.TAPS],
        )  # fmt: skip
    tap = -step if plan[REVERSED] else step
    last = (plan[at.TAPS] - 1) * step
    _, filters = filters_of(plan, panel)
    frame[OPERANDS + codelet.FROM] = taps + last if plan[REVERSED] else taps
    frame[OPERANDS + codelet.TO] = u
    frame[OPERANDS + codelet.IN_ROW] = plan[TAPS_W] * tap
    frame[OPERANDS + codelet.IN_COLUMN] = tap
    frame[OPERANDS + codelet.OUT_ROW] = plan[SIZE_W] * plan[U_FREQUENCY] * item
    frame[OPERANDS + codelet.OUT_COLUMN] = plan[U_FREQUENCY] * item
    # vector by vector, so that a line of U is written at once
    frame[OPERANDS + codelet.COUNT] = (filters + lanes - 1) // lanes
    frame[OPERANDS + codelet.FROM_STEP] = lanes * item
    frame[OPERANDS + codelet.TO_STEP] = lanes * item
    frame[OPERANDS + codelet.OUTER] = channels
    frame[OPERANDS + codelet.FROM_OUTER] = plan[at.TAPS] * step
    frame[OPERANDS + codelet.TO_OUTER] = step
    call_tile(plan[WEIGHTS], ints_at(address_of(frame) + 8 * OPERANDS))


@kernel
def multiply(
    plan: Ints, frame: Ints, v: int, u: int, m: int, tiles: int,
    first_panel: int, last_panel: int, channels: int, adds: int,
) -> None:  # fmt: skip
    """M[f] (tiles, filters) += V[f] (tiles, channels) U[f] (channels, filters), for each frequency.

    `v`, `u` and `m` are where the first channel, the first panel's first channel and the first panel begin.
    """
    item, lanes = plan[at.ITEM], plan[at.LANES]
    parts = (tiles + plan[at.TILE_ROWS] - 1) // plan[at.TILE_ROWS]
    size, larger = tiles // parts, tiles % parts
    pitch = lanes * item
    frame[slot.STEPS] = channels
    frame[slot.TABLE] = plan[at.TABLE_AT]
    frame[slot.A_ROW] = pitch
    frame[slot.Y_ROW] = pitch
    frame[slot.ACCUMULATE] = adds
    for f in range(plan[FREQUENCIES]):
        for panel in range(first_panel, last_panel):
            first_filter, filters = filters_of(plan, panel)
            vectors = (filters + lanes - 1) // lanes
            before = (first_filter - first_panel * plan[at.PART_SIZE]) // lanes
            frame[slot.B] = u + (f * plan[U_FREQUENCY] + (panel - first_panel) * plan[U_PANEL]) * item
            y = m + (f * plan[M_FREQUENCY] + before * plan[M_VECTOR]) * item
            for i in range(vectors):
                frame[slot.Y + i] = y + i * plan[M_VECTOR] * item
            frame[slot.A] = v + f * plan[V_FREQUENCY] * item
            if larger:
                frame[slot.A_NEXT] = (size + 1) * pitch
                call_rows(plan, frame, size + 1, larger, vectors, slot.WHOLE)
                done = larger * (size + 1) * pitch
                frame[slot.A] += done
                for i in range(vectors):
                    frame[slot.Y + i] += done
            frame[slot.A_NEXT] = size * pitch
            call_rows(plan, frame, size, parts - larger, vectors, slot.WHOLE)


@kernel
def transform_output(
    plan: Ints, frame: Ints, memory: Reals, m: int, bias: int, residual: int, out: int, broken: Ints, group: int,
    first_row: int, rows: int, first_column: int, columns: int, first_filter: int, last_filter: int,
) -> None:  # fmt: skip
    """The results of a block of `rows` x `columns` tiles and some filters, from M and with the epilogue."""
    item, lanes = plan[at.ITEM], plan[at.LANES]
    y = address_of(memory) + plan[Y] * item
    for filter_ in range(first_filter, last_filter, lanes):
        k = group * plan[at.FILTERS] + filter_
        for row in range(rows):
            place = (filter_ - first_filter) // lanes * plan[M_VECTOR] + row * columns * plan[PHASES_W] * lanes
            frame[OPERANDS + codelet.IN_ROW] = plan[SIZE_W] * plan[M_FREQUENCY] * item
            frame[OPERANDS + codelet.IN_COLUMN] = plan[M_FREQUENCY] * item
            frame[OPERANDS + codelet.OUT_ROW] = plan[Y_ROW] * item
            frame[OPERANDS + codelet.OUT_COLUMN] = plan[PHASES_W] * lanes * item
            frame[OPERANDS + codelet.COUNT] = columns
            frame[OPERANDS + codelet.FROM_STEP] = lanes * item
            frame[OPERANDS + codelet.TO_STEP] = plan[TILE_W] * plan[PHASES_W] * lanes * item
            frame[OPERANDS + codelet.OUTER] = 1
            for phase in range(plan[PHASES_W]):
                frame[OPERANDS + codelet.FROM] = m + (place + phase * columns * lanes) * item
                frame[OPERANDS + codelet.TO] = y + phase * lanes * item
                call_tile(plan[OUTPUT], ints_at(address_of(frame) + 8 * OPERANDS))
            image, tile_row = divmod(first_row + row, plan[TILES_H])
            h, w = top_of(plan, tile_row, plan[TILE_H]), first_column * plan[TILE_W] * plan[PHASES_W]
            pixel = h * plan[at.OUT_W] + w
            frame[OPERANDS + blocked.FROM] = y
            frame[OPERANDS + blocked.ROW_FROM] = plan[Y_ROW] * item
            frame[OPERANDS + blocked.CHANNELS] = min(lanes, last_filter - filter_)
            left = plan[at.OUT_H] - h  # of a phase there may be none
            frame[OPERANDS + blocked.ROWS] = min(plan[TILE_H], (left + plan[PHASES_H] - 1) // plan[PHASES_H])
            frame[OPERANDS + blocked.COLUMNS] = min(columns * plan[TILE_W] * plan[PHASES_W], plan[at.OUT_W] - w)
            place = image * plan[at.OUT_IMAGE] + k * plan[at.OUT_FILTER] + pixel * plan[at.OUT_PIXEL]
            frame[OPERANDS + blocked.TO] = out + place * item
            frame[OPERANDS + blocked.ROW_TO] = plan[PHASES_H] * plan[at.OUT_W] * plan[at.OUT_PIXEL] * item
            frame[OPERANDS + blocked.CHANNEL] = plan[at.OUT_FILTER] * item
            frame[OPERANDS + blocked.PIXEL] = plan[at.OUT_PIXEL] * item
            frame[OPERANDS + blocked.BIAS] = bias + k * item if bias != 0 else 0
            place = image * plan[at.RESIDUAL_IMAGE] + k * plan[at.RESIDUAL_FILTER] + pixel * plan[at.RESIDUAL_PIXEL]
            frame[OPERANDS + blocked.RESIDUAL] = residual + place * item if residual != 0 else 0
            frame[OPERANDS + blocked.ROW_RESIDUAL] = plan[PHASES_H] * plan[at.OUT_W] * plan[at.RESIDUAL_PIXEL] * item
            frame[OPERANDS + blocked.CHANNEL_RESIDUAL] = plan[at.RESIDUAL_FILTER] * item
            frame[OPERANDS + blocked.PIXEL_RESIDUAL] = plan[at.RESIDUAL_PIXEL] * item
            frame[OPERANDS + blocked.BROKEN] = address_of(broken) + 8 * image
            call_tile(plan[OUT_OF], ints_at(address_of(frame) + 8 * OPERANDS))


@kernel
def block_of(plan: Ints, block: int) -> tuple[int, int, int, int]:
    """(first row, rows, first column, columns) of a block of tiles."""
    block_row, block_column = divmod(block, plan[BLOCKS_W])
    first_row, first_column = block_row * plan[BLOCK_H], block_column * plan[BLOCK_W]
    rows = min(plan[BLOCK_H], plan[ALL_ROWS] - first_row)
    return first_row, rows, first_column, min(plan[BLOCK_W], plan[TILES_W] - first_column)


@driver
def winograd_weights(
    plan: Ints, frame: Ints, memory: Reals, weight: int, u: int, first_task: int, last_task: int
) -> None:
    """U of all weights; a task is a panel."""
    for task in range(first_task, last_task):
        group, panel = divmod(task, plan[at.PARTS])
        for c in range(0, plan[at.CHANNELS], plan[at.BLOCK]):
            place = group * plan[U_GROUP] + panel * plan[U_PANEL] + c * plan[at.WEIGHT_STEP]
            count = min(plan[at.BLOCK], plan[at.CHANNELS] - c)
            transform_weights(plan, frame, memory, weight, u + place * plan[at.ITEM], group, panel, c, count)


@driver
def winograd_tiles(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, v: int, block: int, first_task: int, last_task: int
) -> None:
    """V of a block; a task is L channels."""
    lanes = plan[at.LANES]
    first_row, rows, first_column, columns = block_of(plan, block)
    for task in range(first_task, last_task):
        group, vector = divmod(task, (plan[at.CHANNELS] + lanes - 1) // lanes)
        transform_input(
            plan, frame, memory, x, v + group * plan[V_GROUP] * plan[at.ITEM], group,
            first_row, rows, first_column, columns, vector * lanes,
        )  # fmt: skip


@driver
def winograd_filters(
    plan: Ints, frame: Ints, memory: Reals, v: int, weight: int,
    bias: int, residual: int, out: int, broken: Ints, block: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """The results of a block from its V; a task is some panels and some rows. `weight` may be U: see FORM."""
    item, channels = plan[at.ITEM], plan[at.CHANNELS]
    block_row, block_rows, first_column, columns = block_of(plan, block)
    for task in range(first_task, last_task):
        rest, part = divmod(task, plan[PARTS_H])
        group, filter_block = divmod(rest, plan[at.FILTER_BLOCKS])
        first_panel = filter_block * plan[at.BLOCK_PARTS]
        last_panel = min(plan[at.PARTS], first_panel + plan[at.BLOCK_PARTS])
        before = part * plan[PART_H]
        rows = min(plan[PART_H], block_rows - before)
        if rows <= 0:  # of the last block
            continue
        across = columns * plan[PHASES_W]
        tiles = v + (group * plan[V_GROUP] + before * across * plan[at.LANES]) * item
        m = address_of(memory) + plan[M] * item
        for c in range(0, channels, plan[at.BLOCK]):
            count = min(plan[at.BLOCK], channels - c)
            if plan[FORM] == TRANSFORMED:
                place = group * plan[U_GROUP] + first_panel * plan[U_PANEL] + c * plan[at.WEIGHT_STEP]
                u = weight + place * item
            else:
                u = address_of(memory) + plan[U] * item
                for panel in range(first_panel, last_panel):
                    place = u + (panel - first_panel) * plan[U_PANEL] * item
                    transform_weights(plan, frame, memory, weight, place, group, panel, c, count)
            multiply(
                plan, frame, tiles + c * plan[TILES] * item, u, m, rows * across, first_panel, last_panel, count, c > 0
            )  # fmt: skip
        transform_output(
            plan, frame, memory, m, bias, residual, out, broken, group, block_row + before, rows, first_column, columns,
            first_panel * plan[at.PART_SIZE], min(plan[at.FILTERS], last_panel * plan[at.PART_SIZE]),
        )  # fmt: skip
