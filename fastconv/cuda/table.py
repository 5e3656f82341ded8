"""The ordered table of algorithms on a device, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from fastconv.algorithm import P
from fastconv.config import logger, settings
from fastconv.cuda.algorithm import Algorithm, AnyAlgorithm
from fastconv.cuda.depthwise import Depthwise
from fastconv.cuda.direct import Direct
from fastconv.cuda.driver import Device
from fastconv.cuda.im2col import Im2col
from fastconv.cuda.pooling import Pooling
from fastconv.problem import ConvProblem
from fastconv.selection.choice import contenders_among, named_among

TABLE: tuple[Algorithm, ...] = (Direct(), Depthwise(), Im2col())

POOLINGS: tuple[Pooling, ...] = (Pooling(),)


def table_of(problem: P) -> tuple[AnyAlgorithm[P], ...]:
    """Return the algorithms for a problem's kind, in order."""
    return cast("tuple[AnyAlgorithm[P], ...]", TABLE if isinstance(problem, ConvProblem) else POOLINGS)


A = TypeVar("A", bound=AnyAlgorithm)  # type: ignore[type-arg]  # of the problem's kind


def chosen(entries: Sequence[A], problem: P, name: object, tolerance: float, device: Device) -> A:
    """Return the algorithm that was named, or for ``"auto"`` the cheapest predicted of those accurate enough."""
    if name != "auto":
        return named_among(entries, problem, cast("str", name))  # refuses what is no name
    costs = {entry: entry.cost(problem, device) for entry in contenders_among(entries, problem, tolerance, settings())}
    picked = min(costs, key=costs.__getitem__)
    logger.debug(
        "%s on %s: %s (predicted: %s)",
        *(problem, device.name, picked.name),
        ", ".join(f"{entry.name} {1e3 * seconds:.3f} ms" for entry, seconds in costs.items()),
    )
    return picked
