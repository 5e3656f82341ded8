"""The oracle: every operation of the package in NumPy alone, written to be read.

Each function's docstring has the formula, and its body is the formula with one loop, over the taps
of the kernel or the elements of a window. Floats are summed in float64, and integers exactly.
Everything else in the package is measured against these functions, and with
``algorithm="reference"`` they are what runs.

Arrays always have their batch axis here: (N, C, *spatial), or (N, *spatial, C) with
``layout="channels_last"``; 1 to 3 spatial axes.
"""

from __future__ import annotations

from fastconv.reference.activations import ACTIVATIONS
from fastconv.reference.adaptive import (
    adaptive_avg_pool,
    adaptive_max_pool,
    global_avg_pool,
    global_lp_pool,
    global_max_pool,
)
from fastconv.reference.convolution import (
    conv,
    conv_bias_gradient,
    conv_input_gradient,
    conv_weight_gradient,
)
from fastconv.reference.padding import pad
from fastconv.reference.pooling import avg_pool, channel_pool, lp_pool, max_pool, max_unpool
from fastconv.reference.pooling_gradients import (
    adaptive_avg_pool_gradient,
    avg_pool_gradient,
    channel_pool_gradient,
    lp_pool_gradient,
    max_pool_gradient,
    max_unpool_gradient,
)
from fastconv.reference.transposed import conv_transpose

__all__ = [
    "ACTIVATIONS",
    "adaptive_avg_pool",
    "adaptive_avg_pool_gradient",
    "adaptive_max_pool",
    "avg_pool",
    "avg_pool_gradient",
    "channel_pool",
    "channel_pool_gradient",
    "conv",
    "conv_bias_gradient",
    "conv_input_gradient",
    "conv_transpose",
    "conv_weight_gradient",
    "global_avg_pool",
    "global_lp_pool",
    "global_max_pool",
    "lp_pool",
    "lp_pool_gradient",
    "max_pool",
    "max_pool_gradient",
    "max_unpool",
    "max_unpool_gradient",
    "pad",
]
