"""What an algorithm is on a device: the CPU's limits and names, a plan of launches, a price by the device's figures."""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum
from math import prod

from fastconv.algorithm import P, Priced
from fastconv.cuda.driver import Device
from fastconv.cuda.plan import Plan, Target
from fastconv.problem import BFLOAT16, ConvProblem

HALVES = ("float16", BFLOAT16)

MOST_ELEMENTS = 2**31 - 1  # of an image, in or out, and of the weights: kernels count them in 32 bits
MOST_BLOCKS = 65535  # along a grid's second and third axis
MOST_PIXELS = 2**30 - 1  # of all outputs' planes together: what `intrinsics.quotient` divides


def longer(**seconds: float) -> dict[str, float]:
    """Return the longest of terms that pass at the same time."""
    name = max(seconds, key=seconds.__getitem__)
    return {name: seconds[name]}


class Place(IntEnum):
    """Where a convolution's plan finds the addresses of its arrays; 0 stands for one that is not there."""

    X = 0
    WEIGHT = 1
    BIAS = 2
    RESIDUAL = 3
    OUT = 4
    WORKSPACE = 5
    PACKED = 6  # what the plan's packing writes: weights as the algorithm takes them


class AnyAlgorithm(Priced[P, Device]):
    """A way to compute one kind of problem on a device."""

    #: Elements' types. Those of two bytes are computed with as float32, and rounded once: `compile.computed`.
    dtypes: tuple[str, ...] = ("float32", "float64")

    def runs_on(self, device: Device) -> str | None:
        """Return None if a device has the instructions that the algorithm is made of, else the reason why not."""
        return None

    @abstractmethod
    def workspace(self, problem: P, device: Device) -> int:
        """Return the bytes of device memory that a call allocates besides its arrays, packed weights among them."""

    def error_bound(self, problem: P) -> float:
        """Return the limit that rounding of sums stays below, for random data, or that of halves' results."""
        return {"float16": 1e-3, BFLOAT16: 8e-3, "float32": 2e-6, "float64": 1e-14}[problem.dtype]


class Algorithm(AnyAlgorithm[ConvProblem]):
    """A way to compute a convolution on a device.

    Arrays are dense, of the problem's shapes and type. A plan knows the activation; whether there are a bias and a
    residual, each call says.
    """

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what no kernel here computes."""
        if problem.dtype not in self.dtypes:
            *others, last = self.dtypes
            return f"{self.name} computes {', '.join(others)} and {last} on a device, not {problem.dtype}"
        if problem.direction != "forward":
            return f"{self.name} computes the forward direction, not {problem.direction}"
        if problem.padding_mode != "zeros" and any(map(any, problem.padding)):
            return f"{self.name} pads with zeros on a device, not by {problem.padding_mode}"
        images = prod(problem.input_shape[1:]), prod(problem.output_shape[1:])
        if max(*images, prod(problem.weight_shape)) > MOST_ELEMENTS:
            return f"{self.name} takes images and weights of at most {MOST_ELEMENTS} elements"
        if problem.batch * prod(problem.output_size) > MOST_PIXELS:
            return f"{self.name} computes at most {MOST_PIXELS} pixels, not {problem.batch * prod(problem.output_size)}"
        return None

    @abstractmethod
    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return the launches, on operands in the order of `Place`."""
