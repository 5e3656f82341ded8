"""``FASTCONV_VERBOSE=1``: a line for each call, on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import cache

from fastconv import config
from fastconv.problem import Problem


@cache
def wanted() -> bool:
    """Whether calls are told: the variable is neither empty nor 0; read once."""
    return os.environ.get("FASTCONV_VERBOSE", "") not in ("", "0")


def told(run: Callable[..., None], problem: Problem, algorithm: str) -> Callable[..., None]:
    """Return `run`, where calls are told with a line after each: problem, algorithm, threads it may use, milliseconds.

    Not by the logger: who sets a variable to look at a program that somebody else wrote has no handler in it. The
    problem's string form is what ``fastconv explain`` and ``fastconv bench`` take.
    """
    if not wanted():
        return run
    head = f"fastconv {problem} {algorithm} threads={config.get_num_threads()}"

    def run_and_tell(*operands: object) -> None:
        start = time.perf_counter()
        run(*operands)
        milliseconds = 1e3 * (time.perf_counter() - start)
        if sys.stderr is not None:  # as in a program without a console
            sys.stderr.write(f"{head} {milliseconds:.3f} ms\n")  # one write: lines of several threads stay whole

    return run_and_tell
