"""Plans: the decision for a problem as an object, which can be looked at and called."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy.typing as npt

from fastconv import config
from fastconv.arguments import dtype_name
from fastconv.call import Array, Shaped, array, check_activation, convolve, options
from fastconv.devices import is_on_device, kind
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem
from fastconv.selection import explain
from fastconv.selection.place import place_of


@dataclass(frozen=True)
class Plan:
    """What computes a problem, made by :func:`fastconv.plan`.

    Attributes
    ----------
    problem : ConvProblem
        The shapes and types that a call must have.
    algorithm : str
        What runs, whatever is measured, allowed, limited or set later.
    threads : int
        That may work on a call, whatever is set later.
    workspace : int
        Bytes of scratch memory that a call uses, all threads together.
    predicted_seconds : float
        What the cost model says of a call, on one thread.
    measured_seconds : float or None
        What :func:`fastconv.tune` found, with so many threads.
    error_bound : float
        Relative, in the 2-norm, for random data.
    activation : str or None
        Applied last.
    device : int or None
        The number of the CUDA device that computes; None for the processor.
    """

    problem: ConvProblem
    algorithm: str
    threads: int
    workspace: int
    predicted_seconds: float
    measured_seconds: float | None
    error_bound: float
    activation: str | None = None
    device: int | None = None

    def __call__(
        self,
        x: npt.ArrayLike,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        residual: npt.ArrayLike | None = None,
        out: Array | None = None,
    ) -> Array:
        """Convolve arrays of exactly the problem's shapes and type.

        Parameters
        ----------
        x, weight : array
            Of the shapes ``problem.input_shape`` and ``problem.weight_shape``, and of the problem's type; on the
            device, if there is one.
        bias, residual, out : array, optional
            As in :func:`fastconv.conv2d`.

        Returns
        -------
        array
            Of the shape ``problem.output_shape``.

        Raises
        ------
        TypeError, ValueError
            If an array is not as the problem says.
        """
        images = self._checked(x, "x", self.problem.input_shape)
        filters = self._checked(weight, "weight", self.problem.weight_shape)
        with config.options(threads=self.threads, workspace_limit=sys.maxsize):  # it was within that of its making
            return convolve(self.problem.rank, images, filters, bias, residual, self._arguments, out)

    def _checked(self, value: npt.ArrayLike, name: str, shape: tuple[int, ...]) -> object:
        if self.device is not None:
            return self._checked_there(value, name, shape)
        found = array(value, name)
        self._check(found, name, shape)
        return found

    def _checked_there(self, value: object, name: str, shape: tuple[int, ...]) -> object:
        if not is_on_device(value):
            raise TypeError(f"{name} must be on device {self.device}, got {kind(value)} in the computer's memory")
        from fastconv.cuda.arrays import look  # not before such an array arrives

        found = look(value)
        if found.device != self.device:
            raise ValueError(f"{name} must be on the plan's device {self.device}, got one on device {found.device}")
        self._check(found, name, shape)
        return value

    def _check(self, found: Shaped, name: str, shape: tuple[int, ...]) -> None:
        if found.shape != shape:
            raise ValueError(f"{name} must have the plan's shape {shape}, got {found.shape}")
        if dtype_name(found.dtype, name) != self.problem.dtype:
            raise TypeError(f"{name} must have the plan's type {self.problem.dtype}, got {found.dtype}")

    @property
    def _arguments(self) -> tuple[object, ...]:
        return (*self.problem.arguments().values(), self.activation, self.algorithm, None)

    def __str__(self) -> str:
        """One line."""
        measured = "" if self.measured_seconds is None else f"measured {self.measured_seconds * 1e3:.3f} ms, "
        return (
            f"{self.problem}: {self.algorithm}, {measured}predicted {self.predicted_seconds * 1e3:.3f} ms, "
            f"workspace {self.workspace / 1024:.0f} KiB, threads={self.threads}"
        )


def plan(
    problem: ConvProblem,
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
    activation: str | None = None,
    precision: str | None = None,
    device: int | None = None,
) -> Plan:
    """Return what computes a problem: the algorithm and what it takes, ready to be called.

    Parameters
    ----------
    problem : ConvProblem
        The convolution.
    algorithm, tolerance, activation : optional
        As in :func:`fastconv.conv2d`.
    precision : str, optional
        Takes the place of the problem's.
    device : int, optional
        The number of the CUDA device that computes; without it, the processor.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If a value is not possible.
    UnsupportedError
        If the algorithm asked for, or any, does not compute the problem, or if that is a gradient.
    UnavailableError
        If there is no such device.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> plan = fastconv.plan(fastconv.ConvProblem.parse("conv2d,n1,c1,3x3,k1,2x2,float64"), algorithm="direct")
    >>> plan.algorithm, plan.error_bound
    ('direct', 1e-14)
    >>> plan(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    if not isinstance(problem, ConvProblem):
        raise TypeError(f"problem must be a ConvProblem, got {problem!r} of type {type(problem).__name__}")
    if precision is not None:
        problem = replace(problem, precision=precision)
    if problem.direction != "forward":
        raise UnsupportedError(f"fastconv.plan makes plans of forward convolutions, got {problem}")
    if activation is not None:
        check_activation(activation, problem)
    limit = config.tolerance_in_force(problem, tolerance)
    place = place_of(device)
    # Before the explanation, which says what this may have measured.
    name = options(problem, algorithm, limit, place)[-1].name
    explanation = explain(problem, tolerance, device=device)
    (case,) = (candidate for candidate in explanation.candidates if candidate.name == name)
    assert case.workspace_bytes is not None
    assert case.predicted_seconds is not None
    assert case.error_bound is not None
    return Plan(
        problem,
        name,
        place.threads(config.settings()),
        case.workspace_bytes,
        case.predicted_seconds,
        case.measured_seconds,
        case.error_bound,
        activation,
        device,
    )
