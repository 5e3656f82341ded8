"""The bound of Winograd's error against errors of Winograd's convolution, simulated operation by operation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.codegen.cook_toom import POINTS, cook_toom, transforms
from fastconv.codegen.straight_line import program
from fastconv.codegen.winograd_error import amplification, relative_error

SIZES = [(2, 3), (4, 3), (6, 3), (2, 5), (4, 5), (2, 7), (3, 3), (5, 3)]
NESTED = [((m, m), (r, r)) for m, r in SIZES] + [((1, m), (1, r)) for m, r in SIZES] + [((2, 4), (5, 3))]


class Rounded:
    """Arithmetic on arrays of one type, every operation rounded: no fused multiply-add."""

    def __init__(self, dtype):
        self.type = np.dtype(dtype).type

    def add(self, a, b):
        return a + b

    def subtract(self, a, b):
        return a - b

    def multiply(self, constant, a):
        return self.type(float(constant)) * a

    def multiply_add(self, constant, a, b):
        return self.type(float(constant)) * a + b


def transform(matrices, x):
    """Apply a matrix along each of the last two axes."""
    for axis, matrix in zip((-2, -1), matrices, strict=True):
        results = program(matrix).apply(list(np.moveaxis(x, axis, 0)), Rounded(x.dtype))
        x = np.moveaxis(np.stack(results), 0, axis)
    return x


def winograd(axes, x, weight):
    """Return the correlation of x (C, H, W) with weight (K, C, r1, r2), both of one floating type, tile by tile."""
    u = transform([axis.weight for axis in axes], weight)
    tiles = sliding_window_view(x, [axis.size for axis in axes], axis=(1, 2))
    tiles = tiles[:, :: axes[0].outputs, :: axes[1].outputs]
    v = transform([axis.input for axis in axes], tiles)
    products = np.zeros((len(u), *v.shape[1:]), x.dtype)
    for c in range(len(x)):
        products += u[:, c, None, None] * v[c]
    y = transform([axis.output for axis in axes], products)
    filters, rows, columns, high, wide = y.shape
    return y.transpose(0, 1, 3, 2, 4).reshape(filters, rows * high, columns * wide)


def correlate(x, weight):
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4]))


def relative(axes, x, weight, against):
    """Return the 2-norm of the float32 error, relative to that of `against`; x is padded so that nothing is cut off."""
    x, weight = (array.astype(np.float32) for array in (x, weight))
    edges = [(axis.taps - 1, axis.taps - 1 + -(size + axis.taps - 1) % axis.outputs)
             for axis, size in zip(axes, x.shape[1:], strict=True)]  # fmt: skip
    x = np.pad(x, [(0, 0), *edges])
    wide = x.astype(float), weight.astype(float)
    return np.linalg.norm(winograd(axes, x, weight) - correlate(*wide)) / np.linalg.norm(correlate(*against(*wide)))


def itself(x, weight):
    return x, weight


def magnitudes(x, weight):
    return abs(x), abs(weight)


def normal(rng, x, weight):
    return rng.standard_normal(x), rng.standard_normal(weight)


def positive(rng, x, weight):
    return rng.random(x), rng.random(weight)


def positive_by_normal(rng, x, weight):
    return rng.random(x), rng.standard_normal(weight)


def constants(rng, x, weight):
    """One constant each: the roundings are all the same."""
    return np.full(x, rng.random()), np.full(weight, rng.random())


def constant_by_zero_sum(rng, x, weight):
    """Within the planes, everything cancels."""
    weight = rng.standard_normal(weight)
    return np.full(x, 100.1), weight - weight.mean((2, 3), keepdims=True)


def offset(rng, x, weight):
    return rng.random(x) + 1000, rng.standard_normal(weight)


def alternating(rng, x, weight):
    """A chessboard, which is what the points -1 see."""
    rows, columns = np.indices(x[1:])
    return np.broadcast_to(rng.random() * (-1.0) ** (rows + columns), x), rng.standard_normal(weight)


def huge_channel(rng, x, weight):
    x, weight = normal(rng, x, weight)
    x[0] *= 1e5
    return x, weight


def cancelling_channels(rng, x, weight):
    """Every channel meets its negative, almost."""
    x, weight = normal(rng, x, weight)
    half = len(x) // 2
    x[half : 2 * half] = x[:half]
    weight[:, half : 2 * half] = -weight[:, :half] * (1 + 1e-5 * rng.standard_normal(weight[:, :half].shape))
    return x, weight


def spike(rng, x, weight):
    """One pixel, one tap."""
    image, filters = np.zeros(x), np.zeros(weight)
    image[:, rng.integers(x[1]), rng.integers(x[2])] = rng.random(x[0]) + 0.5
    filters[:, :, rng.integers(weight[2]), rng.integers(weight[3])] = rng.random(weight[:2]) + 0.5
    return image, filters


def ramp(rng, x, weight):
    rows, columns = np.indices(x[1:])
    return rows + columns + 0.01 * rng.standard_normal(x), rng.standard_normal(weight)


def heavy_tails(rng, x, weight):
    """Quotients of normal values: the largest of many is as large as all the others."""
    return tuple(rng.standard_normal(size) / rng.standard_normal(size) for size in (x, weight))


def worst(kind, outputs, taps, channels, against):
    """Return the largest error of some draws."""
    axes = [transforms(*axis) for axis in zip(outputs, taps, strict=True)]
    errors = []
    for seed in range(3):
        x, weight = kind(np.random.default_rng(seed), (channels, 11, 13), (2, channels, *taps))
        errors.append(relative(axes, x, weight, against))
    return max(errors)


def bound_of(outputs, taps, channels, dtype):
    return relative_error(tuple(zip(outputs, taps, strict=True)), channels, dtype)


def test_amplification_by_hand():
    """F(2, 3) with 0, 1, -1: 1 * 1 * 2 for zero, 1/2 * 3 * 2 for 1 and for -1, 1 * 1 * 2 for infinity; over 2 * 3."""
    assert amplification(transforms(2, 3)) == pytest.approx((10 / 6) ** 0.5)
    assert amplification(transforms(1, 1)) == 1


def test_bound_by_hand():
    """2 x 3: four products an axis, 3 + 2 + 3 additions."""
    expected = 4 * 2.0**-24 * (100 + 8 + 8) ** 0.5 * (10 / 6)
    assert relative_error(((2, 3), (2, 3)), 100, "float32") == pytest.approx(expected)
    assert relative_error(((2, 3), (2, 3)), 100, "float64") == pytest.approx(expected * 2.0**-29)
    assert relative_error(((1, 1),), 9, "float32") == pytest.approx(4 * 2.0**-24 * 3)


@pytest.mark.parametrize("channels", [1, 16, 128])
@pytest.mark.parametrize(("outputs", "taps"), NESTED)
def test_random_data_is_close_to_the_bound(outputs, taps, channels):
    bound = bound_of(outputs, taps, channels, "float32")
    error = worst(normal, outputs, taps, channels, itself)
    assert error <= bound <= 25 * error
    for kind in (positive, positive_by_normal):
        assert worst(kind, outputs, taps, channels, itself) <= bound


@pytest.mark.parametrize(
    "kind",
    [
        constants, constant_by_zero_sum, offset, alternating, huge_channel, cancelling_channels, spike, ramp,
        heavy_tails,
    ],
)  # fmt: skip
@pytest.mark.parametrize(("outputs", "taps"), NESTED)
def test_no_data_passes_the_bound(outputs, taps, kind):
    for channels in (2, 128):
        assert worst(kind, outputs, taps, channels, magnitudes) <= bound_of(outputs, taps, channels, "float32")


@pytest.mark.parametrize(("outputs", "limit"), [(2, 8e-7), (4, 3e-6), (6, 1e-5)])
def test_errors_of_many_channels(outputs, limit):
    assert worst(normal, (outputs, outputs), (3, 3), 512, itself) <= limit


@pytest.mark.parametrize(("outputs", "taps"), NESTED)
def test_float64(outputs, taps):
    """Integers of 26 bits: direct sums of their products are exact in 64."""
    axes = [transforms(*axis) for axis in zip(outputs, taps, strict=True)]
    rng = np.random.default_rng(0)
    height, width = (3 * axis.outputs + axis.taps - 1 for axis in axes)
    x, weight = (rng.integers(-(2**26), 2**26, size) for size in ((16, height, width), (2, 16, *taps)))
    error = winograd(axes, x.astype(float), weight.astype(float)) - correlate(x, weight)
    ratio = np.linalg.norm(error) / np.linalg.norm(correlate(x, weight).astype(float))
    assert 0 < ratio <= bound_of(outputs, taps, 16, "float64") <= 30 * ratio


@pytest.mark.parametrize("size", [size for size in POINTS if size > 3])
def test_points_are_the_best_around(size):
    """Moving a pair of points by an eighth either way, or all of them, does not gain five percent."""
    outputs, taps, points = size - 2, 3, POINTS[size]
    best = amplification(transforms(outputs, taps))
    eighth = Fraction(1, 8)
    for ratio in (1 - eighth, 1 + eighth):
        moved = [tuple(ratio * q if abs(q) == abs(p) else q for q in points) for p in points if p > 0]
        for nearby in (*moved, tuple(ratio * q for q in points)):
            assert amplification(cook_toom(outputs, taps, nearby)) > 0.95 * best
