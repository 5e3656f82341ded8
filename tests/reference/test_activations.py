from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from fastconv import problem
from fastconv.reference import ACTIVATIONS

KNOWN = {  # at -4, -1, 0, 1, 8
    "relu": [0, 0, 0, 1, 8],
    "relu6": [0, 0, 0, 1, 6],
    "leaky_relu": [-0.04, -0.01, 0, 1, 8],
    "sigmoid": [0.01798621, 0.26894142, 0.5, 0.73105858, 0.99966465],
    "tanh": [-0.9993293, -0.76159416, 0, 0.76159416, 0.99999977],
    "silu": [-0.07194484, -0.26894142, 0, 0.73105858, 7.9973172],
    "gelu": [-0.00012669, -0.15865525, 0, 0.84134475, 8],
    "hardswish": [0, -1 / 3, 0, 2 / 3, 8],
}


def test_the_names_are_the_contract_s():
    assert tuple(ACTIVATIONS) == problem.ACTIVATIONS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_known_answers(name):
    x = np.array([-4.0, -1.0, 0.0, 1.0, 8.0])
    np.testing.assert_allclose(ACTIVATIONS[name](x), KNOWN[name], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    result = ACTIVATIONS[name](np.array([np.nan, 1.0]))
    assert np.isnan(result).tolist() == [True, False]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_overflows_or_warns(name):
    x = np.array([-1.7e308, -1e4, -800.0, -30.0, 30.0, 800.0, 1e4, 1.7e308])
    with np.errstate(all="raise"):
        result = ACTIVATIONS[name](x)
    right = {"relu6": 6.0, "sigmoid": 1.0, "tanh": 1.0}.get(name, x[4:])
    np.testing.assert_allclose(result[4:], right, rtol=1e-12)
    left = {"leaky_relu": 0.01 * x[:4], "tanh": -1.0}.get(name, 0.0)
    np.testing.assert_allclose(result[:4], left, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("relu", 0, np.inf),
        ("relu6", 0, 6),
        ("leaky_relu", -np.inf, np.inf),
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
        ("silu", np.nan, np.inf),  # minus infinity times zero
        ("gelu", np.nan, np.inf),
        ("hardswish", np.nan, np.inf),
    ],
)
def test_infinities_go_through_the_formula(name, left, right):
    result = ACTIVATIONS[name](np.array([-np.inf, np.inf]))
    np.testing.assert_array_equal(result, [left, right])


def test_sigmoid_and_gelu_agree_with_scipy_in_the_tails():
    x = np.linspace(-37, 37, 149)
    np.testing.assert_allclose(ACTIVATIONS["sigmoid"](x), special.expit(x), rtol=1e-15)
    np.testing.assert_allclose(ACTIVATIONS["gelu"](x), x * special.ndtr(x), rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_shapes_are_kept(name):
    assert ACTIVATIONS[name](np.zeros((2, 0, 3))).shape == (2, 0, 3)
    assert ACTIVATIONS[name](np.zeros((2, 1))).shape == (2, 1)


def test_relu_keeps_integers():
    x = np.array([-3, 2, 9])
    assert ACTIVATIONS["relu"](x).tolist() == [0, 2, 9]
    assert ACTIVATIONS["relu6"](x).tolist() == [0, 2, 6]
    assert ACTIVATIONS["relu"](x).dtype == ACTIVATIONS["relu6"](x).dtype == x.dtype
