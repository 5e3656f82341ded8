"""Depthwise convolution: each filter reads one channel, so a plane of the result is made of one plane of the input.

    y[k, q] = sum over t of w[k, t] * x[k // multiplier, q + offset(t)]

The planes are read and written as they lie, by a function that has every loop inside it
(`fastconv.codegen.depthwise`); what is left for here is which tile it is made of, and what the plan says. A filter on a
single plane, as images are filtered with, is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Machine
from fastconv.codegen import depthwise as slot
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise import Planes
from fastconv.cpu.algorithm import Planned
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.native import address
from fastconv.cpu.plan import Request, TaskPlan, natural_strides
from fastconv.problem import ConvProblem

MOST_TAPS = 4096  # summed in one register: more would cost digits
FLOPS_A_CYCLE = 4  # of a lane: what `Machine.vector_flops` counts in a cycle

# Cycles, measured on planes of 7 to 112 columns
BEGIN_TASK, BEGIN_BAND, BEGIN_TILE = 40, 12, 16
MASK = 4  # of an edge, for each kernel column


class Depthwise(Planned):
    """Planes one by one, as they lie."""

    name = "depthwise"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what sums over channels, and planes that the kernel cannot read as they lie."""
        shape = geometry(problem)
        reasons = {
            f"{self.name} reads one channel a filter, not {shape.channels}": shape.channels != 1,
            f"{self.name} computes channels_first, not {problem.layout}": problem.layout != "channels_first",
            f"{self.name} computes one and two dimensions, not {problem.rank}": problem.rank == 3,
            f"{self.name} pads with zeros, not by {problem.padding_mode}": (
                problem.padding_mode != "zeros" and shape.padded
            ),
            f"{self.name} takes steps of 1 and 2 along a row, not {shape.stride[2]}": shape.stride[2] > 2,
            f"{self.name} sums {MOST_TAPS} taps at most, not {shape.taps}": shape.taps > MOST_TAPS,
        }
        return super().supports(problem) or next((reason for reason, holds in reasons.items() if holds), None)

    def cost(self, problem: ConvProblem, machine: Machine) -> float:
        """Predict the time of tiles, and of reading and writing the planes where they exceed the cache."""
        shape = geometry(problem)
        target = targets.current()
        planes = problem.batch * problem.filters
        cycle = FLOPS_A_CYCLE / machine.vector_flops
        item = np.dtype(problem.dtype).itemsize
        moved = (math.prod(problem.input_shape) + planes * shape.pixels) * item
        memory = moved / machine.bandwidth if moved > targets.caches().level2 else 0.0
        return machine.call + memory + planes * cycle * _plane_cycles(_code(problem, None, target), shape, target)

    def make_plan(self, request: Request) -> DepthwisePlan:
        """Return the plan of a request."""
        return _plan(request)


@dataclass(frozen=True)
class DepthwisePlan(TaskPlan):
    """A plan of planes; nothing is copied."""

    code: Planes
    numbers: npt.NDArray[np.int64]
    tasks: int
    request: Request
    zeros: npt.NDArray[np.generic]  # a row that `numbers` points to

    @property
    def addresses(self) -> tuple[int, int]:
        """The addresses of the function and of the numbers."""
        return slot.address(self.code), address(self.numbers)


def _plan(request: Request) -> DepthwisePlan:
    problem = request.problem
    shape = geometry(problem)
    code = _code(problem, request.activation, request.target)
    item = np.dtype(problem.dtype).itemsize
    _, height, width = shape.size
    _, out_height, out_width = shape.output
    kernel_width = shape.kernel[2]
    classes = _classes(shape)
    planes = problem.batch * problem.filters
    parts = _parts(planes, out_height, code.rows, request.threads) if classes == 1 and not code.narrow else 1
    image, filter_, _ = request.out_strides
    turned = -1 if shape.flip else 1
    zeros = np.zeros(max(width, 1), problem.dtype)
    contiguous = request.out_strides == natural_strides(problem)
    spilled = request.target.lanes(problem.dtype) - out_width  # no further than the next row, which may be the last
    numbers = np.zeros(slot.SLOTS, np.int64)
    for place, value in {
        slot.HEIGHT: height,
        slot.WIDTH: width,
        slot.OUT_HEIGHT: out_height,
        slot.OUT_WIDTH: out_width,
        slot.BEFORE_H: shape.padding[1][0],
        slot.BEFORE_W: shape.padding[2][0],
        slot.STRIDE_H: shape.stride[1],
        slot.DILATION_H: shape.dilation[1],
        slot.DILATION_W: shape.dilation[2],
        slot.KERNEL_W: kernel_width,
        slot.FILTERS: problem.filters,
        slot.MULTIPLIER: shape.filters,
        slot.CLASSES: classes,
        slot.PARTS: parts,
        slot.X_PLANE: height * width * item,
        slot.X_ROW: width * item,
        slot.WEIGHT_PLANE: shape.taps * item,
        slot.WEIGHT_FIRST: (shape.taps - 1) * item if shape.flip else 0,
        slot.WEIGHT_ROW: turned * kernel_width * item,
        slot.WEIGHT_COLUMN: turned * item,
        slot.Y_IMAGE: image * item,
        slot.Y_FILTER: filter_ * item,
        slot.Y_ROW: out_width * item,
        slot.RESIDUAL_PLANE: shape.pixels * item,
        slot.ZEROS: address(zeros),
        slot.SPILLS: int(classes == 1 and contiguous and spilled <= out_width),
    }.items():
        numbers[place] = value
    return DepthwisePlan(code, numbers, planes * parts, request, zeros)


def _classes(shape: Geometry) -> int:
    """Output rows so far apart share input rows: the least multiple of the stride that one of the dilation is."""
    return shape.dilation[1] // math.gcd(shape.stride[1], shape.dilation[1])


def _parts(planes: int, out_height: int, rows: int, threads_: int) -> int:
    """Return the tasks that a plane is cut into: enough for all threads, none with fewer rows than a tile."""
    wanted = -(-8 * threads_ // planes) if threads_ > 1 else 1
    return max(1, min(wanted, out_height // rows))


def _code(problem: ConvProblem, activation: str | None, target: targets.Target) -> Planes:
    return _cheapest(geometry(problem), problem.dtype, activation, target)


@lru_cache(maxsize=1024)
def _cheapest(shape: Geometry, dtype: str, activation: str | None, target: targets.Target) -> Planes:
    """Return the tile that takes the fewest cycles by count."""
    lanes = target.lanes(dtype)
    _, out_height, out_width = shape.output
    kernel_height = shape.kernel[1]
    row_step = shape.stride[1] // math.gcd(shape.stride[1], shape.dilation[1])
    least_rows = max(1, out_height // _classes(shape))  # of a class
    possible = [
        Planes(dtype, rows, vectors, kernel_height, row_step, shape.stride[2], out_width < lanes, activation)
        for vectors in (1, 2, 4)
        if vectors == 1 or out_width >= vectors * lanes
        for rows in range(1, min(least_rows, slot.most_rows(target, kernel_height, vectors)) + 1)
    ]
    return min(possible, key=lambda code: _plane_cycles(code, shape, target))


def _plane_cycles(code: Planes, shape: Geometry, target: targets.Target) -> float:
    """Count the cycles of one output plane: two products or two loads a cycle, sums waiting for each other."""
    lanes = target.lanes(code.dtype)
    _, out_height, out_width = shape.output
    _, _, kernel_width = shape.kernel
    classes = min(_classes(shape), out_height)
    bands = classes * -(-(out_height // classes) // code.rows)
    tiles = -(-out_width // (code.vectors * lanes))
    sums = code.rows * code.vectors
    column = 0.0
    for chunk in code.chunks(target):
        rows = len(code.input_rows(chunk))
        loads = rows * (1 + code.vectors * code.column_stride) + len(chunk)
        column += max(sums, slot.PIPELINE) * len(chunk) / 2 if sums * len(chunk) > loads else loads / 2
    masked = min(1.0, 2 * code.vectors * lanes / out_width) * MASK if shape.padded or code.narrow else 0.0
    tile = BEGIN_TILE + sums + kernel_width * (column + masked)
    return BEGIN_TASK + bands * (BEGIN_BAND + 1.5 * len(code.input_rows(range(code.kernel_height))) + tiles * tile)
