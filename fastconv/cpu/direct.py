"""Direct convolution: the sum over channels and taps as it stands, no matrix built.

    y[k, q] = sum over c, t of w[k, c, t] * x[c, q + offset(t)]

A box of output pixels at a time, a block of channels at a time: the input under the box is copied into scratch with its
padding resolved, and then a kernel tap is nothing but an offset. Channels first, a strided input is copied as its
phases (the places 0, S, 2S, ... of an axis, those one further, and so on), so that every tap again reads consecutive
elements. Channels last, a step of S pixels is as good as a step of one, and an input without padding is read in place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastconv.codegen import tile as slot
from fastconv.codegen import tile as tiles
from fastconv.cpu import plan as at
from fastconv.cpu.algorithm import TiledProduct, Work
from fastconv.cpu.blocking import (
    MOST_PANEL_BYTES,
    PIXELS_WORTH_PANELS,
    box_sizes,
    cache_share,
    channel_block,
    choose_box,
    filter_numbers,
    filters_of_a_sweep,
    tile_shapes,
    weights_as_they_lie,
    weights_in_panels,
)
from fastconv.cpu.geometry import Geometry, Triple, geometry
from fastconv.cpu.geometry import Ints as IntArray
from fastconv.cpu.kernel import Ints, Reals, address_of, copy_run, driver, fill_zeros, ints_at, kernel
from fastconv.cpu.native import address
from fastconv.cpu.packing import copy_row, prefetch_run
from fastconv.cpu.plan import Plan, Request
from fastconv.cpu.product import start_frame, sweep_pixel_columns, sweep_pixel_rows
from fastconv.problem import ConvProblem

# fmt: off
(
    BOX_D, BOX_H, BOX_W, BOXES_D, BOXES_H, BOXES_W,   # output pixels of a box, boxes along each axis
    SPAN_D, SPAN_H, SPAN_W,                           # packed places that a box's windows reach beyond it
    ROW_PITCH, SLICE_PITCH, PHASE_PITCH, CHANNEL_PITCH,  # of the packed input
    PHASES, PHASE_D, PHASE_H, PHASE_W,                # phases; addresses of their first places
    FLAT,                                             # 1: the rows of a box follow each other without a gap
    IN_PLACE,                                         # 1: nothing is packed
    SWEEP_PARTS,                                      # filter tiles whose weights of a pass stay in the cache
    PLAN_SLOTS,
) = range(at.FIRST_OWN_SLOT, at.FIRST_OWN_SLOT + 21)
# fmt: on


@kernel
def pack_planes(
    plan: Ints, x: Reals, packed: Reals, first_plane: int, channels: int,
    d: int, h: int, w: int, box_d: int, box_h: int, box_w: int,
) -> None:  # fmt: skip
    """Channels first: packed[channel][phase][depth][row][column] of the input under an output box at (d, h, w)."""
    map_d, map_h, map_w = ints_at(plan[at.MAP_D]), ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    phase_d, phase_h, phase_w = ints_at(plan[PHASE_D]), ints_at(plan[PHASE_H]), ints_at(plan[PHASE_W])
    rows = plan[at.IN_D] * plan[at.IN_H]
    count = box_w + plan[SPAN_W]
    # Each plane begins on a page of its own, where the processor's prefetching starts anew: ask for the next one's
    # rows while copying this one's.
    top = max(0, map_h[h * plan[at.STRIDE_H]])
    ahead = min(plan[at.IN_H] - top, (box_h + plan[SPAN_H]) * plan[at.STRIDE_H])
    for channel in range(channels):
        if channel + 1 < channels and rows == plan[at.IN_H]:
            following = ((first_plane + channel + 1) * rows + top) * plan[at.IN_W]
            if plan[at.IN_H] == 1:
                prefetch_run(plan, x, following + w, box_w)
            else:
                prefetch_run(plan, x, following, ahead * plan[at.IN_W])
        for phase in range(plan[PHASES]):
            start = channel * plan[CHANNEL_PITCH] + phase * plan[PHASE_PITCH]
            first = w * plan[at.STRIDE_W] + phase_w[phase]
            for i in range(box_d + plan[SPAN_D]):
                in_d = map_d[(d + i) * plan[at.STRIDE_D] + phase_d[phase]]
                for j in range(box_h + plan[SPAN_H]):
                    in_h = map_h[(h + j) * plan[at.STRIDE_H] + phase_h[phase]]
                    to = start + i * plan[SLICE_PITCH] + j * plan[ROW_PITCH]
                    if in_d < 0 or in_h < 0:
                        fill_zeros(packed, to, count)
                    else:
                        row = ((first_plane + channel) * rows + in_d * plan[at.IN_H] + in_h) * plan[at.IN_W]
                        copy_row(plan, map_w, packed, to, x, row, first, plan[at.STRIDE_W], count)


@kernel
def pack_pixels(
    plan: Ints, x: Reals, packed: Reals, image: int, first_channel: int, channels: int,
    d: int, h: int, w: int, box_d: int, box_h: int, box_w: int,
) -> None:  # fmt: skip
    """Channels last: packed[depth][row][column][channel] of the input under an output box at (d, h, w)."""
    map_d, map_h, map_w = ints_at(plan[at.MAP_D]), ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    all_channels = plan[at.CHANNELS] * plan[at.GROUPS]
    pitch = plan[at.BLOCK]
    for i in range((box_d - 1) * plan[at.STRIDE_D] + plan[SPAN_D] + 1):
        in_d = map_d[d * plan[at.STRIDE_D] + i]
        for j in range((box_h - 1) * plan[at.STRIDE_H] + plan[SPAN_H] + 1):
            in_h = map_h[h * plan[at.STRIDE_H] + j]
            row = ((image * plan[at.IN_D] + in_d) * plan[at.IN_H] + in_h) * plan[at.IN_W]
            to = i * plan[SLICE_PITCH] + j * plan[ROW_PITCH]
            for column in range((box_w - 1) * plan[at.STRIDE_W] + plan[SPAN_W] + 1):
                in_w = map_w[w * plan[at.STRIDE_W] + column]
                if in_d < 0 or in_h < 0 or in_w < 0:
                    fill_zeros(packed, to + column * pitch, channels)
                else:
                    source = (row + in_w) * all_channels + first_channel
                    copy_run(packed, to + column * pitch, x, source, channels)


@kernel
def box_of(plan: Ints, task: int) -> tuple[int, int, int, int, int, int, int, int, int]:
    """(filter block, image, group, d, h, w, and the box's sizes) of a task."""
    rest, filter_block = divmod(task, plan[at.FILTER_BLOCKS])
    rest, w = divmod(rest, plan[BOXES_W])
    rest, h = divmod(rest, plan[BOXES_H])
    rest, d = divmod(rest, plan[BOXES_D])
    image, group = divmod(rest, plan[at.GROUPS])
    d, h, w = d * plan[BOX_D], h * plan[BOX_H], w * plan[BOX_W]
    box_d = min(plan[BOX_D], plan[at.OUT_D] - d)
    box_h = min(plan[BOX_H], plan[at.OUT_H] - h)
    box_w = min(plan[BOX_W], plan[at.OUT_W] - w)
    return filter_block, image, group, d, h, w, box_d, box_h, box_w


@driver
def direct_channels_first(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, weight: Reals,
    bias: int, residual: int, out: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Y (filters, pixels) += W (filters, channels x taps) X (channels x taps, pixels), box by box."""
    item = plan[at.ITEM]
    channels, taps, block = plan[at.CHANNELS], plan[at.TAPS], plan[at.BLOCK]
    for task in range(first_task, last_task):
        filter_block, image, group, d, h, w, box_d, box_h, box_w = box_of(plan, task)
        first_part = filter_block * plan[at.BLOCK_PARTS]
        last_part = min(first_part + plan[at.BLOCK_PARTS], plan[at.PARTS])
        filter_ = group * plan[at.FILTERS]
        runs, length = (1, box_h * box_w) if plan[FLAT] else (box_h, box_w)
        for c in range(0, channels, block):
            count = min(block, channels - c)
            first_plane = (image * plan[at.GROUPS] + group) * channels + c
            pack_planes(plan, x, memory, first_plane, count, d, h, w, box_d, box_h, box_w)
            weights = group * plan[at.WEIGHT_GROUP] + c * taps * plan[at.WEIGHT_STEP]
            start_frame(
                plan, frame, address_of(weight) + weights * item, count * taps,
                c == 0, c + count == channels, bias, group,
            )  # fmt: skip
            for part in range(first_part, last_part, plan[SWEEP_PARTS]):
                end = min(last_part, part + plan[SWEEP_PARTS])
                for slice_ in range(box_d):
                    pixel = ((d + slice_) * plan[at.OUT_H] + h) * plan[at.OUT_W] + w
                    operand = address_of(memory) + slice_ * plan[SLICE_PITCH] * item
                    sweep_pixel_columns(
                        plan, frame, part, end, image, filter_, residual, out,
                        operand, pixel, runs, plan[at.OUT_W], length, plan[ROW_PITCH] * item,
                    )  # fmt: skip


@driver
def direct_channels_last(
    plan: Ints, frame: Ints, memory: Reals, x: Reals, weight: Reals,
    bias: int, residual: int, out: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Y (pixels, filters) += X (pixels, taps x channels) W (taps x channels, filters), box by box."""
    item = plan[at.ITEM]
    channels, taps, block = plan[at.CHANNELS], plan[at.TAPS], plan[at.BLOCK]
    all_channels = channels * plan[at.GROUPS]
    frame[slot.A_ROW] = plan[at.STRIDE_W] * (all_channels if plan[IN_PLACE] else block) * item
    for task in range(first_task, last_task):
        filter_block, image, group, d, h, w, box_d, box_h, box_w = box_of(plan, task)
        first_part = filter_block * plan[at.BLOCK_PARTS]
        last_part = min(first_part + plan[at.BLOCK_PARTS], plan[at.PARTS])
        filter_ = group * plan[at.FILTERS]
        for c in range(0, channels, block):
            count = min(block, channels - c)
            channel = group * channels + c
            operand = address_of(memory)
            if plan[IN_PLACE]:
                in_d, in_h = d * plan[at.STRIDE_D], h * plan[at.STRIDE_H]
                in_row = (image * plan[at.IN_D] + in_d) * plan[at.IN_H] + in_h
                in_pixel = in_row * plan[at.IN_W] + w * plan[at.STRIDE_W]
                operand = address_of(x) + (in_pixel * all_channels + channel) * item
            else:
                pack_pixels(plan, x, memory, image, channel, count, d, h, w, box_d, box_h, box_w)
            weights = group * plan[at.WEIGHT_GROUP] + c * taps * plan[at.WEIGHT_STEP]
            start_frame(
                plan, frame, address_of(weight) + weights * item, count * taps,
                c == 0, c + count == channels, bias, group,
            )  # fmt: skip
            for slice_ in range(box_d):
                pixel = ((d + slice_) * plan[at.OUT_H] + h) * plan[at.OUT_W] + w
                sweep_pixel_rows(
                    plan, frame, first_part, last_part, image, filter_, residual, out,
                    pixel, box_h, plan[at.OUT_W], box_w,
                    operand + slice_ * plan[at.STRIDE_D] * plan[SLICE_PITCH] * item,
                    plan[at.STRIDE_H] * plan[ROW_PITCH] * item,
                )  # fmt: skip


class Direct(TiledProduct):
    """The sum as it stands, tap by tap over shifted copies of the input."""

    name = "direct"

    def make_plan(self, request: Request) -> Plan:
        """Return the plan of a request."""
        return _plan(request)

    def work(self, problem: ConvProblem, shape: Geometry, lanes: int) -> Work:
        """Vectors that end with the rows of the output; the padded input, once for each phase of its rows."""
        depth, height, width = shape.output
        span = [(f - 1) * d for f, d in zip(shape.kernel, shape.dilation, strict=True)]
        passes = -(-shape.channels // channel_block(shape))
        if problem.layout == "channels_last":
            places = [o * s + p for o, s, p in zip(shape.output, shape.stride, span, strict=True)]
            runs = float(math.prod(places)) if shape.padded else 0.0
            packing = shape.channels * shape.taps * shape.filters * 2  # transposed: two elements' time each
            return Work(
                vectors=shape.pixels * -(-shape.filters // lanes),
                copied_elements=runs * shape.channels + packing,
                copied_runs=runs * passes,
                weight_passes=3,  # read, written in panels, read again
                passes=passes,
            )
        row_vectors = width / lanes if width % lanes * 2 == lanes else -(-width // lanes)
        if span == [0, 0, 0]:
            row_vectors = width / lanes
        phases = math.prod(min(f, s) for f, s in zip(shape.kernel, shape.stride, strict=True))
        rows = (depth + span[0] / shape.stride[0]) * (height + span[1] / shape.stride[1])
        runs = shape.channels * phases * rows
        # all weights are read again for each box; boxes are cut by their sums, of some 180 filters to judge by times
        sums = min(shape.filters, 180) * shape.pixels * 4
        return Work(
            vectors=depth * height * row_vectors * shape.filters,
            copied_elements=runs * (width + span[2] / shape.stride[2]),
            copied_runs=runs,
            weight_passes=max(1, sums / cache_share()),
            passes=passes,
        )


def _plan(request: Request) -> Plan:
    shape = geometry(request.problem)
    block = channel_block(shape)
    channels_first = request.problem.layout == "channels_first"
    packing = _pack_planes_numbers if channels_first else _pack_pixels_numbers
    item = np.dtype(request.problem.dtype).itemsize

    def input_elements(box: Triple) -> int:
        return packing(request, shape, block, box).elements

    passes = -(-shape.channels // block)
    filters = filters_of_a_sweep(request, shape, block * shape.taps)
    box = choose_box(request, shape, passes, filters, lambda box: input_elements(box) * item)
    packed = packing(request, shape, block, box)
    boxes = [-(-o // b) for o, b in zip(shape.output, box, strict=True)]
    images = request.problem.batch * request.problem.groups
    numbers, tables = at.common_numbers(request, shape)
    other_tasks = images * math.prod(boxes)
    numbers |= filter_numbers(request, shape, other_tasks)
    numbers[SWEEP_PARTS] = max(1, filters // numbers[at.PART_SIZE])
    steps = shape.channels * shape.taps
    large = request.problem.batch * shape.pixels >= PIXELS_WORTH_PANELS
    packs = not channels_first or (large and request.problem.parameters * item <= MOST_PANEL_BYTES)
    numbers |= weights_in_panels(numbers, steps) if packs else weights_as_they_lie(shape)
    numbers |= packed.numbers
    numbers |= dict(zip((BOX_D, BOX_H, BOX_W, BOXES_D, BOXES_H, BOXES_W), (*box, *boxes), strict=True))
    numbers[at.BLOCK] = block
    sizes = box_sizes(shape.output, box)
    runs = [(1, h * w) if packed.numbers[FLAT] else (h, w) for _, h, w in sizes]

    # steps in the order of the weights: channel by channel, tap by tap
    channel_pitch = packed.numbers[CHANNEL_PITCH]
    offsets = (np.arange(block)[:, np.newaxis] * channel_pitch + packed.taps).ravel() * item
    numbers[at.TABLE_AT] = address(offsets)
    driver_ = direct_channels_first if channels_first else direct_channels_last
    return Plan(
        numbers=numbers,
        length=PLAN_SLOTS,
        driver=driver_,
        shapes=tile_shapes(request, numbers, runs),
        tasks=other_tasks * numbers[at.FILTER_BLOCKS],
        request=request,
        scratch_elements=packed.elements,
        keep=(offsets, *tables, *packed.tables),
        packing=at.packing(request, numbers) if packs else None,
    )


@dataclass(frozen=True)
class _PackedInput:
    """How a box's input lies in scratch."""

    numbers: dict[int, int]
    taps: IntArray  # where each tap begins
    elements: int  # of scratch
    tables: list[IntArray]  # that `numbers` point to


def _pack_planes_numbers(request: Request, shape: Geometry, block: int, box: Triple) -> _PackedInput:
    """[channel][phase][depth][row][column], each axis of a phase reaching as far as the farthest tap."""
    phases, phase_of_tap, step_of_tap = _tap_phases(shape)
    span = step_of_tap.max(axis=0).tolist()
    row = box[2] + span[2]
    slice_ = row * (box[1] + span[1])
    phase = slice_ * (box[0] + span[0])
    # An odd number of cache lines: planes a multiple of 4096 bytes apart would share a few sets of the cache.
    line = 64 // np.dtype(request.problem.dtype).itemsize
    channel = (-(-phase * len(phases) // line) | 1) * line
    taps = phase_of_tap * phase + step_of_tap @ np.array([slice_, row, 1])
    tables = [np.ascontiguousarray(axis) for axis in phases.T]
    whole_rows = span == [0, 0, 0] and box[2] == shape.output[2]
    numbers = {
        **dict(zip((SPAN_D, SPAN_H, SPAN_W), span, strict=True)),
        ROW_PITCH: row,
        SLICE_PITCH: slice_,
        PHASE_PITCH: phase,
        CHANNEL_PITCH: channel,
        PHASES: len(phases),
        **dict(zip((PHASE_D, PHASE_H, PHASE_W), map(address, tables), strict=True)),
        FLAT: int(whole_rows),
    }
    # The last vectors of a row read beyond it, and of the last row beyond the planes.
    beyond = tiles.MAX_VECTORS * 2 * line
    return _PackedInput(numbers, taps, block * channel + beyond, tables)


@lru_cache(maxsize=64)
def _tap_phases(shape: Geometry) -> tuple[IntArray, IntArray, IntArray]:
    """The phases in use (each a first place an axis), each tap's phase among them, and its steps within the phase."""
    stride = np.array(shape.stride)
    phases, phase_of_tap = np.unique(shape.tap_positions % stride, axis=0, return_inverse=True)
    return phases, phase_of_tap.reshape(-1), shape.tap_positions // stride


def _pack_pixels_numbers(request: Request, shape: Geometry, block: int, box: Triple) -> _PackedInput:
    """[depth][row][column][channel]; where nothing is padded, the input itself."""
    span = [(f - 1) * d for f, d in zip(shape.kernel, shape.dilation, strict=True)]
    if shape.padded:
        depth, rows, columns = ((b - 1) * s + p + 1 for b, s, p in zip(box, shape.stride, span, strict=True))
        column = block
    else:
        depth, (_, rows, columns) = 0, shape.size
        column = request.problem.channels
    row = columns * column
    slice_ = rows * row
    taps = shape.tap_positions @ np.array([slice_, row, column])
    numbers = {
        **dict(zip((SPAN_D, SPAN_H, SPAN_W), span, strict=True)),
        ROW_PITCH: row,
        SLICE_PITCH: slice_,
        CHANNEL_PITCH: 1,
        IN_PLACE: int(not shape.padded),
        FLAT: 0,
    }
    return _PackedInput(numbers, taps, depth * slice_, [])
