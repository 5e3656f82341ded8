"""Pooling by kernels of our own: windows row by row and then column by column, in one pass over memory or two.

A 1-D problem is a plane of one row, or of one column where channels lie side by side. Of a volume the slices are pooled
first, as planes, and then the volume across its slices, each of which is then one long row.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv import config, memory
from fastconv.algorithm import Array, Machine
from fastconv.arguments import itemsize
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold
from fastconv.codegen.folding import lanes as lanes_of
from fastconv.codegen.pooling_code import MOST_TAPS
from fastconv.cpu import threads
from fastconv.cpu.native import address
from fastconv.cpu.pooling_base import MOST_PLANE, NORMS, ONE, Axis, PlannedPooling, axes_of, converts_halves, fold_of
from fastconv.cpu.pooling_plan import Planes, whole, windows
from fastconv.problem import PoolProblem

#: Seconds of a vector that is read or written: copied, looked at, combined and stored.
VECTOR = 1.9e-9

MOST_KERNEL = 4096  # elements of a window along an axis that code is emitted for


class Pooling(PlannedPooling):
    """Windows along rows, then across them."""

    name = "windows"

    def supports(self, problem: PoolProblem) -> str | None:
        """Refuse what there is no kernel for."""
        reasons = {
            f"{self.name} computes windows, not {problem.operation}": problem.adaptive,
            f"{self.name} computes norms of 1, 2 and infinity, not {problem.norm_type}": (
                problem.operation == "lp_pool" and problem.norm_type not in NORMS
            ),
            f"{self.name} computes float16 on processors that convert it": (
                problem.dtype == "float16" and not converts_halves()
            ),
            f"{self.name} gives indices in one and two dimensions, not {problem.rank}": (
                problem.indices and problem.rank == 3
            ),
            f"{self.name} gives indices in planes of {MOST_PLANE} elements at most": (
                problem.indices and math.prod(problem.size) > MOST_PLANE
            ),
            f"{self.name} takes windows of {MOST_KERNEL} elements an axis at most, not {max(problem.kernel)}": (
                max(problem.kernel) > MOST_KERNEL
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def terms(self, problem: PoolProblem, machine: Machine) -> dict[str, float]:
        """Predict some operations a vector of the input and of the output; what takes more was measured."""
        single = problem.layout == "channels_first" or problem.channels == 1
        times = 1 + 0.5 * (problem.rank == 3) + 0.9 * problem.indices
        if single and _is_whole(problem):
            times = 0.3
        else:
            times += 0.6 * (single and problem.stride[-1] > 2)  # windows that are picked one by one
            times += max(problem.kernel) > MOST_TAPS
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        vectors = elements / lanes_of(fold_of(problem), targets.current())
        return {"call": machine.call, "elements": VECTOR * vectors * times}

    def plan(self, problem: PoolProblem, strides: tuple[int, int]) -> _Plan:
        """Return one pass or two."""
        return _Plan(problem, strides)


class _Plan:
    """One pass, or two and what lies between them."""

    def __init__(self, problem: PoolProblem, strides: tuple[int, int]) -> None:
        last = problem.layout == "channels_last"
        axes = axes_of(problem)
        inner, planes, channels = (problem.channels, problem.batch, 1) if last else (1, problem.batch, problem.channels)
        planes *= channels
        slices = ONE
        if len(axes) == 3:
            slices, *axes = axes
        elif len(axes) == 1:
            axes = [*axes, ONE] if last else [ONE, *axes]
        count = threads.worth(Pooling().cost(problem, Machine()), config.get_num_threads())
        target = targets.current()
        fold = fold_of(problem)
        elements = math.prod(problem.size)
        self.between: tuple[tuple[int, ...], str] | None = None
        if _is_whole(problem) and inner == 1 and elements >= lanes_of(fold, target):
            divisor = float(problem.divisor_override or elements)
            self.passes = [whole(fold, planes, channels, elements, divisor, strides, count, target)]
            return
        if slices.trivial:
            rows, columns = (axis.counts(problem.count_include_pad) for axis in axes)
            divisors = _divisors(problem, rows, columns, inner)
            one = _planes(fold, planes * slices.size, channels * slices.size, inner, axes[0], axes[1], *divisors)
            plane = math.prod(axis.output for axis in axes) * inner
            steps = (strides[0], plane) if slices.size > 1 and channels == 1 else strides
            if slices.size > 1 and channels > 1:  # slices of a channel follow each other, channels need not
                one = Planes(**{**one.__dict__, "channels": slices.size})
                steps = (strides[1], plane)
                if planes > channels and strides[0] != channels * strides[1]:
                    raise NotImplementedError
            self.passes = [windows(one, steps, count, target)]
            return
        kind, computed = fold.kind, fold.computed
        row = math.prod(axis.output for axis in axes) * inner
        first = Fold(kind, fold.source, computed, fold.before)
        second = Fold(kind, computed, fold.result, "", fold.after)
        lanes = np.multiply.outer(*(np.array(axis.counts(problem.count_include_pad)) for axis in axes)).ravel()
        divisors = _divisors(problem, slices.counts(problem.count_include_pad), lanes.tolist(), inner)
        one = _planes(first, planes * slices.size, 1, inner, axes[0], axes[1])
        two = _planes(second, planes, channels, row, slices, ONE, *divisors)
        self.passes = [windows(one, (row, row), count, target), windows(two, strides, count, target)]
        self.between = (planes, slices.size, row), computed

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""
        size = 0
        if self.between is not None:
            shape, dtype = self.between
            size = math.prod(shape) * itemsize(dtype)
        return size + max(each.workspace for each in self.passes)

    def run(self, x: Array, out: Array, indices: Array | None) -> None:
        """Compute; the input is contiguous, and the result has the plan's strides."""
        places = 0 if indices is None else address(indices)
        if self.between is None:
            self.passes[0].run(address(x), address(out), places)
            return
        between = memory.empty(*self.between, x)
        self.passes[0].run(address(x), address(between), 0)
        self.passes[1].run(address(between), address(out), 0)


def _is_whole(problem: PoolProblem) -> bool:
    """Whether planes become one element each."""
    return (
        problem.kernel == problem.size
        and set(problem.output_size) == {1}
        and set(problem.dilation) == {1}
        and not problem.indices
        and not any(map(any, problem.padding))
    )


def _planes(
    fold: Fold,
    planes: int,
    channels: int,
    inner: int,
    height: Axis,
    width: Axis,
    by_row: tuple[float, ...] = (),
    by_lane: tuple[float, ...] = (),
) -> Planes:
    def of(name: str) -> tuple[int, int]:
        return getattr(height, name), getattr(width, name)

    return Planes(
        *(fold, planes, channels, inner, of("size"), of("output"), of("kernel"), of("stride"), of("dilation")),
        (height.padding, width.padding),
        by_row,
        by_lane,
    )


def _divisors(
    problem: PoolProblem, rows: list[int], columns: list[int], inner: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Divisors of rows, and by which the elements of a row differ, if they do."""
    if problem.operation != "avg_pool":
        return (), ()
    if problem.divisor_override is not None:
        return (float(problem.divisor_override),) * len(rows), ()
    down, across = (np.maximum(each, 1) for each in (rows, columns))  # where nothing counts the sum is 0
    if len(set(across.tolist())) == 1:
        return tuple((down * float(across[0])).tolist()), ()
    return tuple(down.astype(float).tolist()), tuple(np.repeat(across, inner).astype(float).tolist())
