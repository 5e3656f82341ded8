"""Gradients by the weight on tensor cores, as an implicit matrix product of their own: policy.

As a forward problem (`fastconv.derivation`) such a gradient has a kernel as large as the output, images as channels
and channels as images. Its windows have more places than `window` has bits from some 15 x 15 outputs on, and what lies
side by side are images: of one or two of them, copies of two or four bytes. Here pixels of the output are K, and
channels stay side by side, as in the forward direction. There are few results and very many pixels, so that most
problems need splits for a device to be full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import NamedTuple

from fastconv.cuda import weight_product
from fastconv.cuda.algorithm import MOST_BLOCKS, Place, longer
from fastconv.cuda.compile import Kernel
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.implicit_gemm_mma import INTRINSICS, STAGES, Factors, ImplicitGemmMma, factors_of, granule
from fastconv.cuda.intrinsics import division
from fastconv.cuda.plan import Operand, Plan, Step, Target, aligned
from fastconv.cuda.splitting import quickest, share
from fastconv.cuda.transposition import Moved, moved
from fastconv.problem import ConvProblem

DEPTH = 32  # pixels of a round
_CHUNK = 16  # bytes
_THREADS = 256  # of the kernels around


@dataclass(frozen=True)
class Tile:
    """What a block of 128 threads computes, and its warps."""

    filters: int
    columns: int
    warp_filters: int
    warp_columns: int
    blocks: int  # that a multiprocessor should hold at once

    threads = 128

    def stage(self, factors: Factors) -> int:
        """Bytes of the factors of a round."""
        return DEPTH * (self.filters + self.columns) * factors.item

    def constants(self, factors: Factors, of_filters: int, of_columns: int) -> dict[str, int]:
        """Return what the kernel is specialised by, given the bytes that filters and columns are copied in."""
        words = factors.item == 4
        products = 16 if factors.multiplied == 2 else 8  # of K at once
        return {
            **_copies("FILTER", self.filters * factors.item, of_filters),
            **_copies("COLUMN", self.columns * factors.item, of_columns),
            "FILTERS": self.filters,
            "COLUMNS": self.columns,
            "WARP_FILTERS": self.warp_filters,
            "WARP_COLUMNS": self.warp_columns,
            "THREADS": self.threads,
            "WARPS_ALONG": self.columns // self.warp_columns,
            "STAGES": STAGES,
            "DEPTH": DEPTH,
            "ITEM": factors.item,
            "STAGE": self.stage(factors),
            "WORDS": words,
            "PAIRED": factors.paired,
            "STEPS": DEPTH // products,
            "STEP_ROWS": products,
            "SUMS": self.warp_filters * self.warp_columns // 32,
        }


def _copies(name: str, row: int, size: int) -> dict[str, int]:
    """Constants of the copies of rows of so many bytes."""
    chunks = row // _CHUNK
    lines = Tile.threads // chunks
    return {
        f"{name}_ROW": row,
        f"{name}_CHUNKS": chunks,
        f"{name}_LINES": lines,
        f"{name}_COPIES": DEPTH // lines,
        f"{name}_GRANULE": size,
        f"{name}_GRANULES": _CHUNK // size,
    }


TILES = (Tile(128, 128, 64, 64, 2), Tile(64, 128, 32, 64, 3), Tile(64, 64, 32, 32, 4))

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
LEAST_ROUNDS = 4  # of a split: below, a block begins and ends more than it multiplies

#: Share of a multiprocessor's cycles in which its tensor cores multiply while it has enough threads, by the tile:
#: estimates, as in `implicit_gemm_mma`. Words are loaded one by one, which takes as long as two products each.
_BUSY = {(128, 128): 0.65, (64, 128): 0.58, (64, 64): 0.48}
_BUSY_WITH_WORDS = 0.8  # of that
_ENOUGH_THREADS = 256  # of a multiprocessor


class Division(NamedTuple):
    """How the product is divided, and what it takes."""

    tile: Tile
    splits: int
    split_rounds: int
    rounds: int
    padded_filters: int  # of a group
    padded_columns: int
    terms: dict[str, float]  # predicted seconds, by what they are spent on

    @property
    def seconds(self) -> float:
        """All together."""
        return sum(self.terms.values())

    @property
    def windows(self) -> int:
        """Pixels in the table: some more than there are, which copies run ahead."""
        return (self.rounds + STAGES) * DEPTH

    def split_size(self, groups: int) -> int:
        """Sums of a split."""
        return groups * self.padded_filters * self.padded_columns


class _Room(NamedTuple):
    """Where in the workspace things begin, in bytes; arrays that are not copied have no room."""

    grad: int  # behind x
    starts: int
    borders: int
    parts: int
    workspace: int


class ImplicitGemmMmaWeight(ImplicitGemmMma):
    """The implicit matrix product by ``mma.sync`` whose results are the gradient by the weight."""

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse other directions, and what the forward direction refuses."""
        if problem.direction != "weight_gradient":
            return f"{self.name} is there for the weight_gradient, not for {problem.direction}"
        return super().supports(replace(problem, direction="forward"))

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of transposed operands, of the table of windows and of split sums."""
        return _room(problem, divide(problem, device)).workspace

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the time of the best division."""
        return divide(problem, machine).terms

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return launches that transpose where channels are first, look where windows lie, multiply and add."""
        assert activation is None
        divided = divide(problem, target.device)
        room = _room(problem, divided)
        x, grad = _operands(problem)
        steps: list[Step] = []
        of_x, of_grad = Operand(Place.X), Operand(Place.WEIGHT)
        if problem.layout == "channels_first":
            of_x, of_grad = Operand(Place.WORKSPACE), Operand(Place.WORKSPACE, room.grad)
            steps.append(moved(target, x, Operand(Place.X), of_x))
            steps.append(moved(target, grad, Operand(Place.WEIGHT), of_grad))
        table = Operand(Place.WORKSPACE, room.starts), Operand(Place.WORKSPACE, room.borders)
        parts = Operand(Place.WORKSPACE, room.parts)
        steps.append(_looking(problem, divided, target, (of_x, *table)))
        steps.append(_multiplying(problem, divided, target, (of_grad, *table, parts)))
        steps.append(_adding(problem, divided, target, (parts, Operand(Place.OUT))))
        return Plan(target, steps, room.workspace)


def _operands(problem: ConvProblem) -> tuple[Moved, Moved]:
    """What is transposed where channels are first: the input and the gradient."""
    batch, item = problem.batch, problem.itemsize
    return (
        Moved(batch, problem.channels, prod(problem.size), item),
        Moved(batch, problem.filters, prod(problem.output_size), item),
    )


def _room(problem: ConvProblem, divided: Division) -> _Room:
    """Lay things out."""
    first = problem.layout == "channels_first"
    copies = [each.nbytes if first else 0 for each in _operands(problem)]
    parts = 4 * divided.splits * divided.split_size(problem.groups)
    ends = [0]
    for size in (*copies, 8 * divided.windows, 4 * divided.windows, parts):
        ends.append(ends[-1] + aligned(size))
    return _Room(*ends[1:])


def _looking(problem: ConvProblem, divided: Division, target: Target, operands: tuple[Operand, ...]) -> Step:
    """Return the launch that writes the table of windows."""
    shape, output = geometry(problem), geometry(problem).output
    return target.step(
        Kernel(weight_product.windows, problem.dtype, _THREADS),
        (-(-divided.windows // _THREADS), 1, 1),
        operands,
        (
            *(divided.windows, problem.batch * shape.pixels, prod(problem.input_shape[1:]), problem.channels),
            *(*shape.size, *shape.kernel, *shape.stride, *shape.dilation, *shape.padding),
            *(shape.pixels, *division(shape.pixels)),
            *(output[1] * output[2], *division(output[1] * output[2]), output[2], *division(output[2])),
        ),
    )


def _multiplying(problem: ConvProblem, divided: Division, target: Target, operands: tuple[Operand, ...]) -> Step:
    """Return the launch that multiplies."""
    factors, shape, tile = factors_of(problem), geometry(problem), divided.tile
    assert factors is not None
    of_filters, of_columns = (granule(each * factors.item) for each in (shape.group_filters, shape.group_channels))
    words = factors.item == 4
    kernel = Kernel(
        weight_product.multiply_weight,
        problem.dtype,
        tile.threads,
        tile.blocks,
        tile.constants(factors, of_filters, of_columns),
        {
            "products": f"{INTRINSICS}:multiply_{factors.name}",
            "rounded": f"{INTRINSICS}:{factors.rounding}",
            "load_factors": f"{INTRINSICS}:{'load_words' if words else 'load_transposed'}",
            "of_columns": f"{INTRINSICS}:{'as_columns' if words else 'as_they_are'}",
        },
    )
    filter_tiles = divided.padded_filters // tile.filters
    return target.step(
        kernel,
        (filter_tiles * (divided.padded_columns // tile.columns), problem.groups * divided.splits, 1),
        operands,
        (
            *(problem.batch * shape.pixels, problem.filters, shape.group_filters, divided.padded_filters),
            *(problem.channels, shape.group_channels, *division(shape.group_channels)),
            *(shape.group_channels * shape.taps, divided.padded_columns),
            *(filter_tiles, *division(filter_tiles), problem.groups, *division(problem.groups)),
            *(divided.split_rounds, divided.rounds, *shape.kernel, *shape.dilation, *shape.size[1:]),
        ),
        STAGES * tile.stage(factors),
    )


def _adding(problem: ConvProblem, divided: Division, target: Target, operands: tuple[Operand, ...]) -> Step:
    """Return the launch that adds the sums of splits, in their order."""
    shape, count = geometry(problem), prod(problem.weight_shape)
    return target.step(
        Kernel(weight_product.add_weight, problem.dtype, _THREADS, constants={"FLIP": problem.flip}),
        (-(-count // _THREADS), 1, 1),
        operands,
        (
            *(count, divided.splits, divided.split_size(problem.groups), shape.group_filters),
            *(divided.padded_filters, divided.padded_columns, shape.group_channels, shape.taps),
        ),
    )


@lru_cache(maxsize=256)
def divide(problem: ConvProblem, device: Device) -> Division:
    """Return the division that is predicted to take the least time; the choice, the limit and the plan ask for it."""
    found = quickest(_divided(problem, device, tile, splits) for splits in SPLITS for tile in TILES)
    assert found is not None  # one split by the smallest tile is always possible
    return found


def _divided(problem: ConvProblem, device: Device, tile: Tile, splits: int) -> Division | None:
    """Return a division by a tile and splits; None if a split would have too few rounds, or a block too much memory."""
    factors, shape = factors_of(problem), geometry(problem)
    assert factors is not None
    rounds = -(-problem.batch * shape.pixels // DEPTH)
    split_rounds = share(rounds, splits, LEAST_ROUNDS)
    shared = STAGES * tile.stage(factors)
    if split_rounds is None or problem.groups * splits > MOST_BLOCKS or shared > device.shared:
        return None
    columns = shape.group_channels * shape.taps
    filter_tiles, column_tiles = -(-shape.group_filters // tile.filters), -(-columns // tile.columns)
    padded = filter_tiles * tile.filters, column_tiles * tile.columns

    blocks = filter_tiles * column_tiles * problem.groups * splits
    on_one = -(-blocks // device.multiprocessors)  # of the blocks, on the multiprocessor that has the most
    threads = min(on_one, tile.blocks, device.shared // shared) * tile.threads
    busy = _BUSY[tile.filters, tile.columns] * min(1.0, threads / _ENOUGH_THREADS)
    busy *= _BUSY_WITH_WORDS if factors.item == 4 else 1.0
    rate = device.halves * 2 // factors.multiplied * busy * device.clock
    operands = _operands(problem)
    moved_bytes = sum(each.nbytes for each in operands)
    parts = 4 * splits * problem.groups * prod(padded)
    terms = {
        "launches": 3 * device.launch,
        **longer(
            products=on_one * tile.filters * tile.columns * split_rounds * DEPTH / rate,
            memory=moved_bytes / device.bandwidth,
        ),
        "windows and parts": (24 * rounds * DEPTH + 2 * parts) / device.bandwidth,
    }
    if problem.layout == "channels_first":
        terms["transposition"] = sum(each.seconds(device) for each in operands)
    return Division(tile, splits, split_rounds, rounds, *padded, terms)
