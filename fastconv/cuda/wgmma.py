"""Implicit matrix product on tensor cores by warpgroups, for compute capability 9.0: policy.

For each group, ``out[pixel, filter] = sum over k of columns[pixel, k] * weight[filter, k]``, with k counting taps and,
innermost, channels. M is the pixels of all images, N the filters of the group, K the taps times channels, rounded up to
a step for each tap. The tensor engine gathers the columns itself (`tensor_map.Im2col`), from arrays in channels_last:
inputs with channels first are transposed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from fastconv.cuda import epilogue
from fastconv.cuda import tensor_map as maps
from fastconv.cuda import wgmma_kernel as kernels
from fastconv.cuda.algorithm import HALVES, Algorithm, Place, longer
from fastconv.cuda.compile import Kernel
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import division
from fastconv.cuda.packing import copying, reduce
from fastconv.cuda.plan import Mapped, Operand, Plan, Step, Target
from fastconv.cuda.splitting import quickest, share, split_for_any_batch
from fastconv.cuda.transposition import channels_moved, room_of, terms_of
from fastconv.problem import ConvProblem

CAPABILITY = (9, 0)
#: Rounding a factor to 11 bits errs by 2**-11 at most, and by some 0.4 of that in the root mean square; two factors, by
#: sqrt(2) of it. If the engine cut bits off instead, it would be less than twice as much.
TF32_ERROR = 1e-3

PIXELS = 128  # of a tile: 64 of each of two warpgroups
THREADS = 3 * 128
_WARPS, _ROWS = 8, 16  # that multiply, and the rows of each
_SCRATCH = 4096  # bytes of each: 16 rows of sums, or two tiles of results of 16 rows
_PITCHES = {True: 40, False: 20}  # between lines of sums: pixels with channels last, or filters
_TURN = 32  # filters that have sums there at once


@dataclass(frozen=True)
class Tile:
    """What a block computes at once, and how many steps are on their way."""

    filters: int
    stages: int

    @property
    def stage_bytes(self) -> int:
        """Of pixels and filters, a row of channels each."""
        return (PIXELS + self.filters) * maps.ROW

    @property
    def scratch(self) -> int:
        """Where what warps need for the end of a tile begins."""
        return self.stages * self.stage_bytes

    @property
    def barriers(self) -> int:
        """Where these begin."""
        return self.scratch + _WARPS * _SCRATCH

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        return self.barriers + 16 * self.stages

    def constants(self) -> dict[str, int]:
        """Return what the kernel is specialised by."""
        return {
            "PIXELS": PIXELS,
            "FILTERS": self.filters,
            "STAGES": self.stages,
            "SUMS": self.filters // 2,
            "TURNS": self.filters // _TURN,
            "STAGE_BYTES": self.stage_bytes,
            "PIXEL_BYTES": PIXELS * maps.ROW,
            "SCRATCH": self.scratch // 4,
            "BARRIERS": self.barriers,
        }


TILES = Tile(256, 4), Tile(128, 6), Tile(64, 8)

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MOST_TILES = 2**30 - 1  # of all splits: what `intrinsics.quotient` divides
LEAST_STEPS = 4  # of a split: below, a block begins and ends more than it multiplies

#: Estimates, as long as nobody measured: the share of the tensor cores' cycles that are products, by the filters of a
#: tile; the cycles of a tile's end for each of its filters, and of the first load.
_BUSY = {256: 0.8, 128: 0.7, 64: 0.55}
_END, _BEGIN = 12, 1500

_RATE = 4096  # products that a multiprocessor's tensor cores compute in a cycle, times bytes of a factor


class Division(NamedTuple):
    """How the product is divided."""

    tile: Tile
    splits: int
    split_steps: int
    tiles: int  # of all splits
    parts: int  # bytes of the sums of splits
    terms: dict[str, float]  # predicted seconds, by what they are spent on

    @property
    def seconds(self) -> float:
        """All together."""
        return sum(self.terms.values())


class ImplicitGemmWgmma(Algorithm):
    """The implicit matrix product by warpgroups."""

    name = "implicit_gemm_wgmma"
    dtypes = (*HALVES, "float32")

    def runs_on(self, device: Device) -> str | None:
        """Refuse devices without these instructions: later ones do not have them either."""
        if device.capability != CAPABILITY:
            takes, own = (".".join(map(str, one)) for one in (CAPABILITY, device.capability))
            return f"{self.name} takes devices of compute capability {takes}, not {own}"
        return None

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse factors that must not be rounded, and what the tensor engine cannot gather."""
        reason = super().supports(problem)
        if reason is None and problem.dtype == "float32" and problem.precision == "ieee":
            reason = f"{self.name} rounds factors of float32: precision must be tf32, bf16 or fp16, not ieee"
        if reason is None and _tiles(problem, TILES[-1]) * SPLITS[-1] > MOST_TILES:
            most = MOST_TILES // SPLITS[-1]
            reason = f"{self.name} takes at most {most} tiles of pixels and filters, not {_tiles(problem, TILES[-1])}"
        return reason or _ungathered(self.name, problem)

    def error_bound(self, problem: ConvProblem) -> float:
        """Return that of factors of 11 bits, which satisfies every precision, or that of halves' results."""
        return TF32_ERROR if problem.dtype == "float32" else super().error_bound(problem)

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of packed weights, of a transposed input and of split sums."""
        return _packed(problem) + room_of(problem) + divide(problem, device).parts

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the time of the best division."""
        return divide(problem, machine).terms

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return launches that pack, transpose where channels are first, multiply and, where sums are split, add."""
        divided = divide(problem, target.device)
        steps, x = channels_moved(target, problem)
        parts = Operand(Place.WORKSPACE, room_of(problem))
        steps.append(_multiplying(problem, activation, divided, target, x, parts))
        if divided.splits > 1:
            pointers = parts, Operand(Place.BIAS), Operand(Place.RESIDUAL), Operand(Place.OUT)
            steps.append(reduce(target, problem, activation, divided.splits, pointers))
        workspace = room_of(problem) + divided.parts
        return Plan(target, steps, workspace, [_packing(problem, target)], _packed(problem))


def channels_of_step(problem: ConvProblem) -> int:
    """Return the channels of a row in shared memory."""
    return maps.ROW // problem.itemsize


def _ungathered(name: str, problem: ConvProblem) -> str | None:
    """Return why the tensor engine does not gather the columns of a problem."""
    least = maps.LEAST // problem.itemsize
    if problem.channels % least:
        return f"{name} takes channels in multiples of {least} for {problem.dtype}, not {problem.channels}"
    whole = channels_of_step(problem)
    if problem.groups > 1 and problem.channels // problem.groups % whole:
        return (
            f"{name} takes groups whose channels are multiples of {whole} for {problem.dtype}, "
            f"not {problem.channels // problem.groups}"
        )
    corner, offset = maps.CORNERS[problem.rank], maps.OFFSETS[problem.rank]
    if max(problem.stride) > maps.MOST_STRIDE:
        return f"{name} takes strides of at most {maps.MOST_STRIDE}, not {max(problem.stride)}"
    lower, upper = corners(problem)
    if not all(-corner <= place < corner for place in (*lower, *upper)):
        return f"{name} takes windows that begin {-corner} to {corner - 1} off an image's ends, not {lower}, {upper}"
    reach = max((size - 1) * gap for size, gap in zip(problem.kernel, problem.dilation, strict=True))
    if reach >= offset:
        return f"{name} takes kernels that reach at most {offset - 1} pixels, not {reach}"
    return None


def corners(problem: ConvProblem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return where windows begin first, and last, from the first and from the last pixel, along each axis."""
    lower = tuple([-before for before, _ in problem.padding])
    axes = zip(problem.padding, problem.kernel, problem.dilation, strict=True)
    return lower, tuple([after - (size - 1) * gap for (_, after), size, gap in axes])


def _tiles(problem: ConvProblem, tile: Tile) -> int:
    """Return how many tiles all results are."""
    shape = geometry(problem)
    return max(1, -(-problem.batch * shape.pixels // PIXELS)) * -(-shape.group_filters // tile.filters) * problem.groups


def _packed(problem: ConvProblem) -> int:
    """Bytes of packed weights."""
    return prod(problem.weight_shape) * problem.itemsize


def _packing(problem: ConvProblem, target: Target) -> Step:
    """Return the launch that turns filters x channels x taps into filters x taps x channels."""
    shape = geometry(problem)
    channels, taps, item = shape.group_channels, shape.taps, problem.itemsize
    first, step = ((taps - 1) * item, -1) if problem.flip else (0, 1)
    strides = (channels * taps, step, taps), (channels * taps, channels, 1)
    places = Operand(Place.WEIGHT, first), Operand(Place.PACKED)
    return copying(target, item, (problem.filters, taps, channels), *strides, places)


def _stored(problem: ConvProblem, whole: bool) -> int:
    """Return the filters that the tensor engine stores at once; 0 where it cannot store results.

    It stores whole results in channels_last, whose rows of a group's filters begin at multiples of 16 bytes. Threads
    store the others: parts of sums, rows of odd sizes, and results with a residual, which has to be read the same way.
    """
    rows = problem.filters // problem.groups * problem.itemsize
    takes = whole and problem.layout == "channels_last" and rows % maps.LEAST == 0
    return maps.ROW // problem.itemsize if takes else 0


def _maps(problem: ConvProblem, tile: Tile, whole: bool, x: Operand) -> tuple[Mapped, ...]:
    """Return the tensor maps of x in channels_last, of packed weights and of the result."""
    shape, item, channels = geometry(problem), problem.itemsize, channels_of_step(problem)
    sizes = problem.channels, *problem.size[::-1], problem.batch
    strides = tuple([prod(sizes[: i + 1]) * item for i in range(len(sizes) - 1)])
    lower, upper = (corner[::-1] for corner in corners(problem))
    factor = "tfloat32" if problem.dtype == "float32" else problem.dtype
    columns = maps.Im2col(factor, sizes, strides, lower, upper, problem.stride[::-1], channels, PIXELS)
    row = shape.group_channels * item
    weight_sizes = shape.group_channels, shape.taps, problem.filters
    weight = maps.Tile(factor, weight_sizes, (row, shape.taps * row), (channels, 1, tile.filters))
    weights = Mapped(weight, Operand(Place.PACKED))
    stored = _stored(problem, whole)
    if not stored:
        return Mapped(columns, x), weights, weights  # the kernel does not look at the last one
    out_sizes = shape.group_filters, problem.groups, problem.batch * shape.pixels
    row = shape.group_filters * item
    out = maps.Tile(problem.dtype, out_sizes, (row, problem.groups * row), (stored, 1, _ROWS))
    return Mapped(columns, x), weights, Mapped(out, Operand(Place.OUT))


def _multiplying(
    problem: ConvProblem, activation: str | None, divided: Division, target: Target, x: Operand, parts: Operand
) -> Step:
    """Return the launch that multiplies, given where x and the sums of splits are."""
    shape, tile, whole, last = geometry(problem), divided.tile, divided.splits == 1, problem.layout == "channels_last"
    run, stored = maps.LEAST // problem.itemsize, _stored(problem, whole)
    factor = "tfloat32" if problem.dtype == "float32" else problem.dtype
    kernel = Kernel(
        kernels.multiply,
        problem.dtype,
        THREADS,
        suffix="a",
        constants={
            **tile.constants(),
            "RANK": problem.rank,
            "CHANNELS": channels_of_step(problem),
            "CHANNELS_LAST": last,
            "ALONG": _TURN if last else _ROWS,
            "ACROSS": _ROWS if last else _TURN,
            "PITCH": _PITCHES[last],
            "RUN": 1 if (shape.group_filters if last else shape.pixels) % run else run,
            "STORED": stored,
            "TURN_SUMS": stored // 2,
            "WHOLE": whole,
        },
        names={
            "finish": epilogue.place(activation if whole else None),
            "finish_each": epilogue.place(activation if whole else None, each=True),
            "multiply_add": f"fastconv.cuda.intrinsics.hopper:multiply_{factor}",
        },
    )
    pixels, output = problem.batch * shape.pixels, shape.output
    filter_tiles, pixel_tiles = -(-shape.group_filters // tile.filters), -(-pixels // PIXELS)
    row_steps = -(-shape.group_channels // channels_of_step(problem))
    addends = Operand(Place.BIAS), Operand(Place.RESIDUAL), Operand(Place.OUT), None
    return target.step(
        kernel,
        (min(divided.tiles, target.device.multiprocessors), 1, 1),
        addends if whole else (None, None, None, parts),
        (
            *(divided.tiles, filter_tiles, *division(filter_tiles), pixel_tiles, *division(pixel_tiles)),
            *(problem.groups, *division(problem.groups)),
            *(divided.split_steps, row_steps * shape.taps, row_steps, *division(row_steps)),
            *(size for one in shape.kernel[1:] for size in (one, *division(one))),
            *(*shape.stride, *shape.dilation, *shape.padding),
            *(shape.pixels, *division(shape.pixels)),
            *(output[1] * output[2], *division(output[1] * output[2]), output[2], *division(output[2])),
            *(pixels, shape.group_channels, shape.group_filters, problem.filters, prod(problem.output_shape)),
        ),
        tile.shared,
        _maps(problem, tile, whole, x),
    )


@lru_cache(maxsize=256)
def divide(problem: ConvProblem, device: Device) -> Division:
    """Return the division that is predicted to take the least time; the choice, the limit and the plan ask for it.

    Whatever the tile, an element's products are added in the order of the steps.
    """
    return split_for_any_batch(problem, SPLITS, lambda one, splits: _best(one, device, splits))


def _best(problem: ConvProblem, device: Device, splits: int) -> Division | None:
    """Return the division by the best tile; None if there cannot be so many splits."""
    return quickest(_divided(problem, device, tile, splits) for tile in TILES)


def _divided(problem: ConvProblem, device: Device, tile: Tile, splits: int) -> Division | None:
    """Return a division by a tile and splits; None if a split would have too few steps, or none."""
    shape = geometry(problem)
    steps = -(-shape.group_channels // channels_of_step(problem)) * shape.taps
    split_steps = share(steps, splits, LEAST_STEPS)
    if split_steps is None:
        return None
    tiles = _tiles(problem, tile) * splits
    results = prod(problem.output_shape)
    parts = splits * results * 4 if splits > 1 else 0

    on_one = -(-tiles // device.multiprocessors)  # of the tiles, on the multiprocessor that has the most
    products = PIXELS * tile.filters * split_steps * channels_of_step(problem)
    cycles = on_one * (products * problem.itemsize / (_RATE * _BUSY[tile.filters]) + _END * tile.filters)
    moved = (prod(problem.input_shape) + results) * problem.itemsize
    terms = {
        "launches": (2 if splits == 1 else 3) * device.launch,
        **longer(products=(cycles + _BEGIN) / device.clock, memory=moved / device.bandwidth),
        "packing and parts": (2 * _packed(problem) + 2 * parts) / device.bandwidth,
        **terms_of(problem, device),
    }
    return Division(tile, splits, split_steps, tiles, parts, terms)
