"""Separable filters: kernels that are outer products, as a pass along columns and one along rows of each plane.

Of k x k products 2 k are left. Whether a kernel is of rank one is a matter of weights, so `fits` says it for a call
(`rank_one.py`); `codegen/separable.py` has the passes. What the definition makes of an infinity or a NaN, and of sums
that only overflow between the passes, `depthwise` computes again for the planes that have one.
"""

from __future__ import annotations

import ctypes
import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Array, BoundRun, Machine
from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import operands as operand
from fastconv.codegen import separable as codegen
from fastconv.codegen import target as targets
from fastconv.codegen.separable import Passes
from fastconv.cpu import depthwise, rank_one, scratch
from fastconv.cpu.algorithm import Planned
from fastconv.cpu.cycles import Cycles, of_planes
from fastconv.cpu.depthwise import DepthwisePlan
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.native import LINE, Slots, address
from fastconv.cpu.plan import LEFT_OUT, Request, TaskPlan
from fastconv.problem import ConvProblem

#: Seconds to see that a kernel is of rank one, for one that was seen before; for each 64 more a third of it.
RECOGNISE = 4e-6

#: Weights that a plan keeps the factors of.
MOST_BOUND = 4

# Cycles, as in `depthwise.py`
BEGIN_BAND, BEGIN_ROW, BEGIN_TILE, END_SUM, PAD = 60, 20, 8, 1.2, 3
UNALIGNED = 1.44  # of a load at any place of a line: 7 of 16 vectors of 32 bytes lie across two


class Separable(Planned):
    """A pass along columns and one along rows."""

    name = "separable"
    any_weights = False

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse all but filters of a single channel with two rows and two columns at least."""
        shape = geometry(problem)
        reasons = {
            f"{self.name} reads one channel a filter, not {shape.channels}": shape.channels != 1,
            f"{self.name} computes two dimensions, not {problem.rank}": problem.rank != 2,
            f"{self.name} computes planes, which channels_last has not": problem.layout == "channels_last",
            f"{self.name} needs kernels of two rows and two columns at least": min(problem.kernel) < 2,
            f"{self.name} sums {depthwise.MOST_TAPS} taps at most, not {max(problem.kernel)}": (
                max(problem.kernel) > depthwise.MOST_TAPS
            ),
        }
        return super().supports(problem) or next((reason for reason, holds in reasons.items() if holds), None)

    def fits(self, problem: ConvProblem, weight: Array) -> str | None:
        """Refuse kernels that are not of rank one."""
        found = rank_one.factors(weight)
        return found if isinstance(found, str) else None

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the limit of rounding, and what may be left of a kernel that counts as of rank one."""
        return super().error_bound(problem) + rank_one.limit(problem.dtype)

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the time of both passes, of memory, and of looking at the weights."""
        shape, target = geometry(problem), targets.current()
        cycles = _plane_cycles(_passes(shape, problem.dtype, target), shape, target)
        cycle = machine.cycle * problem.batch * problem.filters
        recognition = RECOGNISE * (1 + problem.filters / 200)
        return {**of_planes(cycles, cycle, problem, machine), "recognition": recognition}

    def make_plan(self, request: Request) -> SeparablePlan:
        """Return the plan of a request."""
        return _plan(request)

    def clear_cache(self) -> None:
        """Forget plans, and kernels that were looked at."""
        super().clear_cache()
        rank_one.clear()


@dataclass(frozen=True)
class SeparablePlan(TaskPlan):
    """A plan of both passes, and the one of planes that have values that are not finite."""

    repairs = True

    code: Passes
    numbers: npt.NDArray[np.int64]  # the slots
    tasks: int
    request: Request
    keep: tuple[npt.NDArray[np.generic], ...]  # what the slots point to
    exact: DepthwisePlan
    scratch_bytes: int = 0  # of copied rows and of the band

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; the factors of the last few weights are kept, as finding them takes as long as a small image."""
        if weight.nbytes > rank_one.MOST_BYTES:
            super().run(x, weight, bias, residual, out)
            return
        values = weight.tobytes()
        bound = self._recent.get(values)
        if bound is None:
            if len(self._recent) >= MOST_BOUND:
                self._recent.clear()
            bound, _ = self.bind(weight)
            self._recent[values] = bound
        bound(x, bias, residual, out)

    @cached_property
    def _recent(self) -> dict[bytes, BoundRun]:
        """`run` with weights, by their bytes."""
        return {}

    @property
    def _factor_bytes(self) -> int:
        problem = self.request.problem
        return problem.filters * sum(problem.kernel) * np.dtype(problem.dtype).itemsize

    @property
    def weight_bytes(self) -> int:  # type: ignore[override]
        """Bytes of the factors, and of the weights for planes that need them."""
        problem = self.request.problem
        return self._factor_bytes + int(np.prod(problem.weight_shape)) * np.dtype(problem.dtype).itemsize

    def addresses(self, residual: bool, careful: bool) -> tuple[int, int]:
        """The addresses of the function and of the numbers."""
        return codegen.address(self.code.variant(residual)), address(self.numbers)

    def pack(self, job: Slots, to: int, weight: int) -> bool:
        """Write the columns, the rows and the weights themselves; `fits` has said that there are factors."""
        problem = self.request.problem
        size = self.weight_bytes - self._factor_bytes
        values = memoryview((ctypes.c_uint8 * size).from_address(weight)).cast("B")
        found = rank_one.factors(np.frombuffer(values, problem.dtype).reshape(problem.weight_shape))
        if isinstance(found, str):
            raise ValueError(f"weight must be of rank one, but {found}")
        turn = slice(None, None, -1 if problem.flip else 1)
        for factor in (found.columns, found.rows):
            turned = np.ascontiguousarray(factor[:, turn])
            ctypes.memmove(to, address(turned), turned.nbytes)
            to += turned.nbytes
        ctypes.memmove(to, weight, size)
        return False

    def repair(self, workspace: scratch.Workspace, operands: tuple[int, ...], memory: int) -> None:
        """Compute planes that are not finite as they are defined; each is a matter of its own data alone."""
        problem, exact = self.request.problem, self.exact
        planes = problem.batch * problem.filters
        residual = operands[operand.RESIDUAL] != 0
        passes, (sums, numbers, size) = self.launch(residual, False)[0], exact.launch(residual, False)
        room = workspace.scratch(size, f"{problem.dtype} exact") if size else 0
        weights = operands[operand.WEIGHT] + self._factor_bytes
        defined = (numbers, operands[operand.X], weights, *operands[operand.WEIGHT + 1 : operand.LEFT_OUT], 0)
        if planes == 1:
            sums.run(workspace.job, defined, room, size // sums.threads)
            return
        parts, exact_parts = self.tasks // planes, exact.tasks // planes
        for plane in range(planes):
            passes.alone(workspace.job, operands, memory, plane * parts, (plane + 1) * parts)
            if workspace.job[LEFT_OUT]:
                sums.alone(workspace.job, defined, room, plane * exact_parts, (plane + 1) * exact_parts)


def _plan(request: Request) -> SeparablePlan:
    problem, exact = request.problem, depthwise.planes_plan(request)
    shape = geometry(problem)
    code = dataclasses.replace(_passes(shape, problem.dtype, request.target), activation=request.activation)
    item = np.dtype(problem.dtype).itemsize
    _, out_height, _ = shape.output
    planes = problem.batch * problem.filters
    parts = depthwise.parts(request, shape, code.rows)
    bands = -(-out_height // code.rows)
    part_rows = np.array([bands * part // parts * code.rows for part in range(parts)] + [out_height], np.int64)
    numbers = np.zeros(codegen.SLOTS, np.int64)
    numbers[: slot.SLOTS] = exact.keep[0]  # a plane, its padding and the result are the same
    # a row of the band, and what the vectors of a narrow result read behind it
    beyond = request.target.lanes(problem.dtype) * code.stride[1] * item
    band_row = int(numbers[slot.COPY_ROW]) + -(-beyond // (2 * LINE)) * 2 * LINE
    copies = LINE + code.meets * int(numbers[slot.COPY_ROW]) if code.copied else 0
    skip = -shape.padding[2][0] * item % LINE  # so that stores behind the padding lie within lines
    for place, value in {
        slot.DILATION_H: 1,  # rows in between are looked up, too
        slot.PARTS: parts,
        slot.PART_ROWS: address(part_rows),
        slot.STRIP_WIDTH: 0,  # nobody reads strips
        codegen.BAND: copies + skip,
        codegen.BAND_ROW: band_row,
        codegen.ROW_WEIGHTS: problem.filters * problem.kernel[0] * item,
    }.items():
        numbers[place] = value
    keep = (part_rows, *exact.keep)
    return SeparablePlan(code, numbers, planes * parts, request, keep, exact, copies + skip + code.rows * band_row)


def _passes(shape: Geometry, dtype: str, target: targets.Target) -> Passes:
    """Return the code for planes: as many sums as there is room for beside a chunk's weights."""
    lanes = target.lanes(dtype)
    _, out_height, out_width = shape.output
    sums = 8 if target.vector_registers == 16 else 14
    vectors = max(count for count in (1, 2, 4, 8) if count == 1 or count * lanes <= out_width)
    rows = min(sums, out_height)
    code = Passes(
        dtype=dtype,
        rows=rows,
        lines=min(rows, max(1, 8 // vectors)),
        vectors=vectors,
        kernel=shape.kernel[1:],
        stride=shape.stride[1:],
        dilation=shape.dilation[1:],
        thin=shape.size[2] < lanes,
        narrow=out_width < lanes,
        bordered=shape.padded and shape.padding_mode != "zeros",
    )
    crowded = depthwise.crowded(code.meets, shape.size[2] * np.dtype(dtype).itemsize)
    return dataclasses.replace(code, copied=crowded and not code.thin)


def _plane_cycles(code: Passes, shape: Geometry, target: targets.Target) -> Cycles:
    """Count the cycles of one output plane."""
    lanes = target.lanes(code.dtype)
    _, height, width = shape.size
    _, out_height, out_width = shape.output
    pads = sum(shape.padding[2])
    size, count, rest = code.chunks(0, target)
    down = 0.0
    for weights, times in ((size, count), (rest, rest > 0)):
        met = code.pairs(weights)
        down += times * max(weights * code.rows, 2 * len(met) + weights) / 2
    along = code.vectors * code.kernel[1] * max(1.0, UNALIGNED * code.stride[1]) / 2
    downs, alongs = -(-width // lanes), code.rows * -(-out_width // (code.vectors * lanes))  # tiles of a band
    begun = float(BEGIN_BAND + 4 * code.meets + code.rows * (BEGIN_ROW + PAD * pads))
    begun += downs * (BEGIN_TILE + code.rows * END_SUM) + alongs * (BEGIN_TILE + code.vectors * END_SUM)
    bands = -(-out_height // code.rows)
    copies = height * depthwise.copy_cycles(width, pads, lanes) if code.copied else 0.0
    return Cycles(bands * (downs * down + alongs * along), bands * begun, copies)
