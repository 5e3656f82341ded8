"""How a Winograd convolution is cut into blocks and tasks, and what a call does: policy, in numbers of elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Array, BoundRun
from fastconv.codegen import blocked, copying
from fastconv.codegen import tile as tiles
from fastconv.codegen import transform as codelet
from fastconv.codegen.winograd_tile import NONE, Axis
from fastconv.cpu import plan as at
from fastconv.cpu import scratch, threads
from fastconv.cpu import winograd_steps as step
from fastconv.cpu.algorithm import AnyPlan
from fastconv.cpu.blocking import equal, weights_in_panels
from fastconv.cpu.exact import Exact
from fastconv.cpu.geometry import Geometry, balanced, geometry
from fastconv.cpu.kernel import Driver
from fastconv.cpu.native import LINE, address
from fastconv.cpu.plan import Request, common_numbers, input_strides, placed, tile_slot

Numbers = npt.NDArray[np.int64]
Step = tuple[threads.Launch, Numbers]  # something launched, with its numbers

#: Tiles of a block. V of a block is read once for each task of filters and lies in the third level cache or beyond;
#: with fewer, U is computed or read too often (200 to 400 took the same time, 100 took 5 to 15 % more).
BLOCK_TILES = 224

#: Channels summed in one pass, and panels of filters of a task: U and M of a task should stay in the second level
#: cache, and a pass should be long enough to hide a tile's beginning and end. Where M is small, it may be longer. (With
#: four panels, one thread is faster by 2 % where tiles are few, and two are slower by 10.)
CHUNK, TASK_PANELS = 64, 2
FEW_TILES, CHUNK_OF_FEW = 32, 128

#: Bytes of U that are kept for many calls. Beyond, reading it takes longer than computing it from weights in panels.
MOST_TRANSFORMED = 1024 * 1024

#: Vectors of filters in a panel: the register tile's.
PANEL_VECTORS = 2


@dataclass(frozen=True)
class Tiling:
    """How an output is cut into tiles, tiles into blocks, and the product into tasks."""

    axes: tuple[Axis, Axis]
    phases: tuple[int, int]  # places between the elements of a tile: the dilation
    tiles: tuple[int, int]  # of an image: rows of all phases; tiles of a row and phase
    rows: int  # of tiles, of all images
    block: tuple[int, int]
    blocks: tuple[int, int]
    part_rows: int  # of a block's rows of tiles, that a task takes
    chunk: int  # channels of a pass
    passes: int
    panel: int  # filters
    panels: int  # of a group
    task_panels: int
    tile_rows: int  # of a register tile

    @property
    def sizes(self) -> tuple[int, int]:
        """Inputs of a tile along each axis."""
        rows, columns = self.axes
        return rows.inputs, columns.inputs

    @property
    def frequencies(self) -> int:
        """Products of a tile and a channel."""
        return self.sizes[0] * self.sizes[1]

    @property
    def most_tiles(self) -> int:
        """Tiles of a full block."""
        return self.block[0] * self.block[1] * self.phases[1]

    @property
    def parts(self) -> int:
        """Parts of a block that are tasks of their own."""
        return -(-self.block[0] // self.part_rows)

    def products(self) -> Iterator[int]:
        """Every number of tiles that a task multiplies."""
        for height in {self.block[0], self.rows - (self.blocks[0] - 1) * self.block[0]}:
            for width in {self.block[1], self.tiles[1] - (self.blocks[1] - 1) * self.block[1]}:
                for first in range(0, height, self.part_rows):
                    yield min(self.part_rows, height - first) * width * self.phases[1]


def tiling(request: Request, shape: Geometry, axes: tuple[Axis, Axis]) -> Tiling:
    """Cut a problem; what a sum is made of depends neither on the batch nor on the threads."""
    problem = request.problem
    lanes = request.target.lanes(problem.dtype)
    phases = tuple(1 if axis.is_left else steps for steps, axis in zip(shape.dilation[1:], axes, strict=True))
    height, width = (
        -(-size // (axis.outputs * steps)) for size, axis, steps in zip(shape.output[1:], axes, phases, strict=True)
    )
    height *= phases[0]
    rows = max(1, problem.batch) * height  # an empty batch has a plan and a price, too
    block_width = equal(width, max(1, BLOCK_TILES // phases[1]))
    block_rows = equal(rows, max(1, BLOCK_TILES // (block_width * phases[1])))
    few = height * width * phases[1] <= FEW_TILES
    chunks = -(-shape.channels // (CHUNK_OF_FEW if few else CHUNK))
    chunk = -(-shape.channels // chunks // lanes) * lanes
    panel = min(PANEL_VECTORS, -(-shape.filters // lanes)) * lanes
    panels = -(-shape.filters // panel)
    task_panels, parts = _tasks(request, panels, block_rows)
    return Tiling(
        axes=axes,
        phases=(phases[0], phases[1]),
        tiles=(height, width),
        rows=rows,
        block=(block_rows, block_width),
        blocks=(-(-rows // block_rows), -(-width // block_width)),
        part_rows=-(-block_rows // parts),
        chunk=chunk,
        passes=-(-shape.channels // chunk),
        panel=panel,
        panels=panels,
        task_panels=task_panels,
        tile_rows=tiles.shape(request.target, 8)[0],
    )


def _tasks(request: Request, panels: int, rows: int) -> tuple[int, int]:
    """Panels of a task, about TASK_PANELS, and parts of a block's rows: such that threads have equal shares."""
    groups, workers = request.problem.groups, request.threads

    def longest(count: int) -> int:
        """Panels that the busiest thread has."""
        return -(-groups * -(-panels // count) // workers) * count

    task_panels = min(range(1, min(panels, TASK_PANELS * 3 // 2) + 1), key=lambda count: (longest(count), -count))
    tasks = groups * -(-panels // task_panels)
    return task_panels, min(rows, -(-workers // tasks))


@dataclass(frozen=True)
class Weights:
    """Weights in one of their forms."""

    array: Array  # as they were given
    form: int
    address: int
    memory: Array  # that the address is in


@dataclass(frozen=True)
class WinogradPlan:
    """A request's numbers and codelets, compiled when it first runs."""

    request: Request
    tiling: Tiling
    numbers: dict[int, int]
    shared: int  # elements of V of a block, all groups
    own: int  # elements of a worker
    keep: tuple[Numbers, ...]  # tables that the numbers point to
    exact: Exact  # for images whose transform is not finite

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""
        return sum(map(scratch.allocated, self._sizes))

    @cached_property
    def _sizes(self) -> tuple[int, int, int]:
        """Bytes of V, of all workers, and of the marks of broken images."""
        workers = max(threads.workers(tasks, self.request.threads) for tasks in self._tasks)
        return self.shared * self.numbers[at.ITEM], self._pitch * workers, self.exact.mark_bytes

    @cached_property
    def _pitch(self) -> int:
        """Bytes from one worker's scratch to the next's."""
        return scratch.pitch(self.own * self.numbers[at.ITEM])

    @property
    def _tasks(self) -> tuple[int, int]:
        """Tasks of a block: of its tiles, and of its filters."""
        groups, cut = self.request.problem.groups, self.tiling
        vectors = -(-self.numbers[at.CHANNELS] // self.numbers[at.LANES])
        return groups * vectors, groups * self.numbers[at.FILTER_BLOCKS] * cut.parts

    @cached_property
    def _array(self) -> Numbers:
        """The numbers as the driver reads them, addresses of codelets among them."""
        dtype, cut = self.request.problem.dtype, self.tiling
        array = np.zeros(step.PLAN_SLOTS, np.int64)
        for place, value in self.numbers.items():
            array[place] = value
        channels_first = self.request.problem.layout == "channels_first"
        array[step.INTO] = blocked.into(dtype, channels_first)
        array[step.OUT_OF] = blocked.out_of(dtype, channels_first, self.request.activation)
        array[at.PANELS] = copying.panels(dtype, cut.panel)
        for place, code in _codelets(dtype, cut.axes).items():
            array[place] = codelet.address(code)
        for rows, vectors in self._tile_shapes():
            tile = tiles.Tile(dtype, rows, vectors, tiles.WHOLE, False, None, self.numbers[at.WEIGHT_STEP])
            array[tile_slot(rows, vectors, tiles.WHOLE)] = tiles.address(tile)
        return array

    def _tile_shapes(self) -> set[tuple[int, int]]:
        """(rows, vectors) of the register tiles."""
        cut, lanes = self.tiling, self.numbers[at.LANES]
        last = self.numbers[at.FILTERS] - (cut.panels - 1) * cut.panel
        found = set()
        for count in cut.products():
            _, size, larger = balanced(count, cut.tile_rows)
            for rows in {size, size + (larger > 0)}:
                found |= {(rows, -(-last // lanes))} | ({(rows, cut.panel // lanes)} if cut.panels > 1 else set())
        return found

    def _step(self, driver: Driver, operands: int, tasks: int, numbers: dict[int, int]) -> Step:
        """A launch, and the plan's numbers with some of them replaced."""
        array = self._array.copy()
        for place, value in numbers.items():
            array[place] = value
        function = driver.address(self.request.problem.dtype)
        return threads.Launch(function, operands, tasks, self.request.threads), array

    @cached_property
    def _steps(self) -> dict[int, tuple[Step, Step]]:
        """What `steps` returned, for each form."""
        return {}

    def steps(self, form: int) -> tuple[Step, Step]:
        """What is launched for each block with weights in a form: for its tiles, and for its filters."""
        found = self._steps.get(form)
        if found is None:
            of_tiles, of_filters = self._tasks
            weights = {step.FORM: form, **(self._of_all_weights if form == step.TRANSFORMED else {})}
            found = self._steps[form] = (
                self._step(step.winograd_tiles, 4, of_tiles, {}),
                self._step(step.winograd_filters, 8, of_filters, weights),
            )
        return found

    @property
    def _of_all_weights(self) -> dict[int, int]:
        """Strides of U where it is computed once."""
        cut = self.tiling
        panel = self.numbers[at.CHANNELS] * cut.panel
        frequency = cut.panels * panel + LINE // self.numbers[at.ITEM]
        return {step.U_PANEL: panel, step.U_FREQUENCY: frequency, step.U_GROUP: cut.frequencies * frequency}

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; all arrays but the result are contiguous, and the result has the plan's strides."""
        self._compute(Weights(weight, step.AS_THEY_LIE, address(weight), weight), x, bias, residual, out)

    def bind(self, weight: Array) -> tuple[BoundRun, int]:
        """Return `run` for these weights, which nobody changes from now on: in panels, or transformed."""
        u = self.request.problem.groups * self._of_all_weights[step.U_GROUP] * self.numbers[at.ITEM]
        packed = self._transformed(weight, u) if u <= MOST_TRANSFORMED else self._in_panels(weight)
        return partial(self._compute, packed), packed.memory.nbytes

    def _in_panels(self, weight: Array) -> Weights:
        packing = at.packing(self.request, self.numbers)
        to, block = scratch.aligned(packing.bytes)
        workspace = scratch.take()
        packing(workspace.job, to, address(weight))
        scratch.give(workspace)
        return Weights(weight, step.IN_PANELS, to, block)

    def _transformed(self, weight: Array, size: int) -> Weights:
        """U of all weights, `size` bytes."""
        tasks = self.request.problem.groups * self.tiling.panels
        launch, array = self._step(step.winograd_weights, 3, tasks, self._of_all_weights)
        to, block = scratch.aligned(size)
        workspace = scratch.take()
        memory = workspace.scratch(self._pitch * launch.threads, self.request.problem.dtype)
        launch.run(workspace.job, (address(array), address(weight), to), memory, self._pitch)
        scratch.give(workspace)
        return Weights(weight, step.TRANSFORMED, to, block)

    def _compute(self, weights: Weights, x: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        self.exact.after(partial(self._blocks, weights, address(x)), x, weights.array, bias, residual, out)

    def _blocks(self, weights: Weights, x: int, workspace: scratch.Workspace, rest: tuple[int, ...]) -> None:
        """Compute with the weights in one of their forms."""
        dtype = self.request.problem.dtype
        shared, own, _ = self._sizes
        v = workspace.scratch(shared, f"{dtype} tiles")
        memory = workspace.scratch(own, dtype)
        (transform, of_tiles), (multiply, of_filters) = self.steps(weights.form)
        of_tiles_at, of_filters_at = address(of_tiles), address(of_filters)
        for block in range(self.tiling.blocks[0] * self.tiling.blocks[1]):
            transform.run(workspace.job, (of_tiles_at, x, v, block), memory, self._pitch)
            multiply.run(workspace.job, (of_filters_at, v, weights.address, *rest, block), memory, self._pitch)


def _codelets(dtype: str, axes: tuple[Axis, Axis]) -> dict[int, codelet.Codelet]:
    """The transforms: of the input one axis after the other, of weights and output both at once."""
    rows, columns = axes
    found = {
        step.WEIGHTS: codelet.Codelet(dtype, codelet.WEIGHT, rows, columns),
        step.OUTPUT: codelet.Codelet(dtype, codelet.OUTPUT, rows, columns),
    }
    if any(axis.is_left for axis in axes):
        return found | {step.INPUT_LAST: codelet.Codelet(dtype, codelet.INPUT, rows, columns)}
    first = codelet.Codelet(dtype, codelet.INPUT, rows, NONE)
    return found | {
        step.INPUT_FIRST: first,
        step.INPUT_LAST: codelet.Codelet(dtype, codelet.INPUT, NONE, columns),
    }


def make(request: Request, axes: tuple[Axis, Axis], exact: Callable[[Request], AnyPlan]) -> WinogradPlan:
    """Return the plan of a request with tiles of F(m, r) along each axis."""
    problem = request.problem
    shape = geometry(problem)
    item, lanes = np.dtype(problem.dtype).itemsize, request.target.lanes(problem.dtype)
    cut = tiling(request, shape, axes)
    numbers, tables = common_numbers(request, shape)
    numbers |= _tiling_numbers(cut)
    numbers |= weights_in_panels(numbers, shape.channels * shape.taps)
    numbers |= zip((step.IMAGE, step.CHANNEL, step.ROW, step.PIXEL), input_strides(problem), strict=True)
    numbers[step.REVERSED] = int(shape.flip)
    numbers[step.BY_MAPS] = int(shape.padding_mode != "zeros" and shape.padded)
    buffers, sizes = _buffers(cut, shape, lanes, LINE // item)
    numbers |= buffers
    # A step is a channel: where it lies in V behind the first of its chunk
    channel = np.arange(cut.chunk)
    table = (channel // lanes * cut.most_tiles * lanes + channel % lanes) * item
    numbers[at.TABLE_AT] = address(table)
    # Tiles reach beyond the padded input: what lies there does not matter, but has to be finite
    beyond = [(axis.step + axis.inputs) * steps for axis, steps in zip(axes, cut.phases, strict=True)]
    maps = [np.pad(axis, (0, size), constant_values=0) for axis, size in zip(shape.maps[1:], beyond, strict=True)]
    numbers |= {at.MAP_H: address(maps[0]), at.MAP_W: address(maps[1])}
    keep = (*tables, *maps, table)
    return WinogradPlan(request, cut, numbers, problem.groups * sizes[0], sizes[1], keep, Exact(request, exact))


def _tiling_numbers(cut: Tiling) -> dict[int, int]:
    rows, columns = cut.axes
    return {
        step.TILE_H: rows.outputs,
        step.TILE_W: columns.outputs,
        step.STEP_H: rows.step,
        step.STEP_W: columns.step,
        step.TAPS_W: columns.taps,
        **dict(zip((step.SIZE_H, step.SIZE_W), cut.sizes, strict=True)),
        step.FREQUENCIES: cut.frequencies,
        **dict(zip((step.PHASES_H, step.PHASES_W), cut.phases, strict=True)),
        **dict(zip((step.TILES_H, step.TILES_W), cut.tiles, strict=True)),
        step.ALL_ROWS: cut.rows,
        **dict(zip((step.BLOCK_H, step.BLOCK_W), cut.block, strict=True)),
        step.BLOCKS_W: cut.blocks[1],
        step.TILES: cut.most_tiles,
        step.PART_H: cut.part_rows,
        step.PARTS_H: cut.parts,
        step.LAST_ROWS: 1 if any(axis.is_left for axis in cut.axes) else cut.sizes[0],
        at.TILE_ROWS: cut.tile_rows,
        at.BLOCK: cut.chunk,
        at.PARTS: cut.panels,
        at.PART_SIZE: cut.panel,
        at.PART_LARGER: 0,
        at.BLOCK_PARTS: cut.task_panels,
        at.FILTER_BLOCKS: -(-cut.panels // cut.task_panels),
    }


def _buffers(cut: Tiling, shape: Geometry, lanes: int, line: int) -> tuple[dict[int, int], tuple[int, int]]:
    """Strides and places of buffers, and the elements of what is shared and of what a worker has to itself.

    Frequencies are an extra cache line apart: at multiples of 4096 bytes they would share a few sets of the cache.
    """
    rows, columns = cut.axes
    phases_h, phases_w = cut.phases
    vectors = -(-shape.channels // lanes)
    part = cut.part_rows * cut.block[1] * phases_w
    numbers = {
        step.V_FREQUENCY: vectors * cut.most_tiles * lanes + line,
        step.M_VECTOR: part * lanes,
        step.M_FREQUENCY: cut.task_panels * cut.panel * part + line,
        step.U_PANEL: cut.chunk * cut.panel,
        step.U_FREQUENCY: cut.task_panels * cut.chunk * cut.panel + line,
        step.STAGED_ROW: ((cut.block[1] - 1) * columns.step + columns.inputs) * phases_w * lanes,
        step.Y_ROW: cut.block[1] * columns.outputs * phases_w * lanes,
    }
    numbers[step.V_GROUP] = cut.frequencies * numbers[step.V_FREQUENCY]
    bands = -(-min(cut.block[0], cut.tiles[0]) // phases_h) + (phases_h > 1)  # a block may begin with any phase
    staged = ((bands - 1) * rows.step + rows.inputs) * phases_h
    room = lanes * lanes  # for a block of a copy that reaches beyond the last row
    sizes = {
        step.STAGED: staged * numbers[step.STAGED_ROW] + room,
        step.HALFWAY: rows.inputs * numbers[step.STAGED_ROW],
        step.TAPS: cut.chunk * shape.taps * cut.panel,
        step.U: cut.frequencies * numbers[step.U_FREQUENCY],
        step.M: cut.frequencies * numbers[step.M_FREQUENCY],
        step.Y: rows.outputs * numbers[step.Y_ROW] + room,
    }
    places, own = placed(sizes, line)
    return numbers | places, (numbers[step.V_GROUP], own)
