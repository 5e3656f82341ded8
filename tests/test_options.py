"""`options` over what was set over variables over defaults, and which algorithms may be chosen."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, PoolProblem, UnsupportedError, config
from fastconv.selection import TABLE, choice, table

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,g8,float32")  # which every algorithm computes


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    fastconv.set_algorithms()
    fastconv.set_workspace_limit(None)


def in_force():
    now = config.settings()
    return now.threads, now.tolerance, now.algorithms.allow, now.algorithms.deny


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_the_innermost_that_says_something_counts(set_threads, set_tolerance):
    set_threads(5)
    none = (5, None, None, frozenset())
    assert in_force() == none
    with fastconv.options(threads=2):
        assert in_force() == (2, None, None, frozenset())
        with fastconv.options(tolerance=1e-3, deny="direct"):
            assert in_force() == (2, 1e-3, None, {"direct"})
            with fastconv.options(threads=3, allow=["direct", "im2col"]):
                assert in_force() == (3, 1e-3, {"direct", "im2col"}, frozenset())
                with fastconv.options():
                    assert in_force() == (3, 1e-3, {"direct", "im2col"}, frozenset())
            assert in_force() == (2, 1e-3, None, {"direct"})
        assert fastconv.get_num_threads() == 2
    assert in_force() == none


def test_what_is_set_within_holds_where_options_say_nothing(set_threads, set_tolerance):
    set_threads(5)
    with fastconv.options(threads=2):
        set_threads(4)
        set_tolerance(1e-3)
        assert in_force() == (2, 1e-3, None, frozenset())
    assert in_force() == (4, 1e-3, None, frozenset())
    set_tolerance(None)
    assert in_force() == (4, None, None, frozenset())


def test_an_exception_ends_the_scope():
    before = in_force()
    with pytest.raises(KeyError), fastconv.options(threads=7):
        raise KeyError
    assert in_force() == before


def test_other_threads_do_not_see_it(set_threads):
    set_threads(5)
    with fastconv.options(threads=2):
        assert in_a_thread(fastconv.get_num_threads) == 5
        assert in_a_thread(in_force)[0] == 5


def test_tasks_of_asyncio_see_what_is_around_them():
    async def inner(threads):
        with fastconv.options(threads=threads):
            await asyncio.sleep(1e-3)
            return fastconv.get_num_threads(), config.settings().tolerance

    async def outer():
        with fastconv.options(tolerance=0.5):
            return await asyncio.gather(*(inner(threads) for threads in (2, 3)))

    assert asyncio.run(outer()) == [(2, 0.5), (3, 0.5)]


# --- which algorithms may be chosen ---------------------------------------------------------------


def test_only_allowed_algorithms_are_chosen():
    for entry in TABLE:
        with fastconv.options(allow=[entry.name]):
            if entry.any_weights:
                assert fastconv.select(PROBLEM) == entry.name  # whatever its error bound
            else:
                with pytest.raises(UnsupportedError, match="with any weights"):
                    fastconv.select(PROBLEM)


def test_denied_algorithms_are_not_chosen():
    denied = []
    for _ in [entry for entry in TABLE if entry.any_weights][:-1]:
        denied.append(fastconv.select(PROBLEM))
        fastconv.set_algorithms(deny=denied)
        assert fastconv.select(PROBLEM) not in denied


def test_a_call_on_a_shape_seen_before_asks_what_is_allowed(pretend, operands_of):
    cheap, dear = pretend("cheap", 1e-9, 1e-9), pretend("dear", 1e-9, 2e-9)
    x, weight, *_ = operands_of(PROBLEM)
    layer = fastconv.Conv2d(weight, padding=1, groups=8)
    for call in (lambda: fastconv.conv2d(x, weight, padding=1, groups=8), lambda: layer(x)):
        cheap.calls = dear.calls = 0
        call()
        with fastconv.options(deny="cheap"):
            call()
        call()
        assert (cheap.calls, dear.calls) == (2, 1)


def test_named_means_named():
    x = np.ones((1, 1, 5, 5), np.float32)
    with fastconv.options(deny="direct"):
        assert fastconv.conv2d(x, x, algorithm="direct").item() == 25


def test_where_nothing_is_left_the_message_says_why():
    problem = ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32")
    with fastconv.options(deny="reference"), pytest.raises(UnsupportedError) as raised:
        fastconv.select(problem)
    assert "direct: direct computes float32 and float64, not int32; " in str(raised.value)
    assert str(raised.value).endswith("reference: reference is denied")


def test_explanations_say_what_is_not_allowed():
    with fastconv.options(deny="direct"):
        direct, *_ = fastconv.explain(PROBLEM).candidates
    assert direct.reason == "direct is denied"
    with fastconv.options(allow=["im2col", "fft"]):
        direct, *_ = fastconv.explain(PROBLEM).candidates
    assert direct.reason == "only fft, im2col may be chosen"
    assert direct.predicted_seconds > 0


# --- how much scratch memory they may take ----------------------------------------------------------


def test_the_innermost_limit_counts_and_one_of_zero_is_one():
    fastconv.set_workspace_limit(5)
    with fastconv.options(workspace_limit=0):
        assert config.settings().workspace_limit == fastconv.get_workspace_limit() == 0
        with fastconv.options(threads=1):
            assert config.settings().workspace_limit == 0
        with fastconv.options(workspace_limit=7):
            assert config.settings().workspace_limit == 7
        assert in_a_thread(fastconv.get_workspace_limit) == 5
    assert config.settings().workspace_limit == 5


POOLING = PoolProblem.parse("max_pool2d,n1,c8,14x14,3x3,p1,float32")


@pytest.mark.parametrize("problem", [PROBLEM, POOLING], ids=str)
def test_what_takes_more_than_the_limit_is_not_chosen(problem):
    entries = [entry for entry in table.table_of(problem) if entry.any_weights]
    for limit in sorted({entry.workspace(problem) for entry in entries}):
        within = {entry.name for entry in entries if entry.workspace(problem) <= limit}
        with fastconv.options(workspace_limit=limit):
            among = choice.contenders(problem, 1.0, config.settings())
            assert {entry.name for entry in among if entry.any_weights} == within
            explanation = fastconv.explain(problem, tolerance=1.0)
            assert explanation.picked in within
            for entry, candidate in zip(table.table_of(problem), explanation.candidates, strict=True):
                needed = entry.workspace(problem)
                above = f"workspace of {needed} bytes is above the limit of {limit}"
                assert (candidate.reason == above) == (needed > limit)
                assert candidate.workspace_bytes == needed


def test_the_limit_comes_before_the_tolerance(pretend):
    """The most accurate of those within the limit runs."""
    rough = pretend("rough", 0.1)
    rough.workspace = lambda problem: 0
    with fastconv.options(workspace_limit=0, tolerance=1e-9, deny="depthwise"):
        within = [entry for entry in TABLE if entry.name != "depthwise" and not entry.workspace(PROBLEM)]
        assert fastconv.select(PROBLEM) == min((rough, *within), key=lambda entry: entry.error_bound(PROBLEM)).name


def test_where_nothing_is_within_the_limit_the_message_says_what_each_needs():
    problem = ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32")
    with fastconv.options(workspace_limit=3), pytest.raises(UnsupportedError) as raised:
        fastconv.select(problem)
    needed = TABLE[-1].workspace(problem)
    assert "direct: direct computes float32 and float64, not int32; " in str(raised.value)
    assert str(raised.value).endswith(f"reference: workspace of {needed} bytes is above the limit of 3")


def test_a_named_algorithm_above_the_limit_is_refused(operands_of):
    problem = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")
    x, weight, *_ = operands_of(problem)
    layer = fastconv.Conv2d(weight, padding=1, algorithm="im2col")
    needed = choice.algorithm("im2col").workspace(problem)
    calls = [
        lambda: fastconv.conv2d(x, weight, padding=1, algorithm="im2col"),
        lambda: layer(x),
        lambda: fastconv.plan(problem, algorithm="im2col"),
    ]
    for call in calls:
        call()
        with fastconv.options(workspace_limit=needed):
            call()
        message = f"'im2col' does not compute {problem}: workspace of {needed} bytes is above the limit of {needed - 1}"
        with fastconv.options(workspace_limit=needed - 1), pytest.raises(UnsupportedError, match=message):
            call()
        call()


def test_a_named_pooling_above_the_limit_is_refused():
    x = np.ones((1, 8, 14, 14), np.float32)
    with fastconv.options(workspace_limit=0), pytest.raises(UnsupportedError, match="bytes is above the limit of 0"):
        fastconv.max_pool2d(x, 3, 1, padding=1, algorithm="reference")


def test_a_plan_was_within_the_limit_of_its_making(operands_of):
    plan = fastconv.plan(PROBLEM, algorithm="im2col")
    x, weight, *_ = operands_of(PROBLEM)
    with fastconv.options(workspace_limit=plan.workspace - 1):
        plan(x, weight)


def test_a_call_on_a_shape_seen_before_asks_for_the_limit(pretend, operands_of):
    small, large = pretend("small", 1e-9, 2e-9), pretend("large", 1e-9, 1e-9)
    small.workspace, large.workspace = (lambda problem: 1), (lambda problem: 2)
    x, weight, *_ = operands_of(PROBLEM)
    layer = fastconv.Conv2d(weight, padding=1, groups=8)
    for call in (lambda: fastconv.conv2d(x, weight, padding=1, groups=8), lambda: layer(x)):
        small.calls = large.calls = 0
        call()
        fastconv.set_workspace_limit(1)
        call()
        fastconv.set_workspace_limit(2)
        call()
        assert (small.calls, large.calls) == (1, 2)
        fastconv.set_workspace_limit(None)


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [fastconv.options, fastconv.set_algorithms])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"allow": ["direkt"]}, ValueError, "allow must be names among direct, .*, got 'direkt'"),
        ({"deny": "direkt"}, ValueError, "deny must be names among direct, .*, got 'direkt'"),
        ({"allow": 3}, TypeError, "allow must be names of algorithms, got 3 of type int"),
        ({"deny": [3]}, TypeError, "deny must be names of algorithms, got 3 of type int"),
        ({"allow": []}, ValueError, "allow must name at least one algorithm, got none"),
        (
            {"allow": ["fft", "direct"], "deny": ["direct"]},
            ValueError,
            "allow and deny must not name the same algorithm, got 'direct' in both",
        ),
    ],
)
def test_what_cannot_be_allowed_or_denied(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads must"),
        ({"threads": 1.0}, TypeError, "threads must be an int"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be a positive finite number"),
        ({"tolerance": "1"}, TypeError, "tolerance must be a number"),
        ({"workspace_limit": -1}, ValueError, "workspace_limit must"),
        ({"workspace_limit": 1e6}, TypeError, "workspace_limit must be an int"),
    ],
)
def test_what_options_refuse_before_they_are_entered(arguments, error, message):
    with pytest.raises(error, match=message):
        fastconv.options(**arguments)


def test_settings_that_change_while_they_are_read_are_not_kept(set_threads, monkeypatch):
    read = config.vector_bits

    def changed_meanwhile():
        monkeypatch.setattr(config, "vector_bits", read)
        set_threads(6)  # as another thread might, after the number of threads was read
        return read()

    set_threads(5)
    monkeypatch.setattr(config, "vector_bits", changed_meanwhile)
    assert config.settings().threads == 5
    assert config.settings().threads == 6
