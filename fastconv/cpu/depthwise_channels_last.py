"""Plans of depthwise convolutions with the channels of a pixel side by side."""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from fastconv.codegen import depthwise_channels_last as slot
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise_channels_last import Pixels
from fastconv.codegen.depthwise_shape import MOST_KINDS, Kind, kinds_in_turn
from fastconv.cpu.cycles import Cycles
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.native import Slots, address
from fastconv.cpu.plan import Request, TaskPlan
from fastconv.problem import ConvProblem

# Cycles
BEGIN_ROW, BEGIN_TILE, BEGIN_BLOCK, KERNEL_ROW, END_SUM = 60, 20, 12, 4, 1.5
PACK = 0.6  # of a weight
MOST_PRODUCTS = 1500  # that are written out for all kinds of tiles together: some 100 ms of compiling


@dataclass(frozen=True)
class PixelsPlan(TaskPlan):
    """A plan of pixels."""

    code: Pixels
    numbers: int  # the address of the slots
    tasks: int
    request: Request
    keep: tuple[npt.NDArray[np.generic], ...]  # the slots, and what they point to
    weight_bytes: int = 0

    @cached_property
    def _pack(self) -> Callable[..., int]:
        """The machine code that packs weights."""
        code = slot.packing(self.code.dtype, math.prod(self.code.kernel))
        return ctypes.CFUNCTYPE(*[ctypes.c_int64] * 4)(code)

    def pack(self, job: Slots, to: int, weight: int) -> bool:
        """Copy weights into blocks of channels, and return whether one is not finite."""
        return self._pack(to, weight, self.request.problem.channels) != 0

    def addresses(self, residual: bool, careful: bool) -> tuple[int, int]:
        """The addresses of the function and of the numbers."""
        return slot.address(self.code.variant(residual, careful)), self.numbers


def plan(request: Request) -> PixelsPlan:
    """Return the plan of a request."""
    problem = request.problem
    shape = geometry(problem)
    code = dataclasses.replace(pixels(shape, problem, request.target), activation=request.activation)
    item = np.dtype(problem.dtype).itemsize
    lanes = request.target.lanes(problem.dtype)
    channels = problem.channels
    blocks = -(-channels // lanes)
    image, _, pixel = request.out_strides
    zeros = np.zeros(max(channels, lanes), problem.dtype)
    taps = np.array(_rows_met(shape), np.int64)
    numbers = np.zeros(slot.SLOTS, np.int64)
    for place, value in {
        slot.HEIGHT: shape.size[1],
        slot.WIDTH: shape.size[2],
        slot.OUT_HEIGHT: shape.output[1],
        slot.OUT_WIDTH: shape.output[2],
        slot.CHANNELS: channels,
        slot.BLOCKS: blocks,
        slot.BEFORE_H: shape.padding[1][0],
        slot.BEFORE_W: shape.padding[2][0],
        slot.STRIDE_H: shape.stride[1],
        slot.DILATION_H: shape.dilation[1],
        slot.TAPS: address(taps),
        slot.X_IMAGE: math.prod(shape.size) * channels * item,
        slot.X_ROW: shape.size[2] * channels * item,
        slot.X_PIXEL: channels * item,
        slot.Y_IMAGE: image * item,
        slot.Y_PIXEL: pixel * item,
        slot.RESIDUAL_PIXEL: channels * item,
        slot.ZEROS: address(zeros),
        **{slot.KIND_PIXELS + i: column for i, column in enumerate(_kinds(shape, code)[1])},
    }.items():
        numbers[place] = value
    size = blocks * lanes * shape.taps * item
    rows = problem.batch * shape.output[1]
    return PixelsPlan(code, address(numbers), rows, request, (numbers, zeros, taps), size)


def cycles(problem: ConvProblem, target: targets.Target) -> Cycles:
    """Count the cycles of a call."""
    shape = geometry(problem)
    code = pixels(shape, problem, target)
    blocks = -(-problem.channels // target.lanes(problem.dtype))
    rows = shape.output[1]
    met = sum(end - first for first, end in _rows_met(shape)) / rows
    of_row = _row_cycles(code, shape, target, blocks, met)
    all_rows = problem.batch * rows
    copies = of_row.copies + PACK * problem.channels * shape.taps
    return Cycles(all_rows * of_row.products, all_rows * (BEGIN_ROW + of_row.tiles), copies)


def _rows_met(shape: Geometry) -> list[tuple[int, int]]:
    """Return the first kernel row that meets the input, and the end of those that do, for each output row."""
    dilation, rows = shape.dilation[1], []
    for q in range(shape.output[1]):
        top = q * shape.stride[1] - shape.padding[1][0]
        first = max(0, -(top // dilation))
        rows.append((first, max(first, min(shape.kernel[1], -((top - shape.size[1]) // dilation)))))
    return rows


def _tiles(shape: Geometry, code: Pixels) -> list[Kind]:
    """Return the kinds of all tiles of an output row, from the left to the right."""
    kinds = []
    for left in range(0, shape.output[2], code.pixels):
        first = min(left, shape.output[2] - code.pixels) * shape.stride[2] - shape.padding[2][0]
        kinds.append((max(0, -first), max(0, first + code.extent - shape.size[2])))
    return kinds


def _kinds(shape: Geometry, code: Pixels) -> tuple[tuple[Kind, ...], list[int]]:
    """Return the kinds of tiles from the left to the right, each once; their first columns, and the last's end."""
    return kinds_in_turn(_tiles(shape, code), code.pixels)


def pixels(shape: Geometry, problem: ConvProblem, target: targets.Target) -> Pixels:
    """Return the code whose tile takes the fewest cycles by count."""
    return _pixels(shape, problem.dtype, problem.channels, target)


@lru_cache(maxsize=1024)
def _pixels(shape: Geometry, dtype: str, channels: int, target: targets.Target) -> Pixels:
    blocks = -(-channels // target.lanes(dtype))
    possible = []
    for count in range(1, min(shape.output[2], slot.MOST_PIXELS) + 1):
        code = Pixels(
            dtype=dtype,
            pixels=count,
            kernel=shape.kernel[1:],
            flip=shape.flip,
            stride=shape.stride[2],
            dilation=shape.dilation[2],
            few=channels < target.lanes(dtype),
        )
        kinds, _ = _kinds(shape, code)
        if len(kinds) <= MOST_KINDS and len(kinds) * count * shape.kernel[2] <= MOST_PRODUCTS:
            code = dataclasses.replace(code, kinds=kinds)
        possible.append(code)
    return min(possible, key=lambda code: sum(_row_cycles(code, shape, target, blocks, shape.kernel[1])))


def _row_cycles(code: Pixels, shape: Geometry, target: targets.Target, blocks: int, met: float) -> Cycles:
    """Count the cycles of an output row, of which each meets so many kernel rows on average."""
    products = tiles = 0.0
    for kind in _tiles(shape, code):
        row = float(KERNEL_ROW)
        for chunk in code.chunks(kind if code.kinds else None, target):
            columns = code.columns(chunk, kind if code.kinds else None)
            sums = sum(
                (column - p * code.stride) % code.dilation == 0 and (column - p * code.stride) // code.dilation in chunk
                for column in columns
                for p in range(code.pixels)
            )
            # sums wait for each other where they are few
            row += max(sums * max(1.0, slot.MOST_PIXELS / code.pixels), len(columns) + len(chunk)) / 2
        products += blocks * met * row
        tiles += BEGIN_TILE + blocks * (BEGIN_BLOCK + END_SUM * code.pixels)
    return Cycles(products, tiles, 0.0)
