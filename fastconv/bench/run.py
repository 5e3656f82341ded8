"""The benchmark's job: check every contender on a layer against the reference, then time them.

Contenders are the algorithms of the table by name, ``auto`` (the call as a user makes it), ``packed``
(the same by a layer that packed its weights before) and, if asked for, the peers. What computes a
wrong result is reported and never timed.

Layers are timed in passes, each over all layers of all suites. A machine that others use has bad
minutes, and bad places in memory: a layer whose figures come from several moments, each with data
made anew, has the better chance that every contender once had a good one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import fastconv
from fastconv import timing
from fastconv.arguments import is_floating
from fastconv.bench import ceilings
from fastconv.bench.contenders import check, contenders, expected, picked
from fastconv.bench.kinds import kind_of
from fastconv.bench.operations import Array, draw
from fastconv.bench.results import DIRECT, REFERENCE, Kind, LayerResult, Outcome, SuiteResult, threads_in_words
from fastconv.bench.suites import Layer
from fastconv.problem import ConvProblem, Problem

__all__ = ["Job", "Settings", "measure", "measure_layer", "number_of_steps", "operations"]

ONCE_SECONDS = 0.05  # whoever takes longer than this
ONCE_TIMES = 20  # and so many times as long as the fastest is timed by a single call
COLD_SECONDS = 1.0  # a first call that took less may owe it to libraries that it loaded, or threads that it started
ROUNDS = 5  # at least, of those who are in every pass
FIRST_SHARE = 0.2  # of a layer's seconds for the pass that finds out who is behind
BEHIND = 1.5  # times as long as the best of its kind, after which a contender that is not picked is in no further pass


@dataclass(frozen=True)
class Settings:
    """What a run does with each layer.

    Parameters
    ----------
    algorithms : tuple of str, optional
        Names from the table; None for all.
    peers : bool, optional
        Whether to add the other libraries that are installed.
    seconds : float, optional
        Budget of the timing of one layer, all contenders and passes together.
    passes : int, optional
        Moments at which a layer is timed.
    """

    algorithms: tuple[str, ...] | None = None
    peers: bool = False
    seconds: float = 0.5
    passes: int = 3


@dataclass(frozen=True)
class Job:
    """Layers that are measured in one way, or in one way for each of some numbers of threads.

    Parameters
    ----------
    name, source : str
        The suite and where its layers are written down.
    layers : tuple of Layer
        Of one data type and one layout.
    threads : tuple of int
        A layer is measured with each of these numbers in turn, from one computation of the reference.
    algorithms : tuple of str, optional
        Names of those that a job on a device is about; None for all.
    """

    name: str
    source: str
    layers: tuple[Layer, ...]
    threads: tuple[int, ...]
    algorithms: tuple[str, ...] | None = None

    @property
    def dtype(self) -> str:
        """The layers' data type."""
        return self.layers[0].problem.dtype


def number_of_steps(jobs: Sequence[Job], settings: Settings) -> int:
    """Return how often :func:`measure` calls its `before_step`."""
    return settings.passes * sum(len(job.layers) * len(job.threads) for job in jobs)


def measure(
    jobs: Sequence[Job], settings: Settings, before_step: Callable[[str], object] = lambda _: None
) -> tuple[SuiteResult, ...]:
    """Return the results of all jobs, one for each number of threads of each.

    Parameters
    ----------
    jobs : sequence of Job
        In the order of a pass.
    settings : Settings
        What to do with each layer.
    before_step : callable, optional
        Called with a text before each pass of each layer with each number of threads.
    """
    steps = [
        _Step(job, threads, _Course(layer, settings))
        for job in jobs
        for layer in job.layers
        for threads in job.threads
    ]
    limits: dict[tuple[str, int], ceilings.Ceilings] = {}
    threads_before = fastconv.get_num_threads()
    try:
        for _ in range(settings.passes):
            for step in steps:
                before_step(str(step))
                fastconv.set_num_threads(step.threads)
                step.course.go()
            for way in {(step.job.dtype, step.threads) for step in steps}:
                limits[way] = ceilings.measure(*way).or_better(limits.get(way))
    finally:
        fastconv.set_num_threads(threads_before)
    return tuple(
        _suite_result(
            job,
            threads,
            limits[job.dtype, threads],
            [step.course for step in steps if step.job is job and step.threads == threads],
        )
        for job in jobs
        for threads in job.threads
    )


def _suite_result(
    job: Job, threads: int, limits: ceilings.Ceilings, courses: Sequence[_Course]
) -> SuiteResult:
    problem = job.layers[0].problem
    return SuiteResult(
        name=job.name,
        source=job.source,
        batch=problem.batch,
        threads=threads,
        dtype=problem.dtype,
        layout=problem.layout,
        peak_gflops=limits.gflops,
        copy_gigabytes=limits.gigabytes,
        layers=tuple(course.result(limits.gflops) for course in courses),
    )


def measure_layer(layer: Layer, settings: Settings, peak_gflops: float | None = None) -> LayerResult:
    """Check and time every contender on one layer, with fastconv's number of threads."""
    course = _Course(layer, settings)
    for _ in range(settings.passes):
        course.go()
    return course.result(peak_gflops)


def operations(problem: Problem) -> int:
    """Return the operations of the definition: two a multiply-add, one an element of a pooling window."""
    return 2 * problem.multiply_adds if isinstance(problem, ConvProblem) else problem.operations


@dataclass(frozen=True)
class _Step:
    """What a pass does for one layer with one number of threads."""

    job: Job
    threads: int
    course: _Course

    def __str__(self) -> str:
        return f"{self.job.name} {self.course.layer.name}, {threads_in_words(self.threads)}"


class _Course:
    """One layer with one number of threads: checked in its first pass, timed in each."""

    def __init__(self, layer: Layer, settings: Settings) -> None:
        self.layer = layer
        self.settings = settings
        self.bytes = 0
        self.outcomes: dict[str, Outcome] = {}
        self.times: dict[str, timing.Timing] = {}
        self.once: set[str] = set()  # who was timed by a single call

    def go(self) -> None:
        """Make one pass."""
        first = not self.outcomes
        runs = self._runs_checked() if first else self._runs_again()
        rest = timing.until_idle if fastconv.get_num_threads() > 1 else _nothing
        seconds, rounds = _part(self.settings, first)
        self.times |= timing.take_turns(runs, seconds, before_turn=rest, rounds=rounds, before=self.times)

    def result(self, peak_gflops: float | None) -> LayerResult:
        """Return what all passes found."""
        problem = self.layer.problem
        number = operations(problem)
        return LayerResult(
            layer=self.layer.name,
            problem=str(problem),
            kind=kind_of(problem),
            count=self.layer.count,
            operations=number,
            bytes=self.bytes,
            picked=picked(problem),
            outcomes=tuple(
                with_time(one, self.times.get(name), number, peak_gflops) for name, one in self.outcomes.items()
            ),
        )

    def _runs_checked(self) -> dict[str, Callable[[], Array]]:
        """Check everybody, and return those to be timed in turns."""
        arrays, right, reference_seconds = expected(self.layer.problem)
        self.bytes = _bytes(arrays, right)
        peers = None if self.settings.peers else ()
        runs = {}
        for one in contenders(self.layer.problem, arrays, self.settings.algorithms, peers):
            if one.name == REFERENCE:  # it was called to get what the others are compared with
                self.outcomes[one.name] = Outcome(one.name, one.kind, error=0.0, first_ms=1e3 * reference_seconds)
                self._time_once(one.name, reference_seconds)
                continue
            self.outcomes[one.name] = outcome = check(one, right)
            if one.run is not None and outcome.failure is None:
                runs[one.name] = one.run
        for name, taken in _far_behind(runs, self.outcomes).items():
            self._time_once(name, taken)
        return {name: run for name, run in runs.items() if name not in self.once}

    def _time_once(self, name: str, seconds: float) -> None:
        self.once.add(name)
        self.times[name] = timing.Timing((seconds,))

    def _runs_again(self) -> dict[str, Callable[[], Array]]:
        """Return those who may still be the best of their kind, on data made anew."""
        problem = self.layer.problem
        names = {kind: self._close(kind) for kind in ("algorithm", "peer")}
        again = contenders(problem, draw(problem), names["algorithm"], names["peer"])
        runs = {one.name: one.run for one in again if one.run is not None and one.name in self.times}
        for name, run in runs.items():
            if not self.times[name].turn.long:
                run()  # as the first call of the first pass, its memory may be new
        return runs

    def _close(self, kind: Kind) -> list[str]:
        times = {
            name: time_.minimum
            for name, time_ in self.times.items()
            if self.outcomes[name].kind == kind and name not in self.once
        }
        # whose figures are the regret's and those without a transform: one pass may have been disturbed
        chosen = (picked(self.layer.problem), DIRECT[0])
        return [name for name, taken in times.items() if name in chosen or taken <= BEHIND * min(times.values())]


def _part(settings: Settings, first: bool) -> tuple[float, int]:
    """Return a pass's part of the seconds, and its least rounds: most of both are for the later ones, which are few."""
    if settings.passes == 1:
        return settings.seconds, ROUNDS
    share = FIRST_SHARE if first else (1 - FIRST_SHARE) / (settings.passes - 1)
    return share * settings.seconds, ceil(share * ROUNDS)


def _bytes(arrays: tuple[Array, ...], right: Array) -> int:
    """Return the bytes of what a call reads and writes; of floats, the reference returns more than a call does."""
    width = (arrays[0] if is_floating(arrays[0].dtype) else right).itemsize
    return sum(array.nbytes for array in arrays) + width * right.size


def _far_behind(runs: Mapping[str, Callable[[], Array]], outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """Return the seconds of those peers for which a single call says enough."""
    first = {one.name: one.first_ms / 1e3 for one in outcomes.values() if one.first_ms is not None and not one.failure}
    limit = max(ONCE_SECONDS, ONCE_TIMES * min(first.values(), default=0.0))
    found = {}
    for name, run in runs.items():
        if outcomes[name].kind == "peer" and first[name] > limit:
            taken = timing.seconds_of(run) if first[name] < COLD_SECONDS else first[name]
            if taken > limit:
                found[name] = taken
    return found


def _nothing() -> None:
    """Rest not at all: with one thread nobody's threads are left over."""


def with_time(
    outcome: Outcome, time_: timing.Timing | None, operations: int, peak_gflops: float | None
) -> Outcome:
    """Add the figures that follow from a time."""
    if time_ is None:
        return outcome
    gflops = operations / time_.minimum / 1e9
    return dataclasses.replace(
        outcome,
        minimum_ms=1e3 * time_.minimum,
        median_ms=1e3 * time_.median,
        gflops=gflops,
        share_of_peak=gflops / peak_gflops if gflops and peak_gflops else None,  # no share of nothing to do
    )
