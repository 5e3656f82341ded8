from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.arguments import dtype_name, epsilon, is_floating, native_dtype, numpys, padding_pairs, per_axis
from fastconv.problem import ConvProblem


def make(size=(8, 8), kernel=(3, 3), **arguments):
    """Return a problem of 2 channels and 4 filters, as a user would pose it."""
    groups = arguments.get("groups", 1)
    return ConvProblem.from_shapes((1, 2, *size), (4, 2 // groups, *kernel), **arguments)


# --- padding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "same", "same_lower"),
    [
        (5, 3, 1, 1, (1, 1), (1, 1)),
        (5, 2, 1, 1, (0, 1), (1, 0)),
        (5, 4, 1, 1, (1, 2), (2, 1)),
        (6, 3, 2, 1, (0, 1), (1, 0)),  # output 3: windows at 0, 2, 4 reach 7
        (5, 3, 2, 1, (1, 1), (1, 1)),  # output 3: windows at -1, 1, 3
        (5, 3, 1, 2, (2, 2), (2, 2)),
        (6, 1, 3, 1, (0, 0), (0, 0)),  # a stride beyond the kernel needs none
        (224, 7, 2, 1, (2, 3), (3, 2)),
    ],
)
def test_same_splits(size, kernel, stride, dilation, same, same_lower):
    for form, pair in (("same", same), ("same_lower", same_lower)):
        problem = ConvProblem.from_shapes(
            (1, 1, size), (1, 1, kernel), stride=stride, dilation=dilation, padding=form
        )
        assert problem.padding == (pair,)
        assert problem.output_size == (math.ceil(size / stride),)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 7), st.integers(1, 4))
def test_same_gives_the_ceiling_and_no_more_than_needed(size, kernel, stride, dilation):
    pairs = {}
    for form in ("same", "same_lower"):
        problem = ConvProblem.from_shapes(
            (1, 1, size), (1, 1, kernel), stride=stride, dilation=dilation, padding=form
        )
        assert problem.output_size == (math.ceil(size / stride),)
        (pairs[form],) = problem.padding
    before, after = pairs["same"]
    assert after - before in (0, 1)
    assert pairs["same_lower"] == (after, before)
    if after:  # one element less would lose the last window
        fewer = size + before + after - 1 - dilation * (kernel - 1) - 1
        assert fewer // stride + 1 < math.ceil(size / stride)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([np.int64(1), 2], ((1, 1), (2, 2))),
        (((1, 2), (0, 0)), ((1, 2), (0, 0))),
        ([[1, 2], (3, 4)], ((1, 2), (3, 4))),
        ("valid", ((0, 0), (0, 0))),
    ],
)
def test_padding_forms(padding, expected):
    assert padding_pairs(padding, 2, (8, 8), (3, 3), (1, 1), (1, 1)) == expected
    assert make(padding=padding).padding == expected


@pytest.mark.parametrize(
    ("mode", "most"),
    [("zeros", None), ("reflect", 3), ("replicate", None), ("circular", 4), ("symmetric", 4)],
)
def test_padding_modes_reach_as_far_as_the_input_does(mode, most):
    reach = 9 if most is None else most
    for pair in ((reach, 0), (0, reach)):
        assert make((4, 20), padding=(pair, (0, 0)), padding_mode=mode).padding[0] == pair
        if most is not None:
            too_far = tuple(extent + 1 if extent else 0 for extent in pair)
            with pytest.raises(ValueError, match=f"padding must be at most {most} on axis 0 of si"):
                make((4, 20), padding=(too_far, (0, 0)), padding_mode=mode)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "fragment"),
    [
        ({"stride": 0}, ValueError, "stride must be positive, got 0"),
        ({"stride": -1}, ValueError, "stride must be positive, got -1"),
        ({"stride": (1, 0)}, ValueError, r"stride must be positive, got 0 in \(1, 0\)"),
        ({"stride": (1, 2, 3)}, ValueError, "stride must have length 2, .* got length 3"),
        ({"stride": ()}, ValueError, "stride must have length 2, .* got length 0"),
        ({"stride": 2**63}, ValueError, r"stride must be at most 2\*\*63 - 1"),
        ({"stride": 1.0}, TypeError, "stride must be an int, got 1.0 of type float"),
        ({"stride": np.float32(1)}, TypeError, "stride must be an int, .* of type float32"),
        ({"stride": True}, TypeError, "stride must be an int, got True of type bool"),
        ({"stride": np.True_}, TypeError, "stride must be an int, .* of type bool"),
        ({"stride": "2"}, TypeError, "stride must be an int, got '2' of type str"),
        ({"stride": None}, TypeError, "stride must be an int, got None"),
        ({"stride": np.array([1, 1])}, TypeError, "stride must be an int, .* of type ndarray"),
        ({"stride": np.timedelta64(1)}, TypeError, "stride must be an int"),
        ({"stride": (1, 1.5)}, TypeError, r"stride must be ints, got 1.5 .* in \(1, 1.5\)"),
        ({"dilation": 0}, ValueError, "dilation must be positive, got 0"),
        ({"dilation": [1]}, ValueError, "dilation must have length 2"),
        ({"dilation": 2.5}, TypeError, "dilation must be an int, got 2.5"),
        ({"padding": -1}, ValueError, "padding must not be negative, got -1"),
        ({"padding": (0, -1)}, ValueError, "padding must not be negative, got -1 in"),
        ({"padding": ((0, 0), (0, -2))}, ValueError, "padding must not be negative, got -2 in"),
        ({"padding": (1,)}, ValueError, "padding must have length 2, .* got length 1"),
        ({"padding": ((1, 1),)}, ValueError, "padding must have length 2, .* got length 1"),
        ({"padding": ((1, 1), (1,))}, ValueError, r"\(before, after\) pair an axis, got \(1,\)"),
        ({"padding": ((1, 1), 1)}, TypeError, "padding must be one int an axis or one"),
        ({"padding": 0.5}, TypeError, "padding must be an int, got 0.5"),
        ({"padding": ((0.5, 1), (1, 1))}, TypeError, "padding must be ints, got 0.5"),
        ({"padding": "full"}, ValueError, "padding must be one of valid, same, same_lower, got 'f"),
        ({"groups": 0}, ValueError, "groups must be positive, got 0"),
        ({"groups": 2.0}, TypeError, "groups must be an int, got 2.0"),
        ({"groups": (1, 1)}, TypeError, "groups must be an int"),
        ({"padding_mode": "wrap"}, ValueError, "padding_mode must be one of zeros, .* got 'wrap'"),
        ({"padding_mode": 0}, TypeError, "padding_mode must be a str, got 0"),
        ({"flip": 1}, TypeError, "flip must be a bool, got 1"),
        ({"flip": None}, TypeError, "flip must be a bool, got None"),
        ({"layout": "NCHW"}, ValueError, "layout must be one of channels_first, .* got 'NCHW'"),
        ({"layout": None}, TypeError, "layout must be a str, got None"),
        ({"dtype": "complex64"}, TypeError, "dtype must be one of float16, .* got complex64"),
        ({"dtype": np.uint64}, TypeError, "dtype must be one of .* got uint64"),
        ({"dtype": "float33"}, TypeError, "dtype must be one of .* got 'float33'"),
        ({"dtype": None}, TypeError, "dtype must be one of .* got None"),
        ({"dtype": object}, TypeError, "dtype must be one of .* got object"),
        ({"dtype": bool}, TypeError, "dtype must be one of .* got bool"),
        (
            {"dilation": 4},
            ValueError,
            r"x must hold one window on axis 0, .* floor\(\(8 \+ 0 \+ 0 - 4 \* \(3 - 1\) - 1\) / 1",
        ),
        (
            {"kernel": (3, 11), "padding": ((0, 0), (1, 1)), "stride": 3},
            ValueError,
            r"axis 1, .* floor\(\(8 \+ 1 \+ 1 - 1 \* \(11 - 1\) - 1\) / 3\) \+ 1 = 0",
        ),
    ],
)
def test_arguments_refused(arguments, error, fragment):
    with pytest.raises(error, match=fragment):
        ConvProblem.from_shapes((1, 2, 8, 8), (4, 2, *arguments.pop("kernel", (3, 3))), **arguments)


def test_per_axis_keeps_numbers_apart():
    assert per_axis([np.int8(3), 4], 2, "kernel_size", 1) == (3, 4)
    with pytest.raises(ValueError, match="kernel_size must be at least 5, got 4"):
        per_axis(4, 2, "kernel_size", 5)


def test_bfloat16_is_that_of_ml_dtypes():
    dtype = np.dtype(ml_dtypes.bfloat16)
    for one in (dtype, dtype.newbyteorder(), ml_dtypes.bfloat16, "bfloat16"):
        assert dtype_name(one) == "bfloat16"
        assert is_floating(one)
        assert numpys(one) == np.float32
    assert native_dtype("bfloat16") == dtype
    assert epsilon("bfloat16") == float(ml_dtypes.finfo(dtype).eps)
