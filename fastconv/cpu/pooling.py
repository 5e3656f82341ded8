"""Pooling by kernels of our own: windows row by row and then column by column, in one pass over memory or two.

A 1-D problem is a plane of one row, or of one column where channels lie side by side. Of a volume the slices are pooled
first, as planes, and then the volume across its slices, each of which is then one long row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastconv import config, memory
from fastconv.algorithm import Array, Machine, PoolAlgorithm, PoolRun
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold
from fastconv.codegen.folding import lanes as lanes_of
from fastconv.cpu import scratch, threads
from fastconv.cpu.native import address
from fastconv.cpu.pooling_plan import Pass, Planes, whole, windows
from fastconv.problem import PoolProblem

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
NORMS = {1.0: ("sum", "abs", ""), 2.0: ("sum", "square", "sqrt"), math.inf: ("magnitude", "abs", "")}

#: Seconds of an element that is read or written: copied, looked at, combined and stored.
ELEMENT = 0.35e-9

MOST_KERNEL = 4096  # elements of a window along an axis that code is emitted for
MOST_PLANE = 2**31 - 1  # elements whose positions fit beside elements of four bytes


class Pooling(PoolAlgorithm):
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
                problem.dtype == "float16" and not _converts_halves()
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

    def workspace(self, problem: PoolProblem) -> int:
        """Return the bytes of scratch of a call, and of what lies between two passes."""
        if 0 in problem.output_shape:
            return 0
        return _Plan(problem, _natural_strides(problem)).workspace

    def terms(self, problem: PoolProblem, machine: Machine) -> dict[str, float]:
        """Predict some operations an element of the input and of the output, and more where they are large."""
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        return {"call": machine.call, "elements": ELEMENT * elements * problem.rank}

    def error_bound(self, problem: PoolProblem) -> float:
        """Sums of sums of at most 16 elements at a time; maxima are exact."""
        if problem.maxima:
            return 0.0
        return {"float16": 1e-3, "float32": 1e-6, "float64": 2e-15}[problem.dtype]

    def run(self, problem: PoolProblem, x: Array, out: Array, indices: Array | None) -> None:
        """Compute into `out`; through a contiguous array if its planes are not contiguous."""
        self.prepared(problem)(x, out, indices)

    def prepared(self, problem: PoolProblem) -> PoolRun:
        """Return `run` for one problem, with the plan at hand."""
        natural = _natural_strides(problem)
        plans: dict[tuple[int, int], _Plan] = {}

        def run(x: Array, out: Array, indices: Array | None) -> None:
            strides = natural if out.flags.c_contiguous else _strides(problem, out)
            if strides is None:
                contiguous = memory.empty(out.shape, out.dtype)
                run(x, contiguous, indices)
                out[...] = contiguous
                return
            plan = plans.get(strides)
            if plan is None:
                plan = plans[strides] = _Plan(problem, strides)
            plan.run(x, out, indices)

        return run

    def clear_cache(self) -> None:
        """Let threads give back their scratch memory."""
        scratch.clear()


def _converts_halves() -> bool:
    features = targets.current().features
    return "+f16c" in features or "+fullfp16" in features


def _natural_strides(problem: PoolProblem) -> tuple[int, int]:
    """Elements from image to image and from plane to plane of a contiguous result."""
    plane = math.prod(problem.output_size)
    return problem.channels * plane, plane


def _strides(problem: PoolProblem, out: Array) -> tuple[int, int] | None:
    """Those of `out`; None if its planes are not contiguous."""
    plane = out[0, 0] if problem.layout == "channels_first" else out[0]
    if not plane.flags.c_contiguous or any(stride % out.itemsize for stride in out.strides):
        return None
    return out.strides[0] // out.itemsize, out.strides[1] // out.itemsize


@dataclass(frozen=True)
class _Axis:
    """One axis of a problem."""

    size: int
    output: int
    kernel: int
    stride: int
    dilation: int
    padding: tuple[int, int]

    @property
    def trivial(self) -> bool:
        """Whether nothing happens along it."""
        return (self.kernel, self.stride, self.padding[0], self.size) == (1, 1, 0, self.output)

    def counts(self, include_padding: bool) -> list[int]:
        """How many elements of each window count."""
        first = -self.padding[0] if include_padding else 0
        end = self.size + (self.padding[1] if include_padding else 0)
        begins = np.arange(self.output) * self.stride - self.padding[0]
        places = begins[:, None] + np.arange(self.kernel) * self.dilation
        found: list[int] = ((places >= first) & (places < end)).sum(axis=1).tolist()
        return found


_ONE = _Axis(1, 1, 1, 1, 1, (0, 0))


def _axes(problem: PoolProblem) -> list[_Axis]:
    fields = (problem.size, problem.output_size, problem.kernel, problem.stride, problem.dilation, problem.padding)
    return [_Axis(*axis) for axis in zip(*fields, strict=True)]


class _Plan:
    """One pass, or two and what lies between them."""

    def __init__(self, problem: PoolProblem, strides: tuple[int, int]) -> None:
        last = problem.layout == "channels_last"
        axes = _axes(problem)
        inner, planes, channels = (problem.channels, problem.batch, 1) if last else (1, problem.batch, problem.channels)
        planes *= channels
        slices = _ONE
        if len(axes) == 3:
            slices, *axes = axes
        elif len(axes) == 1:
            axes = [*axes, _ONE] if last else [_ONE, *axes]
        count = threads.worth(Pooling().cost(problem, Machine()), config.get_num_threads())
        target = targets.current()
        fold = _fold(problem)
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
        two = _planes(second, planes, channels, row, slices, _ONE, *divisors)
        self.passes = [windows(one, (row, row), count, target), windows(two, strides, count, target)]
        self.between = (planes, slices.size, row), computed

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""
        size = 0
        if self.between is not None:
            shape, dtype = self.between
            size = math.prod(shape) * np.dtype(dtype).itemsize
        return size + max(each.workspace for each in self.passes)

    def run(self, x: Array, out: Array, indices: Array | None) -> None:
        """Compute; the input is contiguous, and the result has the plan's strides."""
        places = 0 if indices is None else address(indices)
        if self.between is None:
            self.passes[0].run(address(x), address(out), places)
            return
        between = memory.empty(*self.between)
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


def _fold(problem: PoolProblem) -> Fold:
    dtype = problem.dtype
    if problem.maxima:
        return Fold("max", dtype, dtype, indices=problem.indices)
    if problem.operation == "avg_pool":
        return Fold("sum", dtype, dtype, after="divide")
    assert problem.norm_type is not None
    kind, before, after = NORMS[problem.norm_type]
    return Fold(kind, dtype, dtype, before, after)


def _planes(
    fold: Fold,
    planes: int,
    channels: int,
    inner: int,
    height: _Axis,
    width: _Axis,
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


__all__ = ["Pass", "Pooling"]
