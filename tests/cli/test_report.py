"""``fastconv report`` on suites of two small layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from click.testing import CliRunner, Result

import fastconv
from fastconv.bench import ceilings, cold_start, report
from fastconv.bench.results import ColdStart
from fastconv.bench.suites import Row, Suite
from fastconv.cli import main
from fastconv.cli import report as command

ROWS = tuple(Row(f"layer{size}", f"conv2d,c2,{size}x8,k3,3x3,p1") for size in range(4, 14))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two suites of ten small layers, no time for timing them, no processes, and a working directory."""
    suites = {
        "first": Suite("first", "First", "a book", ROWS),
        "second": Suite("second", "Second", "another book", ROWS[:1], batches=(1,)),
    }
    monkeypatch.setattr(command, "SUITES", suites)
    monkeypatch.setattr(command, "SECONDS", 0.0)
    monkeypatch.setattr(command, "QUICK_SECONDS", 0.0)
    monkeypatch.setattr(fastconv.bench.peers, "COMPARISONS", {"conv": {}})
    monkeypatch.setattr(fastconv.bench.contenders, "COMPARISONS", {"conv": {}})
    monkeypatch.setattr(ceilings, "measure", lambda dtype, threads: ceilings.Ceilings(100.0 * threads, 10.0))
    monkeypatch.setattr(cold_start, "measure", lambda *_: (ColdStart("python", 1, 1, 1, 0, 0),))
    monkeypatch.setattr(cold_start, "compile_times", lambda *_: {"tile": 1.0})
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments], catch_exceptions=False)


def test_it_writes_page_data_pictures_and_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    result = call()
    assert result.exit_code == 0, result.output
    directory = tmp_path / "benchmarks"
    page = (directory / "RESULTS.md").read_text(encoding="utf-8")
    assert "Written by `fastconv report` on" in page
    assert "### first\n\nA book." in page
    data = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    every = fastconv.get_num_threads()
    ways = [(suite["name"], suite["batch"], suite["threads"]) for suite in data["suites"]]
    expected = [("first", 1, 1), ("first", 1, every), ("first", 8, every), ("second", 1, 1), ("second", 1, every)]
    assert ways == list(dict.fromkeys(expected))
    assert len(data["suites"][0]["layers"]) == len(ROWS)
    assert "cache_directory" not in data["machine"]
    for name in ("roofline", "regret"):
        assert f"](pictures/{name}.png)" in page
        for suffix in (".png", ".svg"):
            assert (directory / "pictures" / f"{name}{suffix}").stat().st_size > 1000
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "[RESULTS.md](benchmarks/RESULTS.md)" in text
    assert "\nold\n" not in text


def test_quick_takes_some_layers_once_and_leaves_the_readme(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{report.BEGIN}{report.END}", encoding="utf-8")
    assert call("--quick", "--directory", "elsewhere").exit_code == 0
    data = json.loads((tmp_path / "elsewhere" / "results.json").read_text(encoding="utf-8"))
    assert [(suite["batch"], suite["threads"]) for suite in data["suites"]] == [(1, 1), (1, 1)]
    names = [layer["layer"] for layer in data["suites"][0]["layers"]]
    assert len(names) == command.QUICK_LAYERS
    assert (names[0], names[-1]) == ("layer4", "layer13")
    assert data["command"] == "fastconv report --quick"
    assert readme.read_text(encoding="utf-8") == f"{report.BEGIN}{report.END}"


def test_a_readme_without_marks_is_left_and_said(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    result = call()
    assert result.exit_code == 0
    assert "README.md is left as it was" in result.output
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


def test_a_page_from_earlier_data(tmp_path: Path) -> None:
    assert call("--quick").exit_code == 0
    page = (tmp_path / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert call("--from", "benchmarks/results.json", "--directory", "again").exit_code == 0
    assert (tmp_path / "again" / "RESULTS.md").read_text(encoding="utf-8") == page


def test_data_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    result = call("--from", "other.json")
    assert result.exit_code == 2
    assert "other.json: text must be a report of format 1" in result.output


def test_a_wrong_result_makes_the_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    honest = fastconv.conv2d
    monkeypatch.setattr(fastconv, "conv2d", lambda *arrays, **arguments: honest(*arrays, **arguments) + 1)
    assert call("--quick").exit_code == 1
    assert "## Wrong results" in (tmp_path / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
