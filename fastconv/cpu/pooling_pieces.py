"""Pooling of windows that begin and end anywhere: pieces of adaptive pooling, volumes, and any grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fastconv import config
from fastconv.algorithm import Array, Machine
from fastconv.arguments import itemsize
from fastconv.codegen import pooling_pieces as slot
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold, lanes
from fastconv.codegen.pooling_pieces import CHUNK, MOST_VECTORS, Pieces
from fastconv.cpu import scratch, threads
from fastconv.cpu.native import address
from fastconv.cpu.pooling_base import MOST_PLANE, NORMS, ONE, Axis, PlannedPooling, axes_of, converts_halves, fold_of
from fastconv.cpu.pooling_plan import LEVEL1_SHARE, TASKS_A_THREAD, Pass
from fastconv.problem import PoolProblem

ROW_VECTOR = 0.7e-9  # seconds of a vector of a row of a window, which is read and combined
RESULT, COLUMN = 0.8e-9, 0.2e-9  # of a vector of results, and of each column that it is combined of
POWER = 20e-9  # of a vector that is raised to a power
POWERS = 0.01, 100.0  # whose errors are below those of the sums that they are of
MOST_TAPS = 128  # columns of all windows of a row that code is written out for (600 take half a second to compile)
MOST_COLUMNS = 16  # of a window, that code is written out for


class PoolPieces(PlannedPooling):
    """Windows by tables of where they begin and end: their rows, and then what is left along rows."""

    name = "pieces"

    def supports(self, problem: PoolProblem) -> str | None:
        """Refuse what there is no kernel for."""
        p = problem.norm_type or 0.0
        powers = problem.operation == "lp_pool" and p not in NORMS
        reasons = {
            f"{self.name} computes norms of float64 of 1, 2 and infinity, not {p}": (
                powers and problem.dtype == "float64"
            ),
            f"{self.name} computes norms of {POWERS[0]} to {POWERS[1]}, not {p}": (
                powers and not POWERS[0] <= p <= POWERS[1]
            ),
            f"{self.name} computes float16 on processors that convert it": (
                problem.dtype == "float16" and not converts_halves()
            ),
            f"{self.name} takes planes of {MOST_PLANE} elements at most": math.prod(problem.size) > MOST_PLANE,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def terms(self, problem: PoolProblem, machine: Machine) -> dict[str, float]:
        """Predict the rows of all windows, and the vectors that their columns take."""
        *down, (_, columns) = zip(problem.output_size, problem.kernel, strict=True)
        last, wide = problem.layout == "channels_last", lanes(fold_of(problem), targets.current())
        inner, planes = (problem.channels, problem.batch) if last else (1, problem.batch * problem.channels)
        rows = math.prod(output * kernel for output, kernel in down) * -(-problem.size[-1] * inner // wide)
        results = math.prod(problem.output_size) * -(-inner // wide)
        row = ROW_VECTOR + (POWER if problem.norm_type not in (None, *NORMS) else 0)
        times = planes * (2 if problem.indices else 1)
        return {
            "call": machine.call,
            "rows": times * row * rows,
            "columns": times * (RESULT + COLUMN * columns) * results,
        }

    def plan(self, problem: PoolProblem, strides: tuple[int, int]) -> _Plan:
        """Return the one pass."""
        return _Plan(_pass(problem, strides))


class _Plan:
    """A pass."""

    def __init__(self, only: Pass) -> None:
        self._pass = only

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""
        return self._pass.workspace

    def run(self, x: Array, out: Array, indices: Array | None) -> None:
        """Compute; the input is contiguous, and the result has the plan's strides."""
        self._pass.run(address(x), address(out), 0 if indices is None else address(indices))


def _pass(problem: PoolProblem, strides: tuple[int, int]) -> Pass:
    """Return machine code, its numbers and its tasks."""
    last, fold, axes = problem.layout == "channels_last", fold_of(problem), axes_of(problem)
    inner, channels = (problem.channels, 1) if last else (1, problem.channels)
    planes = problem.batch * channels
    if len(axes) == 1:
        axes = [*axes, ONE] if last else [ONE, *axes]
    slices, height, width = [ONE] * (3 - len(axes)) + axes
    full = _full(width)
    code = _code(fold, slices, height, width, inner, full)
    count = threads.worth(PoolPieces().cost(problem, Machine()), config.get_num_threads())
    item, source_item, result_item = (itemsize(each) for each in (fold.computed, fold.source, fold.result))
    parts_of_state = 2 if fold.indices or fold.looks else 1
    row, out_row, out_rows = width.size * inner, width.output * inner, slices.output * height.output
    rows = slices.size * height.size
    part_rows = min(out_rows, max(1, -(-out_rows * planes // (TASKS_A_THREAD * count))))
    if not code.direct:
        room = targets.caches().level1 * LEVEL1_SHARE / (item * parts_of_state * out_row)
        part_rows = max(1, min(part_rows, int(room)))
    parts = -(-out_rows // part_rows)
    slack = lanes(fold, targets.current())
    row_part = scratch.pitch((row + slack) * item)
    results_part = 0 if code.direct else scratch.pitch((part_rows * out_row + slack) * item)
    tail_row = max(0, planes * rows - (-(-slack // row)))  # from here on a vector may reach behind the last row
    tail = scratch.pitch(((planes * rows - tail_row) * row + slack) * source_item) if code.short else 0
    results_at = row_part * parts_of_state
    tail_at = results_at + results_part * parts_of_state
    tables = [slices.windows, height.windows, width.windows * (inner * item)]
    divisors = np.array(_divisors(problem, (slices, height, width), 1 if code.direct else inner), fold.computed)
    places = np.repeat(np.arange(width.size), inner).astype(f"int{8 * item}") if parts_of_state > 1 else np.zeros(0)
    numbers = np.zeros(slot.SLOTS, np.int64)
    for place, value in {
        slot.PLANES: planes, slot.CHANNELS: channels, slot.PARTS: parts, slot.PART_ROWS: part_rows,
        slot.HEIGHT: height.size, slot.ROW: row, slot.INNER: inner,
        slot.OUT_HEIGHT: height.output, slot.OUT_ROWS: out_rows,
        slot.OUT_ROW: out_row, slot.OUT_WIDTH: width.output,
        slot.STEP_D: slices.dilation, slot.STEP_H: height.dilation, slot.STEP_W: width.dilation * inner * item,
        slot.SLICES: address(tables[0]), slot.ROWS: address(tables[1]), slot.COLUMNS: address(tables[2]),
        slot.X_PLANE: rows * row * source_item, slot.X_ROW: row * source_item,
        slot.Y_IMAGE: strides[0] * result_item, slot.Y_CHANNEL: strides[1] * result_item,
        slot.Y_ROW: out_row * result_item,
        slot.ROW_PART: row_part, slot.RESULTS_AT: results_at, slot.RESULTS_PART: results_part,
        slot.TAIL_AT: tail_at, slot.TAIL_ROW: tail_row,
        slot.FULL: full[0], slot.FULL_END: full[1],
        slot.DIVISORS: address(divisors), slot.PLACES: address(places), slot.PLANE_WIDTH: width.size,
    }.items():  # fmt: skip
        numbers[place] = value
    return Pass(slot.address(code), numbers, planes * parts, count, tail_at + tail, (divisors, places, *tables))


def _full(axis: Axis) -> tuple[int, int]:
    """The first window that has all its elements, and the end of those that follow it and have them, too."""
    full = np.diff(axis.windows)[:, 0] > axis.dilation * (axis.kernel - 1)
    first = int(full.argmax())
    others = np.flatnonzero(~full[first:])
    return (first, first + int(others[0]) if len(others) else axis.output) if full[first] else (0, 0)


def _code(fold: Fold, slices: Axis, height: Axis, width: Axis, inner: int, full: tuple[int, int]) -> Pieces:
    wide = lanes(fold, targets.current())
    row, columns = width.size * inner, width.windows
    across = row >= wide and bool(np.array_equal(columns, ONE.windows + np.arange(width.size)[:, None]))
    taps: tuple[tuple[int, ...], ...] = ()
    if inner == 1 and not across and width.output * width.kernel <= MOST_TAPS:
        taps = tuple(tuple(range(begin, end, width.dilation)) for begin, end in columns.tolist())
    few = 2 * (full[1] - full[0]) < width.output  # windows that have all their columns
    sums = fold.kind == "sum"
    return Pieces(
        fold=fold,
        volume=not np.array_equal(slices.windows, ONE.windows),  # else the one slice is that of all windows
        row_vectors=_vectors(row, wide),
        run_vectors=0 if taps or across else _vectors(inner, wide),
        short=row < wide,
        direct=across or inner >= wide,
        across=across,
        tall=sums and height.kernel > CHUNK,
        wide=sums and width.kernel > CHUNK,
        columns=0 if taps or across or few or width.kernel > MOST_COLUMNS else width.kernel,
        taps=taps,
    )


def _vectors(elements: int, wide: int) -> int:
    """Vectors that fit so many elements, the last of which overlaps; 0 if they are too many for one block."""
    vectors = -(-elements // wide)
    return vectors if vectors <= MOST_VECTORS else 0


def _divisors(problem: PoolProblem, axes: tuple[Axis, Axis, Axis], inner: int) -> npt.NDArray[np.float64]:
    """Divisors of the elements of a plane, each pixel's so many times."""
    if not problem.operation.endswith("avg_pool"):
        return np.zeros(0)
    if problem.divisor_override is not None:
        return np.full(math.prod(axis.output for axis in axes) * inner, float(problem.divisor_override))
    slices, rows, columns = (np.maximum(axis.counts(problem.count_include_pad), 1.0) for axis in axes)
    planes = np.multiply.outer(np.multiply.outer(slices, rows), columns)  # where nothing counts the sum is 0
    return np.repeat(planes.ravel(), inner)
