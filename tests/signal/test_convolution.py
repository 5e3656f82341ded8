"""`convolve`, `correlate`, `fftconvolve` and `oaconvolve`: results to check by hand, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastconv
from fastconv import signal


@pytest.mark.parametrize(
    ("mode", "expected"), [("full", [1, 12, 123, 230, 300]), ("same", [12, 123, 230]), ("valid", [123])]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "complex64", "float16"])
def test_modes(mode, expected, dtype):
    result = signal.convolve(np.array([1, 2, 3], dtype), np.array([1, 10, 100], dtype), mode)
    assert result.dtype == dtype
    # full[j] = sum of a[j - t] * b[t]: 1, 2 + 10, 3 + 20 + 100, 30 + 200, 300
    assert result.tolist() == expected


def test_a_correlation_is_a_convolution_by_the_kernel_reversed():
    assert signal.correlate([1, 2, 3], [1, 10, 100]).tolist() == [100, 210, 321, 32, 3]
    assert signal.correlate([1, 2, 3], [1, 10, 100], "same").tolist() == [210, 321, 32]


@pytest.mark.parametrize(("size", "expected"), [(2, [1, 12]), (3, [12, 123]), (4, [12, 123])])
def test_same_has_the_size_of_the_first_whichever_is_larger(size, expected):
    kernel = 10 ** np.arange(size)
    assert signal.convolve([1, 2, 3, 4], kernel, "same").tolist()[:2] == expected
    short = signal.convolve([1, 2], 10 ** np.arange(5), "same")  # 1, 12, 120, 1200, ...: centred, at (5 - 1) // 2
    assert short.tolist() == [120, 1200]


def test_valid_takes_the_arrays_in_either_order():
    assert signal.convolve([1, 10], [1, 2, 3], "valid").tolist() == [12, 23]
    assert signal.correlate([1, 10], [1, 2, 3], "valid").tolist() == [32, 21]  # backwards, as the shift is


def test_two_and_more_dimensions():
    assert signal.convolve([[1, 2]], [[1], [10]]).tolist() == [[1, 2], [10, 20]]
    cube = signal.convolve(np.ones((2, 2, 2)), np.ones((2, 2, 2)))
    assert cube[:, 0, 0].tolist() == [1, 2, 1]
    assert cube[1, 1, 1] == 8
    assert signal.convolve(np.ones((2,) * 5), np.ones((2,) * 5))[(1,) * 5] == 32


def test_complex_numbers():
    assert signal.convolve([1, 1j], [1, 1j]).tolist() == [1, 2j, -1]
    assert signal.correlate([1, 1j], [1, 1j]).tolist() == [-1j, 2, 1j]  # the second is conjugated
    assert signal.correlate([1, 1j], [1.0, 2.0]).tolist() == [2, 1 + 2j, 1j]
    assert signal.correlate([1.0, 2.0], [1j]).tolist() == [-1j, -2j]


def test_numbers_without_axes():
    assert signal.convolve(3, 4) == 12
    assert signal.correlate(3, 4j) == -12j
    assert signal.fftconvolve(3, 4).dtype == np.float64


def test_nan_and_infinity_come_out_where_the_sum_has_them():
    x = np.zeros(200)
    x[100], x[150] = np.nan, np.inf
    result = signal.oaconvolve(x, np.ones(3), "same")
    assert np.flatnonzero(np.isnan(result)).tolist() == [99, 100, 101]
    assert np.flatnonzero(np.isinf(result)).tolist() == [149, 150, 151]
    assert np.count_nonzero(result) == 6


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
def test_axes(name):
    function = getattr(signal, name)
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert function(rows, [[1.0, 10.0], [1.0, 100.0]], axes=1).tolist() == [[1, 12, 20], [3, 304, 400]]
    assert function(rows, [[1.0, 10.0]], axes=-1).tolist() == [[1, 12, 20], [3, 34, 40]]  # one for all rows
    assert function([[1.0, 2.0]], [[1.0], [10.0]], axes=1).tolist() == [[1, 2], [10, 20]]  # a bank of filters
    assert function(rows, rows, axes=[0, 1]).shape == (3, 3)
    planes = function(np.ones((2, 3, 5)), np.ones((2, 1, 3)), axes=2, mode="same")
    assert planes[1, 2].tolist() == [2, 3, 3, 3, 2]


def test_types_of_transforms():
    ones = {name: np.ones(3, name) for name in ("bool", "int8", "float16", "float32", "complex64")}
    assert signal.fftconvolve(ones["int8"], ones["bool"]).dtype == np.float64
    assert signal.fftconvolve(ones["int8"], ones["float32"]).dtype == np.float64
    assert signal.fftconvolve(ones["float16"], ones["float16"]).dtype == np.float32
    assert signal.fftconvolve(ones["complex64"], ones["float32"]).dtype == np.complex64
    assert signal.fftconvolve(np.ones(0), ones["int8"]).shape == (0,)


def test_lags():
    assert signal.correlation_lags(3, 2).tolist() == [-1, 0, 1, 2]
    assert signal.correlation_lags(3, 2, "same").tolist() == [-1, 0, 1]
    assert signal.correlation_lags(2, 3, "valid").tolist() == [-1, 0]
    shifted = signal.correlate([0, 0, 7, 0], [1, 0])
    assert signal.correlation_lags(4, 2)[np.argmax(shifted)] == 2


def test_the_algorithm_is_the_one_that_is_named():
    x, kernel = np.ones((8, 8), np.float32), np.ones((3, 3), np.float32)
    for name in fastconv.algorithms():
        assert np.allclose(signal.convolve(x, kernel, algorithm=name)[2:-2, 2:-2], 9)
    with pytest.raises(fastconv.UnsupportedError, match="winograd_6x6"):
        signal.convolve(x, np.ones((3, 20)), algorithm="winograd_6x6")


REFUSALS = [
    (ValueError, "mode must be one of full, same, valid, got 'Full'", lambda: signal.convolve([1], [1], "Full")),
    (TypeError, "mode must be a str, got 2", lambda: signal.correlate([1], [1], 2)),
    (ValueError, "method must be one of auto, direct, fft, got 'slow'",
     lambda: signal.convolve([1], [1], method="slow")),
    (ValueError, "in1 and in2 must have as many axes...(1,)...(1, 1)", lambda: signal.convolve([1], [[1]])),
    (ValueError, "in1 and in2 must be such that one is at least as large...(2, 1) and (1, 2)",
     lambda: signal.convolve([[1], [1]], [[1, 1]], "valid")),
    (ValueError, "in1 must not be empty, got shape (0,)", lambda: signal.convolve([], [1])),
    (ValueError, "in2 must not be empty, got shape (0,)", lambda: signal.correlate([1.0], np.ones(0))),
    (TypeError, "in2 must be an array, got str", lambda: signal.convolve([1], "1")),
    (TypeError, "in1 must hold bools, integers...<U1", lambda: signal.convolve(["1"], [1])),
    (TypeError, "in1 must hold bools, integers...object", lambda: signal.convolve(np.array([None]), [1])),
    (TypeError, "in1 must hold...datetime64", lambda: signal.convolve(np.zeros(2, "M8[s]"), [1])),
    (ValueError, "axes must be less than 2, the number of axes, got 2",
     lambda: signal.fftconvolve(np.ones((2, 2)), np.ones((2, 2)), axes=2)),
    (ValueError, "axes must be at least one, and each only once, got (0, 0)",
     lambda: signal.oaconvolve(np.ones((2, 2)), np.ones((2, 2)), axes=(0, 0))),
    (ValueError, "axes must be at least one, and each only once, got ()",
     lambda: signal.oaconvolve(np.ones((2, 2)), np.ones((2, 2)), axes=())),
    (TypeError, "axes must be an int, got 0.5", lambda: signal.fftconvolve(np.ones(2), np.ones(2), axes=0.5)),
    (ValueError, "in1 and in2 must have the same size, or one of them 1...axes=1...(2, 2) and (3, 2)",
     lambda: signal.fftconvolve(np.ones((2, 2)), np.ones((3, 2)), axes=1)),
    (ValueError, "algorithm must be one of auto", lambda: signal.convolve([1.0], [1.0], algorithm="fast")),
    (ValueError, "algorithm must be one of auto", lambda: signal.convolve([1], [1], algorithm="fast")),
    (ValueError, "tolerance must be a positive finite number", lambda: signal.convolve([1], [1], tolerance=0)),
    (ValueError, "in1_len must be positive, got 0", lambda: signal.correlation_lags(0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message", "call"), REFUSALS, ids=[message for _, message, _ in REFUSALS])
def test_refusals(kind, message, call):
    with pytest.raises(kind, match=re.escape(message).replace(r"\.\.\.", ".*")):
        call()


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long doubles are doubles here")
def test_long_doubles_are_refused():
    with pytest.raises(TypeError, match="in1 must hold"):
        signal.convolve(np.ones(2, np.longdouble), [1.0])
    with pytest.raises(TypeError, match="in2 must hold"):
        signal.fftconvolve([1.0], np.ones(2, np.clongdouble))
