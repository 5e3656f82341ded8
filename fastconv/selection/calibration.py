"""Calibration: the constants of the cost model are measured on the machine at hand.

The rate of multiply-adds is that of registers (`fastconv.codegen.peak`). The others are those with which the model
comes closest to the times of a few calls, the probes: a prediction is a sum that each constant has a part of, and what
remains is solved by least squares. So a constant is what the model takes it for, whatever else it may be called.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from fastconv import config, timing
from fastconv.algorithm import Machine
from fastconv.arguments import positive_number
from fastconv.call import clear_calls
from fastconv.problem import ConvProblem
from fastconv.selection import choice, constants
from fastconv.selection.constants import MOST_TIMES, Calibration
from fastconv.selection.place import calls
from fastconv.selection.tuning import refuse_determinism

#: Calls on one thread that take from microseconds to some milliseconds, and what their times mostly tell.
PROBES = (
    ("direct", "conv2d,n1,c1,1x1,k1,1x1,float32"),  # a call
    ("direct", "conv2d,n1,c256,1x1,k256,1x1,g256,float32"),  # groups
    ("direct", "conv2d,n1,c512,2x2,k512,1x1,g512,float32"),
    ("direct", "conv2d,n1,c1,48x48,k48,1x1,float32"),  # tiles, whose results fit the second level cache
    ("direct", "conv2d,n1,c2,28x28,k64,1x1,float32"),
    ("direct", "conv2d,n1,c64,28x28,k64,3x3,p1,float32"),  # products, as all real layers
    ("direct", "conv2d,n1,c64,112x112,k2,3x3,p1,float32"),  # elements of long runs
    ("im2col", "conv2d,n1,c32,64x64,k4,3x3,p1,float32"),
    ("im2col", "conv2d,n1,c64,5x40,k4,5x5,float32"),
    ("direct", "conv2d,n1,c128,7x7,k2,3x3,p1,float32"),  # short runs
    ("im2col", "conv2d,n1,c64,7x7,k4,3x3,p1,float32"),
    ("im2col", "conv2d,n1,c128,40x4,k4,3x3,float32"),
    ("direct", "conv2d,n1,c1024,1x1,k2048,1x1,float32"),  # weights
    ("direct", "conv2d,n1,c512,3x3,k512,3x3,p1,float32"),
    ("im2col", "conv2d,n1,c512,4x4,k512,3x3,p1,float32"),
    ("winograd_4x4", "conv2d,n1,c64,28x28,k64,3x3,p1,float32"),  # elements that are transformed
    ("winograd_2x2", "conv2d,n1,c128,14x14,k128,3x3,p1,float32"),
)

SECONDS = 2.0  # for all probes together, besides compiling them
TURN_SECONDS = 5e-4
PEAK_ROUNDS = 200  # of some hundredths of a millisecond

#: How much a constant's being the shipped one counts beside a probe's being predicted: little, as probes tell each.
PRIOR = 0.05

_RATES = ("vector_flops", "bandwidth")  # the other constants are seconds

#: A machine on which nothing takes any time.
_FREE = Machine(**{name: math.inf if name in _RATES else 0.0 for name in asdict(Machine())})


def calibrate(seconds: float = SECONDS) -> Calibration:
    """Measure this machine's constants of the cost model, and remember them: ``"auto"`` predicts by them from then on.

    A few calls of known problems take turns, on one thread; the fastest of each counts. The constants are stored beside
    what :func:`fastconv.tune` measures, for this processor and this version of the package. Calls of other processes
    see them when they start, or after :func:`fastconv.clear_cache`.

    Parameters
    ----------
    seconds : float, optional
        For measuring. Before that, kernels that are not there yet are compiled.

    Returns
    -------
    Calibration
        What is in force now.

    Raises
    ------
    TypeError
        If `seconds` is no number.
    ValueError
        If it is not positive and finite, or the setting `deterministic` is on: it ignores what is measured.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.calibrate(seconds=-1)
    Traceback (most recent call last):
        ...
    ValueError: seconds must be a positive finite number, got -1
    """
    budget = positive_number(seconds, "seconds")
    refuse_determinism("calibrate")
    before = _vector_flops()
    taken = _timed(budget)
    constants.remember(fitted(taken, max(before, _vector_flops())))  # one of them may have been disturbed
    clear_calls()  # which hold what was chosen before
    return calibration()


def calibration() -> Calibration:
    """Return the constants of the cost model that predictions are made with, and where they are from.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.calibration().machine.call < 1e-3  # seconds before the first operation
    True
    """
    return constants.of(config.settings())


def forget_calibration() -> bool:
    """Forget this machine's constants: ``"auto"`` predicts by the provided ones or by those that were shipped.

    Returns
    -------
    bool
        Whether there were any.

    Raises
    ------
    OSError
        If the user's file cannot be removed.
    """
    found = constants.remove()
    clear_calls()
    return found


def fitted(seconds: Sequence[float], vector_flops: float) -> Machine:
    """Return the constants with which predictions are closest to the seconds of each probe, relatively."""
    start = Machine(vector_flops=_possible("vector_flops", vector_flops))
    names = [name for name in asdict(start) if name != "vector_flops"]
    known = replace(_FREE, vector_flops=start.vector_flops)
    of_known = np.array([_cost(probe, known) for probe in PROBES])
    parts = np.array([[_cost(probe, _only(name, start)) - _cost(probe, _FREE) for name in names] for probe in PROBES])
    taken, likely = np.array(seconds), np.eye(len(names))
    left = np.vstack([parts / taken[:, None], PRIOR * likely])
    right = np.concatenate([1 - of_known / taken, PRIOR * likely.sum(axis=0)])
    times, *_ = np.linalg.lstsq(left, right, rcond=None)  # the seconds that shipped constants account for
    found = {
        name: getattr(start, name) / factor if name in _RATES else getattr(start, name) * factor
        for name, factor in zip(names, np.maximum(times, 1 / MOST_TIMES).tolist(), strict=True)
    }
    return replace(start, **{name: _possible(name, value) for name, value in found.items()})


def _possible(name: str, value: float) -> float:
    """A constant within the bounds of those that a file may hold."""
    shipped: float = getattr(constants.SHIPPED.machine, name)
    return min(max(value, shipped / MOST_TIMES), shipped * MOST_TIMES)


def _only(name: str, machine: Machine) -> Machine:
    """A machine on which all is free that this constant does not count."""
    return replace(_FREE, **{name: getattr(machine, name)})


def _cost(probe: tuple[str, str], machine: Machine) -> float:
    name, text = probe
    return choice.algorithm(name).cost(ConvProblem.parse(text), machine)


def _vector_flops() -> float:
    """Operations a second of one lane."""
    from fastconv.codegen import peak, target  # compiles: only where it is asked for

    return peak.measure("float32", PEAK_ROUNDS) / target.current().lanes("float32")


def _timed(seconds: float) -> list[float]:
    """Return the least time of a call of each probe, in about so many seconds together."""
    with config.options(threads=1, workspace_limit=sys.maxsize):
        runs = {}
        for number, (name, text) in enumerate(PROBES):
            ((_, run),) = calls(ConvProblem.parse(text), [choice.algorithm(name)]).items()
            run()  # compiles
            runs[str(number)] = run
        timings = timing.take_turns(runs, seconds, turn_seconds=TURN_SECONDS)
    return [found.minimum for found in timings.values()]
