"""The public gradients of poolings: against finite differences, and PyTorch's autograd."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv

X = np.random.default_rng(0).permutation(2 * 3 * 7 * 8).reshape(2, 3, 7, 8) / 100.0 + 0.1  # no ties, no zeros
WINDOWS = {"stride": 2, "padding": 1, "ceil_mode": True}


def differences(function, grad_output):
    """The gradient of sum(function(x) * grad_output) by central differences."""
    gradient, step = np.empty_like(X), 1e-5
    for place in np.ndindex(*X.shape):
        moved = [X.copy(), X.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        above, below = ((function(x) * grad_output).sum() for x in moved)
        gradient[place] = (above - below) / (2 * step)
    return gradient


def of_max(grad_output, layout):
    _, indices = fastconv.max_pool2d(X, 3, **WINDOWS, return_indices=True, layout=layout)
    return fastconv.max_pool_gradient(grad_output, indices, size(layout), layout=layout)


def size(layout):
    return X.shape[2:] if layout == "channels_first" else X.shape[1:3]


CASES = {
    "max": (lambda x, layout: fastconv.max_pool2d(x, 3, **WINDOWS, layout=layout), of_max),
    "avg": (
        lambda x, layout: fastconv.avg_pool2d(x, 3, **WINDOWS, count_include_pad=False, layout=layout),
        lambda grad, layout: fastconv.avg_pool_gradient(
            grad, size(layout), 3, **WINDOWS, count_include_pad=False, layout=layout
        ),
    ),
    "lp": (
        lambda x, layout: fastconv.lp_pool2d(x, 3.0, 3, **WINDOWS, layout=layout),
        lambda grad, layout: fastconv.lp_pool_gradient(grad, X, 3.0, 3, **WINDOWS, layout=layout),
    ),
    "adaptive": (
        lambda x, layout: fastconv.adaptive_avg_pool2d(x, 3, layout=layout),
        lambda grad, layout: fastconv.adaptive_avg_pool_gradient(grad, size(layout), layout=layout),
    ),
    "channel": (
        lambda x, layout: fastconv.channel_pool(x, 2, 1, kind="average", layout=layout),
        lambda grad, layout: fastconv.channel_pool_gradient(grad, X, 2, 1, kind="average", layout=layout),
    ),
}


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("case", CASES)
def test_finite_differences(case, layout):
    function, gradient = CASES[case]
    shape = function(X, layout).shape
    grad_output = np.random.default_rng(1).standard_normal(shape)
    expected = differences(lambda x: function(x, layout), grad_output)
    assert np.allclose(gradient(grad_output, layout), expected, atol=1e-7)


def test_the_gradient_of_unpooling():
    y, indices = fastconv.max_pool2d(X, 2, return_indices=True)
    grad_output = np.random.default_rng(2).standard_normal(X.shape)
    gradient = fastconv.max_unpool_gradient(grad_output, indices)
    changed = fastconv.max_unpool2d(y + 1, indices, 2, output_size=X.shape[2:])
    unchanged = fastconv.max_unpool2d(y, indices, 2, output_size=X.shape[2:])
    assert np.isclose(((changed - unchanged) * grad_output).sum(), gradient.sum())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch(dtype):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = X.astype(dtype)
    tensor = torch.from_numpy(x).requires_grad_()
    _, indices = fastconv.max_pool2d(x, 3, **WINDOWS, return_indices=True)
    grad_output = np.random.default_rng(3).standard_normal(indices.shape).astype(dtype)
    pairs = {
        functional.max_pool2d(tensor, 3, **WINDOWS): fastconv.max_pool_gradient(grad_output, indices, x.shape[2:]),
        functional.avg_pool2d(tensor, 3, **WINDOWS): fastconv.avg_pool_gradient(grad_output, x.shape[2:], 3, **WINDOWS),
        functional.adaptive_avg_pool2d(tensor, indices.shape[2:]): fastconv.adaptive_avg_pool_gradient(
            grad_output, x.shape[2:]
        ),
    }
    for y, found in pairs.items():
        (expected,) = torch.autograd.grad(y, tensor, torch.from_numpy(grad_output))
        assert found.dtype == dtype
        assert np.allclose(found, expected.numpy(), atol=1e-6)
