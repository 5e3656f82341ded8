"""How a convolution by Fourier transforms is cut into tiles and tasks, and what a call does: policy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Array, BoundRun
from fastconv.codegen import fourier
from fastconv.codegen import spectrum as slot
from fastconv.codegen import target as targets
from fastconv.cpu import fft_steps as step
from fastconv.cpu import plan as at
from fastconv.cpu import scratch, threads
from fastconv.cpu.algorithm import AnyPlan
from fastconv.cpu.exact import Exact
from fastconv.cpu.geometry import Geometry, geometry, triple
from fastconv.cpu.kernel import Driver
from fastconv.cpu.native import LINE, address
from fastconv.cpu.plan import Request, common_numbers, input_strides, natural_strides, pixels_lie_apart, placed
from fastconv.problem import ConvProblem

Numbers = npt.NDArray[np.int64]

#: Sizes of transforms along an axis.
LEAST_SIZE, MOST_SIZE, LONGEST = 16, 512, 2**18

#: Cycles of a vector element: to gather it, to scatter it if it is a result, to multiply it in the first cache and
#: beyond. These and the next two were fitted to 270 cuts of planes of 224x224 to 1500x1500, kernels of 7x7 to 63x63.
GATHER, SCATTER, PRODUCT, FAR_PRODUCT = 11.0, 30.0, 4.0, 12.0

#: Of a row of all tiles, to begin to gather or to scatter it.
BEGIN = 145.0

#: What passes take where they wait for the second level cache, of what they take in the first.
WAIT = 1.16

#: Cycles of one lane: to begin to copy a row of a tile that reaches beyond the input, to move a pixel where pixels lie
#: apart, and to place a weight where weights are not read as they lie.
COPY_ROW, APART, TAP = 30.0, 5.0, 6.0

#: Bytes of spectra of the input, and of a worker's results, that are held at once where lanes are channels.
MOST_INPUT, MOST_RESULTS = 64 * 1024 * 1024, 16 * 1024 * 1024

#: Bytes of spectra of weights that are kept.
MOST_WEIGHTS = 64 * 1024 * 1024

#: Numbers of threads that a cut should be good for.
THREADS = (1, 2)

#: Channels summed in one pass where lanes are channels.
CHUNK = 4


@dataclass(frozen=True)
class Tiling:
    """How an output is cut into tiles, and what lanes are."""

    planes: bool  # lanes are pairs of tiles; else channels
    size: tuple[int, int]  # of a transform
    tile: tuple[int, int]  # results of one
    tiles: tuple[int, int]  # of a plane
    lanes: int

    @property
    def pairs(self) -> int:
        """Of tiles of a plane: the real and the imaginary part of one transform."""
        return -(-math.prod(self.tiles) // 2)

    @property
    def pitch(self) -> int:
        """Elements from one row of a spectrum to the next: at multiples of 4096 bytes they would share a few sets."""
        height, width = self.size
        return (width + (height > 1)) * 2 * self.lanes

    @property
    def spectrum(self) -> int:
        """Elements of a spectrum."""
        return self.size[0] * self.pitch


def tiling(problem: ConvProblem, target: targets.Target) -> Tiling:
    """Return the cut that takes the least time for one image: what it computes depends on no other."""
    return best(dataclasses.replace(problem, batch=1), target.lanes(problem.dtype), targets.caches().level2)


class Cycles(NamedTuple):
    """What one thread spends on a problem."""

    transforms: float  # of inputs and of results
    products: float  # of spectra
    weights: float  # transformed and laid out


def cycles(problem: ConvProblem, target: targets.Target) -> Cycles:
    """Return the cycles that a problem takes, on one thread."""
    return _cycles(tiling(problem, target), problem, slices(problem), targets.caches().level2)


def slices(problem: ConvProblem) -> Geometry:
    """Return the geometry of the slices of a volume: a channel for each channel and slice that a window has of it."""
    shape = geometry(problem)
    depth, *kernel = shape.kernel
    return dataclasses.replace(shape, channels=shape.channels * depth, kernel=triple((1, *kernel)))


@lru_cache(maxsize=1024)
def best(problem: ConvProblem, lanes: int, cache: int) -> Tiling:
    """Return the cut that takes the fewest cycles; `cache` is bytes of the second level.

    What is computed must not depend on the threads, so that it is the product of the cycles on one, two and more.
    """
    shape = slices(problem)

    def cost(cut: Tiling) -> float:
        cycles, tasks = _cycles(cut, problem, shape, cache), problem.groups * shape.output[0]
        tasks *= -(-cut.pairs // lanes) if cut.planes else cut.pairs
        of_tiles = cycles.transforms + cycles.products
        return math.prod(of_tiles / tasks * -(-tasks // count) + cycles.weights / count for count in THREADS)

    return min(candidates(shape, lanes), key=cost)


def candidates(shape: Geometry, lanes: int) -> Iterator[Tiling]:
    """Every cut worth a look: for each number of tiles along an axis, the smallest transform."""
    axes = [_axis(shape, axis, lanes) for axis in (1, 2)]
    for height, tile_h, tiles_h in axes[0]:
        for width, tile_w, tiles_w in axes[1]:
            for planes in (True, False):
                yield Tiling(planes, (height, width), (tile_h, tile_w), (tiles_h, tiles_w), lanes)


def _axis(shape: Geometry, axis: int, lanes: int) -> list[tuple[int, int, int]]:
    """(size, results, tiles) of an axis."""
    stride, (before, _) = shape.stride[axis], shape.padding[axis]
    output = (shape.output[axis] - 1) * stride + 1  # of all places, some of which are results
    span = (shape.kernel[axis] - 1) * shape.dilation[axis] + 1
    if axis == 1 and output == span == 1:
        return [(1, 1, 1)]
    # A single tile may be cut short by the padding at one end: at the other there are zeros in its place
    after = output + span - 1 - before - shape.size[axis]  # that any window sees
    wrapped = max(0, min(before, after, span - 1)) if shape.padding_mode == "zeros" else 0
    found = []
    for size in _sizes():
        if size >= max(lanes, output + span - 1 - wrapped, span):
            found.append((size, output, 1))
            break
        results = (size - span + 1) // stride * stride
        if results >= max(1, size // 8) and size >= lanes:
            tiles = -(-output // results)
            found.append((size, -(-output // (tiles * stride)) * stride, tiles))
    return found


@lru_cache(maxsize=1)
def _sizes() -> tuple[int, ...]:
    """Even sizes of transforms; long ones are for one axis."""
    few = [size for size in range(LEAST_SIZE, MOST_SIZE + 1, 2) if fourier.radices(size)]
    return (*few, *(2**power for power in range(10, LONGEST.bit_length())))


def _cycles(cut: Tiling, problem: ConvProblem, shape: Geometry, cache: int) -> Cycles:
    height, width = cut.size
    elements = height * width
    lanes, item = cut.lanes, np.dtype(problem.dtype).itemsize
    rows, columns = WAIT * height * fourier.cycles(width), WAIT * width * fourier.cycles(height)
    there = rows + columns + GATHER * elements + BEGIN * height + 2 * lanes * _copied(cut, problem, shape)
    back = (rows / height + BEGIN) * cut.tile[0] + columns + SCATTER * math.prod(cut.tile)
    if pixels_lie_apart(problem) or max(shape.stride) > 1:
        back += 2 * lanes * APART * math.prod(cut.tile) / math.prod(shape.stride)
    taps = GATHER * shape.kernel[1] * -(-shape.kernel[2] // lanes) * lanes
    if not _adjacent(shape):
        taps = GATHER * shape.kernel[1] * width + TAP * lanes * shape.taps
    weights = rows * shape.kernel[1] / height + columns + elements + taps
    pairs = problem.batch * shape.output[0] * cut.pairs
    filter_vectors = -(-shape.filters // lanes)
    if cut.planes:
        sets = problem.groups * -(-pairs // lanes)
        product = PRODUCT if shape.channels * cut.spectrum * item <= cache else FAR_PRODUCT
        return Cycles(
            sets * (shape.channels * there + shape.filters * back),
            sets * shape.filters * shape.channels * product * elements,
            problem.groups * filter_vectors * shape.channels * (weights + 8 * elements * min(lanes, shape.filters)),
        )
    if _depthwise(problem, shape):
        vectors = -(-problem.channels // lanes)
        return Cycles(vectors * pairs * (there + back), vectors * pairs * FAR_PRODUCT * elements, vectors * weights)
    blocks = -(-pairs // _block_pairs(cut, problem, shape))
    products = pairs * shape.channels * (PRODUCT + FAR_PRODUCT / CHUNK) * elements
    transforms = pairs * (-(-shape.channels // lanes) * there + filter_vectors * back)
    return Cycles(
        problem.groups * transforms,
        problem.groups * filter_vectors * products,
        problem.groups * filter_vectors * blocks * shape.channels * weights,
    )


def _copied(cut: Tiling, problem: ConvProblem, shape: Geometry) -> float:
    """Cycles that a lane takes to copy a tile before it is gathered; on average, as tiles inside are not copied."""
    if pixels_lie_apart(problem):
        return APART * math.prod(cut.size)
    inside = 1.0
    for axis, (tiles, tile, size) in enumerate(zip(cut.tiles, cut.tile, cut.size, strict=True), start=1):
        first = -(-shape.padding[axis][0] // tile)  # of those that reach beyond no side
        after = (shape.size[axis] + shape.padding[axis][0] - size) // tile + 1
        inside *= max(0, min(after, tiles) - first) / tiles
    return COPY_ROW * cut.size[0] * (1 - inside)


def _depthwise(problem: ConvProblem, shape: Geometry) -> bool:
    return shape.channels == shape.filters == 1 and problem.groups > 1


def _adjacent(shape: Geometry) -> bool:
    """Whether the taps of a row lie side by side in a tile, in the order of their weights."""
    return bool(np.array_equal(shape.tap_positions[: shape.kernel[2], 2], np.arange(shape.kernel[2])))


def _block_pairs(cut: Tiling, problem: ConvProblem, shape: Geometry) -> int:
    """Pairs of tiles whose spectra are held at once."""
    item = np.dtype(problem.dtype).itemsize
    depthwise = _depthwise(problem, shape)
    vectors = -(-problem.channels // cut.lanes) if depthwise else problem.groups * -(-shape.channels // cut.lanes)
    most = min(MOST_INPUT // (vectors * cut.spectrum * item), MOST_RESULTS // (cut.spectrum * item))
    return max(1, min(most, problem.batch * shape.output[0] * cut.pairs))


@dataclass(frozen=True)
class Weights:
    """Weights as they are or as spectra."""

    array: Array  # as they were given
    spectra: int  # the address of their spectra, or 0
    memory: Array  # that the address is in


@dataclass(frozen=True)
class FourierPlan:
    """A request's numbers and functions, compiled when it first runs."""

    request: Request
    tiling: Tiling
    numbers: dict[int, int]
    own: int  # elements of a worker
    block_pairs: int
    keep: tuple[Numbers, ...]  # tables that the numbers point to
    exact: Exact  # for images whose transform is not finite

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""
        return sum(scratch.allocated(size) for size in self._sizes if size)

    @cached_property
    def _sizes(self) -> tuple[int, int, int, int]:
        """Bytes of all workers, of spectra of weights and of the input, and of the marks of broken images."""
        workers = max(threads.workers(tasks, self.request.threads) for tasks in self._tasks)
        item = self.numbers[at.ITEM]
        weights = self._weight_elements if self.tiling.planes else 0
        inputs = 0 if self.tiling.planes else self.block_pairs * self._input_vectors * self.tiling.spectrum
        return self._pitch * workers, weights * item, inputs * item, self.exact.mark_bytes

    @cached_property
    def _pitch(self) -> int:
        """Bytes from one worker's scratch to the next's."""
        return scratch.pitch(self.own * self.numbers[at.ITEM])

    @property
    def _input_vectors(self) -> int:
        return self.numbers[at.GROUPS] * self.numbers[step.CHANNEL_VECTORS]

    @property
    def _filter_vectors(self) -> int:
        return self.numbers[at.GROUPS] * self.numbers[step.FILTER_VECTORS]

    @property
    def _weight_elements(self) -> int:
        """Of the spectra of all weights."""
        n = self.numbers
        if self.tiling.planes:
            return n[at.GROUPS] * n[at.FILTERS] * n[at.CHANNELS] * 2 * math.prod(self.tiling.size)
        return self._filter_vectors * n[at.CHANNELS] * self.tiling.spectrum

    @property
    def _tasks(self) -> tuple[int, ...]:
        """Tasks of each launch that may be."""
        n = self.numbers
        of_weights = self._filter_vectors * n[at.CHANNELS]
        if self.tiling.planes:
            return of_weights, n[at.GROUPS] * -(-n[step.ALL_PAIRS] // n[at.LANES])
        return of_weights, self.block_pairs * self._input_vectors, self._filter_vectors

    @cached_property
    def _array(self) -> Numbers:
        """The numbers as drivers read them, addresses of functions among them."""
        dtype, n = self.request.problem.dtype, self.numbers
        array = np.zeros(step.PLAN_SLOTS, np.int64)
        for place, value in n.items():
            array[place] = value
        planes = self.tiling.planes
        alike = planes or n[step.DEPTHWISE]
        x, w = slot.VECTORS if alike else slot.LANE, slot.SCALARS if planes else slot.VECTORS
        array[step.GATHER] = slot.gather(dtype)
        array[step.GATHER_WEIGHTS] = slot.gather(dtype, scaled=True)
        array[step.SCATTER] = slot.scatter(dtype, self.request.activation)
        array[step.TRANSFORM] = fourier.lines(dtype)
        array[step.PRODUCT] = slot.product(dtype, x, w)
        for place, passes in self._passes.items():
            array[place] = address(passes.table)
        return array

    @cached_property
    def _passes(self) -> dict[int, fourier.Passes]:
        """Tables of passes."""
        cut, item = self.tiling, self.numbers[at.ITEM]
        height, width = cut.size
        dtype, pixel = self.request.problem.dtype, 2 * cut.lanes * item
        return {
            step.FORWARD_ROW: fourier.Passes(dtype, width, pixel, False),
            step.INVERSE_ROW: fourier.Passes(dtype, width, pixel, True),
            step.FORWARD_COLUMN: fourier.Passes(dtype, height, cut.pitch * item, False),
            step.INVERSE_COLUMN: fourier.Passes(dtype, height, cut.pitch * item, True),
        }

    @cached_property
    def _kept(self) -> Numbers:
        """The numbers where weights are spectra already."""
        array = self._array.copy()
        array[step.KEPT] = 1
        return array

    def _launch(self, driver: Driver, operands: int, tasks: int) -> threads.Launch:
        return threads.Launch(driver.address(self.request.problem.dtype), operands, tasks, self.request.threads)

    @cached_property
    def _of_weights(self) -> threads.Launch:
        return self._launch(step.fft_weights, 3, self._tasks[0])

    @cached_property
    def _of_tiles(self) -> threads.Launch:
        """For planes."""
        return self._launch(step.fft_planes, 7, self._tasks[1])

    @cached_property
    def _of_block(self) -> tuple[threads.Launch, threads.Launch]:
        """For channels, and for their filters."""
        return self._launch(step.fft_channels, 4, self._tasks[1]), self._launch(step.fft_filters, 8, self._tasks[2])

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; all arrays but the result are contiguous, and the result has the plan's strides."""
        self._compute(Weights(weight, 0, weight), x, bias, residual, out)

    def bind(self, weight: Array) -> tuple[BoundRun, int]:
        """Return `run` for these weights, which nobody changes from now on: as spectra, unless they are too large."""
        size = self._weight_elements * self.numbers[at.ITEM]
        if size > MOST_WEIGHTS and not self.tiling.planes:
            return partial(self._compute, Weights(weight, 0, weight)), 0
        to, block = scratch.aligned(size)
        workspace = scratch.take()
        self._transform(workspace, weight, to)
        scratch.give(workspace)
        return partial(self._compute, Weights(weight, to, block)), block.nbytes

    def _transform(self, workspace: scratch.Workspace, weight: Array, to: int) -> None:
        """Spectra of all weights."""
        memory = workspace.scratch(self._sizes[0], self.request.problem.dtype)
        self._of_weights.run(workspace.job, (address(self._array), address(weight), to), memory, self._pitch)

    def _compute(self, weights: Weights, x: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        steps = self._planes if self.tiling.planes else self._channels
        self.exact.after(partial(steps, weights, address(x)), x, weights.array, bias, residual, out)

    def _planes(self, weights: Weights, x: int, workspace: scratch.Workspace, rest: tuple[int, ...]) -> None:
        own, spectra, _, _ = self._sizes
        dtype = self.request.problem.dtype
        to = weights.spectra
        if not to:
            to = workspace.scratch(spectra, f"{dtype} spectra")
            self._transform(workspace, weights.array, to)
        memory = workspace.scratch(own, dtype)
        self._of_tiles.run(workspace.job, (address(self._array), x, to, *rest), memory, self._pitch)

    def _channels(self, weights: Weights, x: int, workspace: scratch.Workspace, rest: tuple[int, ...]) -> None:
        own, _, inputs, _ = self._sizes
        dtype = self.request.problem.dtype
        v, memory = workspace.scratch(inputs, f"{dtype} tiles"), workspace.scratch(own, dtype)
        numbers = address(self._kept if weights.spectra else self._array)
        w = weights.spectra or address(weights.array)
        of_channels, of_filters = self._of_block
        for first in range(0, self.numbers[step.ALL_PAIRS], self.block_pairs):
            of_channels.run(workspace.job, (numbers, x, v, first), memory, self._pitch)
            of_filters.run(workspace.job, (numbers, v, w, *rest, first), memory, self._pitch)


def make(request: Request, exact: Callable[[Request], AnyPlan]) -> FourierPlan:
    """Return the plan of a request."""
    problem = request.problem
    shape = slices(problem)
    cut = tiling(problem, request.target)
    numbers, tables = common_numbers(request, shape)
    depth = geometry(problem).kernel[0]
    depth_taps = np.ascontiguousarray(geometry(problem).tap_positions[:: shape.taps, 0])
    depthwise = _depthwise(problem, shape) and not cut.planes
    pairs = _block_pairs(cut, problem, shape)
    numbers |= _tiling_numbers(cut, problem)
    numbers |= zip((step.IMAGE, step.CHANNEL, step.ROW, step.PIXEL), input_strides(problem), strict=True)
    numbers |= {
        step.SLICE: math.prod(problem.size[1:]) * numbers[step.PIXEL] if problem.rank == 3 else 0,
        step.DEPTH: depth,
        step.DEPTH_TAPS: address(depth_taps),
        step.ALL_PAIRS: cut.pairs * problem.batch * shape.output[0],
        step.KERNEL_H: shape.kernel[1],
        step.KERNEL_W: shape.kernel[2],
        step.COMPACT: int(cut.planes),
        step.DEPTHWISE: int(depthwise),
        step.AS_THEY_LIE: int(natural_strides(problem)[2] == request.out_strides[2] == 1 and max(shape.stride) == 1),
        step.ADJACENT: int(_adjacent(shape)),
        step.BLOCK_PAIRS: pairs,
        at.BLOCK: 1 if depthwise else math.gcd(CHUNK, cut.lanes),
    }
    if depthwise:  # one group, in which each filter reads a channel of its own
        numbers |= {at.GROUPS: 1, at.FILTERS: problem.filters}
    channels = problem.channels if depthwise else shape.channels
    numbers[step.LANE_CHANNELS] = channels
    numbers[step.CHANNEL_VECTORS] = -(-channels // cut.lanes)
    numbers[step.FILTER_VECTORS] = -(-numbers[at.FILTERS] // cut.lanes)
    spectra = shape.channels + (shape.filters > 1) if cut.planes else numbers[at.BLOCK] + pairs
    buffers, own = _buffers(cut, spectra, np.dtype(problem.dtype).itemsize)
    numbers |= buffers
    # Tiles reach beyond the padded input, where nothing depends on what there is
    beyond = [tiles * tile + size for tiles, tile, size in zip(cut.tiles, cut.tile, cut.size, strict=True)]
    maps = [np.pad(axis, (0, count), constant_values=-1) for axis, count in zip(shape.maps[1:], beyond, strict=True)]
    numbers |= {at.MAP_H: address(maps[0]), at.MAP_W: address(maps[1])}
    return FourierPlan(request, cut, numbers, own, pairs, (*tables, *maps, depth_taps), Exact(request, exact))


def _tiling_numbers(cut: Tiling, problem: ConvProblem) -> dict[int, int]:
    height, width = cut.size
    pixel = 2 * cut.lanes
    lines, length, line, following = (1, width, 0, pixel) if height == 1 else (width, height, pixel, cut.pitch)
    return {
        **dict(zip((step.TILE_H, step.TILE_W), cut.tile, strict=True)),
        **dict(zip((step.SIZE_H, step.SIZE_W), cut.size, strict=True)),
        step.TILES_W: cut.tiles[1],
        step.TILES: math.prod(cut.tiles),
        step.PAIRS: cut.pairs,
        step.PITCH: cut.pitch,
        step.SPECTRUM: cut.spectrum,
        **dict(zip((step.LINES, step.LENGTH, step.LINE, step.NEXT), (lines, length, line, following), strict=True)),
        step.ROW_PASSES: len(fourier.radices(width) or ()),
        step.COLUMN_PASSES: len(fourier.radices(height) or ()),
    }


def _buffers(cut: Tiling, spectra: int, item: int) -> tuple[dict[int, int], int]:
    """Places of buffers, and the elements of what a worker has to itself."""
    tiles = 2 * cut.lanes
    sizes = {
        step.LANE_TABLE: tiles * step.LANE_SLOTS * 8 // item,
        step.ROW_TABLE: tiles * slot.SCATTER_SLOTS * 8 // item,
        step.STAGED: tiles * cut.size[1],
        step.SUMS: tiles,
        step.SPECTRA: spectra * cut.spectrum + cut.lanes * tiles,  # the last block of a row is whole
    }
    return placed(sizes, LINE // item)
