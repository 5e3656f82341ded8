"""The benchmark's job: check every contender on a layer against the reference, then time them.

Contenders are the algorithms of the table by name, ``auto`` (the call as a user makes it) and, if
asked for, the peers. What computes a wrong result is reported and never timed.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias, cast

import fastconv
from fastconv import selection
from fastconv.bench import ceilings, timing
from fastconv.bench.kinds import kind_of
from fastconv.bench.operations import Array, draw, operation_of, relative_error
from fastconv.bench.peers import COMPARISONS
from fastconv.bench.results import AUTO, REFERENCE, Kind, LayerResult, Outcome, SuiteResult
from fastconv.bench.suites import Layer
from fastconv.problem import ConvProblem, Problem

__all__ = ["Contender", "Job", "Settings", "check", "contenders", "expected", "measure", "measure_layer", "operations"]

ONCE_SECONDS = 0.05  # whoever takes longer than this
ONCE_TIMES = 20  # and so many times as long as the fastest is timed by a single call
COLD_SECONDS = 1.0  # a first call that took less may owe it to libraries that it loaded, or threads that it started


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
        Budget of the timing of one layer, all contenders together.
    """

    algorithms: tuple[str, ...] | None = None
    peers: bool = False
    seconds: float = 0.5


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
    """

    name: str
    source: str
    layers: tuple[Layer, ...]
    threads: tuple[int, ...]

    @property
    def steps(self) -> int:
        """How many measurements of a layer the job is."""
        return len(self.layers) * len(self.threads)


@dataclass(frozen=True)
class Contender:
    """How to run one contender.

    Parameters
    ----------
    name : str
        An algorithm of the table, ``auto``, or a peer.
    kind : {"algorithm", "auto", "peer"}
        Which of these it is.
    limit : float, optional
        Relative 2-norm by which its result may differ from the reference's.
    workspace : int, optional
        Bytes of scratch memory, for an algorithm.
    run : callable, optional
        Does the work, without arguments. None for the reference, which is called once to compare with.
    reason : str, optional
        Why there is no `run`.
    """

    name: str
    kind: Kind
    limit: float = 0.0
    workspace: int | None = None
    run: Callable[[], Array] | None = None
    reason: str | None = None


def measure(
    jobs: Sequence[Job], settings: Settings, before_layer: Callable[[str], object] = lambda _: None
) -> Iterator[SuiteResult]:
    """Yield the results of each job, one for each of its numbers of threads.

    Parameters
    ----------
    jobs : sequence of Job
        In the order to run them.
    settings : Settings
        What to do with each layer.
    before_layer : callable, optional
        Called with a text before each of a job's `steps`.
    """
    threads_before = fastconv.get_num_threads()
    try:
        for job in jobs:
            yield from _measure_job(job, settings, before_layer)
    finally:
        fastconv.set_num_threads(threads_before)


def _measure_job(job: Job, settings: Settings, before_layer: Callable[[str], object]) -> Iterator[SuiteResult]:
    problem = job.layers[0].problem
    limits = {threads: ceilings.measure(problem.dtype, threads) for threads in job.threads}
    rows: dict[int, list[LayerResult]] = {threads: [] for threads in job.threads}
    for layer in job.layers:
        for threads in job.threads:
            before_layer(f"{job.name} {layer.name}, {threads} thread{'s' * (threads > 1)}")
            fastconv.set_num_threads(threads)
            rows[threads].append(measure_layer(layer, settings, limits[threads].gflops))
    for threads, layers in rows.items():
        yield SuiteResult(
            name=job.name,
            source=job.source,
            batch=problem.batch,
            threads=threads,
            dtype=problem.dtype,
            layout=problem.layout,
            peak_gflops=limits[threads].gflops,
            copy_gigabytes=limits[threads].gigabytes,
            layers=tuple(layers),
        )


def measure_layer(layer: Layer, settings: Settings, peak_gflops: float | None = None) -> LayerResult:
    """Check and time every contender on one layer."""
    problem = layer.problem
    arrays, right, reference_seconds = expected(problem)
    everybody = contenders(problem, arrays, settings)
    outcomes = {}
    for one in everybody:
        if one.name == REFERENCE:  # it was called to get what the others are compared with
            outcomes[one.name] = Outcome(one.name, one.kind, error=0.0, first_ms=1e3 * reference_seconds)
        else:
            outcomes[one.name] = check(one, right)
    times = _time(everybody, outcomes, settings.seconds)
    number = operations(problem)
    return LayerResult(
        layer=layer.name,
        problem=str(problem),
        kind=kind_of(problem),
        count=layer.count,
        operations=number,
        bytes=_bytes(arrays, right),
        picked=_picked(problem),
        outcomes=tuple(
            _with_time(one, times.get(name), number, peak_gflops) for name, one in outcomes.items()
        ),
    )


_Expected: TypeAlias = tuple[tuple[Array, ...], Array, float]


@lru_cache(maxsize=1)  # a layer is measured with several numbers of threads, one after the other
def expected(problem: Problem) -> _Expected:
    """Return the arrays of a problem, what it must give, and the seconds that the reference took."""
    arrays = draw(problem)
    start = time.perf_counter()
    right = operation_of(problem).reference(problem, *arrays)
    return arrays, right, time.perf_counter() - start


def _bytes(arrays: tuple[Array, ...], right: Array) -> int:
    """Return the bytes of what a call reads and writes; of floats, the reference returns more than a call does."""
    width = (arrays[0] if arrays[0].dtype.kind == "f" else right).itemsize
    return sum(array.nbytes for array in arrays) + width * right.size


def operations(problem: Problem) -> int:
    """Return the operations of the definition: two a multiply-add, one an element of a pooling window."""
    return 2 * problem.multiply_adds if isinstance(problem, ConvProblem) else problem.operations


def _picked(problem: Problem) -> str:
    """Return what ``auto`` stands for; the reference where no table of algorithms knows such problems."""
    known = cast("ConvProblem", problem)  # for the type checker: the kind that the table is of
    able = any(one.supports(known) is None for one in selection.table_of(problem))
    return selection.select(known) if able else REFERENCE


def contenders(problem: Problem, arrays: tuple[Array, ...], settings: Settings) -> tuple[Contender, ...]:
    """Return the algorithms, the reference last among them, ``auto``, and peers if there are to be any."""
    peers = _peers(problem, arrays) if settings.peers else ()
    return (*_ours(problem, arrays, settings.algorithms), *peers)


def _ours(problem: Problem, arrays: tuple[Array, ...], names: tuple[str, ...] | None) -> Iterator[Contender]:
    operation = operation_of(problem)
    call = operation.call(problem, arrays)
    known = cast("ConvProblem", problem)
    limits = {REFERENCE: operation.error_limit(problem)}
    for algorithm in selection.table_of(problem):
        name = algorithm.name
        reason = algorithm.supports(known)
        if reason is None:
            limits[name] = algorithm.error_bound(known) or operation.error_limit(problem)
        if name == REFERENCE or (names is not None and name not in names):
            continue
        if reason is None and call is not None:
            run = partial(call, algorithm=name)
            yield Contender(name, "algorithm", limits[name], algorithm.workspace(known), run)
        else:
            yield Contender(name, "algorithm", reason=reason or _not_there(operation.function_name(problem)))
    if names is None or REFERENCE in names:
        yield Contender(REFERENCE, "algorithm")
    if call is None:
        yield Contender(AUTO, "auto", reason=_not_there(operation.function_name(problem)))
    else:
        yield Contender(AUTO, "auto", limits[_picked(problem)], run=call)


def _not_there(function: str) -> str:
    return f"fastconv has no {function} yet"


def _peers(problem: Problem, arrays: tuple[Array, ...]) -> Iterator[Contender]:
    operation = operation_of(problem)
    for name, peer in COMPARISONS[operation.name].items():
        try:
            run = peer(problem, *arrays)
        except Exception as exception:  # a library that is installed but broken must not end the run
            run = f"{type(exception).__name__}: {exception}"
        if isinstance(run, str):
            yield Contender(name, "peer", reason=run)
        else:
            yield Contender(name, "peer", operation.error_limit(problem), run=run)


def check(contender: Contender, expected: Array) -> Outcome:
    """Make a contender's first call, and compare its result with the reference's."""
    outcome = Outcome(contender.name, contender.kind, skipped=contender.reason, workspace=contender.workspace)
    if contender.run is None:
        return outcome
    replace = partial(dataclasses.replace, outcome, limit=contender.limit)
    start = time.perf_counter()
    try:
        found = contender.run()
    except Exception as exception:  # one that fails must not cost the others their figures
        return replace(failure=f"{type(exception).__name__}: {exception}")
    first_ms = 1e3 * (time.perf_counter() - start)
    if found.shape != expected.shape:
        return replace(first_ms=first_ms, failure=f"shape {found.shape}, expected {expected.shape}")
    error = relative_error(found, expected)
    if not error <= contender.limit:  # a NaN is not
        failure = f"relative error {error:.2g}, at most {contender.limit:.2g} expected"
        return replace(first_ms=first_ms, failure=failure, error=error if math.isfinite(error) else None)
    return replace(first_ms=first_ms, error=error)


def _time(
    contenders: Sequence[Contender], outcomes: Mapping[str, Outcome], seconds: float
) -> dict[str, timing.Timing]:
    """Time in turns those who were right; the reference, and peers far behind, have the time of single calls."""
    first = {
        one.name: one.first_ms / 1e3
        for one in outcomes.values()
        if one.first_ms is not None and one.failure is None
    }
    runs = {one.name: one.run for one in contenders if one.run is not None and one.name in first}
    single = {name: taken for name, taken in first.items() if name not in runs}  # the reference's
    far_behind = max(ONCE_SECONDS, ONCE_TIMES * min(first.values(), default=0.0))
    for one in contenders:
        if one.kind == "peer" and first.get(one.name, 0.0) > far_behind:
            cold = first[one.name] < COLD_SECONDS
            taken = _seconds_of(runs[one.name]) if cold else first[one.name]
            if taken > far_behind:
                single[one.name] = taken
                del runs[one.name]
    once = {name: timing.Timing(taken, taken, rounds=1, calls=1) for name, taken in single.items()}
    threads = fastconv.get_num_threads()
    rest = timing.until_idle if threads > 1 else _nothing
    return {**once, **timing.take_turns(runs, seconds, before_turn=rest)}


def _nothing() -> None:
    """Rest not at all: with one thread nobody's threads are left over."""


def _seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _with_time(
    outcome: Outcome, time: timing.Timing | None, operations: int, peak_gflops: float | None
) -> Outcome:
    """Add the figures that follow from a time."""
    if time is None:
        return outcome
    gflops = operations / time.minimum / 1e9
    return dataclasses.replace(
        outcome,
        minimum_ms=1e3 * time.minimum,
        median_ms=1e3 * time.median,
        gflops=gflops,
        share_of_peak=gflops / peak_gflops if gflops and peak_gflops else None,  # no share of nothing to do
    )
