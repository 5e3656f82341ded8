"""Plans of poolings: how a problem is cut into passes, tasks and bands, and the numbers that the kernels read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastconv.arguments import Pairs, itemsize
from fastconv.codegen import folding, pooling_whole, pooling_windows
from fastconv.codegen import pooling_code as slot
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold
from fastconv.codegen.pooling_code import Windows
from fastconv.cpu import scratch, threads
from fastconv.cpu.native import address
from fastconv.cpu.threads import Launch

Ints = tuple[int, ...]

LEVEL1_SHARE, LEVEL2_SHARE = 0.6, 0.4  # of the caches, for the rows of a band
MOST_GROUP = 64  # planes of a task
TASKS_A_THREAD = 4
LEAST_ROWS = 8  # of a task that is a part of a plane
SMALL_PLANE = 8192  # bytes, of one that is a band in any case
WRITTEN_OUT = 4  # vectors of a row that code is written out for, at most
WRITTEN_OUT_PLANE = 16  # and of a whole plane
LEAST_SHARED = 10_000  # elements of a plane that several threads may share
LONG_PLANE = 512  # vectors of a plane that is read alone
LONG_ROW = 5  # vectors of a row that is worth a loop of its own


@dataclass(frozen=True)
class Planes:
    """Pooling of windows of planes, of `inner` channels side by side."""

    fold: Fold
    planes: int  # of all images
    channels: int  # of an image, in planes
    inner: int
    size: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: Pairs
    by_row: tuple[float, ...] = ()  # divisors of the output's rows
    by_lane: tuple[float, ...] = ()  # by which the elements of a row differ; none: they are alike

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns of a window, dilated."""
        height, width = (d * (f - 1) + 1 for f, d in zip(self.kernel, self.dilation, strict=True))
        return height, width

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the beginning of the first window to the end of the last."""
        height, width = ((o - 1) * s + span for o, s, span in zip(self.output, self.stride, self.span, strict=True))
        return height, width

    @property
    def padded(self) -> bool:
        """Whether a window sees padding."""
        return any(
            before > 0 or reach > size
            for (before, _), reach, size in zip(self.padding, self.reach, self.size, strict=True)
        )


@dataclass(frozen=True)
class Pass:
    """Machine code, its numbers and its tasks."""

    function: int
    numbers: npt.NDArray[np.int64]
    tasks: int
    threads: int
    scratch_bytes: int  # of one worker
    keep: tuple[npt.NDArray[np.generic], ...]

    @cached_property
    def pitch(self) -> int:
        """Bytes from one worker's scratch to the next's."""
        return scratch.pitch(self.scratch_bytes)

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""
        size = self.pitch * threads.workers(self.tasks, self.threads)
        return scratch.allocated(size) if size else 0

    @cached_property
    def _ready(self) -> tuple[Launch, int, int]:
        """What a call needs, made once."""
        launch = Launch(self.function, slot.OPERANDS, self.tasks, self.threads)
        return launch, address(self.numbers), self.pitch

    def run(self, x: int, y: int, indices: int) -> None:
        """Pool what is at addresses."""
        workspace = scratch.take()
        launch, numbers, pitch = self._ready
        memory = workspace.scratch(pitch * launch.threads, "pooling") if pitch else 0
        launch.run(workspace.job, (numbers, x, y, indices), memory, pitch)
        scratch.give(workspace)


def windows(planes: Planes, strides: Ints, count: int, target: targets.Target) -> Pass:
    """Return the pass for windows; `strides` are the result's, of images and channels, in elements."""
    p = planes
    lanes = folding.lanes(p.fold, target)
    item = itemsize(p.fold.computed)
    code = _code(p, lanes)
    (height, width), (out_height, out_width) = p.size, p.output
    span, row, out_row = p.span[0], width * p.inner, out_width * p.inner
    source_item, result_item = itemsize(p.fold.source), itemsize(p.fold.result)
    # elements of a padded row, and of a row of what is combined along rows
    length = max(p.reach[1], p.padding[1][0] + width) * p.inner if code.padded else row
    if code.padded and code.step == 2:
        length += length % 2
    rows_row = _apart(out_row, item, lanes) if code.rowwise or not code.step else length // code.step
    # elements of scratch that a row of a band takes
    room = (0 if code.fused else rows_row) + (length if code.padded else 0)
    caches = targets.caches()
    whole_rows = max(p.reach[0], p.padding[0][0] + height) if code.padded else height
    group, band = 1, out_height
    parts = 1
    most = caches.level1 * LEVEL1_SHARE / (item * (2 if p.fold.indices else 1))
    if whole_rows * room <= most:
        fit = int(most // max(1, whole_rows * room))
        group = max(1, min(MOST_GROUP, fit, p.planes // (TASKS_A_THREAD * count)))
        if p.planes < TASKS_A_THREAD * count and height * row > LEAST_SHARED:
            parts = max(1, min(TASKS_A_THREAD * count // p.planes, out_height // max(LEAST_ROWS, p.kernel[0])))
    else:
        if p.planes < TASKS_A_THREAD * count:
            parts = max(1, min(-(-TASKS_A_THREAD * count // p.planes), out_height // max(LEAST_ROWS, p.kernel[0])))
        large = caches.level2 * LEVEL2_SHARE / (item * (2 if p.fold.indices else 1))
        rows = most // room if most // room >= 2 * span + p.stride[0] else large // room
        band = max(1, min(out_height, int((rows - span) // p.stride[0]) + 1))
    if code.blocks:  # each begins with a row of its plane: a task has one plane
        group, band = 1, p.kernel[0]
    code = dataclasses.replace(code, whole=band >= out_height and parts == 1)
    part_rows = -(-out_height // parts)
    if code.blocks:  # which begin at the same rows then, however a plane is cut, so that sums are the same
        part_rows = -(-part_rows // band) * band
    parts = -(-out_height // part_rows)
    band = min(band, part_rows)
    rows = whole_rows if group > 1 else (band - 1) * p.stride[0] + span
    rows = 0 if code.fused and not code.padded else rows
    carried = max(0, span - p.stride[0]) if band < part_rows else 0
    slack = 4 * lanes
    pad_elements = (rows * group * length if code.padded else 0) + slack + length
    levels = len(code.levels) + (1 if code.single and not code.step else 0)
    level_elements = (length if code.rowwise else rows * group * length) + slack if levels else 0
    pad_part = _line(max(pad_elements, level_elements) * item)
    both = 2 if p.fold.indices else 1
    rows_part = _line((rows * group * rows_row + slack) * item)
    rows_at = pad_part * both if code.padded else 0
    levels_at = rows_at + rows_part * both
    more_at = levels_at + levels * pad_part * both
    more = (2 + both * p.kernel[0] * slot.COLUMN) * lanes * item if code.blocks else 2 * lanes * item
    places = np.repeat(np.arange(width), p.inner).astype(f"int{8 * item}") if p.fold.indices else np.zeros(0)
    by_row, by_lane = (np.array(each, p.fold.computed) for each in (p.by_row, p.by_lane))
    numbers = np.zeros(slot.SLOTS, np.int64)
    for place, value in {
        slot.PLANES: p.planes, slot.GROUP: group,
        slot.PARTS: parts, slot.PART_ROWS: part_rows, slot.BAND: band,
        slot.CHANNELS: p.channels,
        slot.HEIGHT: height, slot.ROW: row, slot.OUT_HEIGHT: out_height, slot.OUT_ROW: out_row,
        slot.BEFORE_H: p.padding[0][0], slot.BEFORE_W: p.padding[1][0] * p.inner,
        slot.STRIDE_H: p.stride[0], slot.DILATION_H: p.dilation[0],
        slot.NEW: band * p.stride[0], slot.CARRIED: carried,
        slot.FLAT_STRIDE: p.stride[1] * p.inner, slot.FLAT_DILATION: p.dilation[1] * p.inner,
        slot.RUN: p.inner, slot.RUNS: out_width,
        slot.X_PLANE: height * row * source_item, slot.X_ROW: row * source_item,
        slot.Y_IMAGE: strides[0] * result_item, slot.Y_CHANNEL: strides[1] * result_item,
        slot.Y_ROW: out_row * result_item,
        slot.TOGETHER: int(_together(p, strides)),
        slot.PAD_ROW: length * item, slot.PAD_PLANE: rows * length * item, slot.PAD_PART: pad_part,
        slot.ROWS_AT: rows_at, slot.ROWS_ROW: rows_row * item, slot.ROWS_PLANE: rows * rows_row * item,
        slot.ROWS_PART: rows_part,
        slot.LEVELS_AT: levels_at, slot.LEVELS_SIZE: pad_part * both,
        slot.MORE_AT: more_at,
        slot.DIVISORS: address(by_row), slot.LANE_DIVISORS: address(by_lane),
        slot.PLACES: address(places), slot.PLANE_WIDTH: width,
    }.items():  # fmt: skip
        numbers[place] = value
    numbers[slot.LAST_AT] = more_at + more
    if code.fused and code.out_short and not code.padded:  # room for the last plane, and for reading beyond its end
        more += _line(height * row * source_item) + 4 * lanes * source_item
    tasks = -(-p.planes // group) * parts
    keep = (by_row, by_lane, places)
    return Pass(pooling_windows.address(code), numbers, tasks, count, more_at + more, keep)


def whole(
    fold: Fold,
    planes: int,
    channels: int,
    elements: int,
    divisor: float,
    strides: Ints,
    count: int,
    target: targets.Target,
) -> Pass:
    """Return the pass for planes that become one element each; `strides` as in `windows`."""
    lanes = folding.lanes(fold, target)
    alone = elements >= LONG_PLANE * lanes  # whatever the number of planes, so that sums are the same
    few = elements <= WRITTEN_OUT_PLANE * lanes
    code = pooling_whole.Whole(fold, alone, elements if few and not alone else 0)
    divisors = np.array([divisor] if fold.after == "divide" else [], fold.computed)  # of integers there are none
    numbers = np.zeros(pooling_whole.SLOTS, np.int64)
    result_item = itemsize(fold.result)
    for place, value in {
        pooling_whole.PLANES: planes, pooling_whole.COUNT: elements, pooling_whole.CHANNELS: channels,
        pooling_whole.PART: elements // lanes**2 * lanes,
        pooling_whole.X_PLANE: elements * itemsize(fold.source),
        pooling_whole.Y_IMAGE: strides[0] * result_item, pooling_whole.Y_CHANNEL: strides[1] * result_item,
        pooling_whole.TOGETHER: int(strides[1] == 1 and (planes <= channels or strides[0] == channels)),
        pooling_whole.DIVISOR: address(divisors),
    }.items():  # fmt: skip
        numbers[place] = value
    tasks = planes if alone else -(-planes // lanes)
    return Pass(pooling_whole.address(code), numbers, tasks, count, 0, (divisors,))


def _line(size: int) -> int:
    """`size` bytes, rounded up to whole cache lines."""
    return -(-size // scratch.ALIGNMENT) * scratch.ALIGNMENT


def _apart(elements: int, item: int, lanes: int) -> int:
    """Elements from row to row: an odd number of cache lines if rows are long, which fall into many sets of a cache."""
    if elements < LONG_ROW * lanes:
        return elements
    return (_line(elements * item) // scratch.ALIGNMENT | 1) * scratch.ALIGNMENT // item


def _together(p: Planes, strides: Ints) -> bool:
    """Whether planes of the result follow each other."""
    plane = p.output[0] * p.output[1] * p.inner
    if p.channels > 1 and strides[1] != plane:
        return False
    return p.planes <= p.channels or strides[0] == p.channels * plane


def _code(p: Planes, lanes: int) -> Windows:
    width, inner = p.size[1], p.inner
    step = 1 if p.stride[1] == 1 else 2 if p.stride[1] == 2 and inner == 1 else 0
    out_row = p.output[1] * inner
    sliding = p.output[0] > 1 and p.stride[0] == p.dilation[0] == 1
    blocks = p.kernel[0] > slot.MOST_TAPS and sliding and out_row >= lanes
    small = p.kernel[0] * p.kernel[1] <= slot.MOST_FUSED and p.kernel[1] <= slot.MOST_TAPS
    fused = step > 0 and not blocks and (small or p.kernel[1] == 1 == step)
    sharing = p.dilation[0] == 1 and p.stride[0] < p.kernel[0] <= slot.MOST_TAPS
    code = Windows(
        fold=p.fold,
        kernel=p.kernel,
        step=step,
        single=inner == 1,
        fused=fused,
        rowwise=step > 0 and out_row >= LONG_ROW * lanes,
        padded=True,
        blocks=blocks,
        lane_divisors=len(p.by_lane) > 0,
        unit=inner == p.dilation[1] == 1,
        whole=False,
        row=width * inner if lanes <= width * inner <= WRITTEN_OUT * lanes else 0,
        out_row=out_row if lanes <= out_row <= WRITTEN_OUT * lanes else 0,
        shared=p.stride[0] if fused and sharing else 0,
        short=width * inner < lanes,
        out_short=out_row < lanes,
    )
    if p.padded or p.fold.indices:
        return code
    if code.fused:  # a row of fewer elements than a vector has is read beyond its end
        plane = p.size[0] * width * inner  # which the one before it may be read into, and which may be copied
        small = 4 * lanes <= plane <= SMALL_PLANE // itemsize(p.fold.source)
        return dataclasses.replace(code, padded=out_row < lanes and not small)
    even = code.rowwise or step != 2 or width % 2 == 0
    if step:  # rows that are computed at once make a vector at least: those of the last band, or of a small plane
        window = (p.span[0] - 1) * width * inner // step + out_row
        small = p.size[0] * width * inner * itemsize(p.fold.computed) <= SMALL_PLANE
        enough = out_row >= lanes or (small and window >= lanes)
    elif inner == 1:
        enough = (min(p.stride[0], p.span[0]) * width - (p.span[1] - 1)) >= lanes
    else:
        enough = inner >= lanes
    return dataclasses.replace(code, padded=not (even and enough))
