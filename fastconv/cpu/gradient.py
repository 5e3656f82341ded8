"""Gradients by algorithms that convolve: what they are put around says how forward problems are computed.

`fastconv.derivation` says which forward problems; an algorithm computes a gradient if it computes all of them. Operands
and results that do not lie as a forward problem wants them are copied, and that is in what is said of a gradient.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from math import prod

import numpy as np

from fastconv import memory
from fastconv.algorithm import Algorithm, Array, Machine, Run
from fastconv.cpu.copies import SINGLE_SECONDS, copy_seconds, dense
from fastconv.derivation import Piece, pieces, refusal, smallest, without_border
from fastconv.problem import ConvProblem
from fastconv.reference.padding import fold_planes
from fastconv.strided import Strided


class Gradient(Algorithm):
    """An algorithm that computes a gradient by another one that convolves.

    Parameters
    ----------
    inside : Algorithm
        The other one, which takes any weights.
    """

    direction: str  # of the problems it is there for

    def __init__(self, inside: Algorithm) -> None:
        assert inside.any_weights  # those of a forward problem are known when it runs
        self.inside, self.name = inside, inside.name

    @abstractmethod
    def convolutions(self, problem: ConvProblem) -> Counter[ConvProblem]:
        """Return the forward problems that a gradient is computed by, and how often."""

    @abstractmethod
    def copying(self, problem: ConvProblem) -> float:
        """Return the seconds that copies of operands and results are predicted to take."""

    @abstractmethod
    def copied(self, problem: ConvProblem) -> int:
        """Return how many elements there is memory for besides a gradient's own arrays."""

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse the other directions, and what the algorithm refuses of the forward problems."""
        if problem.direction != self.direction:
            return f"{self.name} is there for the {self.direction}, not for {problem.direction}"
        if reason := refusal(problem):
            return reason
        refusals = ((self.inside.supports(each), each) for each in self.convolutions(problem) or (smallest(problem),))
        return next((f"{reason}, in {each}" for reason, each in refusals if reason), None)

    def workspace(self, problem: ConvProblem) -> int:
        """Return the bytes of copies, and of the forward problem that takes most."""
        most = max(map(self.inside.workspace, self.convolutions(problem)), default=0)
        return most + problem.itemsize * self.copied(problem)

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the forward problems' times, and that of the copies."""
        terms = {"operands": self.copying(problem)}
        for each, times in self.convolutions(problem).items():
            for name, seconds in self.inside.terms(each, machine).items():
                terms[name] = terms.get(name, 0.0) + times * seconds
        return terms

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the largest of the forward problems' bounds: an element of the gradient is the result of one."""
        return max(map(self.inside.error_bound, self.convolutions(problem)), default=0.0)

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
        """Compute into `out`, from operands in the order of `ConvProblem.operand_shapes`."""
        self.prepared(problem, activation)(x, weight, bias, residual, out)


class InputGradient(Gradient):
    """Gradients by the input, and transposed convolutions: a forward problem for each phase of the strides."""

    direction = "input_gradient"

    def convolutions(self, problem: ConvProblem) -> Counter[ConvProblem]:
        """Return those of the phases that something reaches."""
        return Counter(piece.problem for piece in pieces(without_border(problem)) if piece.problem is not None)

    def copying(self, problem: ConvProblem) -> float:
        """Predict that of weights, of gradients that are cut, and of results that lie apart."""
        found = (view for piece in pieces(without_border(problem)) for view in _copied(piece))
        return sum(map(copy_seconds, found)) + _folded(problem) * SINGLE_SECONDS

    def copied(self, problem: ConvProblem) -> int:
        """Return the elements of the largest phase's copies, and of the border."""
        found = pieces(without_border(problem))
        return max(sum(prod(view.shape) for view in _copied(piece)) for piece in found) + _folded(problem)

    def prepared(self, problem: ConvProblem, activation: str | None) -> Run:
        """Return what runs phase by phase; the bias is added to each channel of the input."""
        assert activation is None
        inner = without_border(problem)
        ready = [
            (piece, None if piece.problem is None else self.inside.prepared(piece.problem, None))
            for piece in pieces(inner)
        ]
        shape, spatial = inner.input_shape, problem.layout == "channels_first" and problem.rank

        def run(x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
            assert residual is None
            whole = inner is problem and out.flags.c_contiguous
            target = out if whole else memory.empty(shape, out.dtype, x)
            for piece, convolve in ready:
                result = viewed(target, piece.result)
                if convolve is None:
                    result[...] = 0 if bias is None else bias.reshape(-1, *(1,) * spatial)
                    continue
                assert piece.problem is not None
                images = dense(x, piece.images).reshape(piece.problem.input_shape)
                convolve(images, dense(weight, piece.weight).reshape(piece.problem.weight_shape), bias, None, result)
            if not whole:
                out[...] = target if inner is problem else _without(target, problem)

        return run


def _copied(piece: Piece) -> list[Strided]:
    """What is copied for a phase."""
    return [view for view in (piece.images, piece.weight, piece.result) if not view.is_dense]


def _folded(problem: ConvProblem) -> int:
    """Elements of the gradient by the input with its border; 0 where it has none."""
    inner = without_border(problem)
    return 0 if inner is problem else prod(inner.input_shape)


def _without(padded: Array, problem: ConvProblem) -> Array:
    """The gradient by the input, from the one by the input with its border."""
    if problem.layout == "channels_first":
        return fold_planes(padded, problem.padding, problem.padding_mode)
    first = np.moveaxis(padded, -1, 1)
    return np.moveaxis(fold_planes(first, problem.padding, problem.padding_mode), 1, -1)


def viewed(array: Array, view: Strided) -> Array:
    """Return a view of a contiguous array."""
    if view.is_dense and view.shape == array.shape:
        return array
    strides = [array.itemsize * stride for stride in view.strides]
    return np.ndarray(view.shape, array.dtype, array, view.offset * array.itemsize, strides)


def gradients(direction: type[Gradient], among: Iterable[Algorithm]) -> tuple[Gradient, ...]:
    """Return each algorithm put to a gradient, but those that take only some weights."""
    return tuple(direction(each) for each in among if each.any_weights)
