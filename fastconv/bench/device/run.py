"""The job on a device: check every contender on a layer, then time all of them in turns, until the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from math import prod

from fastconv import timing
from fastconv.bench.ceilings import Ceilings
from fastconv.bench.contenders import Contender, check, ours
from fastconv.bench.device import Library, peak
from fastconv.bench.device.prepare import picked
from fastconv.bench.device.tensor_cores import is_rounded
from fastconv.bench.kinds import kind_of
from fastconv.bench.operations import Array, operation_of
from fastconv.bench.results import AUTO, LayerResult, Outcome, SuiteResult
from fastconv.bench.run import ONCE_TIMES, Job, operations, with_time
from fastconv.bench.suites import Layer
from fastconv.cuda.arrays import library_of
from fastconv.cuda.driver import Device
from fastconv.cuda.place import DevicePlace
from fastconv.cuda.plan import Target
from fastconv.problem import ConvProblem, Problem, parse

__all__ = ["SMALL", "ceilings", "host_microseconds", "measure", "measure_layer"]

MOST_SECONDS = 3.0  # of a layer: more rounds say nothing more
TURN_SECONDS = 2e-4  # of a contender; before each of its calls the cache is filled, which takes longer than most do
OUT_OF_TIME = "the budget was spent before"

#: Problems so small that a call is all overhead.
SMALL = ("conv2d,n1,c8,8x8,k8,3x3,p1,float32", "max_pool2d,n1,c8,8x8,2x2,s2,float32")
HOST_CALLS, HOST_ROUNDS = 100, 20  # fewer launches at once than a device's queue holds


def ceilings(library: Library, target: Target, dtype: str = "float32", rounded: bool = False) -> Ceilings:
    """Return the peak of multiply-adds, which says nothing where factors are rounded, and a copy's bandwidth, now."""
    if rounded or dtype not in peak.DTYPES:
        return Ceilings(None, 1e-9 * library.copy_bandwidth())
    plan = peak.plan(dtype, target)
    factors, sink = library.ones(8, dtype), library.ones(peak.blocks(target) * peak.THREADS, dtype)
    view = library_of(factors)
    x, y = view.look(factors), view.look(sink)
    measure = library.stopwatch(lambda: plan.run((x.pointer, y.pointer), view.stream(x)))
    best = min(measure(1) for _ in range(timing.MINIMUM_ROUNDS))
    return Ceilings(1e-9 * peak.flops(dtype, target) / best, 1e-9 * library.copy_bandwidth())


def measure(
    jobs: Sequence[Job],
    library: Library,
    target: Target,
    seconds: float,
    before_layer: Callable[[str], object] = lambda _: None,
) -> tuple[SuiteResult, ...]:
    """Return the results of all jobs; layers that no time is left for say so.

    Parameters
    ----------
    jobs : sequence of Job
        In the order of their weight.
    library : Library
        That has arrays on the device, and rivals.
    target : Target
        The device.
    seconds : float
        The budget: each layer gets its share of what is left.
    before_layer : callable, optional
        Called with a text before each layer.
    """
    end = time.perf_counter() + seconds
    kinds = {_kind(layer.problem) for job in jobs for layer in job.layers}
    limits = {kind: ceilings(library, target, *kind) for kind in kinds}
    left = sum(len(job.layers) for job in jobs)
    found: list[list[LayerResult]] = []
    for job in jobs:
        results: list[LayerResult] = []
        found.append(results)
        for layer in job.layers:
            now = time.perf_counter()
            if now < end:
                before_layer(f"{job.name} {layer.name}")
                share = min(MOST_SECONDS, (end - now) / left)
                most = limits[_kind(layer.problem)].gflops
                results.append(measure_layer(layer, library, target, share, most, job.algorithms))
            else:
                results.append(_result(layer, target, (Outcome(AUTO, "auto", skipped=OUT_OF_TIME),)))
            left -= 1
    limits = {kind: ceilings(library, target, *kind).or_better(before) for kind, before in limits.items()}
    return tuple(
        _suite(job, results, limits[_kind(job.layers[0].problem)], target.device)
        for job, results in zip(jobs, found, strict=True)
    )


def _kind(problem: Problem) -> tuple[str, bool]:
    """What a peak is of: a data type, and whether factors are rounded."""
    return problem.dtype, is_rounded(problem)


def _suite(job: Job, results: Sequence[LayerResult], limits: Ceilings, device: Device) -> SuiteResult:
    problem = job.layers[0].problem
    return SuiteResult(
        name=job.name,
        source=job.source,
        batch=problem.batch,
        threads=1,
        dtype=problem.dtype,
        layout=problem.layout,
        peak_gflops=limits.gflops,
        copy_gigabytes=limits.gigabytes,
        layers=tuple(results),
        device=device.name,
    )


def measure_layer(
    layer: Layer,
    library: Library,
    target: Target,
    seconds: float,
    peak_gflops: float | None = None,
    names: Collection[str] | None = None,
) -> LayerResult:
    """Check and time every contender on one layer; all together in about so many seconds."""
    end = time.perf_counter() + seconds
    try:
        outcomes, runs = _checked(layer.problem, library, target, names)
        times = _timed({name: library.stopwatch(run) for name, run in runs.items()}, end)
    except Exception as exception:  # memory that did not suffice, or a device that is lost: others keep their figures
        failure = f"{type(exception).__name__}: {exception}"
        return _result(layer, target, (Outcome(AUTO, "auto", failure=failure),))
    number = operations(layer.problem)
    timed = (with_time(one, times.get(one.name), number, peak_gflops) for one in outcomes)
    return _result(layer, target, tuple(timed))


def _timed(stopwatches: Mapping[str, timing.Stopwatch], end: float) -> dict[str, timing.Timing]:
    """Return everybody's times; who is far behind has that of a single call, and costs the others no rounds."""
    once = {name: stopwatch(1) for name, stopwatch in stopwatches.items()}
    limit = ONCE_TIMES * min(once.values(), default=0.0)
    far = {name: timing.Timing((taken,)) for name, taken in once.items() if taken > limit}
    near = {name: stopwatch for name, stopwatch in stopwatches.items() if name not in far}
    left = max(0.0, end - time.perf_counter())
    return {**timing.stopwatches_in_turns(near, left, turn_seconds=TURN_SECONDS), **far}


def _checked(
    problem: Problem, library: Library, target: Target, names: Collection[str] | None
) -> tuple[list[Outcome], dict[str, Callable[[], Array]]]:
    """Return what everybody's first call gave, and the calls of those who were right."""
    arrays = library.draw(problem)
    right = library.expected(problem, arrays)
    outcomes, runs = [], {}
    for one in contenders(problem, arrays, library, target, names):
        outcome = check(one, right, library.error)
        outcomes.append(outcome)
        if one.run is not None and outcome.failure is None:
            runs[one.name] = one.run
    return outcomes, runs


def contenders(
    problem: Problem,
    arrays: tuple[Array, ...],
    library: Library,
    target: Target,
    names: Collection[str] | None = None,
) -> Iterator[Contender]:
    """Yield the algorithms of the device's table that are wanted, ``auto``, ``packed``, and the library's own ways."""
    yield from ours(problem, arrays, names, _place(target), partial(picked, problem, _place(target)))
    for name, rival in library.rivals(problem).items():
        try:
            run = rival.prepare(problem, *arrays)
        except Exception as exception:  # as on the processor: one that is broken must not end the run
            run = f"{type(exception).__name__}: {exception}"
        if isinstance(run, str):
            yield Contender(name, rival.kind, reason=run)
        else:
            yield Contender(name, rival.kind, rival.limit, run=run)


def _place(target: Target) -> DevicePlace:
    return DevicePlace(target.ordinal, target.device)


def _result(layer: Layer, target: Target, outcomes: tuple[Outcome, ...]) -> LayerResult:
    problem = layer.problem
    result = problem.result_shape if isinstance(problem, ConvProblem) else problem.output_shape
    shapes = (*operation_of(problem).shapes(problem), result)
    return LayerResult(
        layer=layer.name,
        problem=str(problem),
        kind=kind_of(problem),
        count=layer.count,
        operations=operations(problem),
        bytes=sum(map(prod, shapes)) * problem.itemsize,
        picked=picked(problem, _place(target)),
        outcomes=outcomes,
    )


def host_microseconds(library: Library, target: Target) -> Mapping[str, float]:
    """Return the microseconds that a call takes of the host, by what is called: a plan of an earlier call.

    The device may be behind: its queue is longer than what is told to it at once.
    """
    found = {}
    for problem in map(parse, SMALL):
        arrays = library.draw(problem)
        for one in contenders(problem, arrays, library, target):
            if one.run is None:
                continue
            calls = {one.name: one.run}
            if one.name == AUTO:
                calls["auto, out given"] = partial(one.run, out=one.run())  # type: ignore[call-arg]
            for name, run in calls.items():
                found[f"{name}: {problem}"] = 1e6 * _host_seconds(run, library)
    return found


def _host_seconds(run: Callable[[], object], library: Library) -> float:
    """Return the seconds of a call, at the best of some rounds."""
    run()
    best = float("inf")
    for _ in range(HOST_ROUNDS):
        library.wait()
        best = min(best, timing.seconds_of(run, HOST_CALLS) / HOST_CALLS)
    library.wait()
    return best
