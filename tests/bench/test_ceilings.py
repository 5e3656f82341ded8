"""The lines of the roofline: what is measured, and how it is counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fastconv.bench import ceilings
from fastconv.codegen import peak


def test_peak_is_taken_for_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "measure", {"float32": 64e9}.__getitem__)
    assert ceilings.fma_peak("float32", threads=2) == 128e9


def test_units_and_types_without_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "fma_peak", lambda dtype, threads: 1e9 * threads)
    monkeypatch.setattr(ceilings, "copy_bandwidth", lambda threads: 5e9 * threads)
    assert ceilings.measure("float32", 2) == ceilings.Ceilings(2.0, 10.0)
    assert ceilings.measure("float64", 1) == ceilings.Ceilings(1.0, 5.0)
    assert ceilings.measure("int8", 1) == ceilings.Ceilings(None, 5.0)


def test_of_two_measurements_the_better_figures_count() -> None:
    first = ceilings.Ceilings(2.0, 10.0)
    assert first.or_better(None) == first
    assert first.or_better(ceilings.Ceilings(1.0, 11.0)) == ceilings.Ceilings(2.0, 11.0)
    assert ceilings.Ceilings(None, 5.0).or_better(ceilings.Ceilings(None, 4.0)) == ceilings.Ceilings(None, 5.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_copy_counts_what_is_read_and_written(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """On a clock that gives every round one second but the fastest, which takes half of one."""
    monkeypatch.setattr(ceilings, "COPY_BYTES", 1000)
    monkeypatch.setattr(ceilings, "COPY_ROUNDS", 2)
    ticks = iter([0.0, 1.0, 2.0, 2.5, 3.0, 4.0])
    monkeypatch.setattr(ceilings, "time", SimpleNamespace(perf_counter=ticks.__next__))
    copied = []

    def copyto(target: np.ndarray, source: np.ndarray) -> None:
        copied.append(source.nbytes)
        assert target.nbytes == source.nbytes

    arrays = SimpleNamespace(ones=np.ones, empty=np.empty, uint8=np.uint8, copyto=copyto)
    monkeypatch.setattr(ceilings, "np", arrays)
    assert ceilings.copy_bandwidth(threads) == 2 * 1000 * threads / 0.5
    assert copied == [1000] * 3 * threads


def test_on_this_machine() -> None:
    found = ceilings.measure("float32", 1)
    assert found.gflops is not None
    assert found.gflops > 0.1
    assert found.gigabytes > 0.01
