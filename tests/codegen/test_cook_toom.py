"""The matrices of Winograd's convolution: one typed by hand, then the identity behind all of them, exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv.codegen.cook_toom import POINTS, cook_toom, transforms

SIZES = [(outputs, size + 1 - outputs) for size in POINTS for outputs in range(2, size)]
assert (6, 3) in SIZES

STRIDED = [(outputs, taps, stride) for stride in (2, 3) for outputs in (1, 2, 3, 4) for taps in range(stride, 8)]
assert (2, 7) in SIZES


def apply(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def correlate(weight, data):
    outputs = len(data) - len(weight) + 1
    return [sum(g * data[i + j] for j, g in enumerate(weight)) for i in range(outputs)]


def test_f23_is_the_textbook_one():
    """Lavin and Gray (2016), section 4.1, but for the factors of products.

    Theirs has 1/2 in G instead of AT, and the other sign for infinity in BT and AT.
    """
    half = Fraction(1, 2)
    found = transforms(2, 3)
    assert found.input == (
        (1, 0, -1, 0),
        (0, 1, 1, 0),
        (0, -1, 1, 0),
        (0, -1, 0, 1),
    )
    assert found.weight == (
        (1, 0, 0),
        (1, 1, 1),
        (1, -1, 1),
        (0, 0, 1),
    )
    assert found.output == (
        (1, half, half, 0),
        (0, half, -half, 1),
    )


def test_f22_by_hand():
    """Karatsuba: three products instead of four, and no multiplication besides."""
    found = transforms(2, 2)
    assert found.input == ((1, -1, 0), (0, 1, 0), (0, -1, 1))
    assert found.weight == ((1, 0), (1, 1), (0, 1))
    assert found.output == ((1, 1, 0), (0, 1, 1))


def test_one_tap_is_the_identity():
    """As on the axis of a 1 x N kernel that has no taps to share."""
    found = transforms(1, 1)
    assert (found.size, found.output, found.weight, found.input) == (1, ((1,),), ((1,),), ((1,),))


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_identity_on_every_basis_pair(outputs, taps):
    """The coefficient of g[j] d[k] in y[i] is one where k = i + j, else zero."""
    found = transforms(outputs, taps)
    size = found.size
    assert (len(found.output), len(found.weight), len(found.input)) == (outputs, size, size)
    for i in range(outputs):
        for j in range(taps):
            for k in range(size):
                products = (found.output[i][p] * found.weight[p][j] * found.input[p][k] for p in range(size))
                assert sum(products) == (k == i + j)


def test_a_stride_of_two_by_hand():
    """y0 = g0 d0 + g1 d1 + g2 d2, y1 = g0 d2 + g1 d3 + g2 d4: F(2, 2) of g0, g2 and d0, d2, d4, and twice g1."""
    found = transforms(2, 3, 2)
    assert found.input == (
        (1, 0, -1, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 0, -1, 0, 1),
        (0, 1, 0, 0, 0),
        (0, 0, 0, 1, 0),
    )
    assert found.weight == ((1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0))
    assert found.output == ((1, 1, 0, 1, 0), (0, 1, 1, 0, 1))


@pytest.mark.parametrize(("outputs", "taps", "stride"), STRIDED)
def test_identity_with_a_stride(outputs, taps, stride):
    """The coefficient of g[j] d[k] in y[i] is one where k = stride i + j, else zero."""
    found = transforms(outputs, taps, stride)
    size = stride * (outputs - 1) + taps
    assert (found.size, len(found.output), len(found.weight), len(found.input[0])) == (size, outputs, size, size)
    for i in range(outputs):
        for j in range(taps):
            for k in range(size):
                products = (found.output[i][p] * found.weight[p][j] * found.input[p][k] for p in range(size))
                assert sum(products) == (k == stride * i + j)


FRACTIONS = st.fractions(min_value=-1000, max_value=1000, max_denominator=1000)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exact_on_any_data(data):
    outputs, taps = data.draw(st.sampled_from(SIZES))
    found = transforms(outputs, taps)
    weight = data.draw(st.lists(FRACTIONS, min_size=taps, max_size=taps))
    pixels = data.draw(st.lists(FRACTIONS, min_size=found.size, max_size=found.size))
    products = [g * d for g, d in zip(apply(found.weight, weight), apply(found.input, pixels), strict=True)]
    assert apply(found.output, products) == correlate(weight, pixels)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exact_with_any_points(data):
    outputs, taps = data.draw(st.sampled_from(SIZES))
    size = outputs + taps - 1
    points = tuple(data.draw(st.lists(FRACTIONS, min_size=size - 1, max_size=size - 1, unique=True)))
    found = cook_toom(outputs, taps, points)
    weight, pixels = [Fraction(1 + j) for j in range(taps)], [Fraction(k * k, 1 + k) for k in range(size)]
    products = [g * d for g, d in zip(apply(found.weight, weight), apply(found.input, pixels), strict=True)]
    assert apply(found.output, products) == correlate(weight, pixels)


@pytest.mark.parametrize("points", [(), (0, 1), (0, 1, 1), (0, 1, 2, 3)])
def test_points_must_be_distinct_and_as_many_as_it_takes(points):
    with pytest.raises(ValueError, match="points: F\\(2, 3\\) takes 3 distinct ones"):
        cook_toom(2, 3, tuple(map(Fraction, points)))
