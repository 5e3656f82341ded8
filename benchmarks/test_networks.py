"""Every algorithm on every distinct layer of the networks, checked and then timed.

``pytest benchmarks --benchmark-enable`` times; with ``--benchmark-disable``, the default of this
repository, each is called and checked once. One algorithm after the other is timed here, so on a
machine that is busy trust ``fastconv bench``, which lets them take turns.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from fastconv import reference, selection
from fastconv.bench.networks import NETWORKS, layers
from fastconv.bench.run import ERROR_LIMITS, REFERENCE, draw, relative_error
from fastconv.problem import ConvProblem

LAYERS = [
    pytest.param(layer.problem, id=f"{network}-{layer.name}")
    for network in NETWORKS
    for layer in layers(network)
]


@lru_cache(maxsize=1)  # the algorithms of a layer follow one another
def checked_data(problem: ConvProblem) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Return the arrays of a problem and the result they must give."""
    arrays = draw(problem)
    return arrays, reference.conv(problem, *arrays)


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(one, id=one.name) for one in selection.TABLE if one.name != REFERENCE],
)
@pytest.mark.parametrize("problem", LAYERS)
def test_layer(
    benchmark: BenchmarkFixture, problem: ConvProblem, algorithm: selection.Algorithm
) -> None:
    reason = algorithm.supports(problem)
    if reason is not None:
        pytest.skip(reason)
    arrays, expected = checked_data(problem)
    call = partial(fastconv.conv2d, *arrays, algorithm=algorithm.name, **problem.arguments())
    error = relative_error(call(), expected)
    assert error <= (algorithm.error_bound(problem) or ERROR_LIMITS[problem.dtype])

    benchmark.group = str(problem)
    benchmark.extra_info.update(
        problem=str(problem),
        algorithm=algorithm.name,
        gflop=2e-9 * problem.multiply_adds,
        relative_error=error,
        threads=fastconv.get_num_threads(),
        workspace_bytes=algorithm.workspace(problem),
    )
    benchmark(call)
    if benchmark.stats is not None:  # None where timing is disabled
        benchmark.extra_info["gflops"] = 2e-9 * problem.multiply_adds / benchmark.stats.stats.min
