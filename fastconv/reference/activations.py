"""Activations: functions of one number that follow a convolution.

NaN stays NaN. Infinities go through the formulas as written, so silu, gelu and hardswish of minus
infinity, where the formula is minus infinity times zero, are NaN (though their limit is 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastconv import problem
from fastconv.arguments import one_of

INTEGER_ACTIVATIONS = ("relu", "relu6")  # integers again: the others are curved, or have slope 0.01

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def relu(x: np.ndarray) -> np.ndarray:
    """Rectified linear unit, ``max(x, 0)``.

    Examples
    --------
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.asarray(np.maximum(x, 0))


def relu6(x: np.ndarray) -> np.ndarray:
    """Rectified linear unit that stops at 6, ``min(max(x, 0), 6)``.

    Examples
    --------
    >>> relu6(np.array([-1.0, 2.0, 9.0]))
    array([0., 2., 6.])
    """
    return np.asarray(np.minimum(np.maximum(x, 0), 6))


def leaky_relu(x: np.ndarray) -> np.ndarray:
    """Return x where it is positive, ``0.01 * x`` where it is not.

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return np.where(x > 0, x, 0.01 * x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function, ``1 / (1 + exp(-x))``.

    Where x is negative the fraction is widened by exp(x): no exponential then overflows.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    with np.errstate(under="ignore"):
        small = np.exp(-np.abs(x))  # in (0, 1]
        return np.asarray(np.where(x < 0, small, 1.0) / (1.0 + small))


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent.

    Examples
    --------
    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return np.asarray(np.tanh(x))


def silu(x: np.ndarray) -> np.ndarray:
    """Sigmoid linear unit (swish), ``x * sigmoid(x)``.

    Examples
    --------
    >>> silu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    with np.errstate(invalid="ignore", under="ignore"):
        return np.asarray(x * sigmoid(x))


def gelu(x: np.ndarray) -> np.ndarray:
    """Gaussian error linear unit, ``x * (1 + erf(x / sqrt(2))) / 2``: exact, not the tanh formula.

    ``1 + erf(z) = erfc(-z)``, without the cancellation on the left where erf nears -1.

    Examples
    --------
    >>> gelu(np.array([0.0, 1.0, 100.0])).round(4)
    array([  0.    ,   0.8413, 100.    ])
    """
    with np.errstate(invalid="ignore", under="ignore"):
        return np.asarray(x * (0.5 * _erfc(-x / math.sqrt(2.0))))


def hardswish(x: np.ndarray) -> np.ndarray:
    """Swish in straight pieces, ``x * relu6(x + 3) / 6``.

    Examples
    --------
    >>> hardswish(np.array([-3.0, 0.0, 3.0]))
    array([-0.,  0.,  3.])
    """
    with np.errstate(invalid="ignore", under="ignore"):
        return np.asarray(x * (relu6(x + 3.0) / 6.0))  # divided first: x * 6 could overflow


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "silu": silu,
    "gelu": gelu,
    "hardswish": hardswish,
}


def check_activation(activation: str | None, dtype: np.dtype) -> None:
    """Raise unless `activation` is None or the name of one that `dtype` can have.

    Raises
    ------
    TypeError
        If `activation` is no string, or its values on integers would be no integers.
    ValueError
        If it is no name in `ACTIVATIONS`.
    """
    if activation is None:
        return
    one_of(activation, problem.ACTIVATIONS, "activation")
    if dtype.kind != "f" and activation not in INTEGER_ACTIVATIONS:
        raise TypeError(
            f"activation must be one of {', '.join(INTEGER_ACTIVATIONS)} for integers, "
            f"got {activation!r}"
        )
