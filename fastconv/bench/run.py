"""The benchmark's job: check every contender on a layer against the reference, then time them.

Contenders are the algorithms of the table by name, ``auto`` (the call as a user makes it) and, if
asked for, the peers. What computes a wrong result is reported and never timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

import fastconv
from fastconv import reference, selection
from fastconv.bench import timing
from fastconv.bench.networks import Layer
from fastconv.bench.peers import PEERS
from fastconv.problem import ConvProblem

__all__ = ["AUTO", "LayerResult", "Outcome", "Settings", "draw", "measure_layer", "relative_error"]

Array: TypeAlias = npt.NDArray[np.generic]
Kind: TypeAlias = Literal["algorithm", "auto", "peer"]

AUTO = "auto"
REFERENCE = "reference"
REFERENCE_SECONDS = 0.05  # the reference is shown with a time only where it takes less than this
SEED = 20151210

# Relative 2-norm that a result may be off by where nobody states a bound; integers must be exact.
ERROR_LIMITS = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-14}


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
    peaks : mapping of str to float, optional
        Data type to the floating-point operations a second that figures are related to.
    """

    algorithms: tuple[str, ...] | None = None
    peers: bool = False
    seconds: float = 0.5
    peaks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one contender did on one layer.

    Parameters
    ----------
    name : str
        An algorithm of the table, ``auto``, or a peer.
    kind : {"algorithm", "auto", "peer"}
        Which of these it is.
    skipped : str, optional
        Why it was not run.
    failure : str, optional
        Why its result counts as wrong.
    error : float, optional
        Relative 2-norm of the difference to the reference; None where it is not a finite number.
    limit : float, optional
        What `error` may be.
    first_ms : float, optional
        Milliseconds of the first call, which may compile.
    minimum_ms, median_ms : float, optional
        Milliseconds a call, over the rounds.
    gflops : float, optional
        1e9 floating-point operations a second at the minimum; a multiply-add counts as two.
    share_of_peak : float, optional
        Part of the processor's peak that is.
    """

    name: str
    kind: Kind
    skipped: str | None = None
    failure: str | None = None
    error: float | None = None
    limit: float | None = None
    first_ms: float | None = None
    minimum_ms: float | None = None
    median_ms: float | None = None
    gflops: float | None = None
    share_of_peak: float | None = None


@dataclass(frozen=True)
class LayerResult:
    """The outcomes on one layer and what they say about the choice that was made.

    Parameters
    ----------
    layer : str
        The layer's name.
    problem : str
        The string form of its problem.
    count : int
        How often the network has it.
    multiply_adds : int
        Of one call.
    picked : str
        The algorithm that ``auto`` stands for.
    outcomes : tuple of Outcome
        Algorithms in the table's order, ``auto``, peers.
    regret : float, optional
        Time of the picked algorithm / time of the best one: 1 is the best choice.
    ratio_to_best_peer : float, optional
        Time of the best peer / time of ``auto``: above 1, ``auto`` is faster.
    """

    layer: str
    problem: str
    count: int
    multiply_adds: int
    picked: str
    outcomes: tuple[Outcome, ...]
    regret: float | None = None
    ratio_to_best_peer: float | None = None

    def __getitem__(self, name: str) -> Outcome:
        """Return the outcome of a contender by name."""
        return {one.name: one for one in self.outcomes}[name]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes that count as wrong."""
        return tuple(one for one in self.outcomes if one.failure is not None)


@dataclass(frozen=True)
class _Contender:
    """How to run one contender: without arguments; a `limit` of error; no `run`, a reason."""

    name: str
    kind: Kind
    limit: float = 0.0
    run: Callable[[], Array] | None = None
    reason: str | None = None


def draw(problem: ConvProblem) -> tuple[Array, Array, Array]:
    """Return input, weight and bias for a problem, the same ones every time.

    Magnitudes lie between 0.5 and 1 with random signs, so that neither the data nor any product is
    denormal (which would slow some processors down 3 to 40 times); integers lie between -4 and 4,
    those without a sign between 0 and 4.
    """
    generator = np.random.default_rng(SEED)
    dtype = np.dtype(problem.dtype)

    def array(shape: tuple[int, ...]) -> Array:
        if dtype.kind in "iu":
            return generator.integers(-4 if dtype.kind == "i" else 0, 5, shape, dtype=dtype)
        values = generator.uniform(-0.5, 0.5, shape)
        return (values + np.copysign(0.5, values)).astype(dtype)

    return array(problem.input_shape), array(problem.weight_shape), array((problem.filters,))


def measure_layer(layer: Layer, settings: Settings) -> LayerResult:
    """Check and time every contender on one layer.

    Raises
    ------
    ValueError
        If the problem is not a forward convolution.
    """
    problem = layer.problem
    if problem.direction != "forward":
        raise ValueError(f"problem must be a forward convolution to be run, got {problem}")
    arrays = draw(problem)
    expected = reference.conv(problem, *arrays)
    picked = fastconv.select(problem)
    contenders = [
        *_algorithms(problem, arrays, settings.algorithms),
        _auto(problem, arrays, picked),
        *(_peers(problem, arrays) if settings.peers else ()),
    ]
    checked = {one.name: _check(one, expected) for one in contenders}
    runs = {
        one.name: one.run
        for one in contenders
        if one.run is not None and checked[one.name].failure is None and one.name != REFERENCE
    }
    times = timing.take_turns(runs, settings.seconds)
    outcomes = tuple(
        _with_time(one, times.get(one.name), problem, settings.peaks) for one in checked.values()
    )
    return _judge(
        LayerResult(layer.name, str(problem), layer.count, problem.multiply_adds, picked, outcomes)
    )


def _call(problem: ConvProblem, arrays: tuple[Array, Array, Array]) -> Callable[..., Array]:
    """Return the public function's call of a problem, to which an algorithm may be added."""
    function: Callable[..., Array] = getattr(fastconv, f"conv{problem.rank}d")
    return partial(function, *arrays, **problem.arguments())


def _algorithms(
    problem: ConvProblem, arrays: tuple[Array, Array, Array], names: tuple[str, ...] | None
) -> Iterator[_Contender]:
    for algorithm in selection.TABLE:
        if names is not None and algorithm.name not in names:
            continue
        reason = algorithm.supports(problem)
        if reason is not None:
            yield _Contender(algorithm.name, "algorithm", reason=reason)
            continue
        call = partial(_call(problem, arrays), algorithm=algorithm.name)
        yield _Contender(algorithm.name, "algorithm", _error_limit(problem, algorithm.name), call)


def _auto(problem: ConvProblem, arrays: tuple[Array, Array, Array], picked: str) -> _Contender:
    return _Contender(AUTO, "auto", _error_limit(problem, picked), _call(problem, arrays))


def _peers(problem: ConvProblem, arrays: tuple[Array, Array, Array]) -> Iterator[_Contender]:
    limit = ERROR_LIMITS.get(problem.dtype, 0.0)
    for name, peer in PEERS.items():
        run = peer(problem, *arrays)
        reason = "has no such operation" if peer.installed else "is not installed"
        yield _Contender(name, "peer", limit, run, None if run else f"{peer.module} {reason}")


def _error_limit(problem: ConvProblem, name: str) -> float:
    """Return the bound that an algorithm states, or what its data type may be off by."""
    stated = next((one.error_bound(problem) for one in selection.TABLE if one.name == name), None)
    return float(stated or ERROR_LIMITS.get(problem.dtype, 0.0))


def _check(contender: _Contender, expected: Array) -> Outcome:
    """Make the first call and compare its result with the reference's."""
    outcome = Outcome(contender.name, contender.kind, skipped=contender.reason)
    if contender.run is None:
        return outcome
    start = time.perf_counter()
    try:
        found = contender.run()
    except Exception as exception:  # one that fails must not cost the others their figures
        return replace(outcome, failure=f"{type(exception).__name__}: {exception}")
    outcome = replace(outcome, first_ms=1e3 * (time.perf_counter() - start), limit=contender.limit)
    if found.shape != expected.shape:
        return replace(outcome, failure=f"shape {found.shape}, expected {expected.shape}")
    error = relative_error(found, expected)
    if not error <= contender.limit:  # a NaN is not
        failure = f"relative error {error:.2g}, at most {contender.limit:.2g} expected"
        return replace(outcome, failure=failure, error=error if math.isfinite(error) else None)
    return replace(outcome, error=error)


def relative_error(found: Array, expected: Array) -> float:
    """Return ``||found - expected|| / ||expected||`` in the 2-norm, computed in float64."""
    difference = found.astype(np.float64) - expected.astype(np.float64)
    scale = float(np.linalg.norm(expected.astype(np.float64).ravel()))
    return float(np.linalg.norm(difference.ravel())) / (scale or 1.0)


def _with_time(
    outcome: Outcome, time: timing.Timing | None, problem: ConvProblem, peaks: Mapping[str, float]
) -> Outcome:
    """Add the figures that follow from a time; the reference's is that of its only call."""
    if time is None:
        seconds = (outcome.first_ms or math.inf) / 1e3
        if outcome.name != REFERENCE or outcome.failure or seconds >= REFERENCE_SECONDS:
            return outcome
        time = timing.Timing(seconds, seconds, rounds=1, calls=1)
    operations = 2 * problem.multiply_adds / time.minimum
    peak = peaks.get(problem.dtype)
    return replace(
        outcome,
        minimum_ms=1e3 * time.minimum,
        median_ms=1e3 * time.median,
        gflops=operations / 1e9,
        share_of_peak=operations / peak if peak else None,
    )


def _judge(result: LayerResult) -> LayerResult:
    """Add what the times say about the pick and about the peers."""
    times: dict[Kind, dict[str, float]] = {"algorithm": {}, "auto": {}, "peer": {}}
    for one in result.outcomes:
        if one.minimum_ms is not None:
            times[one.kind][one.name] = one.minimum_ms
    auto, pick = times["auto"].get(AUTO), times["algorithm"].get(result.picked)
    return replace(
        result,
        regret=None if pick is None else pick / min(times["algorithm"].values()),
        ratio_to_best_peer=min(times["peer"].values()) / auto if auto and times["peer"] else None,
    )
