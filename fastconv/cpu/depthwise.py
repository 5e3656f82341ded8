"""Depthwise convolution: each filter reads one channel, so a plane of the result is made of one plane of the input.

    y[k, q] = sum over t of w[k, t] * x[k // multiplier, q + offset(t)]

The planes are read and written as they lie, by a function that has every loop inside it
(`fastconv.codegen.depthwise`); what is left for here is which tile it is made of, and what the plan says. A filter on a
single plane, as images are filtered with, is the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Machine
from fastconv.codegen import depthwise as codegen
from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import operands as operand
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise_shape import Kind, Planes, kinds_in_turn
from fastconv.cpu import depthwise_channels_last, scratch
from fastconv.cpu.algorithm import Planned
from fastconv.cpu.cycles import Cycles, of_planes
from fastconv.cpu.depthwise_channels_last import PixelsPlan
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.native import LINE, address
from fastconv.cpu.plan import LEFT_OUT, Request, TaskPlan, natural_strides, pixels_lie_apart
from fastconv.problem import ConvProblem

MOST_TAPS = 4096  # summed in one register: more would cost digits

# Cycles, measured on planes of 7 to 112 columns
BEGIN_TASK, BEGIN_BAND, BEGIN_TILE = 20, 6, 8
END_SUM = 0.9
PIPELINE = 8  # sums that keep two units of four cycles busy; with
LOOP_PIPELINE = 10  # more, the columns of a kernel may be a loop, where few tiles need a register for a mask
FEW_EDGES = 0.25  # of tiles
SPILL = 0.9  # of a vector that finds no register, for each kernel column
MASK = 1.3  # of a vector at an edge, for each kernel column
BEGIN_STRIP, STRIP_ELEMENT = 5, 1.5
FAR_ROW = 0.8  # of a row of a tile, where a plane exceeds the first level cache
CROWDED_ROW = 5  # of a row of a tile, for each kernel column, where more rows share a set of the cache than it has room
COPY_ROW, COPY_VECTOR, COPY_PAD, COPIED_ROW = 20, 1.3, 3, 3  # the last of a row that a band looks up


class Depthwise(Planned):
    """Planes one by one, as they lie."""

    name = "depthwise"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what sums over channels, and planes that the kernel cannot read as they lie."""
        shape, apart = geometry(problem), pixels_lie_apart(problem)
        reasons = {
            f"{self.name} reads one channel a filter, not {shape.channels}": shape.channels != 1,
            f"{self.name} computes one filter a channel in channels_last, not {shape.filters}": (
                apart and shape.filters > 1
            ),
            f"{self.name} computes one and two dimensions in channels_last, not {problem.rank}": (
                apart and problem.rank == 3
            ),
            f"{self.name} pads with zeros in channels_last, not by {problem.padding_mode}": (
                apart and problem.padding_mode != "zeros" and shape.padded
            ),
            f"{self.name} sums {MOST_TAPS} taps at most, not {shape.taps}": shape.taps > MOST_TAPS,
        }
        return super().supports(problem) or next((reason for reason, holds in reasons.items() if holds), None)

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the time of tiles, and of reading and writing the planes where they exceed the cache."""
        shape = geometry(problem)
        target = targets.current()
        if pixels_lie_apart(problem):
            cycles, cycle = depthwise_channels_last.cycles(problem, target), machine.cycle
        else:
            cycles = _plane_cycles(_tile(shape, problem.dtype, target), shape, target)
            cycle = machine.cycle * problem.batch * problem.filters
        return of_planes(cycles, cycle, problem, machine)

    def make_plan(self, request: Request) -> DepthwisePlan | PixelsPlan:
        """Return the plan of a request."""
        if pixels_lie_apart(request.problem):
            return depthwise_channels_last.plan(request)
        return planes_plan(request)


@dataclass(frozen=True)
class DepthwisePlan(TaskPlan):
    """A plan of planes."""

    repairs = True

    code: Planes
    numbers: int  # the address of the slots
    tasks: int
    request: Request
    keep: tuple[npt.NDArray[np.generic], ...]  # the slots, and what they point to
    scratch_bytes: int = 0  # of the copies that a worker makes of what lies at the sides

    def addresses(self, residual: bool, careful: bool) -> tuple[int, int]:
        """The addresses of the function and of the numbers."""
        return codegen.address(self.code.variant(residual, careful)), self.numbers

    def repair(self, workspace: scratch.Workspace, operands: tuple[int, ...], memory: int) -> None:
        """Task by task, as what a plane gets depends on its own weights alone."""
        residual = operands[operand.RESIDUAL] != 0
        quick, careful = (self.launch(residual, leaves_out_nothing)[0] for leaves_out_nothing in (False, True))
        for task in range(self.tasks):
            quick.alone(workspace.job, operands, memory, task, task + 1)
            if workspace.job[LEFT_OUT]:
                careful.alone(workspace.job, operands, memory, task, task + 1)


def planes_plan(request: Request) -> DepthwisePlan:
    """Return the plan of a request in channels first."""
    problem = request.problem
    shape = geometry(problem)
    code = _code(request)
    item = np.dtype(problem.dtype).itemsize
    depth, height, width = shape.size
    _, out_height, out_width = shape.output
    _, stride, _ = shape.stride
    before_d, before_h, before_w = (before for before, _ in shape.padding)
    classes = _classes(shape)
    planes = problem.batch * problem.filters
    count = parts(request, shape, code.rows) if code.parted else shape.output[0]
    columns, shift = _strips(shape, code, request.target)
    strip_row = -(-len(columns) * item // LINE) * LINE + LINE  # an odd number of cache lines falls into many sets
    copy_row = (before_w + width + shape.padding[2][1]) * item // LINE // 2 * 2 * LINE + 3 * LINE
    pads_to, pads_from = _pads(shape, item)
    image, filter_, _ = request.out_strides
    zeros = np.zeros(width, problem.dtype)
    # the last tile's last vector begins less than a tile's width before the last column that it has a use for
    beyond = (code.vectors + 1) * request.target.lanes(problem.dtype) * code.stride + code.kernel[1] * code.dilation
    masks = np.zeros(before_w + width + beyond, f"i{item}")
    masks[before_w : before_w + width] = -1
    bands = -(-out_height // code.rows)
    part_rows = np.array([bands * part // count * code.rows for part in range(count)] + [out_height], np.int64)
    numbers = np.zeros(slot.SLOTS, np.int64)
    for place, value in {
        slot.HEIGHT: height,
        slot.WIDTH: width,
        slot.OUT_HEIGHT: out_height,
        slot.OUT_WIDTH: out_width,
        slot.BEFORE_H: before_h,
        slot.BEFORE_W: before_w,
        slot.STRIDE_H: stride,
        slot.DILATION_H: shape.dilation[1],
        slot.FILTERS: problem.filters,
        slot.MULTIPLIER: shape.filters,
        slot.CLASSES: classes,
        slot.CLASS_ROWS: out_height // classes,
        slot.CLASS_MORE: out_height % classes,
        slot.PARTS: count,
        slot.PART_ROWS: address(part_rows),
        slot.X_CORNER: ((before_d * height + before_h) * width + before_w) * item,
        slot.X_PLANE: depth * height * width * item,
        slot.X_ROW: width * item,
        slot.X_BAND: stride * width * item,
        slot.X_STEP: shape.dilation[1] * width * item,
        slot.Y_IMAGE: image * item,
        slot.Y_FILTER: filter_ * item,
        slot.Y_ROW: out_width * item,
        slot.RESIDUAL_PLANE: shape.pixels * item,
        slot.ZERO: address(zeros),
        slot.ZEROS: address(zeros) - before_w * item,
        slot.MASKS: address(masks),
        slot.DEPTH: depth,
        slot.BEFORE_D: before_d,
        slot.STRIDE_D: shape.stride[0],
        slot.DILATION_D: shape.dilation[0],
        slot.X_SLICE: height * width * item,
        slot.Y_SLICE: out_height * out_width * item,
        slot.MAP_D: address(shape.maps[0]),
        slot.MAP_H: address(shape.maps[1]),
        slot.STRIP_ROW: strip_row,
        slot.STRIP_WIDTH: len(columns),
        slot.STRIP_COLUMNS: address(columns),
        slot.STRIP_SHIFT: shift,
        slot.COPY_ROW: copy_row,
        slot.COPY_PADS: len(pads_to),
        slot.COPY_TO: address(pads_to),
        slot.COPY_FROM: address(pads_from),
        **{slot.KIND_ROWS + i: row for i, row in enumerate(_kinds(shape, code)[1])},
    }.items():
        numbers[place] = value
    keep = numbers, zeros, masks, part_rows, columns, pads_to, pads_from, *shape.maps
    row, more = (copy_row, LINE) if code.copied else (strip_row, 0) if code.bordered and code.edges else (0, 0)
    return DepthwisePlan(code, address(numbers), planes * count, request, keep, code.meets * row + more)


def _pads(shape: Geometry, item: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where a padded row has padding, in bytes, and which of its places has the same element (-1: a zero)."""
    (before, after), width = shape.padding[2], shape.size[2]
    places = np.r_[0:before, before + width : before + width + after]
    found = shape.maps[2][places]
    return places * item, np.where(found < 0, -1, (found + before) * item)


def _strips(shape: Geometry, code: Planes, target: targets.Target) -> tuple[npt.NDArray[np.int64], int]:
    """Return where in a padded row, in bytes, a strip's elements come from, and the shift of tiles at the right.

    A strip is what the tiles at the left reach of a padded row, and after it what the others at the sides do.
    """
    before, width = shape.padding[2][0], shape.size[2]
    firsts = _lefts(shape, code, target) * code.stride
    extent = _extent(code, target)
    left = firsts[firsts < before].tolist()
    right = firsts[(firsts >= before) & (firsts + extent > before + width)].tolist()
    end, begin = (max(left) + extent if left else 0), (min(right) if right else 0)
    padded = np.r_[0:end, begin : max(right) + extent if right else 0]
    places = shape.maps[2][np.minimum(padded, before + width + shape.padding[2][1] - 1)]
    return (places + before) * np.dtype(code.dtype).itemsize, begin - end


def _extent(code: Planes, target: targets.Target) -> int:
    """Return the columns that a tile reaches, from its first input column on."""
    span = code.vectors * target.lanes(code.dtype)
    return (code.kernel[1] - 1) * code.dilation + (span - 1) * code.stride + 1


def _classes(shape: Geometry) -> int:
    """Output rows so far apart share input rows: the least multiple of the stride that one of the dilation is."""
    return shape.dilation[1] // math.gcd(shape.stride[1], shape.dilation[1])


def _bands(shape: Geometry, code: Planes) -> list[Kind]:
    """Return the kinds of all bands of a plane, from its top to its bottom."""
    _, height, _ = shape.size
    _, out_height, _ = shape.output
    step, dilation, before = shape.stride[1], shape.dilation[1], shape.padding[1][0]
    kinds = []
    for row in range(0, out_height, code.rows):
        first = min(row, out_height - code.rows) * step - before
        places = range(first, first + code.meets * dilation, dilation)
        kinds.append((sum(place < 0 for place in places), sum(place >= height for place in places)))
    return kinds


def _kinds(shape: Geometry, code: Planes) -> tuple[tuple[Kind, ...], list[int]]:
    """Return the kinds of bands from the top to the bottom, each once; their first output rows, and the last's end."""
    return kinds_in_turn(_bands(shape, code), code.rows)


def parts(request: Request, shape: Geometry, rows: int) -> int:
    """Return how many tasks a plane is cut into: enough for all threads, none with fewer rows than a tile."""
    planes = request.problem.batch * request.problem.filters
    wanted = -(-8 * request.threads // max(planes, 1)) if request.threads > 1 else 1
    return max(1, min(wanted, shape.output[1] // rows))


def _code(request: Request) -> Planes:
    """Return the code of a request: the tile that takes the fewest cycles, and what else it depends on."""
    problem = request.problem
    shape = geometry(problem)
    code = _tile(shape, problem.dtype, request.target)
    parted = not (code.narrow or code.classes or code.deep) and parts(request, shape, code.rows) > 1
    spilled = request.target.lanes(problem.dtype) - shape.output[2]  # no more than the next row, maybe the last
    contiguous = request.out_strides == natural_strides(problem)
    return dataclasses.replace(
        code,
        height=0 if parted else code.height,
        kinds=_kinds(shape, code)[0] if parted and code.kinds else code.kinds,
        parted=parted,
        repeated=shape.filters > 1,
        spills=code.narrow and contiguous and not code.classes and spilled <= shape.output[2],
        activation=request.activation,
    )


@lru_cache(maxsize=1024)
def _tile(shape: Geometry, dtype: str, target: targets.Target) -> Planes:
    """Return the tile that takes the fewest cycles by count."""
    lanes = target.lanes(dtype)
    _, out_height, out_width = shape.output
    least_rows = max(1, out_height // _classes(shape))  # of a class
    possible = [
        _planes(shape, dtype, rows, vectors, target)
        for vectors in (1, 2, 4, 8)
        if vectors == 1 or out_width >= vectors * lanes
        for rows in range(1, min(least_rows, slot.most_rows(target, shape.kernel[0] * shape.kernel[1], vectors)) + 1)
    ]
    possible += [
        dataclasses.replace(code, copied=True, edges=False, inner=True, kinds=(), height=0, leaves_out=False)
        for code in possible
        if _crowds(code, shape) and not (code.classes or code.deep or shape.size[2] < lanes)
    ]
    return min(possible, key=lambda code: sum(_plane_cycles(code, shape, target)))


def _crowds(code: Planes, shape: Geometry) -> bool:
    """Whether the input rows of a tile fall into too few sets of the cache."""
    return crowded(code.slice_rows, shape.dilation[1] * shape.size[2] * np.dtype(code.dtype).itemsize)


@lru_cache(maxsize=1024)
def crowded(count: int, step: int) -> bool:
    """Whether `count` vectors, `step` bytes apart, are more than the sets of the cache have room for."""
    caches = targets.caches()
    sets = max(1, caches.level1 // caches.ways // LINE)
    rows = Counter(i * step // LINE % sets for i in range(count))
    # one that lies across two lines takes room in the next set, too
    return max(rows[i] + rows[(i - 1) % sets] for i in range(sets)) > caches.ways


def copy_cycles(width: int, pads: int, lanes: int) -> float:
    """Count the cycles of copying a row with its padding."""
    return COPY_ROW + COPY_VECTOR * -(-width // lanes) + COPY_PAD * pads


def _planes(shape: Geometry, dtype: str, rows: int, vectors: int, target: targets.Target) -> Planes:
    """Return the code with tiles of `rows` x `vectors`."""
    width = shape.size[2]
    _, out_height, out_width = shape.output
    before, _ = shape.padding[2]
    _, row_stride, stride = shape.stride
    _, row_dilation, dilation = shape.dilation
    code = Planes(
        dtype=dtype,
        rows=rows,
        vectors=vectors,
        kernel=(shape.kernel[0] * shape.kernel[1], shape.kernel[2]),
        depth=shape.kernel[0],
        flip=shape.flip,
        row_step=row_stride // math.gcd(row_stride, row_dilation),
        stride=stride,
        dilation=dilation,
        classes=_classes(shape) > 1,
        deep=(shape.size[0], shape.output[0], shape.kernel[0], shape.padding[0]) != (1, 1, 1, (0, 0)),
        bordered=shape.padded and shape.padding_mode != "zeros",
        narrow=out_width < target.lanes(dtype),
    )
    room = width - _extent(code, target)
    firsts = _lefts(shape, code, target) * stride
    within = (before <= firsts) & (firsts <= before + room)
    code = dataclasses.replace(code, edges=not within.all(), inner=bool(within.any()))
    if code.classes or code.deep or code.bordered:
        return code
    bands = _bands(shape, code)
    kinds, _ = _kinds(shape, code)
    if len(bands) <= slot.MOST_BANDS and len(bands) * code.written <= slot.MOST_WRITTEN:
        code = dataclasses.replace(code, height=out_height, kinds=tuple(bands))
    elif len(kinds) <= slot.MOST_KINDS and len(kinds) * code.written <= slot.MOST_WRITTEN:
        code = dataclasses.replace(code, kinds=kinds)
    left_out = any(map(any, code.kinds)) or (code.edges and not code.unrolled)
    return dataclasses.replace(code, leaves_out=left_out)


def _plane_cycles(code: Planes, shape: Geometry, target: targets.Target) -> Cycles:
    """Count the cycles of one output plane."""
    bands: Counter[Kind | None] = Counter(_bands(shape, code) if code.kinds else ())
    if not code.kinds:
        classes = min(_classes(shape), shape.output[1])
        bands[None] = classes * -(-(shape.output[1] // classes) // code.rows)
    lefts = _lefts(shape, code, target)
    edges = min(1.0, 2 / len(lefts)) * code.edges
    begin = BEGIN_TILE + code.rows * code.vectors * (END_SUM + (code.stride > 1))
    if (math.prod(shape.size) + shape.pixels) * np.dtype(code.dtype).itemsize > targets.caches().level1:
        begin += FAR_ROW * (code.meets + code.rows)
    columns = _columns_met(shape, code, target) / len(lefts)
    mask = edges * MASK * (1 + code.vectors) * code.stride
    if not code.copied and _crowds(code, shape):
        mask += CROWDED_ROW * code.meets
    all_bands, copies = sum(bands.values()), 0.0
    if code.bordered and code.edges:
        strips = BEGIN_STRIP + STRIP_ELEMENT * len(_strips(shape, code, target)[0])
        copies += all_bands * code.meets * strips
    if code.copied:
        copies += shape.size[1] * copy_cycles(shape.size[2], sum(shape.padding[2]), target.lanes(code.dtype))
        copies += all_bands * code.meets * COPIED_ROW
    tiles = BEGIN_TASK + all_bands * (BEGIN_BAND + len(lefts) * (begin + columns * mask))
    of_column = sum(count * _column_cycles(code, kind, target, edges) for kind, count in bands.items())
    products = len(lefts) * columns * of_column
    return Cycles(shape.output[0] * products, shape.output[0] * tiles, shape.output[0] * copies)


def _column_cycles(code: Planes, kind: Kind | None, target: targets.Target, edges: float) -> float:
    """Count the cycles of a kernel column of a tile: two products or two loads a cycle, sums waiting for each other."""
    sums = code.rows * code.vectors
    cycles = 0.0
    for chunk in code.chunks(kind, target):
        rows = code.input_rows(chunk, kind)
        products = sum(r in chunk for i in rows for _, r in code.pairs(i)) * code.vectors
        met = len(rows) * code.vectors
        least = PIPELINE if code.unrolled or edges > FEW_EDGES else LOOP_PIPELINE
        busy = products * max(sums, least) / sums + met * (code.stride - 1)  # a stride shuffles each vector
        loads = met * code.stride + len(chunk)
        held = sums + len(chunk) * code.together + code.vectors
        spilled = max(0, held + 2 - target.vector_registers)
        cycles += max(busy, loads) / 2 + SPILL * spilled
    return cycles


def _lefts(shape: Geometry, code: Planes, target: targets.Target) -> npt.NDArray[np.int64]:
    """Return the first output column of each tile of a row; a signal may have many."""
    span = code.vectors * target.lanes(code.dtype)
    return np.minimum(np.arange(0, shape.output[2], span), max(0, shape.output[2] - span))


def _columns_met(shape: Geometry, code: Planes, target: targets.Target) -> int:
    """Return the kernel columns that the tiles of a row go through, all together."""
    lefts = _lefts(shape, code, target)
    if code.unrolled or not code.leaves_out:
        return code.kernel[1] * len(lefts)
    extent = _extent(code, target) - (code.kernel[1] - 1) * code.dilation
    # Column s of the kernel begins at place + s * dilation; it is met from more than -extent on, up to the width.
    places = lefts * code.stride - shape.padding[2][0]
    first = np.maximum((-extent - places) // code.dilation + 1, 0)
    last = np.minimum(-((places - shape.size[2]) // code.dilation) - 1, code.kernel[1] - 1)
    return int(np.maximum(last - first + 1, 0).sum())
