"""Choices with made-up times, worked out by hand, and a few real ones."""

from __future__ import annotations

import pytest

import fastconv
from fastconv.bench import regret
from fastconv.bench.drawn import LEAST, MOST, draw_problems
from fastconv.bench.regret import Choice, Regrets
from fastconv.problem import ConvProblem

TINY = ConvProblem.parse("conv2d,n1,c2,6x5,k3,3x3,p1,float32")


def choice(predicted, measured="a"):
    """Return a choice among three algorithms of 1, 2 and 4 seconds."""
    return Choice("one", "problem", {"predicted": predicted, "measured": measured}, {"a": 1.0, "b": 2.0, "c": 4.0})


def test_regret_is_the_time_of_the_pick_over_that_of_the_fastest():
    one = choice("c", "b")
    assert one.best == "a"
    assert (one.regret("predicted"), one.regret("measured")) == (4.0, 2.0)


def test_what_many_choices_cost():
    found = Regrets.of([choice("a")] * 18 + [choice("b"), choice("c")], "predicted")
    assert (found.count, found.best, found.worst) == (20, 18, 4.0)
    assert found.geometric_mean == pytest.approx(8 ** (1 / 20))
    assert found.percentile_95 == 2.0  # the 19th of 20


def test_problems_are_those_of_all_suites_and_drawn_ones():
    named = regret.problems(7, 0)
    assert len(named) == len(regret.problems(0, 0)) + 7 > 300
    assert {"alexnet conv2", "drawn 1", "drawn 7"} <= set(named.values())
    assert list(regret.problems(2, 0, suites=False)) == list(draw_problems(2))


def test_the_same_seed_draws_the_same_problems_of_every_kind():
    drawn = draw_problems(150)
    assert drawn == draw_problems(150)
    assert drawn[:5] != draw_problems(5, seed=1)
    assert len(set(drawn)) == 150
    assert {problem.rank for problem in drawn} == {1, 2, 3}
    assert {problem.dtype for problem in drawn} == {"float32", "float64"}
    assert {problem.layout for problem in drawn} == {"channels_first", "channels_last"}
    assert any(1 < problem.groups < problem.channels for problem in drawn)
    assert any(1 < problem.groups == problem.channels for problem in drawn)
    assert all(LEAST <= problem.multiply_adds <= MOST for problem in drawn)


def test_each_pick_has_a_time():
    told = []
    (found,) = regret.judge({TINY: "tiny"}, 0.0, told.append)
    assert told == ["tiny"]
    assert found.problem == str(TINY)
    assert set(found.picks) == set(regret.PICKS)
    assert set(found.picks.values()) <= set(found.seconds) <= set(fastconv.algorithms())
    assert all(found.regret(pick) >= 1 for pick in regret.PICKS)


def test_the_prediction_is_judged_and_not_what_is_remembered(pretend):
    pretend("cheap", 1e-9, 5e-6)
    (found,) = regret.judge({TINY: "tiny"}, 0.0)
    assert found.picks["predicted"] == "cheap"


def test_a_wrong_result_is_no_choice(pretend, monkeypatch):
    entry = pretend("wrong", 1e-9, 5e-6)
    prepared = entry.prepared

    def doubled(problem, activation):
        run = prepared(problem, activation)

        def run_and_double(x, weight, bias, residual, out):
            run(x, weight, bias, residual, out)
            out *= 2

        return run_and_double

    monkeypatch.setattr(entry, "prepared", doubled)
    with pytest.raises(ArithmeticError, match=r"wrong differs from|differs from wrong"):
        regret.judge({TINY: "tiny"}, 0.0)


def test_a_problem_with_nothing_to_choose_is_left_out():
    integers = ConvProblem.parse("conv2d,n1,c2,6x5,k3,3x3,p1,int32")
    assert regret.judge({integers: "integers"}, 0.0) == ()
