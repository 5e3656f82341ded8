"""Sweeps of register tiles over one block of a product, alike for every algorithm that ends in one.

Channels first, the product is Y (M = filters, N = pixels) += W (M, steps) X (steps, N): rows of a tile are filters and
its vectors lie along pixels. Channels last, it is Y (M = pixels, N = filters) += X (M, steps) W (steps, N).

Both find the steps, their table and the first addresses of their operands in the frame; they add what changes from tile
to tile.
"""

from __future__ import annotations

from fastconv.codegen import tile as slot
from fastconv.cpu import plan as at
from fastconv.cpu.kernel import Ints, call_tile, kernel
from fastconv.cpu.packing import filters_of

# Slots behind the frame proper: where the block's first tile begins.
FIRST_WEIGHT = slot.FRAME_SLOTS
FIRST_Y = FIRST_WEIGHT + 1
FIRST_RESIDUAL = FIRST_Y + slot.MAX_VECTORS
FIRST_BIAS = FIRST_RESIDUAL + slot.MAX_VECTORS


@kernel
def start_frame(
    plan: Ints, frame: Ints, weights: int, steps: int, first_pass: bool, last_pass: bool, bias: int, group: int
) -> None:
    """Fill the slots that hold for a whole block; `weights` is where its first step's weights lie."""
    item = plan[at.ITEM]
    frame[FIRST_WEIGHT] = weights
    frame[slot.STEPS] = steps
    frame[slot.TABLE] = plan[at.TABLE_AT]
    frame[slot.ACCUMULATE] = 0 if first_pass else 1
    frame[slot.FINISH] = 1 if last_pass else 0
    frame[FIRST_BIAS] = bias + group * plan[at.FILTERS] * item if bias != 0 else 0


@kernel
def call_rows(plan: Ints, frame: Ints, rows: int, repeats: int, vectors: int, fill: int) -> None:
    """Call the tile of that shape for `repeats` tiles of rows, one below the other."""
    frame[slot.REPEATS] = repeats
    frame[slot.Y_NEXT] = rows * frame[slot.Y_ROW]
    frame[slot.RESIDUAL_NEXT] = rows * frame[slot.RESIDUAL_ROW]
    place = ((rows - 1) * slot.MAX_VECTORS + vectors - 1) * slot.FILLS + fill  # plan.tile_slot
    call_tile(plan[at.TILE_ADDRESSES + place], frame)


@kernel
def sweep_filters(
    plan: Ints, frame: Ints, vectors: int, fill: int, first_part: int, last_part: int
) -> None:
    """Channels first: all filter tiles of a task over one tile of pixels, whose addresses are in the frame."""
    item = plan[at.ITEM]
    frame[slot.A_ROW] = plan[at.WEIGHT_ROW] * item
    part = first_part
    while part < last_part:  # first the tiles of one filter more, then the others
        end = min(last_part, plan[at.PART_LARGER]) if part < plan[at.PART_LARGER] else last_part
        m, rows = filters_of(plan, part)
        weights = part * plan[at.WEIGHT_PART] + m * plan[at.WEIGHT_FILTER]
        frame[slot.A] = frame[FIRST_WEIGHT] + weights * item
        frame[slot.A_NEXT] = (plan[at.WEIGHT_PART] + rows * plan[at.WEIGHT_FILTER]) * item
        frame[slot.BIAS] = frame[FIRST_BIAS] + m * item if frame[FIRST_BIAS] != 0 else 0
        frame[slot.BIAS_NEXT] = rows * item
        for v in range(vectors):
            frame[slot.Y + v] = frame[FIRST_Y + v] + m * frame[slot.Y_ROW]
            residual = frame[FIRST_RESIDUAL + v]
            frame[slot.RESIDUAL + v] = residual + m * frame[slot.RESIDUAL_ROW] if residual != 0 else 0
        call_rows(plan, frame, rows, end - part, vectors, fill)
        part = end


@kernel
def set_vector(frame: Ints, v: int, b: int, y: int, residual: int, offset: int) -> None:
    """Vector v of the next tiles: its operand at `b`, its place `offset` bytes behind y and residual (0: none)."""
    frame[slot.B + v] = b
    frame[FIRST_Y + v] = y + offset
    frame[FIRST_RESIDUAL + v] = residual + offset if residual != 0 else 0


@kernel
def sweep_pixel_columns(
    plan: Ints, frame: Ints, first_part: int, last_part: int,
    image: int, filter_: int, residual: int, out: int, b_address: int,
    first_pixel: int, rows: int, row_pixels: int, row_length: int, b_row: int,
) -> None:  # fmt: skip
    """Channels first: tiles over `rows` runs of `row_length` pixels, times the filter tiles of a task.

    The operand of the first pixel is at `b_address`; runs begin `b_row` bytes apart there and `row_pixels` pixels apart
    in the result. Where runs follow each other in the result and the plan says so, vectors join them; else none crosses
    the end of a run. A tile's vectors may lie in different runs; its joined ones are its last.
    """
    item = plan[at.ITEM]
    lanes = plan[at.LANES]
    joins = plan[at.JOINTS] > 0
    y = out + (image * plan[at.OUT_IMAGE] + filter_ * plan[at.OUT_FILTER]) * item
    r = 0
    if residual != 0:
        r = residual + (image * plan[at.RESIDUAL_IMAGE] + filter_ * plan[at.RESIDUAL_FILTER]) * item
    frame[slot.Y_ROW] = plan[at.OUT_FILTER] * item
    frame[slot.RESIDUAL_ROW] = plan[at.RESIDUAL_FILTER] * item
    frame[slot.RUN] = row_length
    frame[slot.GAP] = b_row - row_length * item
    total = (rows * row_length + lanes - 1) // lanes if joins else rows * ((row_length + lanes - 1) // lanes)
    row, column = 0, 0
    for first in range(0, total, plan[at.TILE_VECTORS]):
        vectors = min(plan[at.TILE_VECTORS], total - first)
        joined = 0
        shortest = lanes
        for i in range(vectors):
            left = row_length - column  # of the run
            ahead = left + (rows - 1 - row) * row_length if joins else left
            if left < min(lanes, ahead):
                joined += 1
                v = vectors - joined
            else:
                v = i - joined
            pixel = first_pixel + row * row_pixels + column
            set_vector(frame, v, b_address + row * b_row + column * item, y, r, pixel * item)
            frame[slot.JOINT + v] = left
            frame[slot.LANES + v] = min(lanes, ahead)
            shortest = min(shortest, ahead)
            column += lanes
            while column >= row_length and row < rows:
                column = column - row_length if joins else 0
                row += 1
        sweep_filters(plan, frame, vectors, slot.PARTIAL if shortest < lanes else joined, first_part, last_part)


@kernel
def sweep_pixel_rows(
    plan: Ints, frame: Ints, first_part: int, last_part: int,
    image: int, filter_: int, residual: int, out: int,
    first_pixel: int, rows: int, row_pixels: int, row_length: int, a_address: int, a_run: int,
) -> None:  # fmt: skip
    """Channels last: tiles over `rows` runs of `row_length` pixels, times the filter tiles of a task.

    A weight panel stays in the first level cache while all pixels pass. The operand of the first pixel is at
    `a_address`; runs begin `a_run` bytes apart there and `row_pixels` pixels apart in the result.
    """
    item = plan[at.ITEM]
    lanes = plan[at.LANES]
    parts = (row_length + plan[at.TILE_ROWS] - 1) // plan[at.TILE_ROWS]
    size = row_length // parts
    larger = row_length % parts
    frame[slot.Y_ROW] = plan[at.OUT_PIXEL] * item
    frame[slot.RESIDUAL_ROW] = plan[at.RESIDUAL_PIXEL] * item
    frame[slot.BIAS_NEXT] = 0
    for part in range(first_part, last_part):
        k, count = filters_of(plan, part)
        vectors = (count + lanes - 1) // lanes
        fill = slot.PARTIAL if count % lanes else slot.WHOLE
        y = out + (image * plan[at.OUT_IMAGE] + (filter_ + k) * plan[at.OUT_FILTER]) * item
        r = residual + (image * plan[at.RESIDUAL_IMAGE] + (filter_ + k) * plan[at.RESIDUAL_FILTER]) * item
        frame[slot.BIAS] = frame[FIRST_BIAS] + k * item if frame[FIRST_BIAS] != 0 else 0
        frame[slot.B] = frame[FIRST_WEIGHT] + part * plan[at.WEIGHT_PART] * item
        for v in range(vectors):
            frame[slot.LANES + v] = min(lanes, count - v * lanes)
        for row in range(rows):
            done = 0
            while done < parts:  # first the tiles of one pixel more, then the others
                tile_rows = size + 1 if done < larger else size
                end = larger if done < larger else parts
                column = done * size + min(done, larger)
                pixel = first_pixel + row * row_pixels + column
                frame[slot.A] = a_address + row * a_run + column * frame[slot.A_ROW]
                frame[slot.A_NEXT] = tile_rows * frame[slot.A_ROW]
                for v in range(vectors):
                    frame[slot.Y + v] = y + (pixel * plan[at.OUT_PIXEL] + v * lanes) * item
                    frame[slot.RESIDUAL + v] = (
                        r + (pixel * plan[at.RESIDUAL_PIXEL] + v * lanes) * item if residual != 0 else 0
                    )
                call_rows(plan, frame, tile_rows, end - done, vectors, fill)
                done = end
