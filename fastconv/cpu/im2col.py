"""im2col and a matrix product, without the matrix: a panel of it is gathered, used, and overwritten by the next.

    Y (filters, pixels) = W (filters, steps) X (steps, pixels),   X[(c, t), q] = x[c, S q + D t - P]

A step is a pair of a channel and a tap. The whole X would hold kernel-size times the input; the panel holds some
hundred steps of some hundred pixels, whatever the shape, and stays in the second level cache.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.codegen import copying
from fastconv.codegen import tile as slot
from fastconv.codegen import tile as tiles
from fastconv.cpu import plan as at
from fastconv.cpu.algorithm import TiledProduct, Work
from fastconv.cpu.blocking import (
    STEPS_A_PASS,
    cache_share,
    channel_block,
    equal_vectors,
    filter_blocks,
    filter_numbers,
    tile_shapes,
    weights_as_they_lie,
    weights_in_panels,
)
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.kernel import (
    Ints,
    Reals,
    address_of,
    copy_run,
    driver,
    fill_zeros,
    ints_at,
    kernel,
)
from fastconv.cpu.native import address
from fastconv.cpu.packing import copy_row, pack_panels
from fastconv.cpu.plan import Plan, Request
from fastconv.cpu.product import start_frame, sweep_pixel_columns, sweep_pixel_rows
from fastconv.problem import ConvProblem

# fmt: off
(
    COLUMNS, COLUMN_BLOCKS,   # pixels of a panel, panels along an image
    PANEL_PITCH,              # elements from one row of a panel to the next
    WEIGHTS_AT,               # channels last: where in scratch the panels of weights begin
    PLAN_SLOTS,
) = range(at.FIRST_OWN_SLOT, at.FIRST_OWN_SLOT + 5)
# fmt: on

#: Taps of one channel that a block takes at most, channels last: panels of weights stay below a MiB.
MOST_TAPS = 4096

#: Bytes of the weight panels of one task, channels last.
WEIGHT_BYTES = 256 * 1024


@kernel
def gather_columns(
    plan: Ints, x: Reals, panel: Reals, first_plane: int, first_step: int, steps: int, pixel: int, pixels: int
) -> None:
    """Channels first: panel[step][pixel], steps in the order of the weights (channel, tap)."""
    map_d, map_h, map_w = ints_at(plan[at.MAP_D]), ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    tap_d, tap_h, tap_w = ints_at(plan[at.TAP_D]), ints_at(plan[at.TAP_H]), ints_at(plan[at.TAP_W])
    rows = plan[at.IN_D] * plan[at.IN_H]
    first_channel, first_tap = divmod(first_step, plan[at.TAPS])
    done = 0
    while done < pixels:  # a run of pixels that lie in one row of the output
        rest, w = divmod(pixel + done, plan[at.OUT_W])
        d, h = divmod(rest, plan[at.OUT_H])
        count = min(plan[at.OUT_W] - w, pixels - done)
        d, h, w = d * plan[at.STRIDE_D], h * plan[at.STRIDE_H], w * plan[at.STRIDE_W]
        plane, tap = (first_plane + first_channel) * rows, first_tap
        for step in range(steps):
            to = step * plan[PANEL_PITCH] + done
            in_d, in_h = map_d[d + tap_d[tap]], map_h[h + tap_h[tap]]
            if in_d < 0 or in_h < 0:
                fill_zeros(panel, to, count)
            else:
                row = (plane + in_d * plan[at.IN_H] + in_h) * plan[at.IN_W]
                copy_row(plan, map_w, panel, to, x, row, w + tap_w[tap], plan[at.STRIDE_W], count)
            tap += 1
            if tap == plan[at.TAPS]:
                tap = 0
                plane += rows
        done += count


@kernel
def gather_rows(
    plan: Ints, x: Reals, panel: Reals, image: int, first_channel: int, channels: int,
    first_tap: int, taps: int, pixel: int, pixels: int,
) -> None:  # fmt: skip
    """Channels last: panel[pixel][tap][channel], for a block of channels that lie side by side in the input."""
    map_d, map_h, map_w = ints_at(plan[at.MAP_D]), ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    tap_d, tap_h, tap_w = ints_at(plan[at.TAP_D]), ints_at(plan[at.TAP_H]), ints_at(plan[at.TAP_W])
    all_channels = plan[at.CHANNELS] * plan[at.GROUPS]
    block = max(1, plan[at.BLOCK] // plan[at.TAPS])
    for i in range(pixels):
        rest, w = divmod(pixel + i, plan[at.OUT_W])
        d, h = divmod(rest, plan[at.OUT_H])
        for tap in range(first_tap, first_tap + taps):
            in_d = map_d[d * plan[at.STRIDE_D] + tap_d[tap]]
            in_h = map_h[h * plan[at.STRIDE_H] + tap_h[tap]]
            in_w = map_w[w * plan[at.STRIDE_W] + tap_w[tap]]
            to = i * plan[PANEL_PITCH] + (tap - first_tap) * block
            if in_d < 0 or in_h < 0 or in_w < 0:
                fill_zeros(panel, to, channels)
            else:
                row = (image * plan[at.IN_D] + in_d) * plan[at.IN_H] + in_h
                place = row * plan[at.IN_W] + in_w
                copy_run(panel, to, x, place * all_channels + first_channel, channels)


@kernel
def panel_of(plan: Ints, task: int) -> tuple[int, int, int, int, int]:
    """(filter block, image, group, first pixel, pixels) of a task."""
    rest, filter_block = divmod(task, plan[at.FILTER_BLOCKS])
    rest, block = divmod(rest, plan[COLUMN_BLOCKS])
    image, group = divmod(rest, plan[at.GROUPS])
    pixel = block * plan[COLUMNS]
    all_pixels = plan[at.OUT_D] * plan[at.OUT_H] * plan[at.OUT_W]
    return filter_block, image, group, pixel, min(plan[COLUMNS], all_pixels - pixel)


@driver
def im2col_channels_first(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, weight: Reals,
    bias: int, residual: int, out: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Y (filters, pixels) += W (filters, steps) X (steps, pixels), panel by panel."""
    item = plan[at.ITEM]
    all_steps = plan[at.CHANNELS] * plan[at.TAPS]
    for task in range(first_task, last_task):
        filter_block, image, group, pixel, pixels = panel_of(plan, task)
        first_part = filter_block * plan[at.BLOCK_PARTS]
        last_part = min(first_part + plan[at.BLOCK_PARTS], plan[at.PARTS])
        filter_ = group * plan[at.FILTERS]
        first_plane = (image * plan[at.GROUPS] + group) * plan[at.CHANNELS]
        for step in range(0, all_steps, plan[at.BLOCK]):
            steps = min(plan[at.BLOCK], all_steps - step)
            gather_columns(plan, x, memory, first_plane, step, steps, pixel, pixels)
            weights = group * plan[at.WEIGHT_GROUP] + step * plan[at.WEIGHT_STEP]
            start_frame(
                plan, frame, address_of(weight) + weights * item, steps,
                step == 0, step + steps == all_steps, bias, group,
            )  # fmt: skip
            sweep_pixel_columns(
                plan, frame, first_part, last_part, image, filter_, residual, out,
                address_of(memory), pixel, 1, 0, pixels, 0,
            )  # fmt: skip


@driver
def im2col_channels_last(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, weight: Reals,
    bias: int, residual: int, out: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Y (pixels, filters) += X (pixels, steps) W (steps, filters), panel by panel."""
    item = plan[at.ITEM]
    all_steps = plan[at.CHANNELS] * plan[at.TAPS]
    frame[slot.A_ROW] = plan[PANEL_PITCH] * item
    for task in range(first_task, last_task):
        filter_block, image, group, pixel, pixels = panel_of(plan, task)
        first_part = filter_block * plan[at.BLOCK_PARTS]
        last_part = min(first_part + plan[at.BLOCK_PARTS], plan[at.PARTS])
        filter_ = group * plan[at.FILTERS]
        step = 0
        while step < all_steps:  # a block of whole channels, or some taps of one
            channel, tap = divmod(step, plan[at.TAPS])
            taps = min(plan[at.BLOCK], plan[at.TAPS] - tap)
            channels = max(1, min(plan[at.BLOCK], all_steps - step) // plan[at.TAPS])
            steps = taps * channels
            channel += group * plan[at.CHANNELS]
            gather_rows(plan, x, memory, image, channel, channels, tap, taps, pixel, pixels)
            panels = address_of(memory) + (plan[WEIGHTS_AT] - first_part * plan[at.WEIGHT_PART]) * item
            pack_panels(
                plan, frame, panels, address_of(weight) + (filter_ * all_steps + step) * item,
                first_part, last_part, steps, all_steps,
            )  # fmt: skip
            start_frame(
                plan, frame, panels, steps,
                step == 0, step + steps == all_steps, bias, group,
            )  # fmt: skip
            sweep_pixel_rows(
                plan, frame, first_part, last_part, image, filter_, residual, out,
                pixel, 1, 0, pixels, address_of(memory), 0,
            )  # fmt: skip
            step += steps


class Im2col(TiledProduct):
    """A matrix product with panels of the im2col matrix, gathered as they are used."""

    name = "im2col"

    def make_plan(self, request: Request) -> Plan:
        """Return the plan of a request."""
        return _plan(request)

    def work(self, problem: ConvProblem, shape: Geometry, lanes: int) -> Work:
        """Dense vectors; the im2col matrix, in runs that end with the rows of the output."""
        matrix = float(shape.channels * shape.taps * shape.pixels)
        passes = -(-shape.channels * shape.taps // STEPS_A_PASS)
        panels = -(-shape.pixels // _columns(min(shape.channels * shape.taps, STEPS_A_PASS), shape.pixels, 4))
        if problem.layout == "channels_last":
            packing = shape.channels * shape.taps * shape.filters * 2 * panels
            return Work(
                vectors=shape.pixels * -(-shape.filters // lanes),
                copied_elements=matrix + packing,
                copied_runs=shape.pixels * shape.taps * -(-shape.channels // channel_block(shape)),
                weight_passes=panels,
                passes=passes,
            )
        return Work(
            vectors=-(-shape.pixels // lanes) * shape.filters,
            copied_elements=matrix,
            copied_runs=matrix / shape.output[2],
            weight_passes=panels,
            passes=passes,
        )


def _copies(request: Request, numbers: dict[int, int]) -> dict[int, Callable[[], int]]:
    """The emitted copies that the driver calls."""
    dtype = request.problem.dtype
    if request.problem.layout == "channels_last":
        return {at.PANELS: lambda: copying.panels(dtype, numbers[at.WEIGHT_STEP])}
    return {at.EVERY_OTHER: lambda: copying.every_other(dtype)} if numbers[at.STRIDE_W] == 2 else {}


def _columns(block: int, pixels: int, item: int) -> int:
    """Pixels of a panel of `block` steps: so many that it stays in the second level cache."""
    return min(pixels, max(1, cache_share() // (block * item)))


def _plan(request: Request) -> Plan:
    shape = geometry(request.problem)
    channels_first = request.problem.layout == "channels_first"
    item = np.dtype(request.problem.dtype).itemsize
    all_steps = shape.channels * shape.taps
    # channels first, a block may end between two taps of a channel; channels last, only if there are so many taps
    even = -(-all_steps // -(-all_steps // STEPS_A_PASS))
    block = even if channels_first else min(MOST_TAPS, channel_block(shape) * shape.taps)
    most = _columns(block, shape.pixels, item)
    columns = equal_vectors(shape.pixels, most, request.target.lanes(request.problem.dtype))
    column_blocks = -(-shape.pixels // columns)
    # One more cache line: rows a multiple of 4096 bytes apart would share a few sets of the cache.
    line = 64 // item
    pitch = (-(-(columns if channels_first else block) // line) + 1) * line
    rows = block if channels_first else columns
    panel_elements = rows * pitch + tiles.MAX_VECTORS * 2 * line

    numbers, tables = at.common_numbers(request, shape)
    other_tasks = request.problem.batch * request.problem.groups * column_blocks
    numbers |= filter_numbers(request, shape, other_tasks)
    if channels_first:
        numbers |= weights_as_they_lie(shape)
    else:  # panels of one block of steps, packed by each task for itself
        numbers |= weights_in_panels(numbers, block)
        most = max(1, WEIGHT_BYTES // (numbers[at.WEIGHT_PART] * item))
        numbers |= filter_blocks(numbers[at.PARTS], min(most, numbers[at.BLOCK_PARTS]))
    weight_elements = 0 if channels_first else numbers[at.BLOCK_PARTS] * numbers[at.WEIGHT_PART]
    if channels_first:  # [step][pixel]
        offsets = np.arange(block) * (pitch * item)
    else:  # [pixel][tap][channel], stepped through channel by channel
        offsets = np.arange(block).reshape(min(shape.taps, block), -1).T.ravel() * item
    numbers |= {
        at.BLOCK: block,
        at.JOINTS: 0,
        WEIGHTS_AT: panel_elements,
        at.TABLE_AT: address(offsets),
        COLUMNS: columns,
        COLUMN_BLOCKS: column_blocks,
        PANEL_PITCH: pitch,
    }
    runs = {(1, columns), (1, shape.pixels % columns or columns)}
    return Plan(
        numbers=numbers,
        length=PLAN_SLOTS,
        driver=im2col_channels_first if channels_first else im2col_channels_last,
        shapes=tile_shapes(request, numbers, runs),
        tasks=other_tasks * numbers[at.FILTER_BLOCKS],
        request=request,
        scratch_elements=panel_elements + weight_elements,
        keep=(offsets, *tables),
        functions=_copies(request, numbers),
    )
