"""Computes with one version of the package and times itself: what ``regression.py`` starts, once for each version.

Started with the number of threads, the version on ``PYTHONPATH``. Each line on stdin is a request in JSON and gets one
answer on stdout:

- ``{"call": file, "result": file}``: make a call's first run, which may compile, and store its result. ``call`` is a
  pickle of (name of a public function, positional arguments, keyword arguments), ``result`` becomes a ``.npy`` file;
- ``{"calls": n}``: make that call n times; the answer's ``seconds`` are what they took together.

An answer with ``error`` says why there is no other. Nothing is used of the package but `set_num_threads` and the
functions that calls name, so that versions can be compared that differ in everything else.
"""

from __future__ import annotations

import gc
import json
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import fastconv


def first_call(call_file: str, result_file: str) -> Callable[[], np.ndarray]:
    with open(call_file, "rb") as file:
        name, positional, keywords = pickle.load(file)
    call = partial(getattr(fastconv, name), *positional, **keywords)
    np.save(result_file, call())
    return call


def time_calls(call: Callable[[], np.ndarray], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def main() -> None:
    fastconv.set_num_threads(int(sys.argv[1]))
    gc.disable()
    answer: dict[str, object] = {"package": fastconv.__file__}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "call" in request:
                call = first_call(request["call"], request["result"])
                answer = {}
            else:
                answer = {"seconds": time_calls(call, request["calls"])}
        except Exception as error:  # an older version may lack the function, an argument, or be wrong in any way
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
