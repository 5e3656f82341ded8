"""What algorithms take that filter plane by plane: cycles that are counted, and memory."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastconv.algorithm import Machine
from fastconv.codegen import target as targets
from fastconv.problem import ConvProblem

#: Of the time that memory would take, what computing row by row does not hide.
EXPOSED = 0.3


class Cycles(NamedTuple):
    """What a part of a call is computed in, with everything in the first level cache."""

    products: float
    tiles: float  # to begin and to end them, and the rows and tasks that they are in
    copies: float


def of_planes(cycles: Cycles, cycle: float, problem: ConvProblem, machine: Machine) -> dict[str, float]:
    """Return the terms of a call that computes so many cycles, each of which takes `cycle` seconds in all."""
    return {
        "call": machine.call,
        "products": cycle * cycles.products,
        "tiles": cycle * cycles.tiles,
        "copies": cycle * cycles.copies,
        "memory": EXPOSED * memory_seconds(problem, machine),
    }


def memory_seconds(problem: ConvProblem, machine: Machine) -> float:
    """Return the time that memory takes to read the input and to write the result, where they exceed the cache."""
    elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    moved = elements * np.dtype(problem.dtype).itemsize
    return moved / machine.bandwidth if moved > targets.caches().level2 else 0.0
