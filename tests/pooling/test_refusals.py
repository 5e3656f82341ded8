"""Wrong calls of poolings: what each raises, and what its message says."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv

X = np.random.default_rng(0).standard_normal((2, 3, 9, 11)).astype(np.float32)

REFUSALS = [
    (ValueError, "kernel_size must be positive, got 0", lambda: fastconv.max_pool2d(X, 0)),
    (TypeError, "kernel_size must be an int", lambda: fastconv.max_pool2d(X, 2.0)),
    (ValueError, "stride must have length 2", lambda: fastconv.avg_pool2d(X, 2, (1, 1, 1))),
    (ValueError, "padding must not be negative", lambda: fastconv.max_pool2d(X, 2, padding=-1)),
    (ValueError, "dilation must be positive", lambda: fastconv.max_pool2d(X, 2, dilation=0)),
    (TypeError, "ceil_mode must be a bool", lambda: fastconv.max_pool2d(X, 2, ceil_mode=1)),
    (TypeError, "return_indices must be a bool", lambda: fastconv.max_pool2d(X, 2, return_indices=1)),
    (TypeError, "count_include_pad must be a bool", lambda: fastconv.avg_pool2d(X, 2, count_include_pad=1)),
    (ValueError, "divisor_override must be positive", lambda: fastconv.avg_pool2d(X, 2, divisor_override=0)),
    (ValueError, "norm_type must be a positive finite number", lambda: fastconv.lp_pool2d(X, 0, 2)),
    (TypeError, "norm_type must be a number", lambda: fastconv.lp_pool2d(X, "2", 2)),
    (ValueError, "x must hold one window", lambda: fastconv.max_pool2d(X, 12)),
    (ValueError, "x must have 4 axes, or 3 for one image", lambda: fastconv.max_pool2d(X[0, 0], 2)),
    (ValueError, "x must have no empty spatial axis", lambda: fastconv.max_pool2d(X[..., :0], 2)),
    (TypeError, "x must have a floating dtype", lambda: fastconv.avg_pool2d(X.astype(np.int32), 2)),
    (TypeError, "x must be one of", lambda: fastconv.max_pool2d(X.astype(complex), 2)),
    (TypeError, "x must be an array, got str", lambda: fastconv.max_pool2d("x", 2)),
    (ValueError, "layout must be one of", lambda: fastconv.max_pool2d(X, 2, layout="nchw")),
    (TypeError, "algorithm must be a str", lambda: fastconv.max_pool2d(X, 2, algorithm=None)),
    (TypeError, "out must be an array", lambda: fastconv.max_pool2d(X, 2, out=[])),
    (ValueError, "out must have shape", lambda: fastconv.max_pool2d(X, 2, out=X.copy())),
    (ValueError, "output_size must be positive", lambda: fastconv.adaptive_avg_pool2d(X, 0)),
    (ValueError, "output_size must have length 2", lambda: fastconv.adaptive_avg_pool2d(X, (1, 2, 3))),
    (TypeError, "output_size must be an int", lambda: fastconv.adaptive_max_pool2d(X, 1.5)),
    (TypeError, "keepdims must be a bool", lambda: fastconv.global_avg_pool(X, keepdims=1)),
    (ValueError, r"out must have shape \(N, C\)", lambda: fastconv.global_avg_pool(X, keepdims=False, out=X)),
    (ValueError, "kind must be one of max, average, lp", lambda: fastconv.channel_pool(X, 2, kind="mean")),
    (ValueError, "x must hold one window", lambda: fastconv.channel_pool(X, 4)),
    (ValueError, "indices must be from -1 to", lambda: fastconv.max_unpool2d(X, np.full(X.shape, 10**6), 2)),
    (ValueError, "indices must have shape", lambda: fastconv.max_unpool2d(X, np.zeros((1, 1, 2, 2), int), 2)),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSALS)
def test_wrong_calls(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_what_was_right_does_not_make_right_what_is_wrong():
    """Calls are kept by their arguments, and True is not 1."""
    assert fastconv.max_pool2d(X, (1, 1)).shape == X.shape
    for wrong in ((True, 1), (1.0, 1), True):
        with pytest.raises(TypeError, match="kernel_size must be"):
            fastconv.max_pool2d(X, wrong)
