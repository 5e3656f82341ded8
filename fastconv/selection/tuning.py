"""Measuring: every algorithm that may compute a problem runs, in turns, and the answer is remembered."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from fastconv import timing
from fastconv.algorithm import Limits
from fastconv.arguments import one_of, positive_number
from fastconv.call import clear_calls
from fastconv.config import settings, tolerance_in_force
from fastconv.problem import ConvProblem, Problem, read
from fastconv.selection import answers, choice
from fastconv.selection.answers import RIGOURS, Answer
from fastconv.selection.place import HOST, Place, place_of
from fastconv.timing import Stopwatch

HOPELESS = 20.0  # times the cheapest prediction: who is predicted so is not run; predictions err by less than 3
BEHIND = 1.5  # times as long as the fastest: who takes longer takes part in no further round,
FAR_BEHIND = 4.0  # and so many times after the first round: one sample may be a disturbance
ROUNDS = 3  # between two looks at the figures
ALIKE = 0.02  # two looks agree where the fastest is the same, and its time differs by at most this share

#: How many looks in a row agree before an answer is whole, and after how many rounds it is one anyway.
_ENOUGH = {"measure": (1, 30), "patient": (4, 120)}
assert tuple(_ENOUGH) == RIGOURS

Before = Callable[[ConvProblem, int, int], object]
Contender = Limits[ConvProblem]


def tune(
    problems: ConvProblem | str | os.PathLike[str] | Iterable[ConvProblem],
    *,
    seconds: float | None = None,
    rigour: str = "measure",
    tolerance: float | None = None,
    again: bool = False,
    before: Before | None = None,
    device: int | None = None,
) -> dict[ConvProblem, Answer]:
    """Measure which algorithm is fastest, and remember it: ``"auto"`` runs it from then on.

    All algorithms within the tolerance take turns, with the number of threads in force, until the fastest one's time no
    longer changes; those whose prediction is hopeless are left out. Each answer is stored as soon as it is whole, for
    this processor and this version of the package. Calls of other processes see it when they start, or after
    :func:`fastconv.clear_cache`.

    Parameters
    ----------
    problems : ConvProblem, iterable of ConvProblem, str, or path
        What to measure. A text is a problem's string form, or the name of a suite of the benchmark, such as
        ``"resnet50"``. A path, such as ``Path("layers.txt")``, is a text file with a string form a line; ``#`` begins a
        comment, and poolings are passed over, as those of a suite are.
    seconds : float, optional
        The budget for all problems together. A sweep that it interrupts leaves no answer.
    rigour : {"measure", "patient"}, optional
        How often the figures have to agree before they are believed.
    tolerance : float, optional
        As in :func:`fastconv.select`.
    again : bool, optional
        Whether to measure what has an answer of this rigour or a better one.
    before : callable, optional
        Called before each problem with the problem, the number of those before it, and the number of all.
    device : int, optional
        The number of a CUDA device, whose algorithms are measured there, by its events; the answers are for devices of
        its name, with its driver. Without it, the processor.

    Returns
    -------
    dict of ConvProblem to Answer
        Old and new answers; it lacks those problems that the budget did not suffice for.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If a text is neither a convolution nor a suite of them, a file has none or a line that is no problem, a value is
        not possible, or the setting `deterministic` is on: it ignores what is measured.
    OSError
        If a file cannot be read.
    UnsupportedError
        If no algorithm computes a problem. What was measured before is stored.
    UnavailableError
        If there is no such device.

    Examples
    --------
    >>> import fastconv
    >>> problem = fastconv.ConvProblem.parse("conv2d,n1,c4,9x9,k4,3x3,float32")
    >>> fastconv.tune(problem, seconds=0)  # too little for a single answer
    {}
    """
    one_of(rigour, RIGOURS, "rigour")
    if type(again) is not bool:
        raise TypeError(f"again must be a bool, got {again!r} of type {type(again).__name__}")
    refuse_determinism("tune")
    place = place_of(device)
    wanted = _problems(problems)
    end = float("inf") if seconds is None else time.perf_counter() + _budget(seconds)
    found: dict[ConvProblem, Answer] = {}
    for done, problem in enumerate(wanted):
        if before is not None:
            before(problem, done, len(wanted))
        among = contenders(problem, tolerance_in_force(problem, tolerance), place)
        answer = None if again else _known(problem, among, rigour, place)
        if answer is None:
            answer = _measure(problem, among, rigour, end, place)
            if answer is None:
                continue
            clear_calls()  # which hold what was chosen before
        found[problem] = answer
    return found


def refuse_determinism(name: str) -> None:
    """Raise ValueError where what is measured would be ignored."""
    if settings().deterministic:
        raise ValueError(f"deterministic must be False to {name}, got True: it ignores what is measured")


def _budget(seconds: float) -> float:
    return 0.0 if seconds == 0 else positive_number(seconds, "seconds")


def _problems(wanted: object) -> tuple[ConvProblem, ...]:
    if isinstance(wanted, ConvProblem):
        found: tuple[object, ...] = (wanted,)
    elif isinstance(wanted, str):
        found = _named(wanted)
    elif isinstance(wanted, os.PathLike):
        found = _convolutions(read(wanted), str(wanted))
    elif isinstance(wanted, Iterable):
        found = tuple(wanted)
    else:
        kind = type(wanted).__name__
        raise TypeError(f"problems must be ConvProblems, a str or a path, got {wanted!r} of type {kind}")
    for problem in found:
        if not isinstance(problem, ConvProblem):
            raise TypeError(f"problems must be ConvProblems, got {problem!r} of type {type(problem).__name__}")
        if 0 in problem.output_shape:
            raise ValueError(f"problems must have results to compute, got {problem}")
    return tuple(dict.fromkeys(found))  # type: ignore[arg-type]


def _named(text: str) -> tuple[object, ...]:
    """Return the problem that a text is the string form of, or the convolutions of the suite of that name."""
    from fastconv.bench.suites import SUITES, suite  # tables of text

    if "," in text:
        return (ConvProblem.parse(text),)
    if text not in SUITES:
        raise ValueError(f"problems must be a problem's string form or one of {', '.join(SUITES)}, got {text!r}")
    return _convolutions((layer.problem for layer in suite(text).layers()), text)


def _convolutions(problems: Iterable[Problem], name: str) -> tuple[object, ...]:
    """Leave out poolings, which have nothing to choose."""
    found = tuple(problem for problem in problems if isinstance(problem, ConvProblem))
    if not found:
        raise ValueError(f"problems must be convolutions, got {name!r}")
    return found


_turn = threading.RLock()  # measurements at the same time would disturb each other


def _new_turn() -> None:
    """In a forked child, nobody measures."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)


def ensure_measured(problem: Problem, tolerance: float, place: Place = HOST) -> None:
    """Measure a problem that ``"auto"`` is to run, unless that was done or there is nothing to choose."""
    if not isinstance(problem, ConvProblem) or 0 in problem.output_shape:
        return
    with _turn:
        among = contenders(problem, tolerance, place)
        if _known(problem, among, RIGOURS[0], place) is None:
            _measure(problem, among, RIGOURS[0], math.inf, place)
            choice.forget()


def _known(problem: ConvProblem, among: Sequence[Contender], rigour: str, place: Place) -> Answer | None:
    """Return what is remembered of a problem."""
    names = [entry.name for entry in among]
    return answers.find(problem, place.threads(settings()), names, rigour, place.origin())


def _measure(
    problem: ConvProblem, among: Sequence[Contender], rigour: str, end: float, place: Place
) -> Answer | None:
    """Measure and remember; None if the time is over before."""
    answer = sweep(problem, among, rigour, end, place)
    if answer is not None:
        answers.remember(problem, place.threads(settings()), answer, place.origin())
    return answer


def contenders(problem: ConvProblem, tolerance: float, place: Place = HOST) -> list[Contender]:
    """Return what is measured: all that ``"auto"`` chooses among that take any weights."""
    return [entry for entry in choice.contenders(problem, tolerance, settings(), place) if entry.any_weights]


def hopeful(problem: ConvProblem, among: Iterable[Contender], place: Place = HOST) -> list[Contender]:
    """Return those whose prediction is not hopeless, the cheapest first."""
    costs = {entry: place.cost(entry, problem, settings()) for entry in among}
    ordered = sorted(costs, key=costs.__getitem__)
    return [entry for entry in ordered if costs[entry] <= HOPELESS * costs[ordered[0]]]


def sweep(
    problem: ConvProblem,
    among: Sequence[Contender],
    rigour: str,
    end: float = math.inf,
    place: Place = HOST,
) -> Answer | None:
    """Return what was measured; None if the time is over before it is certain."""
    with place.stopwatches(problem, hopeful(problem, among, place)) as runs:
        for run in runs.values():  # the first call may compile
            if time.perf_counter() >= end:
                return None
            run(1)
        relative = _compared(runs, *_ENOUGH[rigour], end)
    return None if relative is None else Answer({entry.name: relative.get(entry.name) for entry in among}, rigour)


def _compared(runs: Mapping[str, Stopwatch], looks: int, most: int, end: float) -> dict[str, float] | None:
    """Return the seconds of each call, once so many looks in a row agree, or after so many rounds at most."""
    timings = timing.stopwatches_in_turns(runs, 0.0, rounds=1)
    ratios: dict[str, float] = {}  # of those behind to the fastest in the same rounds: later ones may be slower for all
    agreed, fastest, seconds, behind = 0, "", 0.0, FAR_BEHIND
    for _ in range(most // ROUNDS):
        if time.perf_counter() >= end:
            return None
        best = min(taken.robust for taken in timings.values())
        ratios |= {name: taken.robust / best for name, taken in timings.items() if taken.robust > behind * best}
        timings = {name: taken for name, taken in timings.items() if name not in ratios}
        near = {name: runs[name] for name in timings}
        timings = timing.stopwatches_in_turns(near, 0.0, rounds=ROUNDS, before=timings)
        before, fastest = fastest, min(timings, key=lambda name: timings[name].robust)
        change, seconds = abs(timings[fastest].robust - seconds), timings[fastest].robust
        agreed = agreed + 1 if fastest == before and change <= ALIKE * seconds else 0
        behind = BEHIND
        if agreed == looks:
            break
    together = {name: taken.robust for name, taken in timings.items()}
    return together | {name: ratio * seconds for name, ratio in ratios.items()}
