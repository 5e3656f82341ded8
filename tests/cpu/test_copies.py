"""Copies between views: what NumPy makes of the same views, and no element beside them is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv.cpu.copies import ROWS, copy_of, dense
from fastconv.strided import Axis, Strided, merged


def seen(array, view):
    """Return what a view takes of a contiguous array, by NumPy."""
    strides = [array.itemsize * stride for stride in view.strides]
    return np.ndarray(view.shape, array.dtype, array, view.offset * array.itemsize, strides)


def test_axes_that_lie_alike_become_one():
    whole = Strided.dense((2, 3, 4))
    assert merged(whole, whole) == (Axis(24, 1, 1),)
    swapped = merged(whole.transposed(0, 2, 1), Strided.dense((2, 4, 3)))
    assert swapped == (Axis(2, 12, 12), Axis(4, 1, 3), Axis(3, 4, 1))
    assert merged(whole.taken(1, 2, -1, 3), whole) == (Axis(2, 12, 12), Axis(3, -4, 4), Axis(4, 1, 1))
    assert merged(Strided.dense((1, 1)), Strided.dense((1, 1))) == ()


def test_by_hand():
    array = np.arange(6.0).reshape(2, 3)
    whole = Strided.dense((2, 3))
    assert dense(array, whole) is array
    assert dense(array, whole.transposed(1, 0)).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert dense(array, whole.taken(1, 2, -2, 2)).tolist() == [[2, 0], [5, 3]]
    assert dense(array, whole.taken(0, 1, 1, 1).taken(1, 1, 1, 1)).tolist() == [[4]]
    assert dense(array, Strided((2, 2), (1, 1), 1)).tolist() == [[1, 2], [2, 3]]  # windows overlap


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (ROWS, ROWS), (ROWS + 1, 2 * ROWS + 3), (70, 9), (9, 70)])
def test_transpositions(shape, dtype):
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    np.testing.assert_array_equal(dense(array, Strided.dense(shape).transposed(1, 0)), array.T)


@st.composite
def views(draw):
    """Draw a shape, and a view of it with some places of each axis, in another order."""
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=7))
    view = Strided.dense(shape)
    for axis, size in enumerate(shape):
        first, last = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        step = draw(st.integers(1, 3))
        count = abs(last - first) // step + 1
        view = view.taken(axis, first, step if last >= first else -step, count)
    return tuple(shape), view.transposed(*draw(st.permutations(range(len(shape)))))


@settings(max_examples=200)
@given(drawn=views(), data=st.data())
def test_any_views(drawn, data):
    shape, source = drawn
    array = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    wanted = seen(array, source)
    np.testing.assert_array_equal(dense(array, source), wanted)
    # into some places of a larger array, with the axes in another order
    order = data.draw(st.permutations(range(len(shape))))
    steps = [data.draw(st.integers(1, 2)) for _ in shape]
    around = [steps[axis] * source.shape[axis] + 1 for axis in order]
    target = Strided.dense(around).transposed(*np.argsort(order).tolist())
    for axis, step in enumerate(steps):
        target = target.taken(axis, 1, step, source.shape[axis])
    memory = np.zeros(around)
    copy_of(source, target, "float64")(array, source.offset, memory, target.offset)
    np.testing.assert_array_equal(seen(memory, target), wanted)
    assert np.count_nonzero(memory) == wanted.size  # nothing else was written


def test_threads(always_threads):
    array = np.arange(40.0 * 50 * 9).reshape(40, 50, 9)
    view = Strided.dense(array.shape).transposed(1, 0, 2).taken(2, 8, -1, 9)
    for threads in (1, 2, 3):
        always_threads(threads)
        np.testing.assert_array_equal(dense(array, view), array.transpose(1, 0, 2)[..., ::-1])
    fastconv.clear_cache()
