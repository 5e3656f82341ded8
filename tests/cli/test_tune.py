"""``fastconv tune``: a table of what runs before and after, and answers in a file."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.cli import main
from fastconv.selection import answers

TINY = "conv2d,n1,c2,6x5,k3,3x3,p1,float32"


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path)
    fastconv.clear_cache()
    yield
    fastconv.clear_cache()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tune", *arguments])


def test_tune_measures_and_stores() -> None:
    threads = fastconv.get_num_threads()
    result = call(TINY, "--threads", "2")
    assert result.exit_code == 0, result.output
    assert fastconv.get_num_threads() == threads
    assert TINY in result.stdout
    assert f"stored in {answers.users_file()}\n" in result.stderr
    assert list(answers.read(answers.users_file(), answers.origin())) == [f"{TINY} threads=2"]


def test_tune_as_json() -> None:
    (row,) = json.loads(call(TINY, "--json").stdout)
    problem = fastconv.ConvProblem.parse(TINY)
    assert row["problem"] == TINY
    assert row["now"] == fastconv.select(problem)
    assert row["seconds"] > 0
    assert row["ratio"] is None or row["ratio"] >= 1


def test_a_budget_that_is_too_small_is_told() -> None:
    result = call("alexnet", "--seconds", "0")
    assert result.exit_code == 0, result.output
    assert "; no time for 5 problems" in result.stderr
    assert not answers.users_file().exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["lenet"], "'lenet' is neither a suite"),
        (["pooling"], "no convolutions in pooling"),
        (["conv2d,n1"], "conv2d,n1"),
        ([TINY, "--tolerance", "-1"], "tolerance must be a positive finite number, got -1"),
        (["conv2d,n0,c2,6x5,k3,3x3,float32"], "results to compute"),
        (["conv2d,n1,c2,6x5,k3,3x3,input_gradient,float32"], "no algorithm computes"),
    ],
)
def test_what_tune_refuses(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
