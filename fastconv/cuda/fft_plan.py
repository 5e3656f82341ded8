"""How a convolution by Fourier transforms is cut into tiles on a device, and what is launched: policy.

As for Winograd's, the tiles of all images are taken in blocks; of each, tiles are transformed (V), for each frequency
and group V is multiplied by the transformed weights (U), and the products (M) are transformed back. V and M of a block
lie where those of the one before lay.

A product of complex numbers is one of real matrices with twice the rows and twice the steps, so that the kernel of
`matrices` does it: M is the filters of a group times two, N tiles, K channels times two. Where a group has few filters,
as in depthwise convolution, most of such a matrix would be padding, and `fft_steps.combine` sums each by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod

from fastconv.arguments import itemsize
from fastconv.cuda import direct, epilogue, matrices
from fastconv.cuda import fft_steps as kernels
from fastconv.cuda.algorithm import Place
from fastconv.cuda.compile import Kernel, computed
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.im2col import TILES, Tile
from fastconv.cuda.intrinsics import division
from fastconv.cuda.matrices import Matrices
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.cuda.tiles import Tiled
from fastconv.cuda.unroll import Constant
from fastconv.problem import ConvProblem

#: Sizes of transforms. A line is in a thread's registers, two numbers an element: of the 255 of 4 bytes, 64 elements
#: of float32 take 128 and their sums some more.
SIZES = {"float32": (16, 20, 24, 32, 40, 48, 64), "float64": (16, 20, 24, 32, 40, 48)}

MOST_SHARED = 48 << 10  # bytes of a block
MOST_SCRATCH = 256 << 20  # bytes of V and M of a block of tiles, unless the least of them takes more
_MOST_TILES, _MOST_LINES, _MOST_THREADS = 8, 64, 256  # of a block: tiles, or those of one line
_FEW_FILTERS = 4  # of a group: as many are not worth matrices
_USUAL_BATCH = 8  # that a cut is made for: an image's result does not depend on how many there are

#: Share of the multiprocessors' cycles that are operations in transforms, and in sums without matrices.
_BUSY = 0.2

#: Bytes that the second level cache moves at once, and its rate in that of memory: a block writes and reads as many
#: numbers of a row of V and M as it has tiles, which is less where these are large.
_SECTOR, _CACHE_RATE = 32, 1.6


@dataclass(frozen=True)
class Division(Tiled):
    """How a problem is cut into tiles, and tiles into blocks."""

    problem: ConvProblem
    size: tuple[int, int]  # of a transform
    outputs: tuple[int, int]  # of a tile
    tile: Tile | None  # of the products of matrices; None: each is a sum by itself
    block_tiles: int  # tiles of inputs in a block, in whole ones of those

    @property
    def image_tiles(self) -> tuple[int, int]:
        """Rows of tiles, and tiles of a row."""
        down, across = (-(-size // m) for size, m in zip(self.shape.output[1:], self.outputs, strict=True))
        return down, across

    @property
    def half(self) -> int:
        """Columns of half a spectrum."""
        return self.size[1] // 2 + 1

    @property
    def frequencies(self) -> int:
        """Of half a spectrum."""
        return self.size[0] * self.half

    @property
    def groups(self) -> tuple[int, int, int]:
        """Groups, and channels and filters of each, as transforms see them: one where no matrices are multiplied."""
        shape, groups = self.shape, self.problem.groups
        if self.tile is None:
            return 1, groups * shape.group_channels, groups * shape.group_filters
        return groups, shape.group_channels, shape.group_filters

    @property
    def padded_rows(self) -> int:
        """Rows of V of a group: two a channel, of pairs of channels, in whole steps of the product."""
        step = 4 if self.tile is None else self.tile.depth
        return -(-2 * self.groups[1] // step) * step

    @property
    def weight_rows(self) -> int:
        """Numbers of a filter's channels, likewise."""
        return -(-2 * self.shape.group_channels // 4) * 4

    @property
    def padded_filters(self) -> int:
        """Rows of M of a group: two a filter, in whole tiles of the product."""
        if self.tile is None:
            return 2 * self.groups[2]
        return -(-2 * self.groups[2] // self.tile.filters) * self.tile.filters

    @property
    def elements(self) -> tuple[int, int, int]:
        """Of U, V and M; the product's last round loads one more step of both factors."""
        groups, _, filters = self.groups
        m = self.frequencies * groups * 2 * filters * self.block_tiles
        if self.tile is None:
            u, v = filters * self.weight_rows, self.padded_rows * self.block_tiles
            return self.frequencies * u, self.frequencies * v, m
        rows = self.frequencies * groups * self.padded_rows + self.tile.depth
        return rows * self.padded_filters, rows * self.block_tiles, m

    @property
    def matrices(self) -> Matrices:
        """Sizes of the products, and how many there are."""
        groups, _, filters = self.groups
        sizes = 2 * filters, self.padded_filters, self.padded_rows, self.block_tiles
        return Matrices(*sizes, self.frequencies * groups)

    @property
    def together(self) -> int:
        """Tiles of a block of a transform: side by side they write whole sectors, but shared memory has to hold them.

        A power of two, so that it divides `block_tiles`.
        """
        height, width = self.size
        together = _MOST_TILES if height > 1 else _MOST_LINES
        while together > 1 and (
            2 * together * height * (width + 1) * self.item > MOST_SHARED
            or (height > 1 and together * max(height, width) > _MOST_THREADS)
        ):
            together //= 2
        return together

    @property
    def threads(self) -> int:
        """Of a block of a transform: one a line."""
        lines = max(self.size) if self.size[0] > 1 else 1
        return -(-self.together * lines // 32) * 32

    @property
    def constants(self) -> dict[str, Constant]:
        """What transforms are specialised by; tiles are counted, not outputs."""
        height, width = self.size
        tile = height * (width + 1)
        return {
            **{"HEIGHT": height, "WIDTH": width, "HALF": self.half, "PITCH": width + 1},
            **{"TILES": self.together, "TILE": tile, "PLANE": self.together * tile, "THREADS": self.threads},
            **{"ROW_OUTPUTS": 1, "COLUMN_OUTPUTS": 1},
        }


def spans(problem: ConvProblem) -> tuple[int, ...]:
    """Return the elements along each axis that a window spans."""
    return tuple((taps - 1) * steps + 1 for taps, steps in zip(problem.kernel, problem.dilation, strict=True))


def cuts(problem: ConvProblem) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Every cut worth a look: the size of the transform, and outputs of a tile."""
    shape, kind = geometry(problem), computed(problem.dtype)
    axes = [
        list(_along(span, stride, output, SIZES[kind]))
        for span, stride, output in zip(spans(problem), shape.stride[-problem.rank :], problem.output_size, strict=True)
    ]
    rows, columns = axes if problem.rank == 2 else ([(1, 1)], *axes)
    for height, down in rows:
        for width, across in columns:
            if 2 * height * (width + 1) * itemsize(kind) <= MOST_SHARED:
                yield (height, width), (down, across)


def _along(span: int, stride: int, output: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Sizes and outputs along an axis, up to the first size that takes all of it."""
    for size in sizes:
        outputs = min(output, (size - span) // stride + 1) if size >= span else 0
        if outputs:
            yield size, outputs
        if outputs == output:
            return


def seconds(divided: Division, device: Device) -> float:
    """Return the predicted time of a division on a device."""
    return sum(terms(divided, device).values())


def terms(divided: Division, device: Device) -> dict[str, float]:
    """Return what it is made of: transforms by what they move and compute, products by multiply-adds."""
    problem, tile, (height, width) = divided.problem, divided.tile, divided.size
    u, v, m = (count * divided.item for count in divided.elements)
    blocks = len(divided.blocks)
    lanes = 128 if divided.item == 4 else device.doubles
    rate = device.multiprocessors * device.clock * lanes  # multiply-adds a second
    moved = (prod(problem.input_shape) + prod(problem.output_shape)) * problem.itemsize / device.bandwidth
    # of two real tiles 5 N log2 N operations, of which a multiply-add is one
    line = 2.5 * height * width * math.log2(height * width)
    planes = divided.tiles * (problem.channels + problem.filters)
    scattered = max(1.0, _SECTOR / (divided.together * divided.item) / _CACHE_RATE)
    between = blocks * (v + m) * scattered / device.bandwidth
    if tile is None:
        sums = 4.0 * divided.frequencies * divided.block_tiles * problem.filters * divided.shape.group_channels
        read = divided.shape.group_channels * m  # of V, a channel for each filter that takes it
        products = max(sums / (_BUSY * rate), (read + m) / device.bandwidth)
    else:
        dtype = computed(problem.dtype)
        sums = matrices.seconds(device, dtype, tile, divided.matrices, divided.block_tiles)
        products = max(sums, (v + m + u) / device.bandwidth)
    return {
        "launches": (3 + 3 * blocks) * device.launch,
        "weights": (prod(problem.weight_shape) * problem.itemsize + 2 * u) / device.bandwidth,
        "transforms": max(moved + between, planes * line / (_BUSY * rate)),
        "products": blocks * products,
    }


@lru_cache(maxsize=256)
def divide(problem: ConvProblem) -> Division | None:
    """Return the division that is predicted to take the least time on the device whose figures are shipped.

    So the workspace is the same on every device. Which transform it is, one batch says for all. None if no transform
    is large enough.
    """
    usual = [_blocked(replace(problem, batch=_USUAL_BATCH), *cut) for cut in cuts(problem)]
    if not usual:
        return None
    best = min(usual, key=lambda one: seconds(one, Device()))
    return _blocked(problem, best.size, best.outputs)


def _blocked(problem: ConvProblem, size: tuple[int, int], outputs: tuple[int, int]) -> Division:
    """Return the best division by a transform."""
    few = problem.filters // problem.groups <= _FEW_FILTERS
    tiles: tuple[Tile | None, ...] = (None,) if few else TILES[computed(problem.dtype)]
    found = []
    for tile in tiles:
        one = Division(problem, size, outputs, tile, 1)
        least = one.together if tile is None else tile.pixels
        one = replace(one, block_tiles=least)
        columns = max(1, -(-one.tiles // least))
        _, v, m = one.elements
        most = max(1, MOST_SCRATCH // ((v + m) * one.item))
        found.append(replace(one, block_tiles=-(-columns // ceil(columns / most)) * least))
    return min(found, key=lambda one: seconds(one, Device()))


def plan(divided: Division, activation: str | None, target: Target) -> Plan:
    """Return the launches: of the weights, three of each block, and two that look after what is not finite."""
    marks = divided.places[3]
    clear = direct.clear(divided.problem, target, marks)
    again = direct.again(divided.problem, activation, target, marks)
    blocks = zip(
        _inputs(divided, target), _products(divided, target), _outputs(divided, activation, target), strict=True
    )
    steps = [clear, *(step for block in blocks for step in block), again]
    return Plan(target, steps, divided.workspace, [_weights(divided, target)], divided.packed)


def _weights(divided: Division, target: Target) -> Step:
    """The transform of the weights, which are scaled by what forward and inverse transforms are not."""
    shape, problem, together = divided.shape, divided.problem, divided.together
    filters, rows = shape.group_filters, divided.padded_rows
    frequency_step = problem.groups * rows * divided.padded_filters
    if divided.tile is None:
        rows = divided.weight_rows
        frequency_step = problem.groups * filters * rows
    kernel = _kernel(divided, kernels.weights, {"FLIP": problem.flip, "PAIRED": divided.tile is not None})
    numbers = (
        *(frequency_step, shape.group_channels, rows, filters, divided.padded_filters),
        *(*shape.kernel[1:], *shape.dilation[1:], 1 / (4 * prod(divided.size))),
    )
    grid = (-(-filters // together), rows // 4, problem.groups)
    return target.step(kernel, grid, (Operand(Place.WEIGHT), divided.places[0]), numbers)


def _inputs(divided: Division, target: Target) -> list[Step]:
    """The transforms of the blocks' tiles."""
    shape, rows = divided.shape, divided.padded_rows
    groups, channels, _ = divided.groups
    before = prod(divided.problem.input_shape[1:]), groups * rows * divided.block_tiles
    steps = (m * stride for m, stride in zip(divided.outputs, shape.stride[1:], strict=True))
    after = (
        *(divided.block_tiles, channels, rows, *divided.tiling, *steps),
        *(*shape.size[1:], *shape.padding[1:], shape.pixel_step, shape.channel_step),
    )
    grids = [(-(-tiles // divided.together), rows // 4, groups) for _, tiles in divided.blocks]
    numbers = [(*before, *block, *after) for block in divided.blocks]
    pointers = Operand(Place.X), divided.places[1]
    return target.steps(_kernel(divided, kernels.inputs, {}), pointers, zip(grids, numbers, strict=True))


def _products(divided: Division, target: Target) -> list[Step]:
    """The products of the blocks."""
    problem, columns = divided.problem, [tiles for _, tiles in divided.blocks]
    u, v, m, _ = divided.places
    if divided.tile is not None:
        dtype = computed(problem.dtype)
        return matrices.multiply(target, dtype, divided.tile, divided.matrices, (u, v, m), columns)
    _, _, filters = divided.groups
    threads, shape = divided.threads, divided.shape
    steps = (
        *(divided.padded_rows * divided.block_tiles, filters * divided.weight_rows),
        2 * filters * divided.block_tiles,
    )
    after = divided.block_tiles, shape.group_channels, divided.weight_rows, shape.group_filters
    launches = [((-(-tiles // threads), filters, divided.frequencies), (*steps, tiles, *after)) for tiles in columns]
    return target.steps(_kernel(divided, kernels.combine, {}), (v, u, m), launches)


def _outputs(divided: Division, activation: str | None, target: Target) -> list[Step]:
    """The transforms of the blocks' products."""
    shape, (down, across) = divided.shape, divided.outputs
    groups, _, filters = divided.groups
    kernel = _kernel(divided, kernels.outputs, {}, {"finish": epilogue.place(activation)})
    before = prod(divided.problem.output_shape[1:]), groups * 2 * filters * divided.block_tiles
    after = (
        *(divided.block_tiles, filters, *divided.tiling),
        *(down * across, *division(down * across), down, across, *division(across)),
        *(*shape.stride[1:], *shape.output[1:], shape.out_pixel_step, shape.out_filter_step),
    )
    grids = [(-(-tiles // divided.together), -(-filters // 2), groups) for _, tiles in divided.blocks]
    numbers = [(*before, *block, *after) for block in divided.blocks]
    _, _, products, marks = divided.places
    pointers = products, *map(Operand, (Place.BIAS, Place.RESIDUAL, Place.OUT)), marks
    return target.steps(kernel, pointers, zip(grids, numbers, strict=True))


def _kernel(
    divided: Division,
    function: Callable[..., None],
    constants: Mapping[str, Constant],
    names: Mapping[str, str] | None = None,
) -> Kernel:
    every = {**divided.constants, **constants}
    return Kernel(function, divided.problem.dtype, divided.threads, constants=every, names=names or {})
