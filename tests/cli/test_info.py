"""``fastconv info``: what figures would be taken on."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.algorithm import Machine
from fastconv.cli import main


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["info", *arguments])


def test_info() -> None:
    result = call()
    assert result.exit_code == 0, result.output
    for line in ("python", "numba", "vector bits", "threads", "tolerance", "constants", "cache directory", "gpu"):
        assert line in result.stdout


def test_info_json() -> None:
    report = json.loads(call("--json").stdout)
    assert report["versions"]["numpy"] == np.__version__
    assert report["threads"] == fastconv.get_num_threads()
    assert report["tolerance"] == {dtype: fastconv.get_tolerance(dtype) for dtype in ("float32", "float64")}
    assert report["constants"] == {"source": "shipped", **asdict(Machine())}
    assert report["cpu"]["vector_bits"] in (128, 256, 512)
    assert report["gpu"]
