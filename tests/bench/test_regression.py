"""Two versions of the package in turns: made-up ones, whose clocks and results are known, and one with itself."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

import click
from rich.console import Console

from fastconv.bench.suites import Layer
from fastconv.problem import ConvProblem

CHECKOUT = Path(__file__).parents[2]
PROGRAM = CHECKOUT / "benchmarks" / "regression.py"
TINY = "conv2d,n1,c2,6x5,k3,3x3,p1,int32"  # on the reference, which compiles nothing
LAYER = Layer("tiny", ConvProblem.parse(TINY))


def _program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("regression", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["regression"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


regression = _program()


class Version:
    """A version whose calls take these seconds in turn, the last ones from then on."""

    def __init__(self, *seconds: float, change: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.left = list(seconds)
        self.change = change
        self.turns = 0

    def prepare(self, problem: ConvProblem) -> np.ndarray:
        result = np.ones(problem.output_shape, np.float32)
        return result if self.change is None else self.change(result)

    def time(self, calls: int) -> float:
        self.turns += 1
        return calls * (self.left.pop(0) if len(self.left) > 1 else self.left[0])


def measure(base: Version, head: Version) -> regression.Row:
    return regression.measure("net", LAYER, base, head, 0.0)


def lines(rows: Sequence[object]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(regression.table(rows))
    return console.file.getvalue() + "\n".join(regression.notes(rows))


def test_a_slower_version_is_found_measured_again_and_named() -> None:
    base, head = Version(1.0), Version(1.5)
    row = measure(base, head)
    assert (row.base_ms, row.head_ms, row.ratio) == (1000.0, 1500.0, 1.5)
    assert row.again
    once = Version(1.0)
    measure(once, Version(1.01))
    assert base.turns == 2 * once.turns
    assert "slower in both measurements: tiny of net 1.50" in lines([row])
    assert "faster in both measurements: none" in lines([row])


def test_equals_are_measured_once() -> None:
    row = measure(Version(1.0), Version(1.01))
    assert not row.again
    assert "slower in both measurements: none" in lines([row])


def test_what_the_second_measurement_does_not_show_is_not_named() -> None:
    # slow in the first measurement: one sample, and an untimed and a timed turn in each of three rounds
    row = measure(Version(1.0), Version(*[2.0] * 7, 1.0))
    assert row.again
    assert row.ratio == 1.0
    assert "slower in both measurements: none" in lines([row])


def test_a_faster_version_is_measured_again_too() -> None:
    row = measure(Version(1.0), Version(0.5))
    assert row.again
    assert "faster in both measurements: tiny of net 0.50" in lines([row])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + np.float32(1e-4), "differs from base by 0.0001, at most 1e-05"),
        (lambda y: y * np.float32("nan"), "differs from base by nan"),
        (lambda y: y[..., 1:], "base has float32 (1, 3, 6, 5)"),
        (lambda y: y.astype(np.float64), "float64 (1, 3, 6, 5), base has float32"),
    ],
)
def test_a_wrong_result_is_named_and_not_timed(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    head = Version(0.1, change=change)
    row = measure(Version(1.0), head)
    assert message in row.failure
    assert row.ratio is None
    assert head.turns == 0
    assert regression.failed([row], 10.0)
    assert "WRONG" in lines([row])


def unable(y: np.ndarray) -> np.ndarray:
    raise regression.CannotComputeError("AttributeError: no conv2d")


def test_what_base_cannot_do_is_skipped_and_what_head_cannot_is_a_failure() -> None:
    new = measure(Version(1.0, change=unable), Version(1.0))
    assert new.skipped == "base: AttributeError: no conv2d"
    assert not regression.failed([new], 1.0)
    lost = measure(Version(1.0), Version(1.0, change=unable))
    assert lost.failure == "head: AttributeError: no conv2d"
    assert regression.failed([lost], 1.0)


def test_means_are_geometric_and_by_suite() -> None:
    rows = [
        regression.Row("net", "a", 1.0, 0.5),
        regression.Row("net", "b", 1.0, 8.0),
        regression.Row("other", "a", 2.0, 2.0),
        regression.Row("unknown", "a", skipped="base: no"),
    ]
    found = regression.means(rows)
    assert {suite: mean.geometric_mean for suite, mean in found.items()} == pytest.approx({"net": 2.0, "other": 1.0})
    assert (found["net"].worst, found["net"].worst_layer) == (8.0, "b")
    assert regression.failed(rows, 1.99)
    assert not regression.failed(rows, 2.01)


def git(repository: Path, *arguments: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    command = ["git", "-C", str(repository), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_revision_is_checked_out_for_a_while(tmp_path: Path) -> None:
    package = tmp_path / "fastconv"
    package.mkdir()
    git(tmp_path, "init", "--quiet")
    for version in ("old", "new"):
        (package / "__init__.py").write_text(version, encoding="utf-8")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "-m", version)
    with regression.directory_of("HEAD~1", tmp_path) as directory:
        assert (directory / "fastconv" / "__init__.py").read_text(encoding="utf-8") == "old"
    assert not directory.exists()
    assert len(git(tmp_path, "worktree", "list").splitlines()) == 1
    with (
        pytest.raises(click.UsageError, match=r"git worktree add .*nowhere"),
        regression.directory_of("nowhere", tmp_path),
    ):
        pass


def test_a_directory_must_hold_the_package(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="found no fastconv"), regression.directory_of(str(tmp_path)):
        pass


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(click.UsageError, match=r"--suite must be one of resnet50, .*got 'lenet'"):
        regression.layers_of(["lenet"], 1)


def test_the_checkout_beside_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(PROGRAM), str(CHECKOUT), "--head", str(CHECKOUT), "--seconds", "0"]
    pooling = "max_pool2d,n1,c2,6x6,2x2,s2,float32"  # may be missing in both versions, which is no failure
    done = subprocess.run(
        [*command, "--suite", TINY, "--suite", pooling, "--fail-above", "1000"],
        env={**os.environ, "FASTCONV_CACHE_DIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("problems ")]
    assert [row[1] for row in rows] == [TINY, pooling]
    assert all(float(figure) > 0 for figure in rows[0][2:5])
    assert "problems: head / base: geometric mean" in done.stdout
    assert "WRONG" not in done.stdout
