"""The command line as a user meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.bench import timing
from fastconv.cli import main

TINY = "conv2d,n1,c2,6x5,k3,3x3,p1,float32"
STRIDED = "conv2d,n1,c2,6x5,k4,3x3,s2,p1,float32"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "fma_peak", lambda dtype, threads: 1e9 * threads)


@pytest.fixture(autouse=True)
def threads() -> object:
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def bench(*arguments: str) -> Result:
    return call("bench", "--seconds", "0", *arguments)


def lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the algorithm ``direct`` be wrong in one element when it is called by name."""
    honest = fastconv.conv2d

    def conv2d(*arrays: np.ndarray, algorithm: str = "auto", **arguments: object) -> np.ndarray:
        y = honest(*arrays, algorithm=algorithm, **arguments)
        if algorithm == "direct":
            y.flat[0] += 1
        return y

    monkeypatch.setattr(fastconv, "conv2d", conv2d)


def test_bench_prints_a_table() -> None:
    result = bench(TINY, STRIDED)
    assert result.exit_code == 0, result.output
    assert "problems conv2d,n1,c2,6x5,…,p1,float32" in result.stdout  # what rows leave out
    assert "k4 3x3 s2" in result.stdout
    for name in (*fastconv.algorithms(), "auto", "layer", "GFLOP", "pick"):
        assert name in result.stdout
    assert "all within their limits" in result.stdout
    assert "pick / best: geometric mean" in result.stdout
    assert "WRONG" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 160


def test_a_narrow_terminal_cuts_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv.cli.FILE_COLUMNS", 20)
    lines = bench(TINY, STRIDED).stdout.splitlines()
    (names,) = (line.split() for line in lines if line.startswith("layer "))
    assert names[:3] == ["layer", "problem", "GFLOP"]
    for line in lines:
        if line.startswith("problem "):  # the row of a layer, which is called problem 1 or 2
            assert re.search(r" [0-9]+\.[0-9]{2}$", line)
            assert "…" not in line


def test_bench_one_problem_is_shown_whole() -> None:
    assert TINY.replace(",", " ") in bench(TINY).stdout


def test_a_wrong_result_is_in_the_table_and_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lie(monkeypatch)
    result = bench(TINY)
    assert result.exit_code == 1
    assert "1 WRONG" in result.stdout
    assert "WRONG: direct on problem 1" in result.stdout
    assert "Traceback" not in result.output


def test_bench_json_on_stdout_is_alone_there() -> None:
    result = bench(TINY, "--threads", "1", "--json", "-")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    (suite,) = report["suites"]
    (layer,) = suite["layers"]
    assert layer["problem"] == TINY
    assert {one["name"] for one in layer["outcomes"]} == {*fastconv.algorithms(), "auto"}
    assert layer["picked"] in fastconv.algorithms()
    assert suite["summary"]["wrong"] == 0
    assert report["settings"]["peaks"] == {"float32": 1e9}
    assert report["machine"]["threads"] == 1
    assert "pick" in result.stderr


def test_bench_json_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    result = bench(TINY, "--json", str(file))
    assert result.exit_code == 0
    assert "layer" in result.stdout
    assert json.loads(file.read_text(encoding="utf-8"))["suites"][0]["name"] == "problems"


def test_bench_algorithm_option_narrows_the_table() -> None:
    report = json.loads(bench(TINY, "--algorithm", "im2col", "--json", "-").stdout)
    names = [one["name"] for one in report["suites"][0]["layers"][0]["outcomes"]]
    assert names == ["im2col", "auto"]


def test_bench_with_peers_names_those_that_are_missing_or_cannot() -> None:
    result = bench(TINY, "--peers", "--threads", "1")
    assert result.exit_code == 0, result.output
    assert "opencv: cv2 " in result.stdout  # it filters single planes only


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet"], "'lenet' is neither a suite (resnet50"),
        (["conv2d,n1,q"], "channels"),
        ([TINY + ",input_gradient"], "only forward convolutions"),
        ([TINY, "--algorithm", "magic"], "--algorithm must be one of direct"),
        ([TINY, "--threads", "0"], "--threads"),
        ([TINY, "--json", "/no/such/directory/file.json"], "No such file"),
    ],
)
def test_bench_bad_input(arguments: list[str], message: str) -> None:
    result = bench(*arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_explain_shows_the_numbers() -> None:
    result = call("explain", "conv2d,n1,c6,16x9,k8,3x3,s2,p1,g2,float32")
    assert result.exit_code == 0, result.output
    assert "floor((16 + 1 + 1 - 1 * (3 - 1) - 1) / 2) + 1 = 8" in result.stdout
    assert "6 channels / 2 groups × 3 × 3 = 27 products" in result.stdout
    assert "320 × 27 = 8,640" in result.stdout
    assert "·□□□□□□□□□·\n          ^^^\n            ^^^\n" in result.stdout
    for name in fastconv.algorithms():
        assert name in result.stdout


def test_explain_options_and_problem_say_the_same() -> None:
    problem = "conv2d,n1,c4,9x8,k6,3x3,s1x2,p0:1x2,d2,g2,reflect,flip,channels_last,float64"
    options = (
        "--input 1,9,8,4 --weight 6,2,3,3 --stride 1,2 --padding 0:1,2:2 --dilation 2 --groups 2 "
        "--padding-mode reflect --flip --layout channels_last --dtype float64"
    )
    by_options = call("explain", *options.split())
    assert by_options.exit_code == 0, by_options.output
    assert by_options.stdout == call("explain", problem).stdout


@pytest.mark.parametrize("padding", ["same", "1", "1,1", "1:1,1:1"])
def test_explain_padding_forms(padding: str) -> None:
    arguments = ("--input", "1,2,6,5", "--weight", "3,2,3,3", "--padding", padding)
    assert call("explain", *arguments).stdout.startswith(TINY + "\n")


def test_explain_json() -> None:
    report = json.loads(call("explain", TINY, "--json").stdout)
    assert report["problem"] == TINY
    assert report["picked"] == fastconv.select(fastconv.ConvProblem.parse(TINY))
    assert report["arithmetic"]["multiply_adds"] == 3 * 6 * 5 * 2 * 9
    assert report["arithmetic"]["output_shape"] == [1, 3, 6, 5]
    assert report["arithmetic"]["weight_bytes"] == 4 * 3 * 2 * 9
    assert [one["name"] for one in report["candidates"]] == list(fastconv.algorithms())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a PROBLEM, or both"),
        ([TINY, "--input", "1,2,6,5"], "give either a PROBLEM, or both"),
        (["--input", "1,2,6,5"], "give either a PROBLEM, or both"),
        (["--input", "1,2,6,5", "--weight", "3,2,3,x"], "invalid literal"),
        (["--input", "1,2,6,5", "--weight", "3,1,3,3"], "channels"),
        (["--input", "1,2,6,5", "--weight", "3,2,3,3", "--stride", "0"], "stride must be positive"),
        (["conv9d,n1"], "conv9d"),
    ],
)
def test_explain_bad_input(arguments: list[str], message: str) -> None:
    result = call("explain", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_info() -> None:
    result = call("info")
    assert result.exit_code == 0, result.output
    for line in ("python", "numba", "vector bits", "threads", "cache directory", "gpu"):
        assert line in result.stdout


def test_info_json() -> None:
    report = json.loads(call("info", "--json").stdout)
    assert report["versions"]["numpy"] == np.__version__
    assert report["threads"] == fastconv.get_num_threads()
    assert report["cpu"]["vector_bits"] in (128, 256, 512)
    assert report["gpu"]


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_so_in_one_sentence(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import fastconv.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'fastconv[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_importing_it_imports_neither_numba_nor_a_peer() -> None:
    code = (
        "import sys, fastconv.cli; "
        "sys.exit(len({'numba', 'torch', 'onnxruntime', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
