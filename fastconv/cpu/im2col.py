"""im2col and a matrix product, without the matrix: a panel of it is gathered, used, and overwritten by the next.

    Y (filters, pixels) = W (filters, steps) X (steps, pixels),   X[(c, t), q] = x[c, S q + D t - P]

A step is a pair of a channel and a tap. The whole X would hold kernel-size times the input; the panel holds some
hundred steps of some hundred pixels, whatever the shape, and stays in the second level cache.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastconv.codegen import tile as slot
from fastconv.codegen import tile as tiles
from fastconv.cpu import plan as at
from fastconv.cpu.algorithm import Planner, TiledProduct
from fastconv.cpu.blocking import STEPS_A_PASS, filter_numbers, tile_shapes, weight_elements
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.kernel import Ints, Reals, address_of, driver, ints_at, kernel
from fastconv.cpu.packing import copy_row, copy_run, fill_zeros, pack_panels
from fastconv.cpu.plan import Plan, Request
from fastconv.cpu.product import FIRST_A, start_frame, sweep_pixel_columns, sweep_pixel_rows

# fmt: off
(
    COLUMNS, COLUMN_BLOCKS,   # pixels of a panel, panels along an image
    PANEL_PITCH,              # elements from one row of a panel to the next
    PLAN_SLOTS,
) = range(at.FIRST_OWN_SLOT, at.FIRST_OWN_SLOT + 4)
# fmt: on

#: Pixels of a panel: 320 steps of 128 float32 pixels take 160 KiB.
PIXELS_A_PANEL = 128


@kernel
def gather_columns(
    plan: Ints, x: Reals, panel: Reals, first_plane: int, first_step: int, steps: int, pixel: int, pixels: int
) -> None:
    """Channels first: panel[step][pixel], steps in the order of the weights (channel, tap)."""
    map_d, map_h, map_w = ints_at(plan[at.MAP_D]), ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    tap_d, tap_h, tap_w = ints_at(plan[at.TAP_D]), ints_at(plan[at.TAP_H]), ints_at(plan[at.TAP_W])
    out_h, out_w = plan[at.OUT_H], plan[at.OUT_W]
    rows = plan[at.IN_D] * plan[at.IN_H]
    for step in range(steps):
        channel, tap = divmod(first_step + step, plan[at.TAPS])
        to = step * plan[PANEL_PITCH]
        done = 0
        while done < pixels:  # a run of pixels that lie in one row of the output
            rest, w = divmod(pixel + done, out_w)
            d, h = divmod(rest, out_h)
            count = min(out_w - w, pixels - done)
            in_d = map_d[d * plan[at.STRIDE_D] + tap_d[tap]]
            in_h = map_h[h * plan[at.STRIDE_H] + tap_h[tap]]
            if in_d < 0 or in_h < 0:
                fill_zeros(panel, to + done, count)
            else:
                row = ((first_plane + channel) * rows + in_d * plan[at.IN_H] + in_h) * plan[at.IN_W]
                first = w * plan[at.STRIDE_W] + tap_w[tap]
                copy_row(plan, map_w, panel, to + done, x, row, first, plan[at.STRIDE_W], count)
            done += count


@kernel
def gather_rows(
    plan: Ints, x: Reals, panel: Reals, image: int, group: int, first_step: int, steps: int,
    pixel: int, pixels: int,
) -> None:  # fmt: skip
    """Channels last: panel[pixel][step], steps in the order (tap, channel) so that runs of channels are copied."""
    map_d, map_h, map_w = ints_at(plan[at.MAP_D]), ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    tap_d, tap_h, tap_w = ints_at(plan[at.TAP_D]), ints_at(plan[at.TAP_H]), ints_at(plan[at.TAP_W])
    channels = plan[at.CHANNELS]
    for i in range(pixels):
        rest, w = divmod(pixel + i, plan[at.OUT_W])
        d, h = divmod(rest, plan[at.OUT_H])
        done = 0
        while done < steps:
            tap, channel = divmod(first_step + done, channels)
            count = min(channels - channel, steps - done)
            in_d = map_d[d * plan[at.STRIDE_D] + tap_d[tap]]
            in_h = map_h[h * plan[at.STRIDE_H] + tap_h[tap]]
            in_w = map_w[w * plan[at.STRIDE_W] + tap_w[tap]]
            to = i * plan[PANEL_PITCH] + done
            if in_d < 0 or in_h < 0 or in_w < 0:
                fill_zeros(panel, to, count)
            else:
                row = (image * plan[at.IN_D] + in_d) * plan[at.IN_H] + in_h
                place = (row * plan[at.IN_W] + in_w) * plan[at.GROUPS] + group
                copy_run(panel, to, x, place * channels + channel, count)
            done += count


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
    frame[slot.OUTER] = 1
    frame[slot.B_STEP] = plan[PANEL_PITCH] * item
    frame[slot.A_ROW] = item if plan[at.PACK_WEIGHTS] else all_steps * item
    frame[slot.A_STEP] = (plan[at.WEIGHT_PITCH] if plan[at.PACK_WEIGHTS] else 1) * item
    for task in range(first_task, last_task):
        filter_block, image, group, pixel, pixels = panel_of(plan, task)
        first_part = filter_block * plan[at.BLOCK_PARTS]
        last_part = min(first_part + plan[at.BLOCK_PARTS], plan[at.PARTS])
        filter_ = group * plan[at.FILTERS]
        first_plane = (image * plan[at.GROUPS] + group) * plan[at.CHANNELS]
        for step in range(0, all_steps, plan[at.BLOCK]):
            steps = min(plan[at.BLOCK], all_steps - step)
            gather_columns(plan, x, memory, first_plane, step, steps, pixel, pixels)
            start_frame(plan, frame, steps, step == 0, step + steps == all_steps, bias, filter_)
            begin = filter_ * all_steps + step
            frame[FIRST_A] = address_of(weight) + begin * item
            if plan[at.PACK_WEIGHTS]:
                frame[FIRST_A] = address_of(memory) + plan[at.WEIGHTS_AT] * item
                pack_panels(plan, weight, begin, 1, steps, memory, 0, first_part, last_part)
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
    channels, taps = plan[at.CHANNELS], plan[at.TAPS]
    all_steps = channels * taps
    frame[slot.OUTER] = 1
    frame[slot.A_STEP] = item
    frame[slot.A_ROW] = plan[PANEL_PITCH] * item
    frame[slot.B_STEP] = plan[at.WEIGHT_PITCH] * item
    for task in range(first_task, last_task):
        filter_block, image, group, pixel, pixels = panel_of(plan, task)
        first_part = filter_block * plan[at.BLOCK_PARTS]
        last_part = min(first_part + plan[at.BLOCK_PARTS], plan[at.PARTS])
        filter_ = group * plan[at.FILTERS]
        for step in range(0, all_steps, plan[at.BLOCK]):
            steps = min(plan[at.BLOCK], all_steps - step)
            gather_rows(plan, x, memory, image, group, step, steps, pixel, pixels)
            start_frame(plan, frame, steps, step == 0, step + steps == all_steps, bias, filter_)
            done = 0
            while done < steps:  # weights lie in the order (channel, tap): tap by tap
                tap, channel = divmod(step + done, channels)
                count = min(channels - channel, steps - done)
                begin = (filter_ * channels + channel) * taps + tap
                pack_panels(plan, weight, begin, taps, count, memory, done, first_part, last_part)
                done += count
            sweep_pixel_rows(
                plan, frame, first_part, last_part, image, filter_, residual, out,
                address_of(memory) + plan[at.WEIGHTS_AT] * item,
                pixel, 1, 0, pixels, address_of(memory), 0,
            )  # fmt: skip


class Im2col(TiledProduct):
    """A matrix product with panels of the im2col matrix, gathered as they are used."""

    name = "im2col"

    @property
    def planner(self) -> Planner:
        """The function from a request to its plan."""
        return _plan

    def copied_elements(self, shape: Geometry) -> float:
        """The im2col matrix of one image's group, panel after panel."""
        return float(shape.channels * shape.taps * shape.pixels)

    def run_length(self, shape: Geometry) -> int:
        """Vectors run along all pixels: a panel knows no rows."""
        return shape.pixels


@lru_cache(maxsize=1024)
def _plan(request: Request) -> Plan:
    shape = geometry(request.problem)
    channels_first = request.problem.layout == "channels_first"
    item = np.dtype(request.problem.dtype).itemsize
    all_steps = shape.channels * shape.taps
    block = -(-all_steps // -(-all_steps // STEPS_A_PASS))
    columns = min(PIXELS_A_PANEL * 4 // item, shape.pixels)
    column_blocks = -(-shape.pixels // columns)
    # One more cache line: rows a multiple of 4096 bytes apart would share a few sets of the cache.
    line = 64 // item
    pitch = (-(-(columns if channels_first else block) // line) + 1) * line
    rows = block if channels_first else columns
    beyond = tiles.MAX_VECTORS * 2 * line
    panel_elements = rows * pitch + beyond

    numbers, tables = at.common_numbers(request, shape)
    other_tasks = request.problem.batch * request.problem.groups * column_blocks
    numbers |= filter_numbers(request, shape, block, columns, other_tasks)
    numbers |= {
        at.BLOCK: block,
        at.WEIGHTS_AT: panel_elements,
        COLUMNS: columns,
        COLUMN_BLOCKS: column_blocks,
        PANEL_PITCH: pitch,
    }
    runs = {(1, columns), (1, shape.pixels % columns or columns)}
    start = np.zeros(1, np.int64)  # one entry, at the beginning of either operand
    numbers |= {at.A_TABLE_AT: at.address(start), at.B_TABLE_AT: at.address(start)}
    elements = panel_elements + weight_elements(numbers)
    driver_ = im2col_channels_first if channels_first else im2col_channels_last
    return Plan(
        numbers=numbers,
        length=PLAN_SLOTS,
        driver=driver_,
        shapes=tile_shapes(request, numbers, runs),
        tasks=other_tasks * numbers[at.FILTER_BLOCKS],
        request=request,
        scratch_elements=elements,
        keep=(start, *tables),
    )
