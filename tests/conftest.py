"""What all tests share: algorithms, vector widths, and the state that a test may change."""

from __future__ import annotations

import os

import ml_dtypes  # noqa: F401 - NumPy knows "bfloat16" by its name from here on
import numpy as np
import pytest
from hypothesis import settings

import fastconv
from fastconv import config
from fastconv.cpu import scratch
from fastconv.cpu.reference import Reference
from fastconv.selection import TABLE, table

GENERAL = ("direct", "im2col", "reference")  # compute every convolution of floats; others may refuse one

#: Algorithms that multiply by fractions, and how far they may be off on whole numbers.
FRACTIONAL = {"winograd_3x3": 0.02, "winograd_4x4": 0.02, "winograd_6x6": 0.1, "fft": 0.02}

settings.register_profile("fastconv", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("fastconv")


@pytest.fixture(params=[entry.name for entry in TABLE])
def algorithm(request):
    """Name each algorithm in turn: a new one is tested by being in the table."""
    return request.param


@pytest.fixture
def inexact(algorithm):
    """How far `algorithm` may be off on whole numbers, where most are exact."""
    return FRACTIONAL.get(algorithm, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip what the algorithm that a test is parametrized with does not compute, unless it must."""
    try:
        return (yield)
    except fastconv.UnsupportedError as error:
        name = item.callspec.params.get("algorithm") if hasattr(item, "callspec") else None
        if name is None or name in GENERAL:
            raise
        pytest.skip(str(error))


@pytest.fixture(params=config.VECTOR_BITS)
def vector_bits(request):
    """Generate kernels for each vector width in turn, whatever the processor has."""
    config.set_vector_bits(request.param)
    yield request.param
    config.set_vector_bits(None)
    fastconv.clear_cache()


@pytest.fixture
def allocated(monkeypatch):
    """Sizes of the scratch that was allocated since."""
    sizes, allocate = [], scratch.allocate

    def count(size):
        sizes.append(size)
        return allocate(size)

    monkeypatch.setattr(scratch, "allocate", count)
    yield sizes
    fastconv.clear_cache()


class Pretender(Reference):
    """An algorithm that is as accurate and as quick as it says, and counts its calls."""

    def __init__(self, name, bound, seconds):
        self.name, self.bound, self.seconds, self.calls = name, bound, seconds, 0

    def error_bound(self, problem):
        return self.bound

    def terms(self, problem, machine):
        return {"call": self.seconds}

    def run(self, *arguments):
        self.calls += 1
        super().run(*arguments)


@pytest.fixture
def pretend(monkeypatch):
    """Put algorithms into the table, each with a name, an error bound, and a cost that is below all real ones."""
    fastconv.clear_cache()

    def add(name, bound, seconds=0.0):
        entry = Pretender(name, bound, seconds)
        *others, reference = table.TABLE
        monkeypatch.setattr(table, "TABLE", (*others, entry, reference))
        return entry

    yield add
    fastconv.clear_cache()


@pytest.fixture
def operands_of():
    """Return x, weight, bias and residual of a problem: uniform, each None where it is not wanted."""

    def draw(problem, bias=False, residual=False, seed=0):
        random = np.random.default_rng(seed)
        shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
        wanted = True, True, bias, residual
        return [
            random.uniform(-1, 1, shape).astype(problem.dtype) if one else None
            for shape, one in zip(shapes, wanted, strict=True)
        ]

    return draw


@pytest.fixture
def set_tolerance():
    """`fastconv.set_tolerance`; the defaults are put back afterwards."""
    yield fastconv.set_tolerance
    fastconv.set_tolerance(None)


@pytest.fixture
def set_threads():
    """`fastconv.set_num_threads`; the number is put back afterwards."""
    before = fastconv.get_num_threads()
    yield fastconv.set_num_threads
    fastconv.set_num_threads(before)


@pytest.fixture
def always_threads(monkeypatch, set_threads):
    """`set_threads`, and problems too small to be worth a second thread get one all the same."""
    monkeypatch.setattr("fastconv.cpu.threads.WORTH_A_THREAD", 0)
    fastconv.clear_cache()
    yield set_threads
    fastconv.clear_cache()
