"""Timing in turns, with contenders that take what they say on a clock that only they move."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from fastconv import timing
from fastconv.timing import LONG, MAXIMUM_ROUNDS, MINIMUM_ROUNDS, Timing, Turn, take_turns


class World:
    """A clock, and contenders whose calls move it and are written down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def contender(self, name: str, seconds: Sequence[float]) -> Callable[[], None]:
        """Return a contender whose calls take these times in turn, the last one from then on."""
        left = list(seconds)

        def call() -> None:
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_minimum_and_median_of_the_rounds() -> None:
    world = World()
    # three calls that find out how many make a turn; then in each round one untimed and one timed
    taken = [1.0, 1.0, 1.0, 8.0, 3.0, 8.0, 1.0, 8.0, 2.0]
    found = take_turns({"a": world.contender("a", taken)}, 0.0, turn_seconds=1.0, clock=world.clock)["a"]
    assert (found.minimum, found.median) == (1.0, 2.0)
    assert (len(found.samples), found.turn.calls) == (MINIMUM_ROUNDS, 1)


@pytest.mark.parametrize(
    ("samples", "robust"), [((3.0,), 3.0), ((9.0, 1.0), 1.0), ((2.0, 9.0, 1.0), 1.5), ((4.0, 1.0, 9.0, 2.0), 1.5)]
)
def test_the_robust_mean_is_that_of_the_faster_half(samples: tuple[float, ...], robust: float) -> None:
    assert Timing(samples).robust == robust


def test_contenders_take_turns_in_alternating_order() -> None:
    world = World()
    contenders = {name: world.contender(name, [1.0]) for name in "ab"}
    take_turns(contenders, 0.0, turn_seconds=1.0, clock=world.clock)
    assert "".join(world.calls) == "aaabbb" + "aabb" + "bbaa" + "aabb"


def test_a_long_call_is_timed_at_once() -> None:
    world = World()
    contenders = {"long": world.contender("l", [LONG]), "short": world.contender("s", [1.0])}
    found = take_turns(contenders, 0.0, turn_seconds=1.0, clock=world.clock)
    assert "".join(world.calls) == "lsss" + "lss" + "ssl" + "lss"
    assert found["long"].samples == (LONG,) * 4  # the call that found out counts
    assert found["short"].samples == (1.0,) * 3


def test_what_comes_before_each_turn() -> None:
    world = World()
    contenders = {name: world.contender(name, [1.0]) for name in "ab"}
    rest = world.contender(".", [5.0])
    found = take_turns(contenders, 0.0, turn_seconds=1.0, clock=world.clock, before_turn=rest)
    assert "".join(world.calls) == "aaabbb" + ".aa.bb" + ".bb.aa" + ".aa.bb"
    assert found["a"].minimum == 1.0


def test_idle_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, used = 0.0, 0.0

    def sleep(seconds: float) -> None:
        nonlocal wall, used
        wall += seconds
        used += seconds if wall < 0.0301 else 0.0  # somebody computes for 30 ms

    fake = SimpleNamespace(perf_counter=lambda: wall, process_time=lambda: used, sleep=sleep)
    monkeypatch.setattr(timing, "time", fake)
    timing.until_idle()
    assert wall == pytest.approx(0.032)
    used_before = used
    monkeypatch.setattr(fake, "sleep", lambda seconds: sleep(seconds) or add(seconds))

    def add(seconds: float) -> None:
        nonlocal used
        used += seconds  # and somebody who never stops

    timing.until_idle()
    assert wall == pytest.approx(0.032 + timing.IDLE_LIMIT)
    assert used > used_before


def test_a_turn_has_enough_calls() -> None:
    world = World()
    contenders = {"slow": world.contender("slow", [1.0]), "fast": world.contender("fast", [2**-12])}
    found = take_turns(contenders, 0.0, turn_seconds=2**-9, clock=world.clock)
    assert found["fast"].turn.calls == 8
    assert found["fast"].minimum == 2**-12
    assert found["slow"].turn.calls == 1


def test_an_interruption_does_not_shorten_the_turns() -> None:
    world = World()
    contenders = {
        "calm": world.contender("calm", [0.8]),
        "interrupted": world.contender("interrupted", [5.0, 0.8]),  # in its first sample
    }
    found = take_turns(contenders, 0.0, turn_seconds=2.0, clock=world.clock)
    assert found["calm"].turn == found["interrupted"].turn == Turn(3)


def test_the_budget_ends_the_rounds() -> None:
    world = World()
    found = take_turns({"a": world.contender("a", [1.0])}, 20.0, turn_seconds=1.0, clock=world.clock)
    assert len(found["a"].samples) == 10  # of two seconds each


def test_a_large_budget_is_not_spent_for_its_own_sake() -> None:
    world = World()
    found = take_turns({"a": world.contender("a", [1.0])}, 1e9, turn_seconds=1.0, clock=world.clock)
    assert len(found["a"].samples) == MAXIMUM_ROUNDS


def test_as_many_rounds_as_wanted() -> None:
    world = World()
    found = take_turns({"a": world.contender("a", [1.0])}, 0.0, turn_seconds=1.0, clock=world.clock, rounds=1)
    assert found["a"].samples == (1.0,)


def test_turns_are_taken_as_before_and_samples_go_on() -> None:
    world = World()
    contenders = {name: world.contender(name, [1.0]) for name in "abc"}
    before = {"a": Timing((2.0, 3.0), Turn(2)), "b": Timing((4.0,), Turn(long=True))}
    found = take_turns(contenders, 0.0, turn_seconds=1.0, clock=world.clock, rounds=1, before=before)
    assert "".join(world.calls) == "ccc" + "aaa" + "b" + "cc"
    assert [found[name].samples for name in "abc"] == [(2.0, 3.0, 1.0), (4.0, 1.0), (1.0,)]
    assert found["a"].turn == Turn(2)


def test_nobody() -> None:
    assert take_turns({}, 1.0) == {}


def test_stopwatches_say_what_was_taken_whatever_passed_meanwhile() -> None:
    world = World()

    def stopwatch(calls: int) -> float:
        world.calls.append(f"{calls} ")
        world.now += 100.0 * calls  # the way to another process and back
        return 0.25 * calls

    found = timing.stopwatches_in_turns({"a": stopwatch}, 0.0, turn_seconds=1.0, clock=world.clock)["a"]
    assert (found.minimum, found.median, found.turn.calls) == (0.25, 0.25, 4)
    # one is too few for a turn, two are half of one; and then one untimed call before each turn
    assert "".join(world.calls) == "1 1 1 2 2 2 " + "1 4 " * MINIMUM_ROUNDS


def test_the_garbage_collector_rests_and_comes_back() -> None:
    seen = []
    take_turns({"a": lambda: seen.append(gc.isenabled())}, 0.0, turn_seconds=0.0)
    assert set(seen) == {False}
    assert gc.isenabled()
