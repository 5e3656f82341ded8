"""What the algorithms on our kernels share: their limits, their plans, their way from arrays to addresses."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fastconv import config, memory
from fastconv.algorithm import Algorithm, Array, Bound, BoundRun, Machine, Run
from fastconv.codegen import target as targets
from fastconv.codegen import tile as tiles
from fastconv.cpu import scratch, threads
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.plan import Request, natural_strides, pixels_lie_apart
from fastconv.problem import ConvProblem

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Work:
    """What the product of one group of one image takes besides its steps."""

    vectors: float  # sums, counted in vectors, lanes without a wanted result included
    copied_elements: float
    copied_runs: float  # consecutive elements copied at once
    weight_passes: float  # times that all weights are read
    passes: int  # over the result


#: Sums that keep the units busy which multiply and add: two units, four cycles each.
FEWEST_SUMS = 8

#: Plans that an algorithm keeps; one takes some kilobytes, and 8 bytes for each place along the longest axis.
MOST_PLANS = 256

#: Kinds of results (contiguous, or with other strides) that a call for one problem keeps what it needs for.
MOST_STRIDES = 2


class AnyPlan(Protocol):
    """What an algorithm makes once for a request, and runs for each call."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch that a call allocates."""

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; all arrays but the result are contiguous, and the result has the plan's strides."""

    def bind(self, weight: Array) -> tuple[BoundRun, int]:
        """Return `run` for these weights, which nobody changes from now on, and the bytes that it packed them into."""


class Planned(Algorithm):
    """An algorithm on kernels of its own: floats, forward, by plans that are kept."""

    def __init__(self) -> None:
        self._plans: dict[tuple[object, ...], AnyPlan] = {}

    @abstractmethod
    def make_plan(self, request: Request) -> AnyPlan:
        """Return the plan of a request."""

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse other types than float32 and float64, and other directions than forward."""
        if problem.dtype not in DTYPES:
            return f"{self.name} computes {' and '.join(DTYPES)}, not {problem.dtype}"
        if problem.direction != "forward":
            return f"{self.name} computes the forward direction, not {problem.direction}"
        return None

    def workspace(self, problem: ConvProblem) -> int:
        """Return the bytes of scratch of a call with as many threads as it would use."""
        return self.plan(problem).workspace if problem.batch else 0

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the limit that rounding of sums in blocks stays below, for random data."""
        return 2e-6 if problem.dtype == "float32" else 1e-14

    def run(
        self,
        problem: ConvProblem,
        x: Array,
        weight: Array,
        bias: Array | None,
        residual: Array | None,
        activation: str | None,
        out: Array,
    ) -> None:
        """Compute into `out`; through a contiguous array if its pixels do not lie evenly apart."""
        self.prepared(problem, activation)(x, weight, bias, residual, out)

    def prepared(self, problem: ConvProblem, activation: str | None) -> Run:
        """Return `run` for one problem and activation, with the plan at hand."""
        run, _ = _by_strides(problem, lambda strides: (self.plan(problem, activation, strides).run, 0))
        return run

    def bind(self, problem: ConvProblem, activation: str | None, weight: Array) -> Bound:
        """Return `run` for one problem, activation and weight, which the plan packs once."""
        return Bound(*_by_strides(problem, lambda strides: self.plan(problem, activation, strides).bind(weight)))

    def plan(
        self,
        problem: ConvProblem,
        activation: str | None = None,
        strides: tuple[int, ...] | None = None,
    ) -> AnyPlan:
        """Return the plan of a problem, made once; `strides` are the result's, None where it is contiguous."""
        count, bits = config.get_num_threads(), config.vector_bits()
        key = (problem, activation, strides, count, bits)
        plan = self._plans.get(key)
        if plan is None:
            count = threads.worth(self.cost(problem, Machine()), count)
            out_strides = strides or natural_strides(problem)
            request = Request(problem, activation, out_strides, count, targets.current())
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self.make_plan(request)
        return plan

    def clear_cache(self) -> None:
        """Forget plans, and let threads give back their scratch memory."""
        self._plans.clear()
        scratch.clear()


class TiledProduct(Planned):
    """An algorithm whose arithmetic is one product on register tiles."""

    @abstractmethod
    def work(self, problem: ConvProblem, shape: Geometry, lanes: int) -> Work:
        """Return what one group of one image takes."""

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the time of products, of beginning groups and tiles, of copies, of weights and results in memory."""
        shape = geometry(problem)
        target = targets.current()
        lanes = target.lanes(problem.dtype)
        item = np.dtype(problem.dtype).itemsize
        work = self.work(problem, shape, lanes)
        rows, vectors = tiles.shape(target, shape.filters if problem.layout == "channels_first" else 8)
        if problem.layout == "channels_last":
            vectors = min(vectors, -(-shape.filters // lanes))
        steps = shape.channels * shape.taps
        # a step of a tile waits for its products, or for its loads, half of which straddle two cache lines, or, where
        # sums are few, for those of the step before
        busy = rows * vectors / max(rows * vectors, 1 + rows + 1.5 * vectors, FEWEST_SUMS)
        products = 2.0 * work.vectors * lanes * steps / (machine.vector_flops * lanes * busy)
        begun = machine.tile * work.passes * work.vectors / (rows * vectors)
        copies = machine.element * work.copied_elements * item / 4 + machine.run * work.copied_runs
        weights = work.weight_passes * shape.filters * steps * item / machine.bandwidth
        images = problem.batch * problem.groups
        # tiles write a few elements of many planes at a time, which takes as long as reading them
        results = math.prod(problem.output_shape) * item
        return {
            "call": machine.call,
            "groups": images * machine.group,
            "products": images * products,
            "tiles": images * begun,
            "copies": images * copies,
            "weights": images * weights,
            "results": results / machine.bandwidth if results > targets.caches().level2 else 0.0,
        }


def _by_strides(
    problem: ConvProblem, make: Callable[[tuple[int, ...] | None], tuple[Callable[..., None], int]]
) -> tuple[Callable[..., None], Callable[[], int]]:
    """What `make` returns for the result's strides, made once, and the bytes of all that is kept.

    None stands for the strides of a contiguous result, which is the last operand. If its pixels do not lie evenly
    apart, a contiguous one is computed and copied.
    """
    ready: dict[tuple[int, ...] | None, Callable[..., None]] = {}
    sizes: dict[tuple[int, ...] | None, int] = {}  # apart from what runs, which each call looks up

    def made(strides: tuple[int, ...] | None) -> Callable[..., None]:
        run_so = ready.get(strides)
        if run_so is None:
            if len(ready) >= MOST_STRIDES:
                ready.clear()
                sizes.clear()
            run_so, sizes[strides] = make(strides)
            ready[strides] = run_so
        return run_so

    # It must not hold itself: packed weights go with the last who has it.
    def run(x: Array, *operands: Array | None) -> None:
        out = operands[-1]
        assert out is not None
        strides = None if out.flags.c_contiguous else _strides(problem, out)
        run_so = ready.get(strides)
        if run_so is not None:
            run_so(x, *operands)
        elif strides == ():
            contiguous = memory.empty(out.shape, out.dtype, x)
            made(None)(x, *operands[:-1], contiguous)
            out[...] = contiguous
        else:
            made(strides)(x, *operands)

    return run, lambda: sum(tuple(sizes.values()))  # a copy: other threads may add to them


def _strides(problem: ConvProblem, out: Array) -> tuple[int, ...]:
    """(image, filter, pixel) strides of `out` in elements, () if tiles cannot write it as it lies.

    Vectors are stored along pixels (planes) or filters (where pixels lie apart): that axis must be dense, and the
    spatial axes must be as regular as one.
    """
    item = out.itemsize
    if any(stride % item for stride in out.strides):
        return ()
    image, *others = (stride // item for stride in out.strides)
    if problem.layout == "channels_first":
        filter_, *spatial = others
    else:
        *spatial, filter_ = others
    pixel = spatial[-1]
    expected = pixel
    for size, stride in zip(problem.output_size[::-1], spatial[::-1], strict=True):
        if stride != expected and size > 1:
            return ()
        expected *= size  # an axis of one element may have any stride
    dense = filter_ if pixels_lie_apart(problem) else pixel
    return (image, filter_, pixel) if dense == 1 else ()
