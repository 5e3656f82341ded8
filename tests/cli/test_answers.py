"""``fastconv answers``: a table and JSON of what is remembered, files of it, and a question before it is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.algorithm import Machine
from fastconv.cli import main
from fastconv.selection import answers, constants
from fastconv.selection.answers import Answer

TINY = "conv2d,n1,c2,6x5,k3,3x3,p1,float32"
OTHER = "conv2d,n2,c2,6x5,k3,3x3,p1,float32"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path / "user")
    monkeypatch.setattr(answers, "_unstored", {})
    fastconv.clear_cache()
    yield
    fastconv.clear_cache()


@pytest.fixture
def _two() -> None:
    """Let two answers be remembered."""
    seconds = {"direct": 2e-6, "im2col": 1.25e-6, "reference": None}
    answers.remember(fastconv.ConvProblem.parse(TINY), 1, Answer(seconds, "measure"))
    answers.remember(fastconv.ConvProblem.parse(OTHER), 2, Answer({"fft": 1.0}, "patient"))


def call(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["answers", *arguments], input=answer)


def said(result: Result) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


def test_settings_that_contradict_themselves_are_said() -> None:
    with fastconv.options(mode="measure"):
        fastconv.set_deterministic(True)
        try:
            result = call("show")
        finally:
            fastconv.set_deterministic(None)
    assert result.exit_code == 2, result.output
    assert "deterministic must be False where mode is 'measure'" in said(result)


@pytest.mark.usefixtures("_two")
def test_show() -> None:
    result = call("show")
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines() if "conv2d" in line]
    assert rows == [
        f"{TINY} 1 measure user im2col 0.001, direct 0.002",
        f"{OTHER} 2 patient user fft 1000.000",
    ]
    assert said(result) == f"2 answers; the user's file is {answers.users_file()} constants of predictions: shipped"


@pytest.mark.usefixtures("_two")
def test_show_as_json() -> None:
    first, second = json.loads(call("show", "--json").stdout)
    assert first == {
        "problem": TINY,
        "threads": 1,
        "rigour": "measure",
        "source": "user",
        "seconds": {"direct": 2e-6, "im2col": 1.25e-6, "reference": None},
    }
    assert second["rigour"] == "patient"


def test_the_machines_constants_are_told_and_cleared() -> None:
    constants.remember(Machine(call=5e-6))
    assert said(call("show")).endswith("constants of predictions: user")
    path = constants.users_file()
    assert call("clear", "--machine", answer="n\n").exit_code == 1
    assert path.exists()
    result = call("clear", "--machine", answer="y\n")
    assert result.exit_code == 0, result.output
    assert f"Forget this machine's constants in {path}? [y/N]" in said(result)
    assert "constants forgotten" in result.stderr
    assert not path.exists()
    assert said(call("clear", "--machine", "--yes")) == "there were no constants"


def test_show_where_nothing_is_remembered() -> None:
    assert json.loads(call("show", "--json").stdout) == []
    assert said(call("show")).startswith("0 answers; ")


@pytest.mark.usefixtures("_two")
def test_export_clear_and_import(tmp_path: Path) -> None:
    file = str(tmp_path / "file.json")
    before = fastconv.remembered()
    assert said(call("export", file)) == f"2 answers written to {file}"
    assert said(call("clear", "--yes")) == "2 answers forgotten"
    assert fastconv.remembered() == ()
    assert said(call("import", file)) == f"2 answers of {file} stored in {answers.users_file()}"
    assert fastconv.remembered() == before


@pytest.mark.usefixtures("_two")
@pytest.mark.parametrize(("answer", "left"), [("y\n", 1), ("n\n", 2), ("\n", 2), ("", 2)])
def test_clear_asks_first(answer: str, left: int) -> None:
    result = call("clear", TINY, answer=answer)
    assert f"Forget the measured answers of {TINY} in {answers.users_file()}? [y/N]" in said(result)
    assert len(fastconv.remembered()) == left
    assert result.exit_code == (0 if left == 1 else 1)
    assert ("1 answer forgotten" in result.stderr) == (left == 1)


@pytest.mark.usefixtures("_two")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export"], "Missing argument"),
        (["export", "{directory}/nowhere/file.json"], "No such file or directory: '{directory}/nowhere/file.json'"),
        (["import", "{directory}/nowhere.json"], "No such file or directory: '{directory}/nowhere.json'"),
        (["import", "{directory}/damaged.json"], "path must be a file of measured answers"),
        (["import", "{directory}/another.json"], "path must hold answers of this machine and version"),
        (["clear", "conv2d,n1", "--yes"], "conv2d,n1"),
        (["clear", "resnet50", "--yes"], "must begin with conv"),
        (["clear", TINY, "--machine"], "give either a PROBLEM or --machine"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.json").write_text("damaged")
    (tmp_path / "another.json").write_text('{"format": 0, "answers": {}}')
    result = call(*(argument.format(directory=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert message.format(directory=tmp_path).replace(" ", "") in said(result).replace(" ", "")
    assert len(fastconv.remembered()) == 2
