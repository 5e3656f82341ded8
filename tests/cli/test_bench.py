"""``fastconv bench`` as a user meets it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.bench import ceilings, jobs
from fastconv.bench.device import command as device
from fastconv.bench.results import Report
from fastconv.bench.run import Job
from fastconv.bench.suites import Row, Suite
from fastconv.cli import main
from fastconv.cli.output import FILE_COLUMNS
from fastconv.devices import UnavailableError

TINY = "conv2d,n1,c2,6x5,k3,3x3,p1,float32"
STRIDED = "conv2d,n1,c2,6x5,k4,3x3,s2,p1,float32"
POOL = "max_pool2d,n1,c2,6x5,3x3,s2,p1,float32"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "measure", lambda dtype, threads: ceilings.Ceilings(1.0 * threads, 10.0))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = fastconv.get_num_threads()
    yield
    assert fastconv.get_num_threads() == before  # whatever --threads said
    fastconv.set_num_threads(before)


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the only suite one of two rows, a convolution and a pooling."""
    rows = (Row("first", "conv2d,c2,6x5,k3,3x3,p1"), Row("second", "avg_pool2d,c2,6x5,3x3,s2"))
    monkeypatch.setattr(jobs, "SUITES", {"small": Suite("small", "Small", "a book", rows)})


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", "--seconds", "0", *arguments])


def report(*arguments: str) -> Report:
    result = bench(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    return Report.from_json(result.stdout)


def lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the algorithm ``direct`` be wrong in one element when it is called by name."""
    honest = fastconv.conv2d

    def conv2d(*arrays: np.ndarray, algorithm: str = "auto", **arguments: object) -> np.ndarray:
        y = honest(*arrays, algorithm=algorithm, **arguments)
        if algorithm == "direct":
            y.flat[0] += 1
        return y

    monkeypatch.setattr(fastconv, "conv2d", conv2d)


def test_it_prints_a_table() -> None:
    result = bench(TINY, STRIDED)
    assert result.exit_code == 0, result.output
    assert "problems conv2d,n1,c2,6x5,…,p1,float32" in result.stdout  # what rows leave out
    assert "k4 3x3 s2" in result.stdout
    for name in (*fastconv.algorithms(), "auto", "layer", "GFLOP", "pick"):
        assert name in result.stdout
    assert "all within their limits" in result.stdout
    assert "pick / best: geometric mean" in result.stdout
    assert "WRONG" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= FILE_COLUMNS


def test_a_narrow_terminal_cuts_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv.cli.output.FILE_COLUMNS", 20)
    lines = bench(TINY, STRIDED).stdout.splitlines()
    (names,) = (line.split() for line in lines if line.startswith("layer "))
    assert names[:3] == ["layer", "problem", "GFLOP"]
    for line in lines:
        if line.startswith("problem "):  # the row of a layer, which is called problem 1 or 2
            assert re.search(r" [0-9]+\.[0-9]{2}$", line)
            assert "…" not in line


def test_one_problem_is_shown_whole() -> None:
    assert TINY.replace(",", " ") in bench(TINY).stdout


def test_a_wrong_result_is_in_the_table_and_in_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    lie(monkeypatch)
    result = bench(TINY)
    assert result.exit_code == 1
    assert "1 WRONG" in result.stdout
    assert "WRONG: direct on problem 1" in result.stdout
    assert "Traceback" not in result.output


def test_json_on_stdout_is_alone_there() -> None:
    result = bench(TINY, "--threads", "1", "--json", "-")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (suite,) = found["suites"]
    (layer,) = suite["layers"]
    assert layer["problem"] == TINY
    assert [one["name"] for one in layer["outcomes"]] == [*fastconv.algorithms(), "auto", "packed"]
    assert layer["picked"] in fastconv.algorithms()
    assert not any("failure" in one for one in layer["outcomes"])
    assert (suite["threads"], suite["peak_gflops"], suite["copy_gigabytes"]) == (1, 1.0, 10.0)
    assert found["command"] == "fastconv bench"
    assert "cache_directory" not in found["machine"]
    assert "pick" in result.stderr


def test_json_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    result = bench(TINY, "--json", str(file))
    assert result.exit_code == 0
    assert "layer" in result.stdout
    assert json.loads(file.read_text(encoding="utf-8"))["suites"][0]["name"] == "problems"


def test_algorithm_option_narrows_the_table() -> None:
    (layer,) = report(TINY, "--algorithm", "im2col").suites[0].layers
    assert [one.name for one in layer.outcomes] == ["im2col", "auto", "packed"]


def test_peers_that_are_missing_or_cannot_are_named() -> None:
    result = bench(TINY, "--peers", "--threads", "1")
    assert result.exit_code == 0, result.output
    assert "opencv: cv2 " in result.stdout  # it filters single planes only


def test_a_pooling_beside_a_convolution() -> None:
    """What fastconv has no function for is compared all the same, and its column says so."""
    result = bench(TINY, POOL)
    assert result.exit_code == 0, result.output
    first, second = report(TINY, POOL).suites[0].layers
    assert (first.problem, second.problem) == (TINY, POOL)
    assert second["reference"].error == 0
    if not hasattr(fastconv, "max_pool2d"):
        assert "auto: fastconv has no max_pool2d yet (1 of 2 layers)" in result.stdout


def test_problems_written_in_several_ways_are_several_jobs() -> None:
    other = TINY.replace("float32", "float64")
    found = report(TINY, other, STRIDED).suites
    assert [(suite.dtype, [layer.layer for layer in suite.layers]) for suite in found] == [
        ("float32", ["problem 1", "problem 3"]),
        ("float64", ["problem 2"]),
    ]


def test_problems_of_a_file_are_counted_on(tmp_path: Path) -> None:
    file = tmp_path / "problems.txt"
    file.write_text(f"{STRIDED}\n# and\n{POOL}\n")
    (found,) = report(TINY, f"@{file}").suites
    expected = [("problem 1", TINY), ("problem 2", STRIDED), ("problem 3", POOL)]
    assert [(layer.layer, layer.problem) for layer in found.layers] == expected


@pytest.mark.usefixtures("suite")
def test_options_reach_the_layers_of_a_suite() -> None:
    (found,) = report("small", "--batch", "2", "--dtype", "float64", "--layout", "channels_last").suites
    assert (found.name, found.source, found.batch, found.dtype, found.layout) == (
        ("small", "a book", 2, "float64", "channels_last")
    )
    assert [layer.problem for layer in found.layers] == [
        "conv2d,n2,c2,6x5,k3,3x3,p1,channels_last,float64",
        "avg_pool2d,n2,c2,6x5,3x3,s2,channels_last,float64",
    ]


def test_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Suite("small", "Small", "a book", (Row("first", "conv2d,c2,6x5,k3,3x3,p1"),))
    monkeypatch.setattr(jobs, "SUITES", {"small": small})
    (layer,) = report("small", "--direction", "weight_gradient").suites[0].layers
    assert layer.problem == "conv2d,n1,c2,6x5,k3,3x3,p1,weight_gradient,float32"
    assert layer.kind == "gradient"
    assert layer["reference"].error == 0


def test_nothing_to_do_is_no_share_of_the_peak() -> None:
    result = bench(TINY.replace("n1", "n0"))
    assert result.exit_code == 0, result.output
    assert "auto / peak" not in result.stdout


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"picture{suffix}"
    assert bench(TINY, STRIDED, "--plot", str(file)).exit_code == 0
    assert file.stat().st_size > 1000


def test_compare(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    for file in (before, after):
        assert bench(TINY, "--json", str(file)).exit_code == 0
    result = CliRunner().invoke(main, ["bench", "--compare", str(before), str(after)])
    assert result.exit_code == 0, result.output
    assert "problem 1" in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "invalid start byte"),
        (b"[1]", "text must be a report of format 1"),
        (b'{"format": 0}', "text must be a report of format 1"),
        (b'{"format": 1, "suites": 7}', "a field is amiss"),
    ],
)
def test_files_that_are_nothing_to_compare(tmp_path: Path, content: bytes, message: str) -> None:
    right, wrong = tmp_path / "right.json", tmp_path / "wrong.json"
    assert bench(TINY, "--json", str(right)).exit_code == 0
    wrong.write_bytes(content)
    result = bench("--compare", str(right), str(wrong))
    assert result.exit_code == 2
    assert f"{wrong}: " in result.stderr
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet"], "'lenet' is neither a suite (resnet50"),
        (["conv2d,n1,q"], "channels"),
        (["avg_pool2d,n1,c2,6x5,2x2,int32"], "x must have a floating dtype, got int32"),
        (["pooling", "--dtype", "int32"], "pooling: x must have a floating dtype, got int32"),
        (["tiny", "--direction", "input_gradient"], "tiny: text must hold known tokens, got 'input_gradient'"),
        (["tiny", "--direction", "sideways"], "--direction"),
        ([TINY, "--algorithm", "magic"], "--algorithm must be one of direct"),
        ([TINY, "--threads", "0"], "--threads"),
        ([TINY, "--batch", "0"], "--batch"),
        ([TINY, "--seconds", "-1"], "--seconds"),
        ([TINY, "--json", "/no/such/directory/file.json"], "No such file"),
        ([TINY, "--plot", "picture.pdf"], "--plot must end in .png or .svg, got 'picture.pdf'"),
        ([TINY, "--plot", "/no/such/directory/picture.png"], "No such file"),
        (["--compare", "/no/such/a.json", "/no/such/b.json"], "does not exist"),
        (["--compare", "/", "/"], "is a directory"),
    ],
)
def test_bad_input(monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.setattr("fastconv.bench.run.measure", lambda *_: pytest.fail("refused too late"))
    result = bench(*arguments)
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.split())
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_on_a_device_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(jobs: list[Job], budget: float, say: object) -> Report:
        problems = [layer.problem for job in jobs for layer in job.layers]
        asked.append((sorted({one.batch for one in problems}), {one.layout for one in problems}))
        raise UnavailableError("no CUDA driver answers")

    monkeypatch.setattr(device, "report", refuse)
    for arguments in ([], ["--batch", "2", "--layout", "channels_last"]):
        result = bench("vgg16", "--device", "cuda", *arguments)
        assert result.exit_code == 2
        assert "no CUDA driver answers" in result.stderr
    assert asked == [([1, 32], {"channels_first", "channels_last"}), ([2], {"channels_last"})]
