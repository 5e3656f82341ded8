"""Rounding once: to bfloat16, where the cast alone would round twice."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv.rounding import rounded

BFLOAT16 = np.dtype("bfloat16")
STEP = 2.0**-7  # from 1 to the next number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 + STEP / 2, 1),  # in the middle: to the even one
        (1 + STEP / 2 + 2.0**-40, 1 + STEP),
        (1 + STEP / 2 - 2.0**-40, 1),
        (1 + 3 * STEP / 2, 1 + 2 * STEP),
        (1 + 3 * STEP / 2 - 2.0**-40, 1 + STEP),
        (-1 - STEP / 2 - 2.0**-40, -1 - STEP),
        (1e-60, 0),
        (1e60, np.inf),
        (-np.inf, -np.inf),
        (np.nan, np.nan),
    ],
)
def test_by_hand(value, expected):
    with np.errstate(over="ignore"):
        found = rounded(np.array([value]), BFLOAT16).astype(BFLOAT16).astype(float)
    assert np.array_equal(found, [expected], equal_nan=True)


def test_no_number_is_nearer():
    random = np.random.default_rng(0)
    middle = (random.integers(128, 256, 10_000) + 0.5) * 2.0 ** random.integers(-100, 100, 10_000)
    x = middle * (1 + random.choice([0.0, 2.0**-45, -(2.0**-45), 2.0**-20], 10_000)) * random.choice([1, -1], 10_000)
    y = rounded(x, BFLOAT16).astype(BFLOAT16)
    bits = y.view(np.uint16)
    for other in (bits + 1, bits - 1):
        near, far = (np.abs(each.astype(float) - x) for each in (y, other.astype(np.uint16).view(BFLOAT16)))
        assert ((near < far) | ((near == far) & (bits % 2 == 0))).all()


def test_others_are_left_alone():
    for values, dtype in ((np.ones(3), "float16"), (np.ones(3, BFLOAT16), "bfloat16"), (np.arange(3), "int64")):
        assert rounded(values, np.dtype(dtype)) is values


def test_the_reference_rounds_once():
    x = np.array([[[1, STEP / 2, 2.0**-40]]], BFLOAT16)
    ones = np.ones((1, 1, 3), BFLOAT16)
    assert fastconv.conv1d(x, ones, algorithm="reference").tolist() == [[[1 + STEP]]]
    found = fastconv.conv1d_weight(x, (1, 1, 1), ones, algorithm="reference")
    assert found.tolist() == [[[1 + STEP]]]
    found = fastconv.lp_pool1d(x, 1, 3, algorithm="reference")
    assert found.tolist() == [[[1 + STEP]]]
    gradient = fastconv.avg_pool_gradient(x, [1], 1, 1, 1, divisor_override=1)
    assert gradient.tolist() == [[[STEP / 2]]]
    overlapping = fastconv.avg_pool_gradient(x, [3], 3, 1, 1, divisor_override=1)  # each is the sum of its windows
    assert overlapping.tolist()[0][0][1] == 1 + STEP
