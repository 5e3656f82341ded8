"""Pooling: windows, pieces, whole planes, and windows of channels; each validate -> problem -> plan -> run."""

from __future__ import annotations

from fastconv.pooling.gradients import (
    adaptive_avg_pool_gradient,
    avg_pool_gradient,
    channel_pool_gradient,
    lp_pool_gradient,
    max_pool_gradient,
    max_unpool_gradient,
)
from fastconv.pooling.others import channel_pool, max_unpool1d, max_unpool2d, max_unpool3d
from fastconv.pooling.outputs import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    global_avg_pool,
    global_lp_pool,
    global_max_pool,
)
from fastconv.pooling.windows import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool_gradient",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "avg_pool_gradient",
    "channel_pool",
    "channel_pool_gradient",
    "global_avg_pool",
    "global_lp_pool",
    "global_max_pool",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "lp_pool_gradient",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool_gradient",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "max_unpool_gradient",
]
