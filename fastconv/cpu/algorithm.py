"""What the algorithms on register tiles share: their limits, their price, their way from arrays to addresses."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from fastconv import config
from fastconv.codegen import target as targets
from fastconv.cpu import scratch, threads
from fastconv.cpu.geometry import Geometry, geometry
from fastconv.cpu.plan import Plan, Request, address, natural_strides
from fastconv.problem import ConvProblem
from fastconv.algorithm import Algorithm, Array, Machine

DTYPES = ("float32", "float64")


#: Plans that an algorithm keeps; one takes some kilobytes.
MOST_PLANS = 1024


class TiledProduct(Algorithm):
    """An algorithm whose arithmetic is one product on register tiles."""

    def __init__(self) -> None:
        self._plans: dict[tuple[object, ...], Plan] = {}

    @abstractmethod
    def make_plan(self, request: Request) -> Plan:
        """Return the plan of a request."""

    @abstractmethod
    def copied_elements(self, shape: Geometry) -> float:
        """Elements that are copied before the product, for one group of one image."""

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

    def cost(self, problem: ConvProblem, machine: Machine) -> float:
        """Predict products at the rate of a tile with the lanes that are in use, plus copies at memory speed."""
        shape = geometry(problem)
        item = np.dtype(problem.dtype).itemsize
        images = problem.batch * problem.groups
        products = 2.0 * problem.multiply_adds / (machine.flops * 4 / item * self.lane_use(problem, shape))
        copies = images * self.copied_elements(shape) * item * 2 / machine.bandwidth
        return machine.call + products + copies

    def lane_use(self, problem: ConvProblem, shape: Geometry) -> float:
        """The share of a tile's registers that hold wanted results."""
        lanes = targets.current().lanes(problem.dtype)
        if problem.layout == "channels_first":
            length, rows = self.run_length(shape), shape.filters
        else:
            length, rows = shape.filters, shape.output[2]
        filled = length / (-(-length // lanes) * lanes)
        # a tile of one or two rows waits for loads: half the rate
        return filled * min(1.0, 0.4 + 0.15 * rows)

    def run_length(self, shape: Geometry) -> int:
        """Pixels, channels first, that vectors run along without a break."""
        return shape.output[2]

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
        strides = None if out.flags.c_contiguous else _strides(problem, out)
        if strides == ():
            contiguous = np.empty(out.shape, out.dtype)
            self.run(problem, x, weight, bias, residual, activation, contiguous)
            out[...] = contiguous
            return
        plan = self.plan(problem, activation, strides)
        plan.run(
            address(x),
            address(weight),
            0 if bias is None else address(bias),
            0 if residual is None else address(residual),
            address(out),
        )

    def plan(
        self,
        problem: ConvProblem,
        activation: str | None = None,
        strides: tuple[int, ...] | None = None,
    ) -> Plan:
        """Return the plan of a problem, made once; `strides` are the result's, None where it is contiguous."""
        count, bits = config.get_num_threads(), config.vector_bits()
        key = (problem, activation, strides, count, bits)
        plan = self._plans.get(key)
        if plan is None:
            if self.cost(problem, Machine()) < 2 * threads.WORTH_A_THREAD:
                count = 1
            natural = natural_strides(problem)
            request = Request(
                problem, activation, strides or natural, natural, count, targets.current()
            )
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self.make_plan(request)
        return plan

    def clear_cache(self) -> None:
        """Forget plans, and let threads give back their scratch memory."""
        self._plans.clear()
        scratch.clear()


def _strides(problem: ConvProblem, out: Array) -> tuple[int, ...]:
    """(image, filter, pixel) strides of `out` in elements, () if tiles cannot write it as it lies.

    Vectors are stored along pixels (channels first) or filters (channels last): that axis must be dense, and the
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
        expected = stride * size
    dense = pixel if problem.layout == "channels_first" else filter_
    return (image, filter_, pixel) if dense == 1 else ()
