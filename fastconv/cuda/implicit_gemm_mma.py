"""Implicit matrix product by tensor cores: `im2col` without the matrix, on devices of compute capability 8.0 or later.

For each group, ``out[pixel, filter] = sum over k of columns[pixel, k] * weight[k, filter]``, with k counting taps and,
innermost, channels. M is the pixels of all images, N the filters of the group, K the taps times channels. Sums are of
float32. Factors are those of float16 and bfloat16 arrays as they are; those of float32 arrays are rounded to what the
problem's precision allows. Inputs with channels first are transposed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from fastconv.cuda import epilogue, mma_product
from fastconv.cuda.algorithm import HALVES, MOST_BLOCKS, Algorithm, Place, longer
from fastconv.cuda.compile import Kernel
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import division
from fastconv.cuda.mma_packing import Packing, pack
from fastconv.cuda.packing import reduce
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.cuda.splitting import quickest, share, split_for_any_batch
from fastconv.cuda.transposition import channels_moved, room_of, terms_of
from fastconv.cuda.window import crowded, most_places
from fastconv.problem import BFLOAT16, ConvProblem

LEAST_CAPABILITY = (8, 0)  # which has `mma.sync` of these types, and asynchronous copies
LEAST_GROUP = 8  # channels and filters of one of several groups: below, most of a tile would be padding
MOST_STEPS = 2**30 - 1  # of K: what `intrinsics.quotient` divides

STAGES = 3  # rounds whose factors are in shared memory, or on their way
_ROW = 128  # bytes of a pixel's columns in a round: each of its 16 byte chunks lies in four of the 32 banks
_CHUNK = 16  # bytes
_WINDOW = 12  # bytes of shared memory that the kernel declares for a pixel: its window's address and borders

INTRINSICS = "fastconv.cuda.intrinsics.tensor_cores"


@dataclass(frozen=True)
class Factors:
    """What is multiplied, and what it is made of."""

    name: str  # of the type, as intrinsics call it
    item: int  # bytes of an element of x
    multiplied: int  # bytes of a factor
    error: float = 0.0  # bound of what rounding the factors does to a result; 0: they are as they are

    @property
    def depth(self) -> int:
        """Of K in a round."""
        return _ROW // self.item

    @property
    def paired(self) -> bool:
        """Whether two elements of x become one word."""
        return self.multiplied < self.item

    @property
    def weight_row(self) -> int:
        """Bytes of a filter in a round."""
        return self.depth * self.multiplied

    @property
    def rounding(self) -> str:
        """The intrinsic that rounds columns."""
        return f"rounded_to_{self.name}" if self.error else "as_they_are"


#: By the arrays' type, or by the precision of float32 arrays. Rounding a factor to p bits errs by 2**-p at most, two
#: factors of uniform numbers by sqrt(2 / 7) * 2**-p in the root mean square: bounds are 1.02 * 2**-p.
FACTORS = {
    "float16": Factors("float16", 2, 2),
    BFLOAT16: Factors("bfloat16", 2, 2),
    "tf32": Factors("tf32", 4, 4, 5e-4),
    "fp16": Factors("float16", 4, 2, 5e-4),
    "bf16": Factors("bfloat16", 4, 2, 4e-3),
}


@dataclass(frozen=True)
class Tile:
    """What a block computes, and its warps."""

    pixels: int
    filters: int
    warp_pixels: int
    warp_filters: int
    blocks: int  # that a multiprocessor should hold at once

    @property
    def threads(self) -> int:
        """Of a block."""
        return 32 * (self.pixels // self.warp_pixels) * (self.filters // self.warp_filters)

    def stage(self, factors: Factors) -> int:
        """Bytes of the factors of a round."""
        return self.pixels * _ROW + self.filters * factors.weight_row

    def pitch(self, channels_last: bool) -> int:
        """Floats between lines of sums in shared memory, so that the threads of a warp store to different banks."""
        return self.filters + 8 if channels_last else self.pixels + 4

    def shared(self, factors: Factors, channels_last: bool) -> int:
        """Bytes of shared memory: of the stages, and afterwards of the sums."""
        across = self.pixels if channels_last else self.filters
        return max(STAGES * self.stage(factors), 4 * across * self.pitch(channels_last))

    def constants(self, factors: Factors, granule: int, channels_last: bool) -> dict[str, int]:
        """Return what the kernel is specialised by."""
        lines = self.threads // (_ROW // _CHUNK)
        return {
            "PIXELS": self.pixels,
            "FILTERS": self.filters,
            "WARP_PIXELS": self.warp_pixels,
            "WARP_FILTERS": self.warp_filters,
            "THREADS": self.threads,
            "WARPS_ALONG": self.filters // self.warp_filters,
            "STAGES": STAGES,
            "COLUMN_ROW": _ROW,
            "WEIGHT_ROW": factors.weight_row,
            "WEIGHT_CHUNKS": self.filters * factors.weight_row // (_CHUNK * self.threads),
            "LINES": lines,
            "COLUMN_LINES": self.pixels // lines,
            "STAGE": self.stage(factors),
            "STEPS": factors.weight_row // 32,  # a product takes 32 bytes of a row of weights
            "PAIRED": factors.paired,
            "ITEM": factors.item,
            "GRANULE": granule,
            "GRANULES": _CHUNK // granule,
            "AHEAD": granule > 2,  # eight entries would take more registers than there are
            "SUMS": self.warp_pixels * self.warp_filters // 32,
            "ROW_TILES": self.warp_pixels // 16,
            "COLUMN_TILES": self.warp_filters // 8,
            "COLUMN_STEP": 16 * _ROW,
            "WEIGHT_STEP": 16 * factors.weight_row,
            "CHANNELS_LAST": channels_last,
            "ALONG": self.filters if channels_last else self.pixels,
            "ACROSS": self.pixels if channels_last else self.filters,
            "PITCH": self.pitch(channels_last),
        }


# A warp that computes 64 x 64 reads a third less from shared memory for a product than one of 64 x 32.
TILES = (Tile(128, 128, 64, 64, 2), Tile(128, 64, 64, 32, 3), Tile(64, 64, 32, 32, 4))

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
LEAST_ROUNDS = 4  # of a split: below, a block begins and ends more than it multiplies

#: Share of a multiprocessor's cycles in which its tensor cores multiply while it has enough threads, by the tile's
#: pixels and filters: estimates by the shared memory that a product takes, which no device has confirmed yet.
_BUSY = {(128, 128): 0.70, (128, 64): 0.62, (64, 64): 0.52}
_ENOUGH_THREADS = 256  # of a multiprocessor: two warps for each of its four schedulers


class Division(NamedTuple):
    """How the product is divided, and what it takes."""

    tile: Tile
    splits: int
    packing: Packing
    parts: int  # bytes of the sums of splits
    terms: dict[str, float]  # predicted seconds, by what they are spent on

    @property
    def seconds(self) -> float:
        """All together."""
        return sum(self.terms.values())


class ImplicitGemmMma(Algorithm):
    """The implicit matrix product by tensor cores, as ``mma.sync`` tells them."""

    name = "implicit_gemm_mma"
    dtypes = (*HALVES, "float32")

    def runs_on(self, device: Device) -> str | None:
        """Refuse devices without these instructions."""
        if device.capability < LEAST_CAPABILITY:
            least, own = (".".join(map(str, one)) for one in (LEAST_CAPABILITY, device.capability))
            return f"{self.name} takes devices of compute capability {least} or later, not {own}"
        return None

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse factors that must not be rounded, windows of too many places, and groups of a few channels."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if factors_of(problem) is None:
            return f"{self.name} rounds factors of float32: precision must be tf32, bf16 or fp16, not ieee"
        if crowded(problem):
            sizes = "x".join(map(str, problem.kernel))
            return f"{self.name} takes kernels whose sizes add up to {most_places(problem)} at most, not {sizes}"
        channels, filters = problem.channels // problem.groups, problem.filters // problem.groups
        if problem.groups > 1 and min(channels, filters) < LEAST_GROUP:
            least = f"groups of at least {LEAST_GROUP} channels and {LEAST_GROUP} filters"
            return f"{self.name} takes {least}, not {channels} and {filters}"
        if problem.groups > MOST_BLOCKS or problem.filters > MOST_BLOCKS * 8 or problem.channels > MOST_BLOCKS * 64:
            most = f"{MOST_BLOCKS} groups, {MOST_BLOCKS * 8} filters and {MOST_BLOCKS * 64} channels"
            return f"{self.name} takes at most {most}"
        if prod(problem.weight_shape[1:]) > MOST_STEPS:
            return f"{self.name} takes at most {MOST_STEPS} weights a filter, not {prod(problem.weight_shape[1:])}"
        return None

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the bound of the sums, and above it that of rounding the factors."""
        factors = factors_of(problem)
        return max(super().error_bound(problem), factors.error if factors else 0.0)

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of packed weights with their table, of a transposed input and of split sums."""
        divided = divide(problem, device)
        return _packed(divided, problem) + room_of(problem) + divided.parts

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the time of the best division."""
        return divide(problem, machine).terms

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return launches that pack, transpose where channels are first, multiply and, where sums are split, add."""
        divided = divide(problem, target.device)
        weights, table = Operand(Place.PACKED), Operand(Place.PACKED, divided.packing.nbytes(problem.groups))
        packing = pack(target, problem, divided.packing, (Operand(Place.WEIGHT), weights, table), problem.channels)
        steps, x = channels_moved(target, problem)
        parts = Operand(Place.WORKSPACE, room_of(problem))
        steps.append(_multiplying(problem, activation, target, divided, (x, weights, table, parts)))
        if divided.splits > 1:
            pointers = parts, Operand(Place.BIAS), Operand(Place.RESIDUAL), Operand(Place.OUT)
            steps.append(reduce(target, problem, activation, divided.splits, pointers))
        return Plan(target, steps, room_of(problem) + divided.parts, [packing], _packed(divided, problem))


def factors_of(problem: ConvProblem) -> Factors | None:
    """Return what is multiplied; None where no factor may be rounded."""
    return FACTORS.get(problem.precision if problem.dtype == "float32" else problem.dtype)


def _packed(divided: Division, problem: ConvProblem) -> int:
    """Bytes of packed weights and their table."""
    return divided.packing.nbytes(problem.groups) + divided.packing.table_bytes


def granule(side_by_side: int) -> int:
    """Return the bytes of a copy: as many as are sure to lie side by side, from a multiple of them on."""
    return next(size for size in (_CHUNK, 8, 4, 2) if side_by_side % size == 0)


def _column_granule(problem: ConvProblem, item: int) -> int:
    """Bytes of a copy of columns: channels of a group."""
    return granule(problem.channels // problem.groups * item)


def _multiplying(
    problem: ConvProblem, activation: str | None, target: Target, divided: Division, operands: tuple[Operand, ...]
) -> Step:
    """Return the launch that multiplies, given where x, weights, table and the sums of splits are."""
    x, weights, table, parts = operands
    factors, tile, splits, packing = factors_of(problem), divided.tile, divided.splits, divided.packing
    assert factors is not None
    shape, whole, channels_last = geometry(problem), splits == 1, problem.layout == "channels_last"
    along = shape.group_filters if channels_last else shape.pixels
    kernel = Kernel(
        mma_product.multiply,
        problem.dtype,
        tile.threads,
        tile.blocks,
        {
            **tile.constants(factors, _column_granule(problem, factors.item), channels_last),
            "WHOLE": whole,
            "RUNS": along % 4 == 0,
        },
        {
            "finish": epilogue.place(activation if whole else None),
            "products": f"{INTRINSICS}:multiply_{factors.name}",
            "rounded": f"{INTRINSICS}:{factors.rounding}",
        },
    )
    pixels, output = problem.batch * shape.pixels, shape.output
    filter_tiles = packing.padded_filters // tile.filters
    ends = Operand(Place.BIAS), Operand(Place.RESIDUAL), Operand(Place.OUT)
    return target.step(
        kernel,
        (-(-pixels // tile.pixels) * filter_tiles, problem.groups * splits, 1),
        [x, weights, *((*ends, None) if whole else (None, None, None, parts)), table],
        (
            *(prod(problem.input_shape[1:]), prod(problem.output_shape[1:]), prod(problem.output_shape)),
            *(pixels, shape.group_filters, packing.padded_filters, filter_tiles, *division(filter_tiles)),
            *(splits, *division(splits), -(-packing.rounds // splits), packing.rounds),
            *(*shape.size, *shape.kernel, *shape.stride, *shape.dilation, *shape.padding),
            *(shape.pixels, *division(shape.pixels)),
            *(output[1] * output[2], *division(output[1] * output[2]), output[2], *division(output[2])),
            *(problem.channels, shape.group_channels, shape.out_pixel_step, shape.out_filter_step),
        ),
        tile.shared(factors, channels_last),
    )


@lru_cache(maxsize=256)
def divide(problem: ConvProblem, device: Device) -> Division:
    """Return the division that is predicted to take the least time; the choice, the limit and the plan ask for it.

    Whatever the tile, an element's products are added in the order of the steps.
    """
    return split_for_any_batch(problem, SPLITS, lambda one, splits: _best(one, device, splits))


def _best(problem: ConvProblem, device: Device, splits: int) -> Division | None:
    """Return the division by the best tile; None if there cannot be so many splits."""
    if problem.groups * splits > MOST_BLOCKS:
        return None
    return quickest(_divided(problem, device, tile, splits) for tile in TILES)


def _divided(problem: ConvProblem, device: Device, tile: Tile, splits: int) -> Division | None:
    """Return a division by a tile and splits; None if a split would have too few rounds, or a block too much memory."""
    factors, shape, channels_last = factors_of(problem), geometry(problem), problem.layout == "channels_last"
    assert factors is not None
    rounds = -(-shape.group_channels * shape.taps // factors.depth)
    split_rounds = share(rounds, splits, LEAST_ROUNDS)
    if split_rounds is None:
        return None
    shared = tile.shared(factors, channels_last) + _WINDOW * tile.pixels
    if shared > device.shared:
        return None
    filter_tiles = -(-shape.group_filters // tile.filters)
    packing = Packing(
        f"{INTRINSICS}:word_of_{factors.name}",
        4 // factors.multiplied,
        factors.depth,
        factors.paired,
        _column_granule(problem, factors.item) // factors.item,
        filter_tiles * tile.filters,
        rounds,
        STAGES,  # those that copies run ahead of the products, and one that entries run ahead of the copies
    )
    images, results = prod(problem.input_shape), prod(problem.output_shape)
    parts = 4 * splits * results if splits > 1 else 0

    blocks = max(1, -(-problem.batch * shape.pixels // tile.pixels)) * filter_tiles * problem.groups * splits
    on_one = -(-blocks // device.multiprocessors)  # of the blocks, on the multiprocessor that has the most
    threads = min(on_one, tile.blocks, device.shared // shared) * tile.threads
    busy = _BUSY[tile.pixels, tile.filters] * min(1.0, threads / _ENOUGH_THREADS)
    rate = device.halves * 2 // factors.multiplied * busy * device.clock
    products = on_one * tile.pixels * tile.filters * split_rounds * factors.depth / rate
    moved = (images + results) * problem.itemsize
    terms = {
        "launches": (2 + (splits > 1)) * device.launch,
        **longer(products=products, memory=moved / device.bandwidth),
        "packing and parts": (2 * packing.nbytes(problem.groups) + 2 * parts) / device.bandwidth,
        **terms_of(problem, device),
    }
    return Division(tile, splits, packing, parts, terms)
