"""How a Winograd convolution is divided on a device, where its numbers lie, and what is launched: policy.

Tiles of all images are taken in blocks. For each block there are three launches: its tiles are transformed (V), for
each frequency and group V is multiplied by the transformed weights (U), and the products (M) are transformed back.
V and M of a block lie where those of the one before lay.

For F(4x4, 3x3) a tile moves 16 elements of each channel, and 36 of V to memory and back; and of each filter as many of
M and of the result. So where V and M of a block are too large for the second level cache, it moves 88 (C + K) elements
for 36 C K products: in float32 3.3 products a byte with 64 channels and filters, 26 with 512, where an H100 computes 10
in the time of a byte. Small blocks keep V and M in the cache, and pay with launches, and with multiprocessors that
have nothing to do at their ends. Which is quicker is predicted, see `seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod

from fastconv.codegen.winograd_tile import Axis, axes
from fastconv.cuda import direct, epilogue, matrices
from fastconv.cuda import winograd_fused as fused
from fastconv.cuda import winograd_steps as kernels
from fastconv.cuda.algorithm import MOST_BLOCKS, Place
from fastconv.cuda.compile import Kernel
from fastconv.cuda.driver import Device
from fastconv.cuda.im2col import TILES, Tile
from fastconv.cuda.intrinsics import division
from fastconv.cuda.matrices import Matrices
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.cuda.tiles import Tiled
from fastconv.cuda.unroll import Constant
from fastconv.problem import ConvProblem

THREADS = 256  # of a block of a transform
MOST_SCRATCH = 256 << 20  # bytes of V and M of a block, unless a single column of the product's tiles takes more
_ROUNDS = (1, 2, 3, 4, 6, 8)  # blocks of a product for each multiprocessor, that divisions are tried for

#: Tiles beside each other in a warp and in a block of a transform: 32 where pixels lie side by side. Where channels do,
#: as many channels as make up 32 bytes of the array that is written; the other one's are completed by the block's.
_CHANNELS_FIRST, _INPUTS_CHANNELS_LAST, _OUTPUTS_CHANNELS_LAST = (32, 32), (8, 8), (4, 8)

_BUSY_FUSED = 0.65  # of one block of eight warps, of which four also transform: 77 % of what they execute are products

#: Of what is read and written again soon: the share of the second level cache that it may take, as lines of far
#: multiprocessors are there twice, and the rate, in that of memory.
_CACHED, _CACHE_RATE = 0.5, 1.6


@dataclass(frozen=True)
class Division(Tiled):
    """How a problem is cut into tiles, tiles into blocks, and the products of a block into those of blocks."""

    problem: ConvProblem
    axes: tuple[Axis, Axis]
    tile: Tile  # of the products
    block_tiles: int  # of inputs, in whole ones of those
    fused: bool = False  # all in one kernel, which keeps V and M on the multiprocessor

    @cached_property
    def gaps(self) -> tuple[int, int]:
        """From an element of a tile to the next, along each axis."""
        axes = zip(self.shape.dilation[1:], self.axes, strict=True)
        rows, columns = (1 if axis.is_left else gap for gap, axis in axes)
        return rows, columns

    @cached_property
    def image_tiles(self) -> tuple[int, int]:
        """Rows of tiles, and tiles of a row: as many are interleaved as there are places in a gap."""
        counts = []
        for size, gap, axis in zip(self.shape.output[1:], self.gaps, self.axes, strict=True):
            phases = min(gap, size)
            counts.append(phases * -(-size // (axis.outputs * phases)))
        return counts[0], counts[1]

    @property
    def sizes(self) -> tuple[int, int]:
        """Inputs of a tile along each axis."""
        rows, columns = self.axes
        return rows.inputs, columns.inputs

    @property
    def count(self) -> int:
        """Products of matrices: of each frequency and group."""
        return prod(self.sizes) * self.problem.groups

    @property
    def padded_channels(self) -> int:
        """Of a group, in whole steps of the product."""
        return -(-self.shape.group_channels // self.tile.depth) * self.tile.depth

    @property
    def padded_filters(self) -> int:
        """Of a group, in whole tiles of the product."""
        return -(-self.shape.group_filters // self.tile.filters) * self.tile.filters

    @property
    def elements(self) -> tuple[int, int, int]:
        """Of U, V and M; the product's last round loads one more step of both factors."""
        depth, count = self.tile.depth, self.count
        u = (count * self.padded_channels + depth) * self.padded_filters
        if self.fused:
            return u, 0, 0
        v = (count * self.padded_channels + depth) * self.block_tiles
        return u, v, count * self.shape.group_filters * self.block_tiles

    @property
    def matrices(self) -> Matrices:
        """Their sizes."""
        filters = self.shape.group_filters
        return Matrices(filters, self.padded_filters, self.padded_channels, self.block_tiles, self.count)

    @property
    def constants(self) -> dict[str, Constant]:
        """What all kernels are specialised by."""
        (m, r, down), (n, s, across) = self.axes
        rows, columns = self.sizes
        return {
            **{"ROW_OUTPUTS": m, "ROW_TAPS": r, "ROW_STRIDE": down},
            **{"COLUMN_OUTPUTS": n, "COLUMN_TAPS": s, "COLUMN_STRIDE": across},
            **{"ROWS": rows, "COLUMNS": columns, "FREQUENCIES": rows * columns, "TAPS": r * s},
            "THREADS": THREADS,
        }


def seconds(divided: Division, device: Device) -> float:
    """Return the predicted time of a division on a device."""
    return sum(terms(divided, device).values())


def terms(divided: Division, device: Device) -> dict[str, float]:
    """Return what it is made of: transforms by what they move, products by multiply-adds."""
    problem, tile = divided.problem, divided.tile
    u, v, m = (count * divided.item for count in divided.elements)
    weights = (prod(problem.weight_shape) * divided.item + 2 * u) / device.bandwidth
    moved = (prod(problem.input_shape) + prod(problem.output_shape)) * divided.item / device.bandwidth
    if divided.fused:
        on_one = -(-_fused_blocks(divided) * problem.groups // device.multiprocessors)
        of_block = fused.FILTERS * fused.TILES * prod(divided.sizes) * divided.padded_channels
        products = on_one * of_block / (128 * _BUSY_FUSED * device.clock)
        return {
            "launches": 4 * device.launch,
            "weights": weights,
            "transforms": max(0.0, moved - products),
            "products": products,
        }
    rate = device.bandwidth * (_CACHE_RATE if v + m <= _CACHED * device.cache else 1.0)
    products = matrices.seconds(device, problem.dtype, tile, divided.matrices, divided.block_tiles)
    # of a block: V and M written by one launch, read by the next one
    transforms, multiplying = (v + m) / rate, max(products, (v + m) / rate)
    blocks = len(divided.blocks)
    launches = 2 + 3 * blocks  # one of the weights, one that looks for marks
    return {
        "launches": launches * device.launch,
        "weights": weights,
        "transforms": moved + blocks * transforms,
        "products": blocks * multiplying,
    }


def divide(problem: ConvProblem, outputs: int) -> Division:
    """Return the division that is predicted to take the least time on the device whose figures are shipped.

    So the workspace is the same on every device. Sums are the same in every division: over the channels, one by one.
    """
    device, cut = Device(), axes(problem, outputs)
    found = []
    for tile in TILES[problem.dtype]:
        one = Division(problem, cut, tile, tile.pixels)
        if _fits(one):
            found.append(replace(one, fused=True))
        columns = max(1, -(-one.tiles // tile.pixels))  # of tiles of the product, in all blocks
        _, v, m = one.elements
        a_column = (v + m) * one.item
        on_one = one.count * (one.padded_filters // tile.filters)  # blocks of the product, of a column
        tried = {MOST_SCRATCH // a_column, int(_CACHED * device.cache) // a_column}
        tried |= {rounds * device.multiprocessors // on_one for rounds in _ROUNDS}
        for most in tried:
            if max(1, most) * a_column <= max(MOST_SCRATCH, a_column):
                blocks = ceil(columns / max(1, most))
                found.append(replace(one, block_tiles=-(-columns // blocks) * tile.pixels))
    return min(found, key=lambda one: seconds(one, device))


def plan(divided: Division, activation: str | None, target: Target) -> Plan:
    """Return the launches: of the weights, three of each block, and one that computes marked images again."""
    marks = divided.places[3]
    again = direct.again(divided.problem, activation, target, marks)
    if divided.fused:
        clear, block = direct.clear(divided.problem, target, marks), _fused(divided, activation, target)
        return Plan(target, (clear, block, again), divided.workspace, [weights(divided, target)], divided.packed)
    blocks = zip(
        _inputs(divided, target),
        _products(divided, target),
        _outputs(divided, activation, target),
        strict=True,
    )
    steps = [*(step for block in blocks for step in block), again]
    return Plan(target, steps, divided.workspace, [weights(divided, target)], divided.packed)


def weights(divided: Division, target: Target) -> Step:
    """Return the step that transforms weights."""
    shape, groups = divided.shape, divided.problem.groups
    kernel = _kernel(divided, kernels.weights, {"FLIP": divided.problem.flip})
    channels, filters = divided.padded_channels, divided.padded_filters
    return target.step(
        kernel,
        (filters // 32, channels // (THREADS // 32), groups),
        (Operand(Place.WEIGHT), divided.places[0]),
        (groups * channels * filters, shape.group_channels, channels, shape.group_filters, filters),
    )


def _inputs(divided: Division, target: Target) -> list[Step]:
    """The transforms of the blocks' tiles."""
    shape, groups, channels = divided.shape, divided.problem.groups, divided.padded_channels
    last = divided.problem.layout == "channels_last"
    warp, block = _INPUTS_CHANNELS_LAST if last else _CHANNELS_FIRST
    kernel = _kernel(divided, kernels.inputs, {"WARP_TILES": warp, "BLOCK_TILES": block})
    before = prod(divided.problem.input_shape[1:]), groups * channels * divided.block_tiles
    after = (
        *(divided.block_tiles, shape.group_channels, channels, *_tiling(divided)),
        *(*shape.size[1:], *shape.padding[1:], shape.pixel_step, shape.channel_step),
    )
    grids = [(-(-tiles // block), -(-channels * block // THREADS), groups) for _, tiles in divided.blocks]
    numbers = [(*before, first, tiles, *after) for first, tiles in divided.blocks]
    _, v, _, marks = divided.places
    return target.steps(kernel, (Operand(Place.X), v, marks), zip(grids, numbers, strict=True))


def _products(divided: Division, target: Target) -> list[Step]:
    """The products of the blocks."""
    columns = [tiles for _, tiles in divided.blocks]
    dtype, pointers = divided.problem.dtype, divided.places[:3]
    return matrices.multiply(target, dtype, divided.tile, divided.matrices, pointers, columns)


def _outputs(divided: Division, activation: str | None, target: Target) -> list[Step]:
    """The transforms of the blocks' products."""
    shape, groups, filters = divided.shape, divided.problem.groups, divided.shape.group_filters
    last = divided.problem.layout == "channels_last"
    warp, block = _OUTPUTS_CHANNELS_LAST if last else _CHANNELS_FIRST
    outputs = divided.axes[1].outputs
    adjoining = not last and divided.gaps[1] == 1
    run = next(
        run for run in (4, 2, 1) if run == 1 or (adjoining and outputs % run == 0 and shape.output[2] % run == 0)
    )
    constants = {"WARP_TILES": warp, "BLOCK_TILES": block, "RUN": run}
    kernel = _kernel(divided, kernels.outputs, constants, {"finish": epilogue.place(activation)})
    before = prod(divided.problem.output_shape[1:]), groups * filters * divided.block_tiles
    after = (
        *(divided.block_tiles, filters, *_tiling(divided), *shape.output[1:]),
        *(shape.out_pixel_step, shape.out_filter_step),
    )
    grids = [(-(-tiles // block), -(-filters * block // THREADS), groups) for _, tiles in divided.blocks]
    numbers = [(*before, first, tiles, *after) for first, tiles in divided.blocks]
    _, _, multiplied, marks = divided.places
    pointers = multiplied, *map(Operand, (Place.BIAS, Place.RESIDUAL, Place.OUT)), marks
    return target.steps(kernel, pointers, zip(grids, numbers, strict=True))


def _fits(divided: Division) -> bool:
    """Whether the fused kernel takes a problem, with the filters of a tile of the product."""
    problem = divided.problem
    fitting = (problem.dtype, problem.layout, divided.axes) == ("float32", "channels_first", (Axis(2, 3), Axis(2, 3)))
    return fitting and divided.tile.filters == fused.FILTERS and problem.groups <= MOST_BLOCKS


def _fused_blocks(divided: Division) -> int:
    """Blocks of a group of the fused kernel."""
    return -(-divided.tiles // fused.TILES) * (divided.padded_filters // fused.FILTERS)


def _fused(divided: Division, activation: str | None, target: Target) -> Step:
    """All but the weights' transform."""
    problem, shape = divided.problem, divided.shape
    run = 2 if divided.gaps[1] == 1 and shape.output[2] % 2 == 0 else 1
    names = {"finish": epilogue.place(activation)}
    constants = {**divided.constants, **fused.BLOCK, "RUN": run}
    kernel = Kernel(fused.fused, problem.dtype, fused.THREADS, constants=constants, names=names)
    blocks_of_filters = divided.padded_filters // fused.FILTERS
    numbers = (
        *(prod(problem.input_shape[1:]), prod(problem.output_shape[1:])),
        *(problem.groups * divided.padded_channels * divided.padded_filters, blocks_of_filters),
        *(*division(blocks_of_filters), divided.tiles, shape.group_channels, divided.padded_channels),
        *(shape.group_filters, divided.padded_filters, *_tiling(divided)),
        *(*shape.size[1:], *shape.padding[1:], *shape.output[1:]),
    )
    u, _, _, marks = divided.places
    arrays = map(Operand, (Place.BIAS, Place.RESIDUAL, Place.OUT))
    return target.step(
        kernel, (_fused_blocks(divided), 1, problem.groups), (Operand(Place.X), u, *arrays, marks), numbers
    )


def _kernel(
    divided: Division,
    function: Callable[..., None],
    constants: Mapping[str, Constant],
    names: Mapping[str, str] | None = None,
) -> Kernel:
    """A kernel of a transform."""
    every = {**divided.constants, **constants}
    return Kernel(function, divided.problem.dtype, THREADS, constants=every, names=names or {})


def _tiling(divided: Division) -> tuple[int, ...]:
    """Which tile of which image a number means, as both transforms take it."""
    rows, columns = divided.gaps
    return *divided.tiling, rows, *division(rows), columns, *division(columns)
