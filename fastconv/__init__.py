"""Convolution and pooling for Python at the speed of the best native libraries.

>>> import numpy as np, fastconv
>>> x = np.ones((1, 3, 8, 8), np.float32)
>>> weight = np.ones((4, 3, 3, 3), np.float32)
>>> fastconv.conv2d(x, weight, padding=1).shape
(1, 4, 8, 8)

Importing the package imports neither Numba nor LLVM; the first call does what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastconv import ndimage as ndimage
    from fastconv import reference as reference
    from fastconv import signal as signal
    from fastconv.config import get_deterministic as get_deterministic
    from fastconv.config import get_mode as get_mode
    from fastconv.config import get_num_threads as get_num_threads
    from fastconv.config import get_precision as get_precision
    from fastconv.config import get_tolerance as get_tolerance
    from fastconv.config import get_workspace_limit as get_workspace_limit
    from fastconv.config import options as options
    from fastconv.config import set_algorithms as set_algorithms
    from fastconv.config import set_deterministic as set_deterministic
    from fastconv.config import set_mode as set_mode
    from fastconv.config import set_num_threads as set_num_threads
    from fastconv.config import set_precision as set_precision
    from fastconv.config import set_tolerance as set_tolerance
    from fastconv.config import set_workspace_limit as set_workspace_limit
    from fastconv.convolution import clear_cache as clear_cache
    from fastconv.convolution import conv1d as conv1d
    from fastconv.convolution import conv2d as conv2d
    from fastconv.convolution import conv3d as conv3d
    from fastconv.errors import UnsupportedError as UnsupportedError
    from fastconv.gradients import conv1d_input as conv1d_input
    from fastconv.gradients import conv1d_weight as conv1d_weight
    from fastconv.gradients import conv2d_input as conv2d_input
    from fastconv.gradients import conv2d_weight as conv2d_weight
    from fastconv.gradients import conv3d_input as conv3d_input
    from fastconv.gradients import conv3d_weight as conv3d_weight
    from fastconv.layers import Conv1d as Conv1d
    from fastconv.layers import Conv2d as Conv2d
    from fastconv.layers import Conv3d as Conv3d
    from fastconv.plans import plan as plan
    from fastconv.pooling import adaptive_avg_pool1d as adaptive_avg_pool1d
    from fastconv.pooling import adaptive_avg_pool2d as adaptive_avg_pool2d
    from fastconv.pooling import adaptive_avg_pool3d as adaptive_avg_pool3d
    from fastconv.pooling import adaptive_avg_pool_gradient as adaptive_avg_pool_gradient
    from fastconv.pooling import adaptive_max_pool1d as adaptive_max_pool1d
    from fastconv.pooling import adaptive_max_pool2d as adaptive_max_pool2d
    from fastconv.pooling import adaptive_max_pool3d as adaptive_max_pool3d
    from fastconv.pooling import avg_pool1d as avg_pool1d
    from fastconv.pooling import avg_pool2d as avg_pool2d
    from fastconv.pooling import avg_pool3d as avg_pool3d
    from fastconv.pooling import avg_pool_gradient as avg_pool_gradient
    from fastconv.pooling import channel_pool as channel_pool
    from fastconv.pooling import channel_pool_gradient as channel_pool_gradient
    from fastconv.pooling import global_avg_pool as global_avg_pool
    from fastconv.pooling import global_lp_pool as global_lp_pool
    from fastconv.pooling import global_max_pool as global_max_pool
    from fastconv.pooling import lp_pool1d as lp_pool1d
    from fastconv.pooling import lp_pool2d as lp_pool2d
    from fastconv.pooling import lp_pool3d as lp_pool3d
    from fastconv.pooling import lp_pool_gradient as lp_pool_gradient
    from fastconv.pooling import max_pool1d as max_pool1d
    from fastconv.pooling import max_pool2d as max_pool2d
    from fastconv.pooling import max_pool3d as max_pool3d
    from fastconv.pooling import max_pool_gradient as max_pool_gradient
    from fastconv.pooling import max_unpool1d as max_unpool1d
    from fastconv.pooling import max_unpool2d as max_unpool2d
    from fastconv.pooling import max_unpool3d as max_unpool3d
    from fastconv.pooling import max_unpool_gradient as max_unpool_gradient
    from fastconv.problem import ConvProblem as ConvProblem
    from fastconv.problem import PoolProblem as PoolProblem
    from fastconv.selection import algorithms as algorithms
    from fastconv.selection import explain as explain
    from fastconv.selection import select as select
    from fastconv.selection.calibration import calibrate as calibrate
    from fastconv.selection.calibration import calibration as calibration
    from fastconv.selection.calibration import forget_calibration as forget_calibration
    from fastconv.selection.keeping import export_answers as export_answers
    from fastconv.selection.keeping import forget_answers as forget_answers
    from fastconv.selection.keeping import import_answers as import_answers
    from fastconv.selection.keeping import remembered as remembered
    from fastconv.selection.tuning import tune as tune
    from fastconv.transposed import conv_transpose1d as conv_transpose1d
    from fastconv.transposed import conv_transpose2d as conv_transpose2d
    from fastconv.transposed import conv_transpose3d as conv_transpose3d

_HOME = {
    "Conv1d": "layers",
    "Conv2d": "layers",
    "Conv3d": "layers",
    "ConvProblem": "problem",
    "PoolProblem": "problem",
    "UnsupportedError": "errors",
    "adaptive_avg_pool1d": "pooling",
    "adaptive_avg_pool2d": "pooling",
    "adaptive_avg_pool3d": "pooling",
    "adaptive_avg_pool_gradient": "pooling",
    "adaptive_max_pool1d": "pooling",
    "adaptive_max_pool2d": "pooling",
    "adaptive_max_pool3d": "pooling",
    "algorithms": "selection",
    "avg_pool1d": "pooling",
    "avg_pool2d": "pooling",
    "avg_pool3d": "pooling",
    "avg_pool_gradient": "pooling",
    "calibrate": "selection.calibration",
    "calibration": "selection.calibration",
    "channel_pool": "pooling",
    "channel_pool_gradient": "pooling",
    "clear_cache": "convolution",
    "conv1d": "convolution",
    "conv1d_input": "gradients",
    "conv1d_weight": "gradients",
    "conv2d": "convolution",
    "conv2d_input": "gradients",
    "conv2d_weight": "gradients",
    "conv3d": "convolution",
    "conv3d_input": "gradients",
    "conv3d_weight": "gradients",
    "conv_transpose1d": "transposed",
    "conv_transpose2d": "transposed",
    "conv_transpose3d": "transposed",
    "explain": "selection",
    "export_answers": "selection.keeping",
    "forget_answers": "selection.keeping",
    "forget_calibration": "selection.calibration",
    "get_deterministic": "config",
    "get_mode": "config",
    "get_num_threads": "config",
    "get_precision": "config",
    "get_tolerance": "config",
    "get_workspace_limit": "config",
    "global_avg_pool": "pooling",
    "global_lp_pool": "pooling",
    "global_max_pool": "pooling",
    "import_answers": "selection.keeping",
    "lp_pool1d": "pooling",
    "lp_pool2d": "pooling",
    "lp_pool3d": "pooling",
    "lp_pool_gradient": "pooling",
    "max_pool1d": "pooling",
    "max_pool2d": "pooling",
    "max_pool3d": "pooling",
    "max_pool_gradient": "pooling",
    "max_unpool1d": "pooling",
    "max_unpool2d": "pooling",
    "max_unpool3d": "pooling",
    "max_unpool_gradient": "pooling",
    "plan": "plans",
    "remembered": "selection.keeping",
    "select": "selection",
    "options": "config",
    "set_algorithms": "config",
    "set_deterministic": "config",
    "set_mode": "config",
    "set_num_threads": "config",
    "set_precision": "config",
    "set_tolerance": "config",
    "set_workspace_limit": "config",
    "tune": "selection.tuning",
}
_MODULES = ("ndimage", "reference", "signal")

__all__ = ["__version__", *sorted((*_HOME, *_MODULES))]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"fastconv.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"fastconv.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
