"""Simple kernels in Numba's simulator, where they are Python: another reading of what the compiled ones compute."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv.devices import UnavailableError, check_compiler

SIMULATION = Path(__file__).with_name("simulation.py")


@pytest.fixture(scope="module")
def lines():
    """What the process of the simulator printed, by problem."""
    try:
        check_compiler()
    except UnavailableError as error:
        pytest.skip(str(error))
    path = os.pathsep.join([str(SIMULATION.parents[2]), str(SIMULATION.parent)])
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, str(SIMULATION)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def problems():
    """The problems that the program has, read and not imported: it is for the simulator's process alone."""
    for statement in ast.parse(SIMULATION.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "PROBLEMS":
            return ast.literal_eval(statement.value)
    raise AssertionError("there are no PROBLEMS")


@pytest.mark.parametrize("index", range(len(problems())), ids=lambda index: problems()[index][0])
def test_a_kernel_is_what_its_python_says(index, lines):
    text, algorithm, kernels, threads, error = lines[index]
    assert (text, algorithm) == problems()[index][:2]
    assert kernels
    assert int(threads) > 0
    assert float(error) <= {"float32": 1e-6, "float64": 1e-14, "int8": 0.0}[text.rpartition(",")[2]]
