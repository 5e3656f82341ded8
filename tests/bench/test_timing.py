"""Timing in turns, with contenders that take what they say on a clock that only they move."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import pytest

from fastconv.bench import timing
from fastconv.bench.timing import MAXIMUM_ROUNDS, MINIMUM_ROUNDS, take_turns


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
    # one call that finds out how many make a turn; then in each round one untimed and one timed
    taken = [9.0, 8.0, 3.0, 8.0, 1.0, 8.0, 2.0]
    found = take_turns({"a": world.contender("a", taken)}, 0.0, clock=world.clock)["a"]
    assert (found.minimum, found.median) == (1.0, 2.0)
    assert (found.rounds, found.calls) == (MINIMUM_ROUNDS, 1)


def test_contenders_take_turns_in_alternating_order() -> None:
    world = World()
    contenders = {name: world.contender(name, [1.0]) for name in "ab"}
    take_turns(contenders, 0.0, clock=world.clock)
    assert "".join(world.calls) == "ab" + "aabb" + "bbaa" + "aabb"


def test_a_turn_has_enough_calls() -> None:
    world = World()
    contenders = {"slow": world.contender("slow", [1.0]), "fast": world.contender("fast", [2**-12])}
    found = take_turns(contenders, 0.0, turn_seconds=2**-9, clock=world.clock)
    assert found["fast"].calls == 8
    assert found["fast"].minimum == 2**-12
    assert found["slow"].calls == 1


def test_an_interruption_does_not_shorten_the_turns() -> None:
    world = World()
    contenders = {
        "calm": world.contender("calm", [0.8]),
        "interrupted": world.contender("interrupted", [5.0, 0.8]),  # in its first sample
    }
    found = take_turns(contenders, 0.0, turn_seconds=2.0, clock=world.clock)
    assert found["calm"].calls == found["interrupted"].calls == 3


def test_the_budget_ends_the_rounds() -> None:
    world = World()
    found = take_turns({"a": world.contender("a", [1.0])}, 20.0, clock=world.clock)
    assert found["a"].rounds == 10  # of two seconds each


def test_a_large_budget_is_not_spent_for_its_own_sake() -> None:
    world = World()
    found = take_turns({"a": world.contender("a", [1.0])}, 1e9, clock=world.clock)
    assert found["a"].rounds == MAXIMUM_ROUNDS


def test_nobody() -> None:
    assert take_turns({}, 1.0) == {}


def test_the_garbage_collector_rests_and_comes_back() -> None:
    seen = []
    take_turns({"a": lambda: seen.append(gc.isenabled())}, 0.0, turn_seconds=0.0)
    assert set(seen) == {False}
    assert gc.isenabled()


def test_peak_is_taken_for_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastconv.codegen import peak

    monkeypatch.setattr(peak, "measure", {"float32": 64e9}.__getitem__)
    assert timing.fma_peak("float32", threads=2) == 128e9
