"""Timing contenders against each other: in one process, in turns, judged by the minimum.

Absolute times drift with whatever else the machine does; the ratio of two contenders that take
turns within the same second does not. So nothing here times one contender to the end before the
next.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Timing", "fma_peak", "take_turns"]

TURN_SECONDS = 2e-3  # long against the clock's resolution and an interrupt, short against drift
LONG = 10  # turns: a call that takes as much needs no second sample
MINIMUM_ROUNDS = 3  # the least for which a median means something
MAXIMUM_ROUNDS = 1000

Clock = Callable[[], float]
Contender = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """What one contender took.

    Parameters
    ----------
    minimum, median : float
        Seconds a call, over the rounds. Each round's figure is the mean of its calls.
    rounds : int
        Turns taken.
    calls : int
        Calls timed together in a turn.
    """

    minimum: float
    median: float
    rounds: int
    calls: int


def take_turns(
    contenders: Mapping[str, Contender],
    seconds: float,
    *,
    turn_seconds: float = TURN_SECONDS,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Time contenders in turns.

    In each round every contender has one turn. A turn is one call that is not timed, which brings
    caches and sleeping threads back from the contender before, and then as many calls timed
    together as last about `turn_seconds`. Every other round runs in reverse order, so that nobody
    always follows the same neighbour.

    Parameters
    ----------
    contenders : mapping of str to callable
        Called without arguments. Each should have been called before: the first call may compile.
    seconds : float
        The budget for all contenders together. At least three rounds are made, whatever it is.
    turn_seconds : float, optional
        How long the timed calls of one turn should take together.
    clock : callable, optional
        Returns seconds.

    Returns
    -------
    dict of str to Timing
        In the order of `contenders`.

    Examples
    --------
    >>> times = take_turns({"sum": lambda: sum(range(100)), "pass": lambda: None}, seconds=0.01)
    >>> times["pass"].minimum < times["sum"].minimum
    True
    """
    if not contenders:
        return {}
    names = list(contenders)
    samples: dict[str, list[float]] = {name: [] for name in names}
    with _no_garbage_collection():
        calls = {name: _calls_in(turn_seconds, contenders[name], clock) for name in names}
        end = clock() + seconds
        for round_number in range(MAXIMUM_ROUNDS):
            if round_number >= MINIMUM_ROUNDS and clock() >= end:
                break
            for name in names if round_number % 2 == 0 else reversed(names):
                contenders[name]()
                samples[name].append(_time(contenders[name], calls[name], clock) / calls[name])
    return {
        name: Timing(min(taken), statistics.median(taken), len(taken), calls[name])
        for name, taken in samples.items()
    }


def _calls_in(seconds: float, contender: Contender, clock: Clock) -> int:
    """Return how many calls take about `seconds`, judged by the fastest of three samples.

    One sample would do on a quiet machine. On a busy one an interruption in it would give this
    contender shorter turns than its equals, and short turns are the likelier to be undisturbed.
    """
    calls = 1
    while True:
        taken = _time(contender, calls, clock)
        if taken >= LONG * seconds:  # no interruption explains that
            return calls
        taken = min(taken, *(_time(contender, calls, clock) for _ in range(2)))
        if taken >= seconds / 2:
            return max(1, math.ceil(calls * seconds / taken))
        calls *= 2


def _time(contender: Contender, calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        contender()
    return clock() - start


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector from running inside somebody's turn, as :mod:`timeit` does."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def fma_peak(dtype: str, threads: int) -> float:
    """Return the flop/s that `threads` cores reach with fused multiply-adds in registers alone.

    One core is measured, by :func:`fastconv.codegen.peak.measure`, and taken `threads` times: an
    upper end where cores that are busy together clock lower than one that is busy alone.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    threads : int
        Cores used.

    Returns
    -------
    float
        Floating-point operations a second; a multiply-add counts as two.
    """
    from fastconv.codegen import peak  # compiles: only where it is asked for

    return threads * peak.measure(dtype)
