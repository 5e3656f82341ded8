"""The job: what is right is timed, what is wrong is named, and every layer is measured in every way."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

import fastconv
from fastconv import selection, timing
from fastconv.bench import ceilings, contenders, run
from fastconv.bench.operations import ERROR_LIMITS, Array, operation_of
from fastconv.bench.peers import Peer
from fastconv.bench.results import AUTO, PACKED, REFERENCE
from fastconv.bench.run import Job, Settings, measure, measure_layer
from fastconv.bench.suites import Layer
from fastconv.problem import ConvProblem, parse
from fastconv.selection import TABLE
from fastconv.timing import Timing

SMALL = ConvProblem.parse("conv2d,n1,c3,8x8,k4,3x3,p1,float32")
POOL = parse("max_pool2d,n1,c3,8x8,2x2,s2,float32")
QUICK = Settings(seconds=0.0, passes=1)
WITH_PEERS = Settings(("direct",), peers=True, seconds=0.0, passes=1)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


def lie(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Let one algorithm return something else than it computed."""
    honest = fastconv.conv2d

    def conv2d(*arrays: np.ndarray, algorithm: str = AUTO, **arguments: object) -> np.ndarray:
        y = honest(*arrays, algorithm=algorithm, **arguments)
        return change(y) if algorithm == name else y

    monkeypatch.setattr(fastconv, "conv2d", conv2d)


def compare_with(monkeypatch: pytest.MonkeyPatch, **peers: Callable[..., Callable[[], Array] | str]) -> None:
    """Make these the only peers, for convolutions."""
    table = {"conv": {name: Peer((), prepare) for name, prepare in peers.items()}}
    monkeypatch.setattr(contenders, "COMPARISONS", table)


def right(problem: ConvProblem, *arrays: Array) -> Callable[[], Array]:
    y = operation_of(problem).reference(problem, *arrays)
    return lambda: y


def test_every_algorithm_is_right_and_timed() -> None:
    result = measure_layer(Layer("small", SMALL, 2), QUICK, peak_gflops=1000.0)
    assert [one.name for one in result.outcomes] == [*fastconv.algorithms(), AUTO, PACKED]
    assert result.failures == ()
    assert result.picked == fastconv.select(SMALL)
    assert (result.layer, result.count, result.problem, result.kind) == ("small", 2, str(SMALL), "few channels")
    assert result.operations == 2 * SMALL.multiply_adds
    assert result.bytes == 4 * (3 * 64 + 4 * 27 + 4 + 4 * 64)  # input, weight, bias, output
    refusing = {entry.name: entry.supports(SMALL) for entry in selection.table_of(SMALL)}
    for one in result.outcomes:
        assert one.skipped == refusing.get(one.name)
        if one.skipped:
            continue
        assert one.minimum_ms is not None
        assert one.minimum_ms > 0
        assert one.gflops == pytest.approx(2e-6 * SMALL.multiply_adds / one.minimum_ms)
        assert one.share_of_peak == pytest.approx(one.gflops / 1000)
        assert one.median_ms is not None
        assert one.median_ms >= one.minimum_ms
    assert result.regret is not None
    assert result.regret >= 1
    json.dumps(dataclasses.asdict(result), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("conv1d,n1,c2,8,k4,3,p1,float64", 8 * (2 * 8 + 4 * 2 * 3 + 4 + 4 * 8)),
        ("conv1d,n1,c2,8,k4,3,p1,int8", 2 * 8 + 4 * 2 * 3 + 4 + 8 * 4 * 8),  # integers become int64
        ("conv1d,n1,c2,8,k4,3,p1,weight_gradient,float32", 4 * (2 * 8 + 4 * 8 + 4 * 2 * 3)),
        ("max_pool1d,n1,c2,8,2,s2,float32", 4 * (2 * 8 + 2 * 4)),
        ("max_pool1d,n1,c2,8,2,s2,int16", 2 * (2 * 8 + 2 * 4)),
        ("avg_pool1d,n1,c2,8,2,s2,float16", 2 * (2 * 8 + 2 * 4)),
        ("avg_pool1d,n1,c2,8,2,s2,bfloat16", 2 * (2 * 8 + 2 * 4)),
    ],
)
def test_bytes_are_those_of_a_call(text: str, count: int) -> None:
    assert measure_layer(Layer("small", parse(text)), Settings((), seconds=0.0)).bytes == count


def test_limits_and_workspace_are_the_algorithms() -> None:
    result = measure_layer(Layer("small", SMALL), QUICK)
    for algorithm in selection.table_of(SMALL):
        if algorithm.name != REFERENCE and algorithm.supports(SMALL) is None:
            outcome = result[algorithm.name]
            assert outcome.limit == (algorithm.error_bound(SMALL) or ERROR_LIMITS["float32"])
            assert outcome.workspace == algorithm.workspace(SMALL)
    assert result[AUTO].limit == result[result.picked].limit
    assert result[REFERENCE].error == 0


def test_the_reference_is_called_once_for_all_numbers_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    contenders.expected.cache_clear()
    operation = operation_of(SMALL)
    calls = []

    def reference(problem: ConvProblem, *arrays: Array) -> Array:
        calls.append(problem)
        return operation.reference(problem, *arrays)

    monkeypatch.setattr(contenders, "operation_of", lambda _: dataclasses.replace(operation, reference=reference))
    for threads in (1, 2):
        fastconv.set_num_threads(threads)
        measure_layer(Layer("small", SMALL), QUICK)
    assert calls == [SMALL]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + 1, "relative error"),
        (lambda y: y * np.nan, "relative error nan"),
        (lambda y: y[..., 1:], "shape (1, 4, 8, 7), expected (1, 4, 8, 8)"),
    ],
)
def test_a_wrong_result_is_named_and_not_timed(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    lie(monkeypatch, "direct", change)
    result = measure_layer(Layer("small", SMALL), QUICK)
    (wrong,) = result.failures
    assert wrong.name == "direct"
    assert wrong.failure is not None
    assert message in wrong.failure
    assert wrong.minimum_ms is None
    assert result[AUTO].failure is None
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_one_that_raises_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(y: np.ndarray) -> np.ndarray:
        raise MemoryError("no room")

    lie(monkeypatch, "direct", fail)
    result = measure_layer(Layer("small", SMALL), QUICK)
    assert [one.failure for one in result.failures] == ["MemoryError: no room"]
    assert result[AUTO].minimum_ms is not None


def test_an_algorithm_that_cannot_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    unable = SimpleNamespace(name="unable", supports=lambda problem: "no threes")
    table = (unable, *selection.TABLE)
    monkeypatch.setattr("fastconv.selection.table.table_of", lambda problem: table)
    result = measure_layer(Layer("small", SMALL), QUICK)
    assert result["unable"].skipped == "no threes"
    assert result["unable"].minimum_ms is None
    assert result[AUTO].minimum_ms is not None


def test_only_the_algorithms_asked_for() -> None:
    result = measure_layer(Layer("small", SMALL), Settings(("im2col",), seconds=0.0))
    assert [one.name for one in result.outcomes] == ["im2col", AUTO, PACKED]


def test_what_has_no_function_is_skipped_and_the_reference_and_peers_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fastconv._HOME, "max_pool2d")
    monkeypatch.delattr(fastconv, "max_pool2d", raising=False)
    result = measure_layer(Layer("pool", POOL), Settings(peers=True, seconds=0.0), peak_gflops=1.0)
    assert result[AUTO].skipped == "fastconv has no max_pool2d yet"
    assert result.picked in fastconv.algorithms("pooling")
    assert result.operations == 3 * 4 * 4 * 4
    assert result["numpy"].minimum_ms is not None
    assert result.ratio is None
    assert result.best_peer is not None


def test_peers_come_last_and_say_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    compare_with(monkeypatch, able=right, unable=lambda *_: "it has no such thing")
    result = measure_layer(Layer("small", SMALL), WITH_PEERS)
    assert [(one.name, one.kind) for one in result.outcomes] == [
        ("direct", "algorithm"),
        (AUTO, "auto"),
        (PACKED, "packed"),
        ("able", "peer"),
        ("unable", "peer"),
    ]
    assert result["unable"].skipped == "it has no such thing"
    assert result["able"].limit == ERROR_LIMITS["float32"]
    assert result.best_peer == "able"
    assert result.ratio == result["able"].minimum_ms / result[AUTO].minimum_ms
    assert [one.kind for one in measure_layer(Layer("small", SMALL), QUICK).outcomes].count("peer") == 0


def test_a_peer_that_is_wrong_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    compare_with(monkeypatch, wrong=lambda problem, *arrays: lambda: right(problem, *arrays)() * 2)
    result = measure_layer(Layer("small", SMALL), WITH_PEERS)
    assert [one.name for one in result.failures] == ["wrong"]
    assert result.ratio is None


def test_a_library_that_is_broken_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ImportError("libGL.so.1 cannot be opened")

    compare_with(monkeypatch, broken=broken, able=right)
    result = measure_layer(Layer("small", SMALL), WITH_PEERS)
    assert result["broken"].skipped == "ImportError: libGL.so.1 cannot be opened"
    assert result["able"].minimum_ms is not None


def sleeper(calls: list[float], *seconds: float) -> Callable[..., Callable[[], Array]]:
    """Return a peer whose calls take these times in turn, the last one from then on."""

    def prepare(problem: ConvProblem, *arrays: Array) -> Callable[[], Array]:
        y = right(problem, *arrays)()

        def call() -> Array:
            calls.append(seconds[min(len(calls), len(seconds) - 1)])
            time.sleep(calls[-1])
            return y

        return call

    return prepare


def test_peers_far_behind_are_timed_by_a_single_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ONCE_SECONDS", 0.01)
    slow: list[float] = []
    compare_with(monkeypatch, slow=sleeper(slow, 0.05), able=right)
    fastconv.conv2d(*contenders.expected(SMALL)[0], padding=1)  # compiled: far behind is by the fastest first call
    result = measure_layer(Layer("small", SMALL), WITH_PEERS)
    assert len(slow) == 2  # one to check it, one to time it
    outcome = result["slow"]
    assert outcome.minimum_ms is not None
    assert 50 <= outcome.minimum_ms == outcome.median_ms


def test_a_peer_whose_first_call_alone_is_slow_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ONCE_SECONDS", 0.02)
    loading: list[float] = []
    compare_with(monkeypatch, loading=sleeper(loading, 0.1, 0.0), able=right)
    fastconv.conv2d(*contenders.expected(SMALL)[0], padding=1)
    result = measure_layer(Layer("small", SMALL), WITH_PEERS)
    assert len(loading) > 4
    assert result["loading"].minimum_ms is not None
    assert result["loading"].minimum_ms < 100


def test_an_algorithm_far_behind_still_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pick is judged against it, so its figure must be as good as the others'."""
    monkeypatch.setattr(run, "ONCE_SECONDS", 0.0)
    monkeypatch.setattr(run, "ONCE_TIMES", 0)
    calls = []
    lie(monkeypatch, "im2col", lambda y: calls.append(1) or y)
    measure_layer(Layer("small", SMALL), QUICK)
    assert len(calls) > 3


JOBS = (
    Job("first", "a book", (Layer("a", SMALL, 2), Layer("b", SMALL)), (1, 2)),
    Job("second", "a paper", (Layer("c", dataclasses.replace(SMALL, batch=2, dtype="float64")),), (1,)),
)


@pytest.fixture
def no_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"float32": 100.0, "float64": None}
    monkeypatch.setattr(ceilings, "measure", lambda dtype, n: ceilings.Ceilings(limits[dtype] and n * limits[dtype], n))


@pytest.mark.usefixtures("no_ceilings")
def test_every_layer_with_every_number_of_threads_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    seen: list[int] = []

    def take_turns(
        runs: dict[str, object], *_: object, before: dict[str, Timing], **__: object
    ) -> dict[str, Timing]:
        seen.append(fastconv.get_num_threads())
        return {name: Timing((*(before[name].samples if name in before else ()), len(seen))) for name in runs}

    monkeypatch.setattr(timing, "take_turns", take_turns)
    settings = dataclasses.replace(QUICK, passes=2)
    before = fastconv.get_num_threads()
    found = list(measure(JOBS, settings, said.append))
    # all ways of one layer together, as the reference's result is kept for one layer
    first = ["first a, 1 thread", "first a, 2 threads", "first b, 1 thread", "first b, 2 threads"]
    assert said == [*first, "second c, 1 thread"] * 2
    assert len(said) == run.number_of_steps(JOBS, settings)
    assert seen == [1, 2, 1, 2, 1] * 2
    assert [(one.name, one.source, one.batch, one.threads, one.dtype, one.layout) for one in found] == [
        ("first", "a book", 1, 1, "float32", "channels_first"),
        ("first", "a book", 1, 2, "float32", "channels_first"),
        ("second", "a paper", 2, 1, "float64", "channels_first"),
    ]
    # of two passes the lesser counts, which by this clock is the first
    names = [[(layer.layer, layer.milliseconds) for layer in one.layers] for one in found]
    assert names == [[("a", 1000.0), ("b", 3000.0)], [("a", 2000.0), ("b", 4000.0)], [("c", 5000.0)]]
    assert [(one.peak_gflops, one.copy_gigabytes) for one in found] == [(100.0, 1), (200.0, 2), (None, 1)]
    shares = [one.layers[0][AUTO].share_of_peak for one in found]
    gflops = [one.layers[0][AUTO].gflops for one in found]
    assert shares == [gflops[0] / 100, gflops[1] / 200, None]
    assert fastconv.get_num_threads() == before


@pytest.mark.usefixtures("no_ceilings")
def test_threads_are_put_back_when_a_run_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "expected", interrupted)
    before = fastconv.get_num_threads()
    job = dataclasses.replace(JOBS[0], threads=(before + 1,))
    with pytest.raises(KeyboardInterrupt):
        list(measure([job], QUICK))
    assert fastconv.get_num_threads() == before


@pytest.mark.parametrize("picked", ["direct", "im2col"])
@pytest.mark.parametrize("quickest", ["direct", "winograd_2x2"])
def test_who_is_behind_takes_part_in_no_further_pass(
    monkeypatch: pytest.MonkeyPatch, picked: str, quickest: str
) -> None:
    monkeypatch.setattr(run, "picked", lambda problem: picked)
    able = [entry.name for entry in TABLE if entry.supports(SMALL) is None and entry.name != "reference"]
    ours = {**dict.fromkeys(able, 1.6), quickest: 1.0, AUTO: 9.0, PACKED: 9.0}
    milliseconds = {**ours, "close": 7.0, "best": 5.0, "behind": 8.0}
    turns: list[set[str]] = []

    def take_turns(runs: dict[str, object], *_: object, **__: object) -> dict[str, Timing]:
        turns.append(set(runs))
        return {name: Timing((milliseconds[name] / 1e3 - 1e-4 * len(turns),)) for name in runs}

    monkeypatch.setattr(timing, "take_turns", take_turns)
    compare_with(monkeypatch, close=right, best=right, behind=right)
    result = measure_layer(Layer("small", SMALL), Settings(peers=True, seconds=0.0, passes=3))
    # direct, the pick, auto and packed stay, whatever they took
    again = {"direct", quickest, picked, AUTO, PACKED, "close", "best"}
    assert turns == [set(milliseconds), again, again]
    assert {one.name: one.minimum_ms for one in result.outcomes if one.name in milliseconds} == pytest.approx(
        {name: value - (0.3 if name in again else 0.1) for name, value in milliseconds.items()}
    )


@pytest.mark.parametrize(("long", "calls"), [(True, 1), (False, 3)])
def test_a_later_pass_begins_with_an_untimed_call_unless_calls_are_long(
    monkeypatch: pytest.MonkeyPatch, long: bool, calls: int
) -> None:
    seen: list[float] = []
    compare_with(monkeypatch, peer=sleeper(seen, 0.0))
    monkeypatch.setattr(
        timing, "take_turns", lambda runs, *_, **__: {name: Timing((1.0,), timing.Turn(long=long)) for name in runs}
    )
    measure_layer(Layer("small", SMALL), dataclasses.replace(WITH_PEERS, passes=3))
    assert len(seen) == calls  # the first is the one that was checked


def test_each_pass_has_its_share_of_rounds_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def take_turns(runs: dict[str, object], seconds: float, *, rounds: int, **_: object) -> dict[str, Timing]:
        seen.append((seconds, rounds))
        return {name: Timing((1.0,) * rounds) for name in runs}

    monkeypatch.setattr(timing, "take_turns", take_turns)
    for passes in (1, 2, 3, 4):
        measure_layer(Layer("small", SMALL), Settings(seconds=12.0, passes=passes))
    # a fifth for the first of several
    expected = [(12.0, 5), (2.4, 1), (9.6, 4), (2.4, 1), *[(4.8, 2)] * 2, (2.4, 1), *[(3.2, 2)] * 3]
    assert seen == [(pytest.approx(seconds), rounds) for seconds, rounds in expected]


@pytest.mark.usefixtures("no_ceilings")
def test_a_job_as_it_is() -> None:
    (found,) = measure([dataclasses.replace(JOBS[0], threads=(1,))], QUICK)
    assert [layer.layer for layer in found.layers] == ["a", "b"]
    assert all(layer.failures == () for layer in found.layers)
    assert found.layers[0][AUTO].share_of_peak == pytest.approx(found.layers[0][AUTO].gflops / 100)
