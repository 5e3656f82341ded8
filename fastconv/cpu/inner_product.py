"""Inner products: each output as the sum along a row of weights, which are read as they lie.

    y[k, p] = sum over s of w[k, s] * x[p, s],   s = (channel, tap)

For layers whose weights are more than their pixels: fully connected ones (a kernel of 1 x 1 on one pixel, or one as
large as its input), gates, the last layers of a network. Where the others copy weights into panels or use a few lanes
of each vector, here vectors lie along the steps; see `codegen/inner_product.py`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastconv.algorithm import Machine
from fastconv.codegen import inner_product as codegen
from fastconv.codegen import target as targets
from fastconv.codegen.inner_product import Products
from fastconv.cpu.algorithm import Planned
from fastconv.cpu.blocking import equal
from fastconv.cpu.geometry import Geometry, Ints, balanced, geometry
from fastconv.cpu.native import LINE, address
from fastconv.cpu.plan import Request, TaskPlan, natural_strides
from fastconv.problem import ConvProblem

#: Entries of a table: of rows, or of the places of each pixel's taps.
MOST_ENTRIES = 1 << 17

#: Steps of a block, if not all of them: so many that the ends of their sums take a tenth of the time, and so few that
#: weights are read once for some dozens of rows.
FEWEST_STEPS, MOST_STEPS = 512, 4096

#: Of the second level cache, for the inputs of a block, which all pass for each tile of filters. Most of it, as weights
#: only stream through. With half of it a layer of 2048 channels and 7 x 7 pixels took 6 % longer, with a third 10 %:
#: there are more blocks then, whose sums end across lanes.
CACHE_SHARE = 0.75

# Cycles
BEGIN_TILE, END_SUM = 16, 2.5  # of a tile; of a sum, across lanes and to its place
STREAMS = 3  # times as fast as others read weights: row by row, as the processor expects them
COPY = {codegen.RUNS: 0.3, codegen.COLUMNS: 0.5, codegen.TAPS_APART: 2.5}  # an element


class InnerProduct(Planned):
    """Sums along rows of weights."""

    name = "inner_product"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse outputs of so many pixels that tables of them would be large."""
        shape = geometry(problem)
        entries = shape.pixels * max(problem.batch, shape.taps)
        if entries > MOST_ENTRIES:
            return f"{self.name} looks up {MOST_ENTRIES} rows, or places of taps, at most, not {entries}"
        return super().supports(problem)

    def make_plan(self, request: Request) -> RowsPlan:
        """Return the plan of a request."""
        return _plan(request)

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the time of products, of the ends of sums, of copies, and of reading the weights from memory."""
        shape, target = geometry(problem), targets.current()
        lanes = target.lanes(problem.dtype)
        rows, steps = problem.batch * shape.pixels, shape.channels * shape.taps
        filters, tile_rows = codegen.shape(target, problem.dtype, rows)
        row_block, block = _blocks(shape, rows, problem.dtype)
        passes = -(-shape.channels // block)
        blocks = -(-rows // row_block)
        sweeps = blocks * passes * -(-shape.filters // filters)
        tiles = -(-min(rows, row_block) // tile_rows)
        sums = filters * min(rows, row_block)
        waits = max(sums, filters * tiles + min(rows, row_block)) / 2  # for products, or for their loads
        vectors = -(-block * shape.taps // lanes)
        cycle = problem.groups * machine.cycle
        weights = problem.parameters * np.dtype(problem.dtype).itemsize * blocks
        return {
            "call": machine.call,
            "groups": problem.groups * machine.group,
            "products": cycle * sweeps * vectors * waits,
            "tiles": cycle * sweeps * (BEGIN_TILE * tiles + END_SUM * sums),
            "copies": cycle * rows * steps * COPY[_gather(problem, shape)],
            "weights": weights / machine.bandwidth / STREAMS,
        }


@dataclass(frozen=True)
class RowsPlan(TaskPlan):
    """A plan of rows of inputs."""

    code: Products
    row_block: int  # rows of a block
    block: int  # channels of one
    part: int  # filters of a task
    tasks: int
    request: Request

    @property
    def row(self) -> int:
        """Bytes from one row to the next: an odd number of cache lines.

        Rows a multiple of 4096 bytes apart would share a few sets of the cache.
        """
        problem = self.request.problem
        elements = self.block * geometry(problem).taps + 2 * self.request.target.lanes(problem.dtype)
        return (-(-elements * np.dtype(problem.dtype).itemsize // LINE) | 1) * LINE

    @property
    def scratch_bytes(self) -> int:  # type: ignore[override]
        """Bytes of scratch of one worker: rows, and sums that wait for another block of steps."""
        problem = self.request.problem
        waits = self.block < geometry(problem).channels
        sums = self.part * self.row_block * np.dtype(problem.dtype).itemsize
        return self.row_block * self.row + (sums if waits else 0)

    @cached_property
    def _tables(self) -> tuple[Ints, ...]:
        """The slots, and what they point to."""
        return _tables(self)

    def addresses(self, residual: bool, careful: bool) -> tuple[int, int]:
        """The addresses of the function and of the numbers."""
        code = dataclasses.replace(self.code, residual=residual)
        return codegen.address(code), address(self._tables[0])


def _plan(request: Request) -> RowsPlan:
    problem, shape = request.problem, geometry(request.problem)
    rows = problem.batch * shape.pixels
    filters, most = codegen.shape(request.target, problem.dtype, rows)
    row_block, block = _blocks(shape, rows, problem.dtype)
    sizes = _tile_rows({row_block, (rows - 1) % row_block + 1}, most)
    code = Products(problem.dtype, _gather(problem, shape), filters, sizes, activation=request.activation)
    parts, part = _parts(shape.filters, filters, problem.groups, request.threads)
    return RowsPlan(code, row_block, block, part, problem.groups * parts, request)


def _tables(plan: RowsPlan) -> tuple[Ints, ...]:
    """The slots of a plan, and what they point to."""
    request = plan.request
    problem, shape = request.problem, geometry(request.problem)
    item = np.dtype(problem.dtype).itemsize
    rows = problem.batch * shape.pixels
    blocks = -(-rows // plan.row_block)
    channel, _ = _strides(problem, shape)
    chunks, firsts, places = _chunks(request, shape, plan.row_block)
    y_rows, residual_rows = (
        _row_offsets(problem, shape, strides) for strides in (request.out_strides, natural_strides(problem))
    )
    numbers = np.zeros(codegen.SLOTS, np.int64)
    for slot, value in {
        codegen.PARTS: plan.tasks // problem.groups,
        codegen.PART: plan.part,
        codegen.FILTERS: shape.filters,
        codegen.CHANNELS: shape.channels,
        codegen.TAPS: shape.taps,
        codegen.BLOCK: plan.block,
        codegen.ROW_BLOCKS: blocks,
        codegen.ROW_BLOCK: plan.row_block,
        codegen.LAST_ROWS: rows - (blocks - 1) * plan.row_block,
        codegen.CHUNKS: address(chunks),
        codegen.FIRST_CHUNKS: address(firsts),
        codegen.X_GROUP: shape.channels * channel,
        codegen.X_CHANNEL: channel,
        codegen.ROW: plan.row,
        codegen.SUMS: plan.row_block * plan.row,
        codegen.Y_ROWS: address(y_rows),
        codegen.RESIDUAL_ROWS: address(residual_rows),
        codegen.Y_FILTER: request.out_strides[1] * item,
        codegen.RESIDUAL_FILTER: natural_strides(problem)[1] * item,
    }.items():
        numbers[slot] = value
    return numbers, chunks, firsts, places, y_rows, residual_rows


def _blocks(shape: Geometry, rows: int, dtype: str) -> tuple[int, int]:
    """(rows, channels) of a block.

    How the steps are cut, and so what is rounded where, does not depend on how many images there are.
    """
    room = int(targets.caches().level2 * CACHE_SHARE) // np.dtype(dtype).itemsize
    most = min(MOST_STEPS, max(FEWEST_STEPS, room // shape.pixels))
    block = equal(shape.channels, max(1, most // shape.taps))
    return equal(rows, max(1, room // (block * shape.taps))) if rows else 1, block


def _tile_rows(blocks: set[int], most: int) -> tuple[int, ...]:
    """The rows of the tiles that blocks of so many rows are cut into, the most first."""
    found = set()
    for rows in blocks:
        _, smaller, larger = balanced(rows, most)
        found |= {smaller, smaller + (larger > 0)}
    return tuple(sorted(found, reverse=True))


def _parts(filters: int, tile: int, groups: int, threads: int) -> tuple[int, int]:
    """(tasks of a group, filters of one): tasks of a group copy its inputs each, so no more than threads ask for."""
    tiles = -(-filters // tile)
    part = -(-tiles // min(tiles, -(-threads // groups)))
    return -(-tiles // part), part * tile


def _strides(problem: ConvProblem, shape: Geometry) -> tuple[int, int]:
    """Bytes of the input from one channel to the next, and from one place to the next."""
    item = np.dtype(problem.dtype).itemsize
    if problem.layout == "channels_first":
        return math.prod(shape.size) * item, item
    return item, problem.channels * item


def _places(shape: Geometry) -> Ints:
    """For each output pixel and each tap, the place in a plane that is read, or -1 where a zero is: pixels x taps."""
    pixels = np.indices(shape.output).reshape(3, -1).T * np.array(shape.stride)
    windows = pixels[:, np.newaxis, :] + shape.tap_positions
    d, h, w = (map_[windows[..., axis]] for axis, map_ in enumerate(shape.maps))
    _, height, width = shape.size
    places: Ints = np.where((d < 0) | (h < 0) | (w < 0), -1, (d * height + h) * width + w)
    return places


def _gather(problem: ConvProblem, shape: Geometry) -> str:
    """How rows are copied."""
    channel, place = _strides(problem, shape)
    item = np.dtype(problem.dtype).itemsize
    step = place if shape.taps > 1 else channel
    if _is_run(shape) and step == item and (shape.channels == 1 or channel == shape.taps * item):
        return codegen.RUNS
    if shape.taps == 1 and place == item and not shape.padded:
        return codegen.COLUMNS
    return codegen.TAPS_APART


def _is_run(shape: Geometry) -> bool:
    """Whether the places of a window's taps follow each other in the plane."""
    if shape.padded or (shape.flip and shape.taps > 1):
        return False
    axes = list(zip(shape.kernel, shape.dilation, shape.size, strict=True))
    while axes and axes[0][0] == 1:
        del axes[0]
    together = all(dilation == 1 for taps, dilation, _ in axes if taps > 1)
    return together and all(taps == size for taps, _, size in axes[1:])


def _chunks(request: Request, shape: Geometry, row_block: int) -> tuple[Ints, Ints, Ints]:
    """The table of chunks, the number of the first one of each block of rows, and the places in bytes."""
    problem = request.problem
    lanes = request.target.lanes(problem.dtype)
    _, place = _strides(problem, shape)
    image = math.prod(shape.size) * problem.channels * np.dtype(problem.dtype).itemsize
    gather, found = _gather(problem, shape), _places(shape)
    places = np.ascontiguousarray(np.where(found < 0, -1, found * place))
    apart = gather == codegen.TAPS_APART
    rows = problem.batch * shape.pixels
    chunks: list[tuple[int, int, int, int]] = []
    firsts = [0]
    row = 0
    while row < rows:
        if row and row % row_block == 0:
            firsts.append(len(chunks))
        n, pixel = divmod(row, shape.pixels)
        count = 1
        if gather == codegen.COLUMNS:
            most = min(lanes, shape.pixels - pixel, row_block - row % row_block)
            along = found[pixel : pixel + most, 0]
            count = int(np.argmin(np.append(along == along[0] + np.arange(most), False)))
        begin = n * image + (0 if apart else int(places[pixel, 0]))
        chunks.append((row % row_block, count, begin, address(places) + 8 * pixel * shape.taps))
        row += count
    firsts.append(len(chunks))
    return np.array(chunks, np.int64).reshape(-1, codegen.CHUNK_SLOTS), np.array(firsts, np.int64), places


def _row_offsets(problem: ConvProblem, shape: Geometry, strides: tuple[int, ...]) -> Ints:
    """Where each row of the result begins, in bytes."""
    image, _, pixel = strides
    item = np.dtype(problem.dtype).itemsize
    images = np.arange(problem.batch)[:, np.newaxis] * image
    offsets: Ints = np.ascontiguousarray((images + np.arange(shape.pixels) * pixel).ravel() * item)
    return offsets
