"""``fastconv tune``: a table of what runs before and after, and answers in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.cli import main
from fastconv.selection import answers, calibration, constants

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


def test_the_machines_constants_are_measured_and_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = constants.SHIPPED.machine
    taken = [2 * calibration._cost(probe, shipped) for probe in calibration.PROBES]
    asked = []
    monkeypatch.setattr(calibration, "_timed", lambda seconds: (asked.append(seconds), taken)[1])
    monkeypatch.setattr(calibration, "_vector_flops", lambda: shipped.vector_flops / 2)
    result = call("--machine")
    assert result.exit_code == 0, result.output
    assert result.stderr == f"stored in {constants.users_file()}\n"
    found = fastconv.calibration()
    assert found.source == "user"
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    assert ["vector", "flops", "1.2e+10", "6e+09"] in rows
    assert ["call", "1e-05", f"{found.machine.call:.3g}"] in rows
    told = json.loads(call("--machine", "--seconds", "0.5", "--json").stdout)
    assert told["call"] == {"shipped": shipped.call, "measured": found.machine.call}
    assert asked == [calibration.SECONDS, 0.5]
    assert not answers.users_file().exists()


def test_a_budget_that_is_too_small_is_told() -> None:
    result = call("alexnet", "--seconds", "0")
    assert result.exit_code == 0, result.output
    assert "; no time for 5 problems" in result.stderr
    assert not answers.users_file().exists()


def test_problems_of_a_file(tmp_path: Path) -> None:
    other = TINY.replace("n1", "n2")
    file = tmp_path / "problems.txt"
    file.write_text(f"# a comment\n\n{TINY}\n  {other}  # twice as many\nmax_pool2d,n1,c2,6x5,3x3,float32\n{TINY}\n")
    rows = json.loads(call(f"@{file}", TINY, "--json").stdout)
    assert [row["problem"] for row in rows] == [TINY, other]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{TINY}\n\nresnet50\n", "problems.txt, line 3: text must begin with conv"),
        ("avg_pool2d,n1,c2,6x5,3x3,int32", "problems.txt, line 1: "),
        ("# nothing", "no convolutions in @"),
        ("max_pool2d,n1,c2,6x5,3x3,float32", "no convolutions in @"),
        (b"\xff\xfe", "problems.txt is no text"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_none_of_problems_is_refused(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    file = tmp_path / "problems.txt"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = call(f"@{file}")
    assert result.exit_code == 2
    assert message.replace(" ", "") in "".join(result.stderr.replace("│", " ").split())
    assert not answers.users_file().exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either SUITEs, PROBLEMs and FILEs, or --machine"),
        ([TINY, "--machine"], "give either SUITEs, PROBLEMs and FILEs, or --machine"),
        (["--machine", "--seconds", "0"], "seconds must be a positive finite number"),
        (["lenet"], "'lenet' is neither a suite"),
        (["pooling"], "no convolutions in pooling"),
        (["conv2d,n1"], "conv2d,n1"),
        ([TINY, "--tolerance", "-1"], "tolerance must be a positive finite number, got -1"),
        (["conv2d,n0,c2,6x5,k3,3x3,float32"], "results to compute"),
    ],
)
def test_what_tune_refuses(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
