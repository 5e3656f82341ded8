"""What a peer is, and what all of them need: data in their layout, and their threads set and checked."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

import fastconv
from fastconv.bench.operations import Array
from fastconv.problem import ConvProblem, Problem

__all__ = [
    "FLOATS",
    "Peer",
    "Prepare",
    "Run",
    "check_threads",
    "from_channels_first",
    "has_equal_ends",
    "is_a_layer",
    "to_channels_first",
]

FLOATS = ("float32", "float64")  # what a peer is asked for, unless it says otherwise

Run: TypeAlias = Callable[[], Array]
Prepare: TypeAlias = Callable[..., Run | str]


@dataclass(frozen=True)
class Peer:
    """One way in which one library does one operation.

    Parameters
    ----------
    modules : tuple of str
        What has to be installed, by the names it is imported under.
    prepare : callable
        ``prepare(problem, *arrays)`` returns a callable without arguments that does the work, or the
        reason why this library cannot.
    """

    modules: tuple[str, ...]
    prepare: Prepare

    @property
    def missing(self) -> str | None:
        """The first of the modules that is not installed; none is imported to find out."""
        return next((module for module in self.modules if importlib.util.find_spec(module) is None), None)

    def __call__(self, problem: Problem, *arrays: Array) -> Run | str:
        """Return a callable that computes the problem, or the reason why there is none."""
        return f"{self.missing} is not installed" if self.missing else self.prepare(problem, *arrays)


def check_threads(library: str, found: int) -> None:
    """Raise if a library does not say that it uses as many threads as fastconv.

    Raises
    ------
    RuntimeError
        If `found` is another number.
    """
    threads = fastconv.get_num_threads()
    if found != threads:
        raise RuntimeError(f"{library} must use {threads} threads as fastconv does, it says {found}")


def is_a_layer(problem: Problem) -> bool:
    """Whether network libraries have the operation as one call: unflipped, zeros for a convolution's padding."""
    return not isinstance(problem, ConvProblem) or (not problem.flip and problem.padding_mode == "zeros")


def has_equal_ends(problem: Problem) -> bool:
    """Whether each axis has as much padding after it as before."""
    return all(before == after for before, after in problem.padding)


def to_channels_first(problem: Problem, x: Array) -> Array:
    """Return an array of the problem's layout as (N, C, *size), contiguous."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1) if problem.layout == "channels_last" else x)


def from_channels_first(problem: Problem, y: Array) -> Array:
    """Return a view of (N, K, *size) in the problem's layout."""
    return np.moveaxis(y, 1, -1) if problem.layout == "channels_last" else y
