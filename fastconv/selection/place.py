"""Where problems are computed: the processor, or a device. The choice is made for each alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from fastconv import timing
from fastconv.arguments import native_dtype
from fastconv.call import result_type
from fastconv.config import Settings
from fastconv.devices import check_compiler
from fastconv.selection import constants, files, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastconv.algorithm import Algorithm, AnyAlgorithm, Limits, P
    from fastconv.problem import ConvProblem
    from fastconv.selection.files import AnyOrigin
    from fastconv.timing import Stopwatch

__all__ = ["HOST", "Place", "calls", "place_of"]


class Place(ABC):
    """What a choice is made for: a value, equal to others of the same place."""

    @abstractmethod
    def entries(self, problem: P) -> Sequence[Limits[P]]:
        """Return the algorithms for a problem's kind, in order."""

    def refusal(self, entry: Limits[P], problem: P) -> str | None:
        """Return None if an algorithm computes a problem here, else the reason why not."""
        return entry.supports(problem)

    @abstractmethod
    def terms(self, entry: Limits[P], problem: P, now: Settings) -> dict[str, float]:
        """Return the seconds that a call is predicted to take here, by what they are spent on."""

    @abstractmethod
    def cost(self, entry: Limits[P], problem: P, now: Settings) -> float:
        """Return the predicted seconds of a call."""

    @abstractmethod
    def workspace(self, entry: Limits[P], problem: P) -> int:
        """Return the bytes of scratch memory that a call allocates here."""

    @abstractmethod
    def origin(self) -> AnyOrigin:
        """Return what measured times depend on besides the problem."""

    @abstractmethod
    def threads(self, now: Settings) -> int:
        """Return the number of threads that a measured answer is for."""

    @abstractmethod
    def stopwatches(
        self, problem: ConvProblem, among: Iterable[Limits[ConvProblem]]
    ) -> AbstractContextManager[Mapping[str, Stopwatch]]:
        """Return stopwatches of calls on one set of operands, by name; the operands are there within the context."""


class _Host(Place):
    """The processor."""

    def __str__(self) -> str:
        """Nothing: it is meant where nothing is said."""
        return ""

    def entries(self, problem: P) -> Sequence[Limits[P]]:
        return table.table_of(problem)

    def terms(self, entry: Limits[P], problem: P, now: Settings) -> dict[str, float]:
        return cast("AnyAlgorithm[P]", entry).terms(problem, constants.of(now).machine)

    def cost(self, entry: Limits[P], problem: P, now: Settings) -> float:
        return cast("AnyAlgorithm[P]", entry).cost(problem, constants.of(now).machine)

    def workspace(self, entry: Limits[P], problem: P) -> int:
        return cast("AnyAlgorithm[P]", entry).workspace(problem)

    def origin(self) -> AnyOrigin:
        return files.origin()

    def threads(self, now: Settings) -> int:
        return now.threads

    @contextmanager
    def stopwatches(
        self, problem: ConvProblem, among: Iterable[Limits[ConvProblem]]
    ) -> Iterator[Mapping[str, Stopwatch]]:
        runs = calls(problem, cast("Iterable[Algorithm]", among))
        yield {name: partial(timing.seconds_of, run) for name, run in runs.items()}


HOST: Place = _Host()


def place_of(device: int | None) -> Place:
    """Return a CUDA device by its number, or without one the processor.

    Raises
    ------
    TypeError
        If `device` is neither None nor an integer.
    UnavailableError
        If there is no such device, or nothing compiles for it.
    """
    if device is None:
        return HOST
    if type(device) is not int:
        raise TypeError(f"device must be an int or None, got {device!r} of type {type(device).__name__}")
    check_compiler()
    from fastconv.cuda.place import device_place  # not before it is asked for

    return device_place(device)


def calls(problem: ConvProblem, among: Iterable[Algorithm]) -> Mapping[str, Callable[[], None]]:
    """Return calls on one set of operands, by name: of plain weights, which each call packs, as functions do."""
    dtype, random = native_dtype(problem.dtype), np.random.default_rng(0)
    x, weight = (
        random.uniform(1, 2, shape).astype(dtype) for shape in problem.operand_shapes
    )  # no denormal numbers, and small integers
    out = np.empty(problem.result_shape, result_type(problem))
    return {entry.name: partial(entry.prepared(problem, None), x, weight, None, None, out) for entry in among}
