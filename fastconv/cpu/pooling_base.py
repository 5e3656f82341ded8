"""What poolings by kernels of our own have in common: axes, what is done with elements, how a plan is kept and run."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fastconv import memory
from fastconv.accuracy import POOLING_ERRORS
from fastconv.algorithm import Array, PoolAlgorithm, PoolRun
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold
from fastconv.cpu import scratch
from fastconv.problem import PoolProblem
from fastconv.problem.pieces import pieces

NORMS = {1.0: ("sum", "abs", ""), 2.0: ("sum", "square", "sqrt"), math.inf: ("magnitude", "abs", "")}
MOST_PLANE = 2**31 - 1  # elements whose positions fit beside elements of four bytes


class Plan(Protocol):
    """What is known of a problem before a call."""

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates."""

    def run(self, x: Array, out: Array, indices: Array | None) -> None:
        """Compute; the input is contiguous, and the result has the plan's strides."""


class PlannedPooling(PoolAlgorithm):
    """A pooling whose plan depends on the problem and on how far apart images and planes of the result are."""

    @abstractmethod
    def plan(self, problem: PoolProblem, strides: tuple[int, int]) -> Plan:
        """Return the plan; `strides` are in elements."""

    def workspace(self, problem: PoolProblem) -> int:
        """Return the bytes of scratch of a call, and of what lies between two passes."""
        if 0 in problem.output_shape:
            return 0
        return self.plan(problem, _natural_strides(problem)).workspace

    def error_bound(self, problem: PoolProblem) -> float:
        """Sums of sums of at most 16 elements at a time; maxima are exact."""
        return 0.0 if problem.maxima else POOLING_ERRORS[problem.dtype]

    def run(self, problem: PoolProblem, x: Array, out: Array, indices: Array | None) -> None:
        """Compute into `out`; through a contiguous array if its planes are not contiguous."""
        self.prepared(problem)(x, out, indices)

    def prepared(self, problem: PoolProblem) -> PoolRun:
        """Return `run` for one problem, with the plan at hand."""
        natural = _natural_strides(problem)
        plans: dict[tuple[int, int], Plan] = {}

        def run(x: Array, out: Array, indices: Array | None) -> None:
            strides = natural if out.flags.c_contiguous else _strides(problem, out)
            if strides is None:
                contiguous = memory.empty(out.shape, out.dtype, x)
                run(x, contiguous, indices)
                out[...] = contiguous
                return
            plan = plans.get(strides)
            if plan is None:
                plan = plans[strides] = self.plan(problem, strides)
            plan.run(x, out, indices)

        return run

    def clear_cache(self) -> None:
        """Let threads give back their scratch memory."""
        scratch.clear()


def converts_halves() -> bool:
    """Whether the processor converts float16."""
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
class Axis:
    """One axis of a problem."""

    size: int
    output: int
    kernel: int
    stride: int
    dilation: int
    padding: tuple[int, int]
    adaptive: bool = False  # in pieces, of which `kernel` is the largest

    @property
    def windows(self) -> npt.NDArray[np.int64]:
        """The first element and the end of each window, every `dilation` elements, without padding; [output, 2]."""
        if self.adaptive:
            return np.array(pieces(self.size, self.output))
        begins = np.arange(self.output) * self.stride - self.padding[0]
        ends = begins + self.dilation * (self.kernel - 1) + 1
        outside = np.maximum(0, -(begins // self.dilation))  # elements before the input
        return np.stack([begins + outside * self.dilation, np.minimum(ends, self.size)], axis=1)

    @property
    def trivial(self) -> bool:
        """Whether nothing happens along it."""
        return (self.kernel, self.stride, self.padding[0], self.size) == (1, 1, 0, self.output)

    def counts(self, include_padding: bool) -> list[int]:
        """How many elements of each window count."""
        if self.adaptive:
            sizes: list[int] = np.diff(self.windows)[:, 0].tolist()
            return sizes
        first = -self.padding[0] if include_padding else 0
        end = self.size + (self.padding[1] if include_padding else 0)
        begins = np.arange(self.output) * self.stride - self.padding[0]
        places = begins[:, None] + np.arange(self.kernel) * self.dilation
        found: list[int] = ((places >= first) & (places < end)).sum(axis=1).tolist()
        return found


ONE = Axis(1, 1, 1, 1, 1, (0, 0))  # that nothing happens along


def axes_of(problem: PoolProblem) -> list[Axis]:
    """The axes of a problem."""
    adaptive = (problem.adaptive,) * problem.rank
    fields = (problem.size, problem.output_size, problem.kernel, problem.stride, problem.dilation, problem.padding)
    return [Axis(*axis) for axis in zip(*fields, adaptive, strict=True)]


def fold_of(problem: PoolProblem) -> Fold:
    """What a problem does with elements."""
    dtype = problem.dtype
    if problem.maxima:
        return Fold("max", dtype, dtype, indices=problem.indices)
    if problem.operation.endswith("avg_pool"):
        return Fold("sum", dtype, dtype, after="divide")
    assert problem.norm_type is not None
    if problem.norm_type not in NORMS:
        return Fold("sum", dtype, dtype, "power", "root", exponent=problem.norm_type)
    kind, before, after = NORMS[problem.norm_type]
    return Fold(kind, dtype, dtype, before, after)
