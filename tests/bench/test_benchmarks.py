"""``pytest benchmarks`` on the smallest suite: as a check, and timed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import fastconv
from fastconv.bench.operations import operation_of
from fastconv.bench.peers import COMPARISONS
from fastconv.bench.suites import SUITES
from fastconv.selection import table_of

ROOT = Path(__file__).parents[2]
FIELDS = {
    "problem",
    "gflops",
    "share_of_peak",
    "bytes",
    "workspace_bytes",
    "threads",
    "relative_error",
    "ratio_to_best_peer",
}


def benchmarks(chosen: str, *options: str) -> list[str]:
    """Run what `chosen` names in a process of its own; return what it printed, line by line."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "benchmarks", "-k", chosen, *options]
    # else pytest-benchmark takes the new process for a worker of those that run the tests, and times nothing
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def ids() -> list[str]:
    """Return the ids of all benchmarks, in their order."""
    spec = importlib.util.spec_from_file_location("suites_under_benchmark", ROOT / "benchmarks" / "test_suites.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [case.id for case in module.cases()]


def test_every_contender_on_every_layer_in_every_batch(ids: list[str]) -> None:
    expected = 0
    for suite in SUITES.values():
        for layer in suite.layers():
            operation = operation_of(layer.problem)
            ours = max(len(table_of(layer.problem)), 1) + (operation.layer is not None)  # auto for the reference
            expected += len(suite.batches) * (ours + len(COMPARISONS[operation.name]))
    assert len(ids) == len(set(ids)) == expected


def test_ids_say_what_is_run(ids: list[str]) -> None:
    assert "resnet50-n1-conv2_1b-direct" in ids
    assert "resnet50-n8-conv2_1b-torch_channels_last" in ids
    layers = [name.rsplit("-", 1)[0] for name in ids]
    assert len(set(layers)) == 1 + sum(one != other for one, other in pairwise(layers))  # a layer's follow one another


def test_each_is_called_once_and_checked() -> None:
    lines = benchmarks("tiny and (plane_16 or max_pool_8) and not torch", "-rA")
    passed = {line.split("[")[1].rstrip("]") for line in lines if line.startswith("PASSED")}
    assert {"tiny-n1-plane_16-direct", "tiny-n1-plane_16-auto", "tiny-n1-max_pool_8-numpy"} <= passed
    skipped = " ".join(line for line in lines if line.startswith("SKIPPED"))
    assert "scipy" in skipped  # it pools one plane, or is not installed
    if not hasattr(fastconv, "max_pool2d"):
        assert "fastconv has no max_pool2d yet" in skipped


def test_what_is_timed_says_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.json"
    options = ("--benchmark-enable", "--benchmark-max-time=0.01", f"--benchmark-json={file}")
    benchmarks("tiny and dense_8 and (direct or auto or numpy)", *options)
    found = {one["extra_info"].get("algorithm"): one for one in json.loads(file.read_text("utf-8"))["benchmarks"]}
    info = found["direct"]["extra_info"]
    assert set(info) == {*FIELDS, "algorithm"}
    assert info["problem"] == found["direct"]["group"] == "conv2d,n1,c8,8x8,k8,3x3,p1,float32"
    assert info["bytes"] == 4 * (2 * 8 * 64 + 64 * 9 + 8)
    assert info["gflops"] > 0
    assert 0 < info["share_of_peak"] <= 1
    assert info["relative_error"] < 1e-5
    assert found["direct"]["stats"]["min"] > 0
    assert found["auto"]["extra_info"]["bytes"] == info["bytes"]
    if COMPARISONS["conv"]["numpy"].missing is None:
        peer = found[None]["extra_info"]
        assert set(peer) == {*FIELDS, "library"}
        assert peer["library"] == "numpy"
        assert 0 < peer["ratio_to_best_peer"] <= 1
