"""How a problem is cut so that each piece stays in the cache it is read from: policy, in numbers of elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import product

import numpy as np

from fastconv.codegen import copying
from fastconv.codegen import target as targets
from fastconv.codegen import tile as tiles
from fastconv.cpu import plan as at
from fastconv.cpu.geometry import Geometry, Triple, balanced
from fastconv.cpu.plan import Request

#: Products summed in one pass: enough to hide a tile's epilogue, few enough that the window of the input under a
#: tile stays in the first level cache (320 steps of two 32-byte vectors take 20 KiB of 32).
STEPS_A_PASS = 320

#: Elements of a cache line.
SHORT_ROW = 16

#: Pixels from which channels-first weights are worth a copy into panels. A tile of panels takes 1 to 4 % less time than
#: one of rows read where they lie (measured at 28 x 28 and above); at 14 x 14 the copy costs more than that.
PIXELS_WORTH_PANELS = 500

#: Bytes of weights that are copied into panels where that is a matter of choice.
MOST_PANEL_BYTES = 64 * 1024 * 1024

#: Tasks a thread: several, so that one that starts late or runs slowly does not hold up the others.
TASKS_A_THREAD = 4

#: Share of the time that threads should be busy where a problem is cut along its filters for them.
BUSY = 0.8

#: Filters that a task keeps when a problem is cut along them to occupy more threads.
FEWEST_FILTERS = 24


def cache_share() -> int:
    """Bytes of the second level cache for each of the packed input and the sums between passes.

    Half as much is for the weights of a pass: what is left over takes the lines that stream through.
    """
    return targets.caches().level2 * 5 // 16


def channel_block(shape: Geometry) -> int:
    """Channels summed in one pass: about STEPS_A_PASS products, in blocks as equal as can be.

    Of a strided input the taps of a row lie in several phases, each with its own window: half as many, unless rows are
    so short that they share cache lines and a single pass takes them all (5 % faster at 7 x 7).
    """
    small = shape.output[2] <= SHORT_ROW and shape.channels * shape.taps <= STEPS_A_PASS
    together = max(shape.stride) == 1 or shape.taps == 1 or small
    steps = STEPS_A_PASS if together else STEPS_A_PASS // 2
    most = max(1, steps // shape.taps)
    return -(-shape.channels // -(-shape.channels // most))


def tile_shape(request: Request, shape: Geometry) -> tuple[int, int]:
    """(rows, vectors) of a full register tile for this problem."""
    lanes = request.target.lanes(request.problem.dtype)
    if request.problem.layout == "channels_first":
        along_rows, along_vectors = shape.filters, shape.pixels
    else:
        along_rows, along_vectors = shape.output[2], shape.filters
    rows, vectors = tiles.shape(request.target, along_rows)
    return rows, min(vectors, -(-along_vectors // lanes))


def filter_numbers(request: Request, shape: Geometry, other_tasks: int) -> dict[int, int]:
    """The slots on filter tiles: their sizes, and how many a task takes.

    All of them, unless threads would idle; `other_tasks` is the tasks of one filter block.
    """
    rows, vectors = tile_shape(request, shape)
    if request.problem.layout == "channels_first":
        parts, size, larger = balanced(shape.filters, rows)
    else:
        size, larger = vectors * request.target.lanes(request.problem.dtype), 0
        parts = -(-shape.filters // size)
    block = parts
    if request.threads > 1:
        wanted = _pieces(max(1, other_tasks), request.threads)
        block = min(block, max(-(-parts // wanted), -(-FEWEST_FILTERS // size)))
    return {
        at.TILE_ROWS: rows,
        at.TILE_VECTORS: vectors,
        at.PARTS: parts,
        at.PART_SIZE: size,
        at.PART_LARGER: larger,
        **filter_blocks(parts, block),
    }


def _pieces(tasks: int, threads: int) -> int:
    """The fewest pieces to cut each task into that keep equal threads busy for most of the time.

    No more, as each piece copies the input for itself: with two a thread, small planes took up to a fifth longer.
    """

    def busy(pieces: int) -> float:
        return tasks * pieces / (-(-tasks * pieces // threads) * threads)

    return next(pieces for pieces in range(1, threads + 1) if pieces == threads or busy(pieces) >= BUSY)


def filters_of_a_sweep(request: Request, shape: Geometry, steps: int) -> int:
    """The filters whose weights of one pass, read anew for every tile of pixels, stay in the second level cache."""
    most = cache_share() // 2 // (steps * np.dtype(request.problem.dtype).itemsize)
    return min(shape.filters, max(FEWEST_FILTERS, most))


def filter_blocks(parts: int, most: int) -> dict[int, int]:
    """The slots that cut `parts` filter tiles into tasks of at most `most`."""
    blocks, *_ = balanced(parts, most)
    return {at.BLOCK_PARTS: -(-parts // blocks), at.FILTER_BLOCKS: blocks}


def weights_as_they_lie(shape: Geometry) -> dict[int, int]:
    """The strides of weights in the order (filter, channel, tap)."""
    steps = shape.channels * shape.taps
    return {
        at.WEIGHT_GROUP: shape.filters * steps,
        at.WEIGHT_PART: 0,
        at.WEIGHT_FILTER: steps,
        at.WEIGHT_STEP: 1,
        at.WEIGHT_ROW: steps,
    }


def weights_in_panels(numbers: dict[int, int], steps: int, some: bool = False, lanes: int = 1) -> dict[int, int]:
    """The strides of weights in the order (filter tile, step, filter of the tile), `steps` to a panel.

    Where these are `some` of all steps, the others are written behind them.
    """
    pitch = numbers[at.PART_SIZE] + (numbers[at.PART_LARGER] > 0)
    steps += copying.spilled_steps(pitch, lanes) + 1 if some else 0
    return {
        at.WEIGHT_GROUP: numbers[at.PARTS] * steps * pitch,
        at.WEIGHT_PART: steps * pitch,
        at.WEIGHT_FILTER: 0,
        at.WEIGHT_STEP: pitch,
        at.WEIGHT_ROW: 1,
    }


def choose_box(
    request: Request, shape: Geometry, passes: int, filters: int, input_bytes: Callable[[Triple], int]
) -> Triple:
    """The largest box of output pixels whose packed input, and sums between passes, stay in the second level cache.

    `filters` is what a task computes of each pixel.
    """
    item = np.dtype(request.problem.dtype).itemsize
    limit = cache_share()
    few = 256  # pixels: below, weights would be read too often

    def fits(box: Triple) -> bool:
        pixels = math.prod(box)
        sums = filters * pixels * item if passes > 1 and pixels > few else 0
        return input_bytes(box) <= limit and sums <= limit

    depth, height, width = shape.output
    # Where there are more weights than inputs, threads share the filters and read the input each: it is packed sooner
    # than all weights are read.
    if request.threads > 1 and shape.filters * shape.taps < shape.pixels:
        wanted = -(-TASKS_A_THREAD * request.threads // (request.problem.batch * request.problem.groups))
        fewest_rows = max(shape.kernel[1] - 1, -(-128 // width))
        height = min(height, max(-(-height // wanted), fewest_rows))
    depth = _largest(depth, lambda d: fits((d, height, width)))
    height = _largest(height, lambda h: fits((depth, h, width)))
    lanes = request.target.lanes(request.problem.dtype)
    step = lanes * tile_shape(request, shape)[1]
    if not fits((depth, height, width)):
        columns = _largest(-(-width // step), lambda count: fits((depth, height, count * step)))
        width = equal_vectors(width, columns * step, lanes)
    return depth, equal(shape.output[1], height), width


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `most` that fits, or 1."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def equal(total: int, most: int) -> int:
    """The size of the fewest pieces of at most `most`, as equal as can be."""
    return -(-total // -(-total // most))


def equal_vectors(total: int, most: int, lanes: int) -> int:
    """The same in whole vectors: pieces are tasks, and threads wait for the one that has the largest."""
    return min(total, most, -(-equal(total, most) // lanes) * lanes)


def box_sizes(output: Triple, box: Triple) -> Iterator[Triple]:
    """Every size that a box can have: full, or what is left at the end of an axis."""
    axes = [{b, o % b or b} for o, b in zip(output, box, strict=True)]
    yield from product(axes[0], axes[1], axes[2])


def tile_shapes(
    request: Request, numbers: dict[int, int], runs: Iterable[tuple[int, int]]
) -> set[tuple[int, int, int]]:
    """(rows, vectors, fill) of every tile that sweeps over `runs` of (number, pixels) will call."""
    lanes = request.target.lanes(request.problem.dtype)
    vectors = numbers[at.TILE_VECTORS]
    if request.problem.layout == "channels_first":
        rows = {numbers[at.PART_SIZE]}
        if numbers[at.PART_LARGER]:
            rows.add(numbers[at.PART_SIZE] + 1)
        joins = bool(numbers[at.JOINTS])
        columns = {place for count, length in runs for place in _columns(count, length, joins, lanes, vectors)}
        return {(r, v, fill) for r in rows for v, fill in columns}
    found = set()
    filters = request.problem.filters // request.problem.groups
    last = filters - (numbers[at.PARTS] - 1) * numbers[at.PART_SIZE]
    for _, length in runs:
        _, size, larger = balanced(length, numbers[at.TILE_ROWS])
        for tile_rows in {size, size + (larger > 0)}:
            fill = tiles.PARTIAL if last % lanes else tiles.WHOLE
            found.add((tile_rows, -(-last // lanes), fill))
            if numbers[at.PARTS] > 1:
                found.add((tile_rows, vectors, tiles.WHOLE))
    return found


def joints(rows: int, row_length: int, lanes: int) -> int:
    """Joints that a vector of pixels has at most where runs are joined; 0 where it costs more than it saves."""
    apart, together = vectors_of_runs(rows, row_length, lanes)
    return -(-(lanes - 1) // row_length) if together < apart else 0


def vectors_of_runs(rows: int, row_length: int, lanes: int) -> tuple[float, float]:
    """Vectors of `rows` runs of pixels, apart and joined, in the time of a whole one.

    A joined vector is loaded from several places: a step of a tile with one takes 7 % longer, with two 20 % (measured
    on tiles of 6 x 2).
    """
    joined = -(-rows * row_length // lanes)
    crossing = min(rows - 1, joined) * -(-(lanes - 1) // row_length)
    return rows * -(-row_length // lanes), joined + crossing / 6


def _columns(
    rows: int, row_length: int, joins: bool, lanes: int, vectors: int
) -> set[tuple[int, int]]:
    """(vectors, fill) of the tiles that `product.sweep_pixel_columns` makes of runs of pixels."""
    if joins:
        pixels = rows * row_length
        starts = np.arange(0, pixels, lanes)
        left, ahead = row_length - starts % row_length, pixels - starts
    else:
        starts = np.tile(np.arange(0, row_length, lanes), rows)
        left = ahead = row_length - starts
    groups = np.arange(0, len(starts), vectors)
    sizes = np.diff(np.append(groups, len(starts)))
    joined = np.add.reduceat(left < np.minimum(lanes, ahead), groups, dtype=np.int64)
    partial = np.minimum.reduceat(ahead, groups) < lanes
    fills = np.where(partial, tiles.PARTIAL, joined)
    return set(zip(sizes.tolist(), fills.tolist(), strict=True))
