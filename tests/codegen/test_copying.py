"""The emitted copies against what they say, at every width, and not an element further."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from fastconv.codegen import copying
from fastconv.codegen import target as targets

GUARD = -7.0


def call(address, *arguments):
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))
    kind(address)(*arguments)


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_other(dtype):
    for count in range(40):
        source = np.arange(2 * count + 1, dtype=dtype)
        target = np.full(count + 4, GUARD, dtype)
        call(copying.every_other(dtype), target[2:].ctypes.data, source.ctypes.data, count)
        np.testing.assert_array_equal(target[2 : 2 + count], source[: 2 * count : 2])
        np.testing.assert_array_equal(target[[0, 1, -2, -1]], GUARD)


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("groups", "filters", "parts", "size", "larger", "pitch"),
    [
        (1, 6, 1, 6, 0, 6),
        (1, 11, 2, 5, 1, 6),  # 6 and 5 filters
        (2, 16, 1, 16, 0, 16),
        (3, 21, 2, 16, 0, 16),  # 16 and 5 filters
        (1, 1, 1, 1, 0, 1),
        (2, 3, 1, 3, 0, 3),
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 31, 64])
def test_panels(dtype, groups, filters, parts, size, larger, pitch, steps):
    weights = np.random.default_rng(0).random((groups, filters, steps)).astype(dtype)
    count = groups * parts
    target = np.full(count * steps * pitch + 8, GUARD, dtype)
    address = copying.panels(dtype, pitch)
    tail = (parts, size, larger, filters, steps, steps, steps * pitch)
    for first in reversed(range(count)):  # the later panel first: the earlier must not reach into it
        operands = np.array([target[4:].ctypes.data, weights.ctypes.data, *tail])
        call(address, operands.ctypes.data, 0, first, first + 1)
    panels = target[4:-4].reshape(groups, parts, steps, pitch)
    for part in range(parts):
        first = part * size + min(part, larger)
        rows = min(size + (part < larger), filters - first)
        wanted = weights[:, first : first + rows].transpose(0, 2, 1)
        np.testing.assert_array_equal(panels[:, part, :, :rows], wanted)
    np.testing.assert_array_equal(target[[0, 1, 2, 3, -4, -3, -2, -1]], GUARD)


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("pitch", [1, 3, 6, 16])
@pytest.mark.parametrize("taps", [[0], [8], [0, 1, 3, 4], [4, 5, 7, 8]])
def test_panels_of_some_steps(pitch, taps):
    channels, lanes = 5, targets.current().lanes("float32")
    weights = np.random.default_rng(0).random((2, pitch, channels, 9)).astype("f4")  # two panels of whole tiles
    wanted = np.zeros((channels, 9), np.int64)
    wanted[:, taps] = 1
    places = np.cumsum(wanted) - wanted.ravel()
    steps = channels * len(taps)
    stride = (steps + copying.spilled_steps(pitch, lanes) + 1) * pitch
    target = np.full(2 * stride + 8, GUARD, "f4")
    address = copying.panels("float32", pitch, some=True)
    operands = np.array(
        [target[4:].ctypes.data, weights.ctypes.data, 2, pitch, 0, 2 * pitch, 45, 45, stride, places.ctypes.data]
    )
    for first in (1, 0):  # the later panel first: the earlier must not reach into it
        call(address, operands.ctypes.data, 0, first, first + 1)
    panels = target[4:-4].reshape(2, stride)[:, : steps * pitch].reshape(2, steps, pitch)
    expected = weights[..., taps].reshape(2, pitch, steps).transpose(0, 2, 1)
    np.testing.assert_array_equal(panels, expected)
    np.testing.assert_array_equal(target[[0, 1, 2, 3, -4, -3, -2, -1]], GUARD)
