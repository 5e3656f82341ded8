"""`convolve2d` and `correlate2d`: boundaries to check by hand, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fastconv import signal

ROW = np.array([[1, 2, 3]])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [12, 123, 230]),
        ({"boundary": "fill", "fillvalue": 7}, [712, 123, 237]),
        ({"boundary": "wrap"}, [312, 123, 231]),
        ({"boundary": "circular"}, [312, 123, 231]),
        ({"boundary": "symm"}, [112, 123, 233]),
        ({"boundary": "symmetric"}, [112, 123, 233]),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "float32", "complex128"])
def test_boundaries(arguments, expected, dtype):
    kernel = np.array([[1, 10, 100]], dtype)
    result = signal.convolve2d(ROW.astype(dtype), kernel, "same", **arguments)
    assert result.dtype == dtype
    assert result.tolist() == [expected]
    # the kernel of a correlation is read forwards
    assert signal.correlate2d(ROW.astype(dtype), kernel[:, ::-1], "same", **arguments).tolist() == [expected]


def test_full_sees_more_of_what_lies_around():
    assert signal.convolve2d(ROW, [[1, 10, 100]], "full", "wrap").tolist() == [[231, 312, 123, 231, 312]]
    assert signal.convolve2d(ROW, [[1, 10, 100]], "full", fillvalue=7).tolist() == [[771, 712, 123, 237, 377]]


def test_a_kernel_may_be_larger_than_the_image():
    ones = np.ones((1, 9), np.int64)
    assert signal.convolve2d([[1, 2]], ones, "same", "wrap").tolist() == [[13, 14]]  # 2121 1 2121, 1212 2 1212
    assert signal.convolve2d([[5]], ones, "same", "symm").tolist() == [[45]]


def test_the_centre_of_an_even_kernel():
    one = np.array([[1]])
    assert signal.convolve2d([[1, 2, 3]], [[1, 10]], "same").tolist() == [[1, 12, 23]]
    assert signal.correlate2d([[1, 2, 3]], [[1, 10]], "same").tolist() == [[21, 32, 3]]
    assert signal.correlate([1, 2, 3], [1, 10], "same").tolist() == [10, 21, 32]  # one element earlier, as in SciPy
    assert signal.correlate2d(one, one).tolist() == [[1]]


def test_fractions_of_a_fill_value_are_cut_off_for_integers():
    assert signal.convolve2d([[1]], [[1, 1, 1]], "full", fillvalue=2.9).tolist() == [[5, 5, 5]]
    assert signal.convolve2d([[1]], [[1, 1, 1]], "full", fillvalue=np.array([2])).tolist() == [[5, 5, 5]]
    assert signal.convolve2d([[1.0]], [[1, 1, 1]], "full", fillvalue=0.5).tolist() == [[2, 2, 2]]
    assert signal.convolve2d([[1j]], [[1, 1]], "full", fillvalue=1j).tolist() == [[2j, 2j]]


def test_a_fill_value_that_is_no_number_comes_out_where_it_is_seen():
    result = signal.convolve2d(np.ones((4, 4)), np.ones((3, 3)), "same", fillvalue=np.nan)
    assert np.isnan(result).sum() == 12
    assert (result[1:3, 1:3] == 9).all()


REFUSALS = [
    (ValueError, "in1 must have 2 axes, got shape (3,)", lambda: signal.convolve2d([1, 2, 3], [1])),
    (ValueError, "in2 must not be empty, got shape (0, 3)", lambda: signal.convolve2d(ROW, np.ones((0, 3)))),
    (ValueError, "boundary must be one of fill, wrap, symm, ..., got 'reflect'",
     lambda: signal.convolve2d(ROW, ROW, boundary="reflect")),
    (ValueError, "mode must be one of full, same, valid, got 'some'", lambda: signal.convolve2d(ROW, ROW, "some")),
    (ValueError, "fillvalue must be from -128 to 127 for a result of int8, got 300",
     lambda: signal.convolve2d(ROW.astype("int8"), ROW.astype("int8"), fillvalue=300)),
    (ValueError, "fillvalue must be from 0 to 255 for a result of uint8, got nan",
     lambda: signal.convolve2d(ROW.astype("uint8"), ROW.astype("uint8"), fillvalue=np.nan)),
    (ValueError, "fillvalue must be real for a result of float64, got 1j",
     lambda: signal.convolve2d([[1.0]], [[1.0]], fillvalue=1j)),
    (TypeError, "fillvalue must be a number, got [1, 2] of type list",
     lambda: signal.correlate2d(ROW, ROW, fillvalue=[1, 2])),
    (TypeError, "in1 and in2 must not both hold bools", lambda: signal.convolve2d(ROW > 1, ROW > 1)),
    (ValueError, "in1 and in2 must be such that one...", lambda: signal.correlate2d(ROW, ROW.T, "valid")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message", "call"), REFUSALS, ids=[message for _, message, _ in REFUSALS])
def test_refusals(kind, message, call):
    with pytest.raises(kind, match=re.escape(message).replace(r"\.\.\.", ".*")):
        call()
