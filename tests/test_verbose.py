"""``FASTCONV_VERBOSE``: what is told of a call, and that nothing is where nobody asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, verbose
from fastconv.selection import TABLE

LINE = re.compile(r"fastconv (\S+) (\w+) threads=(\d+) (\d+\.\d{3}) ms")
X, WEIGHT = np.ones((2, 3, 6, 5), np.float32), np.ones((4, 3, 3, 3), np.float32)
PROBLEM = ConvProblem.parse("conv2d,n2,c3,6x5,k4,3x3,p1,float32")


@pytest.fixture
def speak(monkeypatch):
    monkeypatch.setattr(verbose, "wanted", lambda: True)
    fastconv.clear_cache()
    yield
    fastconv.clear_cache()


def told(capsys):
    lines = capsys.readouterr().err.splitlines()
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    return [match.groups() for match in matches]


def test_a_line_for_each_call(speak, capsys, set_threads):
    set_threads(2)
    layer = fastconv.Conv2d(WEIGHT, padding=1)
    fastconv.conv2d(X, WEIGHT, padding=1)
    fastconv.conv2d(X, WEIGHT, padding=1, algorithm="im2col")
    with fastconv.options(threads=1):
        layer(X)
    layer(X[0])  # without a batch axis
    picked, lines = fastconv.select(PROBLEM), told(capsys)
    assert [line[:3] for line in lines] == [
        (str(PROBLEM), picked, "2"),
        (str(PROBLEM), "im2col", "2"),
        (str(PROBLEM), picked, "1"),
        (str(PROBLEM).replace("n2", "n1"), fastconv.select(ConvProblem.parse(lines[3][0])), "2"),
    ]
    assert all(float(line[3]) < 60e3 for line in lines)


def test_nothing_that_ran_nothing_told(speak, capsys):
    fastconv.conv2d(X[:0], WEIGHT, padding=1)
    assert told(capsys) == []


def test_lines_of_several_threads_are_whole(speak, capsys):
    def call():
        for _ in range(50):
            fastconv.conv2d(X, WEIGHT, padding=1)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(capsys)) == 200


def test_a_problem_as_it_is_told_can_be_explained_and_measured(speak, capsys):
    pytest.importorskip("click")
    pytest.importorskip("rich")
    from click.testing import CliRunner

    from fastconv.cli import main

    fastconv.conv2d(X, WEIGHT, stride=(1, 2), padding="same", padding_mode="reflect")
    ((problem, *_),) = told(capsys)
    for arguments in (["explain", problem], ["bench", problem, "--seconds", "0", "--algorithm", "direct"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output


def test_silence_costs_nothing(monkeypatch):
    monkeypatch.setattr(verbose, "wanted", lambda: False)
    fastconv.clear_cache()
    ran = []
    for entry in TABLE:

        def prepared(problem, activation):
            return lambda *arrays: ran.append(sys._getframe(1).f_code.co_name)

        monkeypatch.setattr(entry, "prepared", prepared)
    fastconv.conv2d(X, WEIGHT, padding=1)
    fastconv.clear_cache()
    assert ran == ["_result"]  # called by nobody between


@pytest.mark.parametrize(("value", "lines"), [("1", 2), ("0", 0), ("", 0), (None, 0)])
def test_the_variable(value, lines):
    program = f"""
import numpy as np, fastconv
for _ in range(2):
    fastconv.conv2d(np.ones({X.shape}, np.float32), np.ones({WEIGHT.shape}, np.float32), padding=1)
"""
    others = {name: text for name, text in os.environ.items() if name != "FASTCONV_VERBOSE"}
    environment = others | ({} if value is None else {"FASTCONV_VERBOSE": value})
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert len(done.stderr.splitlines()) == lines
    assert all(LINE.fullmatch(line) for line in done.stderr.splitlines())
