"""Every contender on every layer of every suite: checked against the reference, and timed if that is enabled.

``pytest benchmarks --benchmark-enable`` times; without it, which is the default of this repository, each
is called once and checked. ``-k`` chooses by the parts of an id such as ``resnet50-n1-conv2_1b-direct``:
``-k "resnet50 and n1"``, ``-k "filters and opencv"``.

pytest-benchmark times one contender after the other. What is compared in the ``extra_info`` of a
benchmark (``gflops``, ``share_of_peak``, ``ratio_to_best_peer``) was measured as ``fastconv bench`` does it:
in turns, within ``--benchmark-max-time`` a layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache, partial

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv.bench import ceilings, contenders, run
from fastconv.bench.operations import operation_of
from fastconv.bench.peers import COMPARISONS
from fastconv.bench.results import AUTO, PACKED, REFERENCE, LayerResult
from fastconv.bench.suites import SUITES, Layer
from fastconv.problem import Problem
from fastconv.selection import table_of


def names(problem: Problem) -> tuple[str, ...]:
    """Return the contenders on a problem; the reference is what they are compared with."""
    ours = [algorithm.name for algorithm in table_of(problem) if algorithm.name != REFERENCE]
    operation = operation_of(problem)
    packed = () if operation.layer is None else (PACKED,)
    return (*ours, AUTO, *packed, *COMPARISONS[operation.name])


def cases() -> Iterator[object]:
    """Yield every contender on every layer, those of a layer one after the other."""
    for suite in SUITES.values():
        for batch in suite.batches:
            for layer in suite.layers(batch):
                for name in names(layer.problem):
                    yield pytest.param(layer, name, id=f"{suite.name}-n{batch}-{layer.name}-{name.replace(' ', '_')}")


@lru_cache(maxsize=1)
def ready(problem: Problem, *, peers: bool) -> dict[str, contenders.Contender]:
    """Return ours, or all, by name, ready to be called; kept for one layer."""
    arrays, _, _ = contenders.expected(problem)
    found = contenders.contenders(problem, arrays, peers=None if peers else ())
    return {one.name: one for one in found}


limits = lru_cache(ceilings.measure)  # half a second


@lru_cache(maxsize=1)
def measured(layer: Layer, seconds: float) -> LayerResult:
    """Return the layer's times in turns, which all its contenders share."""
    peak = limits(layer.problem.dtype, fastconv.get_num_threads()).gflops
    return run.measure_layer(layer, run.Settings(peers=True, seconds=seconds), peak)


def extra_info(result: LayerResult, name: str) -> dict[str, object]:
    """Return what the file that ``--benchmark-json`` writes has of a contender beside its times."""
    outcome = result[name]
    best = None if result.best_peer is None else result[result.best_peer].minimum_ms
    return {
        "problem": result.problem,
        "library" if outcome.kind == "peer" else "algorithm": name,
        "gflops": outcome.gflops,
        "share_of_peak": outcome.share_of_peak,
        "bytes": result.bytes,
        "workspace_bytes": outcome.workspace,
        "threads": fastconv.get_num_threads(),
        "relative_error": outcome.error,
        "ratio_to_best_peer": best / outcome.minimum_ms if best and outcome.minimum_ms else None,
    }


@pytest.mark.benchmark(min_rounds=1)  # those far behind would take five times the time for no other answer
@pytest.mark.parametrize(("layer", "name"), [*cases()])
def test_layer(benchmark: BenchmarkFixture, pytestconfig: pytest.Config, layer: Layer, name: str) -> None:
    is_peer = name in COMPARISONS[operation_of(layer.problem).name]
    contender = ready(layer.problem, peers=is_peer)[name]
    if contender.run is None:
        pytest.skip(str(contender.reason))
    if benchmark.enabled:
        seconds = float(pytestconfig.getoption("benchmark_max_time"))
        benchmark.group = str(layer.problem)
        benchmark.extra_info.update(extra_info(measured(layer, seconds), name))
    _, expected, _ = contenders.expected(layer.problem)
    timed = dataclasses.replace(contender, run=partial(benchmark, contender.run))
    assert contenders.check(timed, expected).failure is None
