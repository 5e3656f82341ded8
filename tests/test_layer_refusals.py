"""What layers refuse: at once where no input could make it right, else in the call, in their functions' words."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastconv
from fastconv import Conv1d, Conv2d, UnsupportedError

W = np.ones((8, 4, 3, 3), np.float32)
X = np.ones((2, 4, 6, 7), np.float32)
INT_W = np.ones((8, 4, 3, 3), np.int32)

# What a function refuses whatever its input is, a layer refuses when it is made, in the same words.
NEVER_RIGHT = [
    {"stride": 0},
    {"stride": (1, 1, 1)},
    {"stride": 1.0},
    {"stride": np.array([1, 2])},
    {"padding": -1},
    {"padding": "full"},
    {"padding": (1, (1, 1))},
    {"padding": None},
    {"dilation": 0},
    {"dilation": (1, False)},
    {"groups": 0},
    {"groups": True},
    {"padding_mode": "wrap"},
    {"padding_mode": None},
    {"flip": 1},
    {"layout": "NHWC"},
    {"layout": 1},
    {"activation": "elu"},
    {"activation": np.tanh},
    {"algorithm": "fastest"},
    {"algorithm": None},
    {"tolerance": 0},
    {"tolerance": "low"},
    {"bias": np.ones(4)},
    {"bias": np.ones((8, 1))},
    {"bias": 0},
    {"bias": np.ones(8, complex)},
    {"bias": np.ma.ones(8)},
    {"weight": W[0]},
    {"weight": W[:0]},
    {"weight": W[..., :0]},
    {"weight": W.astype(complex)},
    {"weight": {}},
    {"weight": np.ma.array(W)},
]


@pytest.mark.parametrize("wrong", NEVER_RIGHT, ids=lambda wrong: next(iter(wrong)))
def test_what_no_input_makes_right_is_refused_at_once(wrong):
    arguments = {"weight": W, **wrong}
    with pytest.raises((TypeError, ValueError)) as by_function:
        fastconv.conv2d(X, **arguments)
    with pytest.raises(type(by_function.value), match=f"^{re.escape(str(by_function.value))}$"):
        Conv2d(**arguments)


def test_groups_that_do_not_divide_the_filters():
    with pytest.raises(ValueError, match="groups must divide the 12 channels and the 8 filters, got 3"):
        Conv2d(W, groups=3)


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ({}, {"x": None}),
        ({}, {"x": X[0, 0]}),
        ({}, {"x": X[:, :3]}),
        ({}, {"x": X[..., :2]}),
        ({}, {"x": X.astype(complex)}),
        ({"dilation": 3}, {"x": X}),
        ({"padding": 6, "padding_mode": "reflect"}, {"x": X}),
        ({"layout": "channels_last"}, {"x": X}),
        ({"algorithm": "depthwise"}, {"x": X}),
        ({}, {"x": X, "residual": np.ones((2, 8, 6, 7))}),
        ({}, {"x": X, "residual": 1.0}),
        ({}, {"x": X, "out": np.zeros((2, 8, 6, 7), np.float32)}),
        ({}, {"x": X, "out": np.zeros((2, 8, 4, 5))}),
        ({"weight": INT_W, "activation": "gelu"}, {"x": X.astype(np.int32)}),
        ({"weight": INT_W, "bias": np.ones(8)}, {"x": X.astype(np.int32)}),
    ],
)
def test_what_depends_on_the_input_is_refused_by_the_call(arguments, call):
    arguments = {"weight": W, **arguments}
    with pytest.raises((TypeError, ValueError, UnsupportedError)) as by_function:
        fastconv.conv2d(**arguments, **call)
    layer = Conv2d(**arguments)
    for _ in range(2):
        with pytest.raises(type(by_function.value), match=f"^{re.escape(str(by_function.value))}$"):
            layer(**call)


def test_integer_weights_may_meet_floats():
    layer = Conv2d(INT_W, np.ones(8), activation="gelu")
    expected = fastconv.conv2d(X, INT_W, np.ones(8), activation="gelu")
    assert layer(X).tobytes() == expected.tobytes()
    with pytest.raises(TypeError, match="activation must be one of relu, relu6 for integers"):
        layer(X.astype(np.int32))


def test_a_wide_window_and_wide_padding_wait_for_the_input():
    assert Conv1d(np.ones((1, 1, 3)), dilation=10**6)(np.ones((1, 1, 2 * 10**6 + 1))).tolist() == [[[3.0]]]
    layer = Conv1d(np.ones((1, 1, 3)), padding=50, padding_mode="reflect")
    assert layer(np.ones((1, 1, 51))).shape == (1, 1, 149)
    with pytest.raises(ValueError, match="padding must be at most 49"):
        layer(np.ones((1, 1, 50)))


def test_a_layer_refuses_what_its_function_has_and_a_layer_has_not():
    with pytest.raises(TypeError, match="residual"):
        Conv2d(W, residual=X)
    with pytest.raises(TypeError, match="out"):
        Conv2d(W, out=X)
