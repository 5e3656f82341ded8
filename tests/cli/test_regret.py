"""``fastconv regret``: tables, JSON and a picture of a few problems."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

from fastconv.bench.regret import PICKS
from fastconv.cli import main
from fastconv.problem import ConvProblem


@pytest.fixture(autouse=True)
def _two_small_problems(monkeypatch):
    texts = ("conv2d,n1,c2,6x5,k3,3x3,p1,float32", "conv1d,n1,c2,20,k2,3,float32")
    named = {ConvProblem.parse(text): f"problem {number}" for number, text in enumerate(texts)}
    monkeypatch.setattr("fastconv.bench.regret.problems", lambda drawn, seed, suites: named if suites else {})


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["regret", "--seconds", "0", *arguments])


def test_tables_of_both_kinds_of_pick() -> None:
    result = call("--threads", "1")
    assert result.exit_code == 0, result.output
    for text in (*PICKS, "geometric mean", "95th percentile", "problem 0", "problem 1"):
        assert text in result.stdout


def test_json_and_a_picture(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "regret.svg"
    result = call("--json", "-", "--plot", str(picture))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [one["name"] for one in found] == ["problem 0", "problem 1"]
    assert all(set(one["picks"].values()) <= set(one["seconds"]) for one in found)
    assert "geometric mean" in picture.read_text(encoding="utf-8")


def test_nothing_to_judge() -> None:
    result = call("--no-suites", "--drawn", "0")
    assert result.exit_code == 2
    assert "there are no problems" in result.stderr


def test_a_picture_that_could_not_be_drawn_is_refused_before_anything_is_measured() -> None:
    result = call("--plot", "regret.txt")
    assert result.exit_code == 2
    assert "--plot must end in .png or .svg" in result.stderr
    assert "geometric mean" not in result.stdout


def test_problems_with_nothing_to_choose(monkeypatch) -> None:
    integers = ConvProblem.parse("conv2d,n1,c2,6x5,k3,3x3,p1,int32")
    monkeypatch.setattr("fastconv.bench.regret.problems", lambda drawn, seed, suites: {integers: "integers"})
    result = call()
    assert result.exit_code == 2
    assert "there is nothing to choose" in result.stderr
