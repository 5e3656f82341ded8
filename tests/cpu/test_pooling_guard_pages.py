"""Random poolings with every array against a page that may not be touched, bit by bit as the reference has them.

As in test_guard_pages.py, in a process of its own, which this file is the program of::

    python tests/cpu/test_pooling_guard_pages.py 512 0 40

"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import fastconv
from fastconv.arguments import is_floating, native_dtype
from fastconv.problem import DTYPES, LAYOUTS, PoolProblem
from fastconv.selection import POOLINGS, pool_algorithm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect is called by its name")

PROBLEMS = 120  # for each vector width
SIDES = ("guard behind", "guard before")
OURS = tuple(entry.name for entry in POOLINGS if entry.name != "reference")
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-6, "float64": 2e-15}
FLOATS = tuple(TOLERANCE)
OPERATIONS = ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool")


def random_problem(random: np.random.Generator) -> PoolProblem:
    """Draw a problem of any kind that takes the reference some milliseconds."""
    while True:
        rank = int(random.integers(1, 4))
        most_size, most_kernel = {1: (200, 40), 2: (40, 15), 3: (12, 5)}[rank]
        operation = str(random.choice(OPERATIONS, p=[0.35, 0.2, 0.1, 0.2, 0.15]))
        size = random.integers(1, (most_size if random.random() < 0.7 else 9) + 1, rank)
        kernel = random.integers(1, most_kernel + 1, rank)
        kernel = np.minimum(kernel, random.integers(1, 5)) if random.random() < 0.6 else kernel
        if random.random() < 0.1:
            kernel = size.copy()  # whole planes
        layout = str(random.choice(LAYOUTS))
        batch, channels = int(random.choice([1, 1, 2, 3])), int(random.choice([1, 2, 3, 5, 8, 9, 17, 40]))
        shape = (batch, channels, *size) if layout == "channels_first" else (batch, *size, channels)
        own: dict[str, object] = {}
        if operation.startswith("adaptive"):
            outputs = [int(random.integers(1, int(random.choice([3, n + 3])) + 1)) for n in size]
            maxima = operation == "adaptive_max_pool"
            dtype, indices = str(random.choice(DTYPES if maxima else FLOATS)), maxima and bool(random.random() < 0.3)
            return PoolProblem.from_output_size(operation, shape, outputs, dtype, layout=layout, indices=indices)
        if operation == "max_pool":
            own["indices"] = bool(random.random() < 0.3)
        elif operation == "lp_pool":
            own["norm_type"] = float(random.choice([1, 2, 1.5, 3, np.inf]))
        else:
            own["count_include_pad"] = bool(random.random() < 0.5)
            if own["count_include_pad"] and random.random() < 0.2:
                own["divisor_override"] = 3
        try:
            problem = PoolProblem.from_shape(
                operation,
                shape,
                tuple(kernel),
                str(random.choice(DTYPES if operation == "max_pool" else FLOATS)),
                stride=tuple(random.choice([1, 1, 2, 2, 3, 5], rank)),
                padding=(random.integers(0, 4, (rank, 2)) * int(random.random() < 0.6)).tolist(),
                dilation=tuple(random.choice([1, 1, 1, 2, 3], rank)),
                ceil_mode=bool(random.random() < 0.4),
                layout=layout,
                **own,  # type: ignore[arg-type]
            )
        except ValueError:  # no window fits
            continue
        if problem.operations <= 1_000_000:
            return problem


def random_array(random: np.random.Generator, problem: PoolProblem) -> np.ndarray:
    """Draw numbers, and in every other array many equal ones, zeros of both signs, infinities and NaN."""
    shape, dtype = problem.input_shape, native_dtype(problem.dtype)
    special = random.random() < 0.5
    if not is_floating(dtype):
        limits = np.iinfo(dtype)
        return (
            random.integers(0, 3, shape).astype(dtype)
            if special
            else random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        )
    x = random.standard_normal(shape).astype(dtype)
    if special:
        x = np.round(x)
        for value, share in ((np.nan, 0.03), (-np.inf, 0.1), (np.inf, 0.05)):
            x[random.random(shape) < share] = value
    return x


def complaints(
    problem: PoolProblem, x: np.ndarray, found: list[np.ndarray | None], right: list[np.ndarray | None]
) -> Iterator[str]:
    """Say what is wrong with a result and its indices."""
    y, expected = found[0], right[0]
    assert y is not None
    assert expected is not None
    if problem.maxima:
        if not np.array_equal(y, expected, equal_nan=is_floating(y.dtype)):
            yield "maxima differ"
        elif is_floating(y.dtype) and (np.signbit(y) != np.signbit(expected))[y == 0].any():
            yield "zeros differ in sign"
        if found[1] is not None and not np.array_equal(found[1], right[1]):
            yield "indices differ"
        return
    finite = np.isfinite(expected)
    if not np.array_equal(y[~finite], expected[~finite], equal_nan=True):
        yield "what is not finite differs"
    error = np.linalg.norm(y[finite].astype(float) - expected[finite])
    scale = np.linalg.norm(expected[finite].astype(float)) + np.linalg.norm(x[np.isfinite(x)].astype(float))
    if not error <= TOLERANCE[problem.dtype] * scale:
        yield f"error {error} of {scale}"


def guarded_process(bits: int, first: int, last: int) -> None:
    """Run problems `first` to `last` - 1, each named before it runs, and say what was wrong."""
    from test_guard_pages import Guarded, guarded_input, guarded_scratch, say

    from fastconv import config
    from fastconv.cpu import pooling_pieces, pooling_plan, scratch, threads

    config.set_vector_bits(bits)
    threads.WORTH_A_THREAD = 0.0
    for number in range(first, last):
        random = np.random.default_rng([bits, number])
        problem = random_problem(random)
        x = random_array(random, problem)
        if number == (first + last) // 2:  # from now on: small bands, planes in parts
            pooling_plan.LEVEL1_SHARE, pooling_plan.LEVEL2_SHARE, pooling_plan.LEAST_SHARED = 0.02, 0.02, 0
            pooling_plan.LEAST_ROWS = 2
            pooling_pieces.LEVEL1_SHARE, pooling_pieces.MOST_TAPS = 0.02, 0
        fastconv.set_num_threads(int(random.choice([1, 2])))
        shape, places = problem.output_shape, problem.indices
        right = [np.empty(shape, problem.dtype), np.empty(shape, np.int64) if places else None]
        pool_algorithm("reference").run(problem, x, *right)
        for name in OURS:
            entry = pool_algorithm(name)
            for side in SIDES if entry.supports(problem) is None else ():
                say(f"run {number}: {name} {problem}, {side}")
                fastconv.clear_cache()
                scratch.allocate = lambda size, side=side: guarded_scratch(size, side)
                y = Guarded(shape, problem.dtype, side)
                indices = Guarded(shape, "int64", side) if places else None
                found = [y.array, indices.array if indices else None]
                entry.run(problem, guarded_input(x, side), *found)
                for complaint in complaints(problem, x, found, right):
                    say(f"wrong {number}: {name} {problem}, {side}: {complaint}")
                if not y.untouched() or (indices is not None and not indices.untouched()):
                    say(f"wrong {number}: {name} {problem}, {side}: memory beside a result was written")
    say("end")


@pytest.mark.parametrize("bits", [512, 256, 128])
def test_kernels_stay_inside_their_arrays(bits):
    command = [sys.executable, "-W", "error", __file__, str(bits), "0", str(PROBLEMS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = done.stdout.splitlines()
    runs = [line for line in lines if line.startswith("run ")]
    last = runs[-1] if runs else "no problem"
    assert done.returncode == 0, f"exit status {done.returncode} in {last}\n{done.stderr}"
    assert [line for line in lines if line.startswith("wrong ")] == []
    assert {line.split()[2] for line in runs} == set(OURS)
    assert len(runs) > 1.8 * PROBLEMS
    assert lines[-1] == "end"


def test_the_random_problems_are_of_every_kind():
    problems = [
        random_problem(np.random.default_rng([bits, number])) for bits in (512, 256, 128) for number in range(PROBLEMS)
    ]
    assert {problem.rank for problem in problems} == {1, 2, 3}
    assert {problem.operation for problem in problems} == set(OPERATIONS)
    assert {problem.dtype for problem in problems} == set(DTYPES)
    assert {problem.norm_type for problem in problems} == {None, 1.0, 1.5, 2.0, 3.0, np.inf}
    for name in ("layout", "ceil_mode", "count_include_pad", "indices"):
        assert len({getattr(problem, name) for problem in problems}) == 2, name
    assert any(problem.divisor_override for problem in problems)
    assert any(max(problem.kernel) > 16 for problem in problems)
    assert any(0 in map(sum, problem.padding) for problem in problems)


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    guarded_process(*map(int, sys.argv[1:]))
