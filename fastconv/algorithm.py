"""What an algorithm is: one object in one file, with its limits, its price and its way to run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastconv.problem import ConvProblem, PoolProblem

Array = npt.NDArray[np.generic]

#: Computes, given x, weight, bias (or None), residual (or None) and out, as they are described in `Algorithm.run`.
Run = Callable[[Array, Array, Array | None, Array | None, Array], None]

#: Computes a pooling, given x, out and indices (or None), as they are described in `PoolAlgorithm.run`.
PoolRun = Callable[[Array, Array, Array | None], None]

#: `Run` with its weights: computes, given x, bias (or None), residual (or None) and out.
BoundRun = Callable[[Array, Array | None, Array | None, Array], None]


class Bound(NamedTuple):
    """A run with its weights, and what it takes to keep it.

    The run is a plain function: to call an object would cost each call a tenth of a microsecond.
    """

    run: BoundRun
    nbytes: Callable[[], int]  # bytes that it holds now besides the weights it was given: packed or transformed


FLOPS_A_CYCLE = 4  # of a lane: two units, an operation of which is a product and a sum


@dataclass(frozen=True)
class Machine:
    """The constants of the cost model, for one thread; the defaults were measured on a 256-bit processor.

    `fastconv.selection.calibration` measures them: each is a rate, or seconds, which predictions are linear in.
    """

    vector_flops: float = 12e9  # operations a second of one lane of float32 vectors: twice the clock, by two units
    bandwidth: float = 20e9  # bytes a second of weights that come from beyond the second level cache
    element: float = 0.2e-9  # seconds to copy an element of four bytes of a run
    run: float = 12e-9  # seconds to begin a run
    tile: float = 12e-9  # seconds to begin a tile
    group: float = 0.2e-6  # seconds to begin a group of an image
    call: float = 10e-6  # seconds before the first operation

    @property
    def cycle(self) -> float:
        """Seconds of a cycle of the processor."""
        return FLOPS_A_CYCLE / self.vector_flops


M = TypeVar("M")  # the constants that predictions are made with
P = TypeVar("P", bound=ConvProblem | PoolProblem)


class Limits(ABC, Generic[P]):
    """What a way to compute one kind of problem says of itself, wherever it runs."""

    name: str

    #: Whether it computes what it supports with any weights; if not, `fits` tells which.
    any_weights: bool = True

    @abstractmethod
    def supports(self, problem: P) -> str | None:
        """Return None if the algorithm computes `problem`, else the reason why not."""

    def fits(self, problem: ConvProblem, weight: Array) -> str | None:
        """Return None if the algorithm computes `problem` with these weights, else the reason why not.

        Asked in every call, so it costs far less than one; `weight` is as `run` gets it.
        """
        return None

    @abstractmethod
    def error_bound(self, problem: P) -> float:
        """Return a bound of the relative error in the 2-norm that random data stays below.

        Where it is above the tolerance, ``"auto"`` leaves the algorithm out.
        """

    def clear_cache(self) -> None:
        """Forget what is kept between calls."""
        return


class Priced(Limits[P], Generic[P, M]):
    """A way to compute one kind of problem: what the choice is made by, wherever it runs."""

    @abstractmethod
    def terms(self, problem: P, machine: M) -> dict[str, float]:
        """Return the seconds that a call is predicted to take, by what they are spent on.

        Of a call on one thread, or on a device alone. Names are those of the field where several algorithms have a
        term, such as ``"products"``.
        """

    def cost(self, problem: P, machine: M) -> float:
        """Return the predicted time of a call in seconds: the sum of its terms."""
        return sum(self.terms(problem, machine).values())


class AnyAlgorithm(Priced[P, Machine]):
    """A way to compute one kind of problem on the processor."""

    @abstractmethod
    def workspace(self, problem: P) -> int:
        """Return the bytes of scratch memory that a call allocates, all threads together."""


class Algorithm(AnyAlgorithm[ConvProblem]):
    """A way to compute a convolution."""

    @abstractmethod
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
        """Compute into `out`.

        Every argument is validated: shapes are the problem's, batch axis included; `x`, `weight`, `bias` and `residual`
        are C-contiguous, aligned, in the machine's byte order and of the problem's type. `out` is of that type too and
        overlaps none of them; its strides may be any.
        """

    def prepared(self, problem: ConvProblem, activation: str | None) -> Run:
        """Return `run` for one problem and activation, made ready for many calls."""

        def run(x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
            self.run(problem, x, weight, bias, residual, activation, out)

        return run

    def bind(self, problem: ConvProblem, activation: str | None, weight: Array) -> Bound:
        """Return `run` for one problem, activation and weight, which nobody changes from now on.

        What depends on the weights alone, such as packing them, may be done here, or in the first call.
        """
        prepared = self.prepared(problem, activation)

        def run(x: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
            prepared(x, weight, bias, residual, out)

        return Bound(run, int)  # 0 bytes


class PoolAlgorithm(AnyAlgorithm[PoolProblem]):
    """A way to compute a pooling."""

    @abstractmethod
    def run(self, problem: PoolProblem, x: Array, out: Array, indices: Array | None) -> None:
        """Compute into `out`, and into `indices` if the problem has them.

        Every argument is validated: shapes are the problem's, batch axis included; `x` is C-contiguous, aligned, in the
        machine's byte order and of the problem's type. `out` is of that type too and does not overlap `x`; its strides
        may be any. `indices` is C-contiguous and of int64.
        """

    def prepared(self, problem: PoolProblem) -> PoolRun:
        """Return `run` for one problem, made ready for many calls."""

        def run(x: Array, out: Array, indices: Array | None) -> None:
            self.run(problem, x, out, indices)

        return run
