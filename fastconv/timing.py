"""Timing contenders against each other: in one process, in turns, judged by the minimum.

Absolute times drift with whatever else the machine does; the ratio of two contenders that take
turns within the same second does not. So nothing here times one contender to the end before the
next.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from fastconv.garbage import no_garbage_collection

__all__ = ["Stopwatch", "Timing", "Turn", "seconds_of", "stopwatches_in_turns", "take_turns", "until_idle"]

TURN_SECONDS = 2e-3  # long against the clock's resolution and an interrupt, short against drift
LONG = 25  # turns: a call that takes as much needs no untimed one before it
IDLE_SHARE = 0.2  # of a core: less than this is used while all threads sleep
IDLE_STEP, IDLE_LIMIT = 2e-3, 0.1  # seconds
MINIMUM_ROUNDS = 3  # the least for which a median means something
MAXIMUM_ROUNDS = 1000

Clock = Callable[[], float]
Contender = Callable[[], object]
Stopwatch = Callable[[int], float]  # makes so many calls, and returns the seconds that they took together


@dataclass(frozen=True)
class Turn:
    """How a contender takes its turn.

    Parameters
    ----------
    calls : int
        How many are timed together.
    long : bool, optional
        Whether one takes so long that none goes before it untimed.
    """

    calls: int = 1
    long: bool = False


@dataclass(frozen=True)
class Timing:
    """What one contender took.

    Parameters
    ----------
    samples : tuple of float
        Seconds a call, one figure a turn: the mean of its calls.
    turn : Turn, optional
        How they were taken.
    """

    samples: tuple[float, ...]
    turn: Turn = Turn()

    @property
    def minimum(self) -> float:
        """The least of the samples."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def robust(self) -> float:
        """The mean of the faster half of the samples: neither one lucky moment nor any disturbance decides it."""
        return statistics.fmean(sorted(self.samples)[: math.ceil(len(self.samples) / 2)])


def take_turns(
    contenders: Mapping[str, Contender],
    seconds: float,
    *,
    turn_seconds: float = TURN_SECONDS,
    clock: Clock = time.perf_counter,
    before_turn: Callable[[], object] = lambda: None,
    rounds: int = MINIMUM_ROUNDS,
    before: Mapping[str, Timing] = MappingProxyType({}),
) -> dict[str, Timing]:
    """Time contenders in turns.

    In each round every contender has one turn. A turn is one call that is not timed, which brings
    caches and sleeping threads back from the contender before, and then as many calls timed
    together as last about `turn_seconds`. A call that lasts many times as long pays for that itself,
    and is timed at once; so is the call that found out. Every other round runs in reverse order, so
    that nobody always follows the same neighbour.

    Parameters
    ----------
    contenders : mapping of str to callable
        Called without arguments. Each should have been called before: the first call may compile.
    seconds : float
        The budget for all contenders together.
    turn_seconds : float, optional
        How long the timed calls of one turn should take together.
    clock : callable, optional
        Returns seconds.
    before_turn : callable, optional
        Called before each turn; :func:`until_idle` where contenders have threads.
    rounds : int, optional
        How many are made at least, whatever the budget is.
    before : mapping of str to Timing, optional
        What was found earlier: a contender that is in it takes its turns as it did then, and its samples
        go before the new ones.

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
    stopwatches = {name: partial(seconds_of, contender, clock=clock) for name, contender in contenders.items()}
    return stopwatches_in_turns(
        stopwatches,
        seconds,
        turn_seconds=turn_seconds,
        clock=clock,
        before_turn=before_turn,
        rounds=rounds,
        before=before,
    )


def stopwatches_in_turns(
    stopwatches: Mapping[str, Stopwatch],
    seconds: float,
    *,
    turn_seconds: float = TURN_SECONDS,
    clock: Clock = time.perf_counter,
    before_turn: Callable[[], object] = lambda: None,
    rounds: int = MINIMUM_ROUNDS,
    before: Mapping[str, Timing] = MappingProxyType({}),
) -> dict[str, Timing]:
    """Time in turns, as :func:`take_turns` does, contenders that hold their own stopwatch.

    For contenders that live in other processes: the way there and back is in nobody's time.

    Parameters
    ----------
    stopwatches : mapping of str to callable
        ``stopwatch(calls)`` makes so many calls and returns the seconds that they took together.
    seconds, turn_seconds, clock, before_turn, rounds, before : optional
        As in :func:`take_turns`; `clock` only ends the rounds.

    Returns
    -------
    dict of str to Timing
        In the order of `stopwatches`.

    Examples
    --------
    >>> times = stopwatches_in_turns({"two a call": lambda calls: 2.0 * calls}, seconds=0)
    >>> times["two a call"].minimum
    2.0
    """
    if not stopwatches:
        return {}
    names = list(stopwatches)
    with no_garbage_collection():  # inside somebody's turn, as :mod:`timeit` does
        timings = {name: before.get(name) or _first(turn_seconds, stopwatches[name]) for name in names}
        turns = {name: timing.turn for name, timing in timings.items()}
        samples = {name: list(timing.samples) for name, timing in timings.items()}
        end = clock() + seconds
        for round_number in range(MAXIMUM_ROUNDS):
            if round_number >= rounds and clock() >= end:
                break
            for name in names if round_number % 2 == 0 else reversed(names):
                before_turn()
                if not turns[name].long:
                    stopwatches[name](1)
                samples[name].append(stopwatches[name](turns[name].calls) / turns[name].calls)
    return {name: Timing(tuple(taken), turns[name]) for name, taken in samples.items()}


def _first(seconds: float, stopwatch: Stopwatch) -> Timing:
    """Return how many calls take about `seconds`, judged by the fastest of three samples, and those worth keeping.

    One sample would do on a quiet machine. On a busy one an interruption in it would give this
    contender shorter turns than its equals, and short turns are the likelier to be undisturbed.
    """
    calls = 1
    while True:
        taken = stopwatch(calls)
        if calls == 1 and taken >= LONG * seconds:  # no interruption explains that
            return Timing((taken,), Turn(long=True))
        taken = min(taken, *(stopwatch(calls) for _ in range(2)))
        if taken >= seconds / 2:
            return Timing((), Turn(max(1, math.ceil(calls * seconds / taken))))
        calls *= 2


def until_idle() -> None:
    """Sleep until no thread of this process computes, but for a tenth of a second at most.

    After a call, the threads of some libraries go on looking for work: of those measured, PyTorch's for
    10 ms, ONNX Runtime's for 45 and OpenBLAS's for more than 50. On a machine without idle cores that is
    time taken from whoever has the next turn.
    """
    end = time.perf_counter() + IDLE_LIMIT
    while time.perf_counter() < end:
        start, used = time.perf_counter(), time.process_time()
        time.sleep(IDLE_STEP)
        if time.process_time() - used < IDLE_SHARE * (time.perf_counter() - start):
            return


def seconds_of(contender: Contender, calls: int = 1, clock: Clock = time.perf_counter) -> float:
    """Return what so many calls take together."""
    start = clock()
    for _ in range(calls):
        contender()
    return clock() - start
