"""Implicit matrix product on a device: im2col without the matrix.

For each group, ``out[filter, pixel] = sum over k of weight[k, filter] * columns[k, pixel]``, with k counting taps and,
innermost, channels. M is the filters of the group, N the pixels of all images, K the taps times channels. The columns
are in no memory: a table says for each k how far its element lies from a window's first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from fastconv.arguments import itemsize
from fastconv.cuda import epilogue, product
from fastconv.cuda.algorithm import HALVES, MOST_BLOCKS, Algorithm, Place, longer
from fastconv.cuda.compile import Kernel, computed
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import division
from fastconv.cuda.packing import pack, reduce
from fastconv.cuda.plan import Operand, Plan, Target
from fastconv.cuda.splitting import BATCHES, quickest, share, split_for_any_batch
from fastconv.cuda.window import crowded, most_places
from fastconv.problem import ConvProblem


@dataclass(frozen=True)
class Tile:
    """What a block computes, and how many threads do: each loads as many quads of weights for a buffer."""

    filters: int
    pixels: int
    thread_filters: int
    thread_pixels: int
    blocks: int  # that a multiprocessor holds at once
    depth: int = product.DEPTH

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.filters * self.pixels // (self.thread_filters * self.thread_pixels)

    def constants(self) -> dict[str, int]:
        """Return what every kernel by tiles is specialised by."""
        return {
            "FILTERS": self.filters,
            "PIXELS": self.pixels,
            "THREAD_FILTERS": self.thread_filters,
            "THREAD_PIXELS": self.thread_pixels,
            "DEPTH": self.depth,
            "THREADS": self.threads,
            "WEIGHT_LOADS": self.depth * self.filters // (4 * self.threads),
        }

    def windows(self, channels: int, channels_last: bool) -> dict[str, int]:
        """Return what the kernel of windows is specialised by besides, for so many channels of a group."""
        lines = max(1, self.threads // self.pixels)
        steps_at_once, column_loads = 4 if channels_last and channels % 4 == 0 else 1, self.depth // lines
        along, across = (self.filters, self.pixels) if channels_last else (self.pixels, self.filters)
        return {
            "COLUMNS": max(1, self.pixels // self.threads),
            "LINES": lines,
            "COLUMN_LOADS": column_loads,
            "STEPS_AT_ONCE": steps_at_once,
            "ENTRY_LOADS": steps_at_once if channels % self.depth else column_loads,
            "CHANNELS_LAST": channels_last,
            "ALONG": along,
            "ACROSS": across,
            "ACROSS_STEP": max(1, self.threads // along),
            "ROUNDS": self.thread_pixels if channels_last else self.thread_filters,
        }


TILES = {
    "float32": (Tile(128, 128, 8, 8, 2), Tile(64, 64, 8, 8, 6), Tile(32, 128, 8, 8, 6)),
    "float64": (Tile(64, 64, 8, 8, 4),),
}

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
LEAST_TILES = 8  # of a split: below, a block begins and ends more than it multiplies

#: Share of a multiprocessor's cycles that are products while it has enough threads: that of the main loop's
#: instructions, by the tile's filters and pixels, less what the blocks' ends take.
_BUSY = {(128, 128): 0.79, (64, 64): 0.76, (32, 128): 0.71}
_ENOUGH_THREADS = 256  # of a multiprocessor: two warps for each of its four schedulers


class Division(NamedTuple):
    """How the product is divided, and where its operands are in the workspace."""

    tile: Tile
    splits: int
    padded_filters: int  # of a group
    padded_steps: int  # whole tiles, and one more for what the last round loads
    table: int  # the place in bytes of the table, after the packed weights
    packed: int  # bytes of both
    parts: int  # bytes of the sums of splits
    terms: dict[str, float]  # predicted seconds, by what they are spent on

    @property
    def seconds(self) -> float:
        """All together."""
        return sum(self.terms.values())


class Im2col(Algorithm):
    """The implicit matrix product.

    Parameters
    ----------
    alike : bool, optional
        Whether an image's result must not depend on how many there are.
    """

    name = "im2col"
    dtypes = (*HALVES, "float32", "float64")

    def __init__(self, *, alike: bool = True) -> None:
        self._alike = alike

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse windows of too many places, and more groups and filters than a grid has blocks."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if crowded(problem) and any(map(any, problem.padding)):
            sizes, most = "x".join(map(str, problem.kernel)), most_places(problem)
            return f"im2col takes kernels whose sizes add up to {most} at most where there is padding, not {sizes}"
        if problem.groups > MOST_BLOCKS or problem.filters > MOST_BLOCKS * 32:
            return f"im2col takes at most {MOST_BLOCKS} groups and {MOST_BLOCKS * 32} filters on a device"
        return None

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of packed weights, the table and split sums."""
        divided = divide(problem, device, self._alike)
        return divided.packed + divided.parts

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the time of the best division."""
        return divide(problem, machine, self._alike).terms

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return launches that pack, multiply and, where sums are split, add."""
        divided = divide(problem, target.device, self._alike)
        shape = geometry(problem)
        tile, splits = divided.tile, divided.splits
        weights, table = Operand(Place.PACKED), Operand(Place.PACKED, divided.table)
        parts, addends = Operand(Place.WORKSPACE), (Operand(Place.BIAS), Operand(Place.RESIDUAL))
        packing = pack(
            target,
            problem,
            divided.padded_filters,
            divided.padded_steps,
            (Operand(Place.WEIGHT), weights, table),
            inside=crowded(problem),
        )
        whole = splits == 1
        channels_last = problem.layout == "channels_last"
        kernel = Kernel(
            product.multiply,
            problem.dtype,
            tile.threads,
            tile.blocks,
            {**tile.constants(), **tile.windows(shape.group_channels, channels_last), "WHOLE": whole},
            {"finish": epilogue.place(activation if whole else None)},
        )
        pixels, tiles = problem.batch * shape.pixels, divided.padded_steps // tile.depth - 1
        output = shape.output
        # Of what each is looked whether it is inside; a window that must be, all of it, is judged by its corner
        places = (1, 1, 1) if crowded(problem) else shape.kernel
        grid = (-(-pixels // tile.pixels), divided.padded_filters // tile.filters, problem.groups * splits)
        multiplying = target.step(
            kernel,
            grid,
            [
                *(Operand(Place.X), weights),
                *((*addends, Operand(Place.OUT), None) if whole else (None, None, None, parts)),
                table,
            ],
            (
                *(prod(problem.input_shape[1:]), prod(problem.output_shape[1:]), prod(problem.output_shape)),
                *(pixels, shape.group_filters, divided.padded_filters, divided.padded_steps),
                *(splits, *division(splits), -(-tiles // splits), tiles),
                *(*shape.size, *places, *shape.stride, *shape.dilation, *shape.padding),
                *(shape.pixels, *division(shape.pixels)),
                *(output[1] * output[2], *division(output[1] * output[2]), output[2], *division(output[2])),
                *(shape.pixel_step, shape.channel_step, shape.group_channels * shape.channel_step),
                *(shape.out_pixel_step, shape.out_filter_step),
            ),
        )
        if whole:
            return Plan(target, [multiplying], 0, [packing], divided.packed)
        pointers = parts, *addends, Operand(Place.OUT)
        adding = reduce(target, problem, activation, splits, pointers)
        return Plan(target, [multiplying, adding], divided.parts, [packing], divided.packed)


@lru_cache(maxsize=256)
def divide(problem: ConvProblem, device: Device, alike: bool = True) -> Division:
    """Return the division that is predicted to take the least time; the choice, the limit and the plan ask for it.

    Whatever the tile, an element's products are added in the order of the steps; where images must come out alike, in
    whatever batch.
    """
    batches = BATCHES if alike else (problem.batch,)
    return split_for_any_batch(problem, SPLITS, lambda one, splits: _best(one, device, splits), batches)


def _best(problem: ConvProblem, device: Device, splits: int) -> Division | None:
    """Return the division by the best tile; None if there cannot be so many splits."""
    if problem.groups * splits > MOST_BLOCKS:
        return None
    return quickest(_divided(problem, device, tile, splits) for tile in TILES[computed(problem.dtype)])


def _divided(problem: ConvProblem, device: Device, tile: Tile, splits: int) -> Division | None:
    """Return a division by a tile and splits; None if a split would have too few steps, or none."""
    shape = geometry(problem)
    item = itemsize(computed(problem.dtype))  # of packed weights and sums
    tiles = -(-shape.group_channels * shape.taps // tile.depth)
    split_tiles = share(tiles, splits, LEAST_TILES)
    if split_tiles is None:
        return None
    filter_tiles = -(-shape.group_filters // tile.filters)
    padded_filters, padded_steps = filter_tiles * tile.filters, (tiles + 1) * tile.depth
    table = problem.groups * padded_filters * padded_steps * item
    packed = table + 8 * padded_steps
    results = prod(problem.output_shape)
    parts = splits * results * item if splits > 1 else 0

    blocks = max(1, -(-problem.batch * shape.pixels // tile.pixels)) * filter_tiles * problem.groups * splits
    on_one = -(-blocks // device.multiprocessors)  # of the blocks, on the multiprocessor that has the most
    threads = min(on_one, tile.blocks) * tile.threads
    busy = _BUSY[tile.filters, tile.pixels] * min(1.0, threads / _ENOUGH_THREADS)
    lanes = 128 if computed(problem.dtype) == "float32" else device.doubles
    products = on_one * tile.filters * tile.pixels * split_tiles * tile.depth / (lanes * busy * device.clock)
    moved = (prod(problem.input_shape) + results) * problem.itemsize
    passes = 2 * table + 2 * parts
    launches = 2 if splits == 1 else 3
    terms = {
        "launches": launches * device.launch,
        **longer(products=products, memory=moved / device.bandwidth),
        "packing and parts": passes / device.bandwidth,
    }
    return Division(tile, splits, padded_filters, padded_steps, table, packed, parts, terms)
