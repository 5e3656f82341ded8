"""Direct convolution: the sum over channels and taps as it stands, no matrix built.

    y[k, q] = sum over c, t of w[k, c, t] * x[c, q + offset(t)]

A box of output pixels at a time, a block of channels at a time: the input under the box is copied into scratch with its
padding resolved, and then a kernel tap is nothing but an offset. Channels first, a strided input is copied as its
phases (the places 0, S, 2S, ... of an axis, those one further, and so on), so that every tap again reads consecutive
elements; where taps lie so far apart that their windows do not meet, each tap is a phase of its own. Channels last, a
step of S pixels is as good as a step of one, and an input without padding is read in place.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from fastconv.codegen import planes
from fastconv.codegen import target as targets
from fastconv.codegen import tile as slot
from fastconv.codegen import tile as tiles
from fastconv.cpu import plan as at
from fastconv.cpu.algorithm import AnyPlan, TiledProduct, Work
from fastconv.cpu.areas import Area, areas, whole
from fastconv.cpu.blocking import (
    MOST_PANEL_BYTES,
    PIXELS_WORTH_PANELS,
    box_sizes,
    cache_share,
    channel_block,
    choose_box,
    filter_numbers,
    filters_of_a_sweep,
    joints,
    tile_shapes,
    vectors_of_runs,
    weights_as_they_lie,
    weights_in_panels,
)
from fastconv.cpu.geometry import Geometry, Triple, geometry
from fastconv.cpu.geometry import Ints as IntArray
from fastconv.cpu.kernel import Ints, Reals, address_of, call_copies, copy_run, driver, fill_zeros, ints_at, kernel
from fastconv.cpu.native import address
from fastconv.cpu.packing import PLANE_OPERANDS, inside
from fastconv.cpu.phases import apart, phases_of_taps
from fastconv.cpu.plan import Plan, Plans, Request
from fastconv.cpu.product import start_frame, sweep_pixel_columns, sweep_pixel_rows
from fastconv.problem import ConvProblem

#: How many rows emitted code copies in the time of one copied by a call of memcpy, or that copies short runs.
EMITTED_RUN = 3

# fmt: off
(
    AREA_D, AREA_H, AREA_W, FIRST_PIXEL,              # output pixels to compute, and where the first of them is
    BOX_D, BOX_H, BOX_W, BOXES_D, BOXES_H, BOXES_W,   # output pixels of a box, boxes along each axis
    SPAN_D, SPAN_H, SPAN_W,                           # packed places that a box's windows reach beyond it
    ROW_PITCH, SLICE_PITCH, PHASE_PITCH, CHANNEL_PITCH,  # of the packed input
    PHASES, PHASE_D, PHASE_H, PHASE_W,                # phases; addresses of their first places
    FLAT,                                             # 1: the rows of a box follow each other without a gap
    IN_PLACE, FIRST_PLACE,                            # 1: nothing is packed; the input's first place in a window
    BY_MAPS,                                          # 1: what lies outside is not zero
    SWEEP_PARTS,                                      # filter tiles whose weights of a pass stay in the cache
    PLAN_SLOTS,
) = range(at.FIRST_OWN_SLOT, at.FIRST_OWN_SLOT + 27)
# fmt: on


@kernel
def pack_planes(
    plan: Ints, frame: Ints, x: Reals, packed: Reals, first_plane: int, channels: int,
    d: int, h: int, w: int, box_d: int, box_h: int, box_w: int,
) -> None:  # fmt: skip
    """Channels first: packed[channel][phase][depth][row][column] of the input under an output box at (d, h, w)."""
    map_d = ints_at(plan[at.MAP_D])
    phase_d, phase_h, phase_w = ints_at(plan[PHASE_D]), ints_at(plan[PHASE_H]), ints_at(plan[PHASE_W])
    item = plan[at.ITEM]
    rows, columns = box_h + plan[SPAN_H], box_w + plan[SPAN_W]
    frame[PLANE_OPERANDS + planes.PLANE_TO] = plan[CHANNEL_PITCH] * item
    frame[PLANE_OPERANDS + planes.PLANE_FROM] = plan[at.IN_D] * plan[at.IN_H] * plan[at.IN_W] * item
    frame[PLANE_OPERANDS + planes.ROW_TO] = plan[ROW_PITCH] * item
    frame[PLANE_OPERANDS + planes.COLUMN_FROM] = plan[at.STRIDE_W] * item
    frame[PLANE_OPERANDS + planes.ROW_FROM] = plan[at.STRIDE_H] * plan[at.IN_W] * item
    for phase in range(plan[PHASES]):
        top = h * plan[at.STRIDE_H] + phase_h[phase] - plan[at.BEFORE_H]
        left = w * plan[at.STRIDE_W] + phase_w[phase] - plan[at.BEFORE_W]
        above, height = inside(top, plan[at.STRIDE_H], rows, plan[at.IN_H])
        before, width = inside(left, plan[at.STRIDE_W], columns, plan[at.IN_W])
        frame[PLANE_OPERANDS + planes.BEFORE] = before
        frame[PLANE_OPERANDS + planes.INSIDE] = width
        frame[PLANE_OPERANDS + planes.AFTER] = columns - before - width
        row, column = top + above * plan[at.STRIDE_H], left + before * plan[at.STRIDE_W]
        for i in range(box_d + plan[SPAN_D]):
            in_d = map_d[(d + i) * plan[at.STRIDE_D] + phase_d[phase]]
            to = phase * plan[PHASE_PITCH] + i * plan[SLICE_PITCH]
            if plan[BY_MAPS]:
                first_row, first_column = h * plan[at.STRIDE_H] + phase_h[phase], w * plan[at.STRIDE_W] + phase_w[phase]
                for channel in range(channels):
                    pack_rows_by_maps(
                        plan, frame, x, packed, to + channel * plan[CHANNEL_PITCH],
                        (first_plane + channel) * plan[at.IN_D] + max(0, in_d), first_row, first_column, rows, columns,
                    )  # fmt: skip
                continue
            empty = in_d < 0 or width == 0
            frame[PLANE_OPERANDS + planes.ABOVE] = rows if empty else above
            frame[PLANE_OPERANDS + planes.ROWS] = 0 if empty else height
            frame[PLANE_OPERANDS + planes.BELOW] = 0 if empty else rows - above - height
            source = ((first_plane * plan[at.IN_D] + in_d) * plan[at.IN_H] + row) * plan[at.IN_W] + column
            frame[PLANE_OPERANDS + planes.FROM] = address_of(x) + source * item
            frame[PLANE_OPERANDS + planes.TO] = address_of(packed) + to * item
            call_copies(plan[at.PLANES], address_of(frame) + 8 * PLANE_OPERANDS, 0, channels)


@kernel
def pack_rows_by_maps(
    plan: Ints, frame: Ints, x: Reals, packed: Reals, to: int, slice_: int,
    first_row: int, first_column: int, rows: int, columns: int,
) -> None:  # fmt: skip
    """Rows of one slice where padding is no zeros: each from the row that its map says, and so the columns outside.

    Places that nobody has a use for, beyond the end of a strided axis, are -1 in the maps: anything will do there.
    """
    map_h, map_w = ints_at(plan[at.MAP_H]), ints_at(plan[at.MAP_W])
    before = frame[PLANE_OPERANDS + planes.BEFORE]
    width = frame[PLANE_OPERANDS + planes.INSIDE]
    item = plan[at.ITEM]
    frame[PLANE_OPERANDS + planes.ABOVE] = 0
    frame[PLANE_OPERANDS + planes.ROWS] = 1 if width > 0 else 0
    frame[PLANE_OPERANDS + planes.BELOW] = 0
    first_inside = first_column + before * plan[at.STRIDE_W] - plan[at.BEFORE_W]
    for j in range(rows):
        row = (slice_ * plan[at.IN_H] + max(0, map_h[first_row + j * plan[at.STRIDE_H]])) * plan[at.IN_W]
        begin = to + j * plan[ROW_PITCH]
        frame[PLANE_OPERANDS + planes.FROM] = address_of(x) + (row + first_inside) * item
        frame[PLANE_OPERANDS + planes.TO] = address_of(packed) + begin * item
        call_copies(plan[at.PLANES], address_of(frame) + 8 * PLANE_OPERANDS, 0, 1)
        for outside in range(columns - width):
            column = outside if outside < before else outside + width
            packed[begin + column] = x[row + max(0, map_w[first_column + column * plan[at.STRIDE_W]])]


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
    box_d = min(plan[BOX_D], plan[AREA_D] - d)
    box_h = min(plan[BOX_H], plan[AREA_H] - h)
    box_w = min(plan[BOX_W], plan[AREA_W] - w)
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
            pack_planes(plan, frame, x, memory, first_plane, count, d, h, w, box_d, box_h, box_w)
            weights = group * plan[at.WEIGHT_GROUP] + c * taps * plan[at.WEIGHT_STEP]
            start_frame(
                plan, frame, address_of(weight) + weights * item, count * taps,
                c == 0, c + count == channels, bias, group,
            )  # fmt: skip
            for part in range(first_part, last_part, plan[SWEEP_PARTS]):
                end = min(last_part, part + plan[SWEEP_PARTS])
                for slice_ in range(box_d):
                    pixel = plan[FIRST_PIXEL] + ((d + slice_) * plan[at.OUT_H] + h) * plan[at.OUT_W] + w
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
                in_pixel = plan[FIRST_PLACE] + in_row * plan[at.IN_W] + w * plan[at.STRIDE_W]
                operand = address_of(x) + (in_pixel * all_channels + channel) * item
            else:
                pack_pixels(plan, x, memory, image, channel, count, d, h, w, box_d, box_h, box_w)
            weights = group * plan[at.WEIGHT_GROUP] + c * taps * plan[at.WEIGHT_STEP]
            start_frame(
                plan, frame, address_of(weight) + weights * item, count * taps,
                c == 0, c + count == channels, bias, group,
            )  # fmt: skip
            for slice_ in range(box_d):
                pixel = plan[FIRST_PIXEL] + ((d + slice_) * plan[at.OUT_H] + h) * plan[at.OUT_W] + w
                sweep_pixel_rows(
                    plan, frame, first_part, last_part, image, filter_, residual, out,
                    pixel, box_h, plan[at.OUT_W], box_w,
                    operand + slice_ * plan[at.STRIDE_D] * plan[SLICE_PITCH] * item,
                    plan[at.STRIDE_H] * plan[ROW_PITCH] * item,
                )  # fmt: skip


class Direct(TiledProduct):
    """The sum as it stands, tap by tap over shifted copies of the input."""

    name = "direct"

    def make_plan(self, request: Request) -> AnyPlan:
        """Return the plan of a request."""
        shape = geometry(request.problem)
        (all_of_it,) = whole(shape)
        plan = _plan(request, shape, all_of_it)
        cut = _areas(request.problem, shape)
        if cut == (all_of_it,):
            return plan
        return Plans.sharing([_plan(request, shape, area) for area in cut], plan)

    def work(self, problem: ConvProblem, shape: Geometry, lanes: int) -> Work:
        """The sum over the areas; vectors that see some of the taps count for as many."""
        works = []
        for area in _areas(problem, shape):
            work = _work(problem, area.shape, lanes)
            works.append(dataclasses.replace(work, vectors=work.vectors * area.shape.taps / shape.taps))
        return Work(
            vectors=sum(work.vectors for work in works),
            copied_elements=sum(work.copied_elements for work in works),
            copied_runs=sum(work.copied_runs for work in works),
            weight_passes=sum(work.weight_passes for work in works),
            passes=max(work.passes for work in works),
        )


def _work(problem: ConvProblem, shape: Geometry, lanes: int) -> Work:
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
            copied_runs=runs * passes / EMITTED_RUN,  # of a few dozen elements
            weight_passes=2,  # read, and written in panels, which stay in the cache
            passes=passes,
        )
    alone = apart(shape, shape.output, lanes)
    flat = span[2] == 0 or alone[2]
    plane_vectors = height * width / lanes if flat else min(vectors_of_runs(height, width, lanes))
    phases = math.prod(k if a else min(k, s) for k, s, a in zip(shape.kernel, shape.stride, alone, strict=True))
    reach = [0.0 if a else p / s for p, s, a in zip(span, shape.stride, alone, strict=True)]
    runs = shape.channels * phases * (depth + reach[0]) * (height + reach[1])
    # all weights are read again for each box; boxes are cut by their sums, of some 180 filters to judge by times
    sums = min(shape.filters, 180) * shape.pixels * 4
    return Work(
        vectors=depth * plane_vectors * shape.filters,
        copied_elements=runs * (width + reach[2]),
        copied_runs=runs if shape.padding_mode != "zeros" and shape.padded else runs / EMITTED_RUN,
        weight_passes=max(1, sums / cache_share()),
        passes=passes,
    )


def _areas(problem: ConvProblem, shape: Geometry) -> tuple[Area, ...]:
    """The areas to compute: one, where weights are read as they lie and no step can be left out."""
    channels_first = problem.layout == "channels_first"
    lanes = targets.current().lanes(problem.dtype) if channels_first else 1
    return areas(shape, lanes) if _packs(problem, shape) else whole(shape)


def _packs(problem: ConvProblem, shape: Geometry) -> bool:
    """Whether weights are copied into panels."""
    large = problem.batch * shape.pixels >= PIXELS_WORTH_PANELS
    fits = problem.parameters * np.dtype(problem.dtype).itemsize <= MOST_PANEL_BYTES
    return problem.layout == "channels_last" or (large and fits)


def _plan(request: Request, full: Geometry, area: Area) -> Plan:
    """The plan of an area of the full output."""
    shape = area.shape
    block = channel_block(shape)
    channels_first = request.problem.layout == "channels_first"
    item = np.dtype(request.problem.dtype).itemsize
    lanes = request.target.lanes(request.problem.dtype)

    def packing(box: Triple) -> _PackedInput:
        if channels_first:
            return _pack_planes_numbers(request, shape, full.output[2], block, box)
        return _pack_pixels_numbers(request, shape, block, box)

    passes = -(-shape.channels // block)
    filters = filters_of_a_sweep(request, shape, block * shape.taps)
    box = choose_box(request, shape, passes, filters, lambda box: packing(box).elements * item)
    packed = packing(box)
    boxes = [-(-o // b) for o, b in zip(shape.output, box, strict=True)]
    images = request.problem.batch * request.problem.groups
    numbers, tables = at.common_numbers(request, shape)
    other_tasks = images * math.prod(boxes)
    numbers |= filter_numbers(request, shape, other_tasks)
    numbers[SWEEP_PARTS] = max(1, filters // numbers[at.PART_SIZE])
    numbers |= dict(zip((at.OUT_D, at.OUT_H, at.OUT_W), full.output, strict=True))
    numbers |= dict(zip((AREA_D, AREA_H, AREA_W), shape.output, strict=True))
    first_d, first_h, first_w = area.first
    numbers[FIRST_PIXEL] = (first_d * full.output[1] + first_h) * full.output[2] + first_w
    steps = shape.channels * shape.taps
    packs = _packs(request.problem, full)
    places = _places(shape.channels, area) if shape.taps < full.taps else None
    numbers |= weights_in_panels(numbers, steps, places is not None, lanes) if packs else weights_as_they_lie(full)
    numbers |= packed.numbers
    numbers |= dict(zip((BOX_D, BOX_H, BOX_W, BOXES_D, BOXES_H, BOXES_W), (*box, *boxes), strict=True))
    numbers |= {at.BLOCK: block, at.ALL_TAPS: full.taps}
    sizes = box_sizes(shape.output, box)
    runs = [(1, h * w) if packed.numbers[FLAT] else (h, w) for _, h, w in sizes]

    # steps in the order of the weights: channel by channel, tap by tap
    channel = np.arange(block)[:, np.newaxis] * packed.numbers[CHANNEL_PITCH]
    offsets = (channel + packed.taps).ravel() * item
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
        functions={at.PLANES: lambda: planes.planes(request.problem.dtype, shape.stride[2])} if channels_first else {},
        packing=at.packing(request, numbers, places) if packs else None,
    )


def _places(channels: int, area: Area) -> IntArray:
    """For each step of the whole kernel, how many of the area's come before it."""
    wanted = np.zeros((channels, math.prod(area.kernel)), np.int64)
    wanted[:, area.taps] = 1
    before: IntArray = np.cumsum(wanted) - wanted.ravel()
    return before


@dataclass(frozen=True)
class _PackedInput:
    """How a box's input lies in scratch."""

    numbers: dict[int, int]
    taps: IntArray  # where each tap begins
    elements: int  # of scratch
    tables: list[IntArray]  # that `numbers` point to


def _pack_planes_numbers(
    request: Request, shape: Geometry, out_width: int, block: int, box: Triple
) -> _PackedInput:
    """[channel][phase][depth][row][column], each axis of a phase reaching as far as the farthest tap."""
    lanes = request.target.lanes(request.problem.dtype)
    phases, phase_of_tap, step_of_tap = phases_of_taps(shape, apart(shape, box, lanes))
    span = step_of_tap.max(axis=0).tolist()
    row = box[2] + span[2]
    slice_ = row * (box[1] + span[1])
    line = 64 // np.dtype(request.problem.dtype).itemsize
    # A phase begins with a cache line: a tap that has one to itself reads whole lines.
    phase = -(-slice_ * (box[0] + span[0]) // line) * line
    # An odd number of cache lines: planes a multiple of 4096 bytes apart would share a few sets of the cache.
    room = tiles.MAX_VECTORS * 2 * line  # for vectors that reach beyond the last row, of a tile and of a copy
    channel = (-(-(phase * len(phases) + lanes) // line) | 1) * line
    taps = phase_of_tap * phase + step_of_tap @ np.array([slice_, row, 1])
    tables = [np.ascontiguousarray(axis) for axis in phases.T]
    whole_rows = box[2] == out_width
    flat = whole_rows and span[2] == 0  # also of what is packed
    numbers = {
        **dict(zip((SPAN_D, SPAN_H, SPAN_W), span, strict=True)),
        ROW_PITCH: row,
        SLICE_PITCH: slice_,
        PHASE_PITCH: phase,
        CHANNEL_PITCH: channel,
        PHASES: len(phases),
        **dict(zip((PHASE_D, PHASE_H, PHASE_W), map(address, tables), strict=True)),
        FLAT: int(flat),
        BY_MAPS: int(shape.padding_mode != "zeros" and shape.padded),
        at.JOINTS: joints(box[1], box[2], lanes) if whole_rows and not flat else 0,
    }
    return _PackedInput(numbers, taps, block * channel + room, tables)


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
    place = [c - before for c, (before, _) in zip(shape.corner, shape.padding, strict=True)]
    numbers = {
        **dict(zip((SPAN_D, SPAN_H, SPAN_W), span, strict=True)),
        ROW_PITCH: row,
        SLICE_PITCH: slice_,
        CHANNEL_PITCH: 1,
        IN_PLACE: int(not shape.padded),
        FIRST_PLACE: (place[0] * shape.size[1] + place[1]) * shape.size[2] + place[2],
        FLAT: 0,
        at.JOINTS: 0,
    }
    return _PackedInput(numbers, taps, depth * slice_, [])
