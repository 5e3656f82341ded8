"""What can be benchmarked: each operation's data, its reference, and fastconv's own function for it.

An operation whose public function does not exist yet is measured all the same: the reference and the
peers take part, and fastconv's column says what is missing. Once `fastconv` has the function, and an
algorithm's ``supports`` accepts the problem, they appear here without a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

import fastconv
from fastconv import config, reference
from fastconv.arguments import PRECISIONS, native_dtype
from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["ERROR_LIMITS", "OPERATIONS", "Array", "Operation", "draw", "operation_of", "relative_error"]

Array: TypeAlias = npt.NDArray[np.generic]
Arrays: TypeAlias = tuple[Array, ...]

SEED = 20151210

# Relative 2-norm that a result may be off by where nobody states a bound; integers must be exact.
ERROR_LIMITS = {"bfloat16": 1.6e-2, "float16": 2e-3, "float32": 2e-6, "float64": 1e-14}


@dataclass(frozen=True)
class Operation:
    """One operation of the package.

    Parameters
    ----------
    name : str
        A key of `OPERATIONS`.
    function : str
        The public function's name, ``{rank}`` standing for the number of spatial axes.
    shapes : callable
        ``shapes(problem)`` returns the shapes of the arrays that a call is given.
    reference : callable
        ``reference(problem, *arrays)`` returns what a call must return.
    positional : callable, optional
        ``positional(problem, arrays)`` returns the public function's positional arguments, where
        they are not just the arrays.
    layer : str, optional
        The name of the public class that packs weights once, in the form of `function`.
    rounds : bool, optional
        Whether results are rounded; where they are not, they must be equal.
    """

    name: str
    function: str
    shapes: Callable[[Problem], tuple[tuple[int, ...], ...]]
    reference: Callable[..., Array]
    positional: Callable[[Problem, Arrays], tuple[object, ...]] = lambda _, arrays: arrays
    layer: str | None = None
    rounds: bool = True

    def function_name(self, problem: Problem) -> str:
        """Return the name of the public function for `problem`."""
        return self.function.format(rank=problem.rank)

    def call(self, problem: Problem, arrays: Arrays) -> Callable[..., Array] | None:
        """Return the public call, to which ``algorithm=`` may be added; None if there is no such function yet."""
        function = getattr(fastconv, self.function_name(problem), None)
        if function is None:
            return None
        return partial(function, *self.positional(problem, arrays), **problem.arguments())

    def packed_call(self, problem: Problem, arrays: Arrays) -> Callable[[], Array] | None:
        """Return the call of a layer that has its weights; None where there is no such class."""
        if self.layer is None:
            return None
        layer = getattr(fastconv, self.layer.format(rank=problem.rank))
        x, *constants = arrays
        return partial(layer(*constants, **problem.arguments()), x)

    def error_limit(self, problem: Problem) -> float:
        """Return the relative 2-norm by which a result may differ from the reference's."""
        if isinstance(problem, ConvProblem) and problem.precision != PRECISIONS[0]:
            return config.tolerance_of(problem.dtype, None, problem.precision)
        return ERROR_LIMITS.get(problem.dtype, 0.0) if self.rounds else 0.0


def _of_pooling(function: Callable[..., Array]) -> Callable[..., Array]:
    def expected(problem: Problem, x: Array) -> Array:
        return function(x, **problem.arguments())

    return expected


def _convolution(name: str, function: str, *arrays: str, **others: object) -> Operation:
    """Return an operation whose arrays have the shapes called ``<array>_shape`` in its problem."""

    def shapes(problem: Problem) -> tuple[tuple[int, ...], ...]:
        bias = {"bias": problem.weight_shape[:1]} if isinstance(problem, ConvProblem) else {}
        return tuple(bias.get(each) or getattr(problem, f"{each}_shape") for each in arrays)

    return Operation(name, function, shapes, getattr(reference, name), **others)  # type: ignore[arg-type]


def _pooling(name: str, *, rounds: bool) -> Operation:
    function = _of_pooling(getattr(reference, name))
    return Operation(name, f"{name}{{rank}}d", lambda problem: (problem.input_shape,), function, rounds=rounds)


# A gradient's functions take the shape of what they compute in the place of that array.
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            _convolution("conv", "conv{rank}d", "input", "weight", "bias", layer="Conv{rank}d"),
            _convolution(
                "conv_input_gradient",
                "conv{rank}d_input",
                "weight",
                "output",
                positional=lambda problem, arrays: (problem.input_shape, *arrays),
            ),
            _convolution(
                "conv_weight_gradient",
                "conv{rank}d_weight",
                "input",
                "output",
                positional=lambda problem, arrays: (arrays[0], problem.weight_shape, arrays[1]),
            ),
            _pooling("max_pool", rounds=False),
            _pooling("avg_pool", rounds=True),
            _pooling("lp_pool", rounds=True),
            _pooling("adaptive_max_pool", rounds=False),
            _pooling("adaptive_avg_pool", rounds=True),
        )
    }
)


def operation_of(problem: Problem) -> Operation:
    """Return the operation that a problem is one of.

    Examples
    --------
    >>> operation_of(ConvProblem.parse("conv2d,n1,c2,6x5,k3,3x3,input_gradient,float32")).name
    'conv_input_gradient'
    """
    if isinstance(problem, PoolProblem):
        return OPERATIONS[problem.operation]
    return OPERATIONS["conv" if problem.direction == "forward" else f"conv_{problem.direction}"]


def draw(problem: Problem) -> Arrays:
    """Return the arrays that a call on a problem is given, the same ones every time.

    Magnitudes lie between 0.5 and 1 with random signs, so that neither the data nor any product is
    denormal (which would slow some processors down 3 to 40 times); integers lie between -4 and 4,
    those without a sign between 0 and 4.
    """
    generator = np.random.default_rng(SEED)
    dtype = native_dtype(problem.dtype)

    def array(shape: tuple[int, ...]) -> Array:
        if dtype.kind in "iu":
            return generator.integers(-4 if dtype.kind == "i" else 0, 5, shape, dtype=dtype)
        values = generator.random(shape, np.float32 if dtype.itemsize <= 4 else np.float64)
        values -= 0.5
        values += np.copysign(0.5, values)
        return values.astype(dtype, copy=False)

    return tuple(array(shape) for shape in operation_of(problem).shapes(problem))


def relative_error(found: Array, expected: Array) -> float:
    """Return ``||found - expected|| / ||expected||`` in the 2-norm, computed in float64."""
    scale = float(np.linalg.norm(expected.astype(np.float64, copy=False).ravel()))
    difference = found.astype(np.float64) - expected.astype(np.float64, copy=False)
    return float(np.linalg.norm(difference.ravel())) / (scale or 1.0)
