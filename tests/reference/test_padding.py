from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv.problem import PADDING_MODES
from fastconv.reference import pad
from fastconv.reference.padding import fold_planes, pad_planes

NUMPY_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("zeros", [0, 0, 1, 2, 3, 4, 0, 0, 0]),
        ("reflect", [3, 2, 1, 2, 3, 4, 3, 2, 1]),
        ("replicate", [1, 1, 1, 2, 3, 4, 4, 4, 4]),
        ("circular", [3, 4, 1, 2, 3, 4, 1, 2, 3]),
        ("symmetric", [2, 1, 1, 2, 3, 4, 4, 3, 2]),
    ],
)
def test_known_answers(mode, expected):
    assert pad([[[1, 2, 3, 4]]], [(2, 3)], mode).tolist() == [[expected]]


def test_two_axes_pad_the_corners_too():
    x = [[[[1, 2], [3, 4]]]]
    expected = [[4, 3, 4, 3], [2, 1, 2, 1], [4, 3, 4, 3], [2, 1, 2, 1]]
    assert pad(x, 1, "reflect").tolist() == [[expected]]


def test_channels_last_pads_the_middle_axes():
    x = np.arange(6).reshape(1, 3, 2)
    assert pad(x, 1, "replicate", layout="channels_last").shape == (1, 5, 2)
    assert pad(x, 1, "replicate", layout="channels_last")[0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("dtype", ["float32", "int8", ">f8"])
def test_numpy_pads_alike(mode, dtype):
    x = np.random.default_rng(0).integers(-9, 9, (2, 3, 4, 5, 6)).astype(dtype)
    padding = ((1, 3), (2, 0), (0, 4))
    expected = np.pad(x, ((0, 0), (0, 0), *padding), mode=NUMPY_MODES[mode])
    result = pad(x, padding, mode)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == x.dtype.newbyteorder("=")


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_an_empty_batch_stays_empty(mode):
    assert pad(np.zeros((0, 2, 3)), 1, mode).shape == (0, 2, 5)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_the_input_is_not_returned_itself(mode):
    x = np.zeros((1, 1, 3))
    assert not np.shares_memory(pad(x, 0, mode), x)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_folding_is_the_adjoint_of_padding(data):
    mode = data.draw(st.sampled_from(PADDING_MODES))
    size = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    most = {"reflect": [w - 1 for w in size], "circular": size, "symmetric": size}
    limits = most.get(mode, [6] * len(size))
    padding = tuple(
        (data.draw(st.integers(0, limit)), data.draw(st.integers(0, limit))) for limit in limits
    )
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x = random.integers(-9, 10, (2, *size))
    padded = pad_planes(x, padding, mode)
    y = random.integers(-9, 10, padded.shape)
    before = y.copy()
    folded = fold_planes(y, padding, mode)
    assert (padded * y).sum() == (x * folded).sum()
    np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[[1, 2, 3]]], 3, "reflect"), ValueError, "padding must be at most 2"),
        (([[[1, 2, 3]]], 4, "circular"), ValueError, "padding must be at most 3"),
        (([[[1, 2, 3]]], 1, "constant"), ValueError, "mode must be one of"),
        (([[[1, 2, 3]]], -1, "zeros"), ValueError, "padding must not be negative"),
        (([[1, 2, 3]], 1, "zeros"), ValueError, "x must have a batch axis"),
        ((np.ones((1, 1, 0)), 1, "zeros"), ValueError, "x must have no empty spatial axis"),
        (([[[1j]]], 1, "zeros"), TypeError, r"x\.dtype must be one of"),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        pad(*arguments)
