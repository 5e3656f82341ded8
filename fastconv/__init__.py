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
    from fastconv.config import get_num_threads as get_num_threads
    from fastconv.config import get_tolerance as get_tolerance
    from fastconv.config import options as options
    from fastconv.config import set_algorithms as set_algorithms
    from fastconv.config import set_num_threads as set_num_threads
    from fastconv.config import set_tolerance as set_tolerance
    from fastconv.convolution import clear_cache as clear_cache
    from fastconv.convolution import conv1d as conv1d
    from fastconv.convolution import conv2d as conv2d
    from fastconv.convolution import conv3d as conv3d
    from fastconv.errors import UnsupportedError as UnsupportedError
    from fastconv.layers import Conv1d as Conv1d
    from fastconv.layers import Conv2d as Conv2d
    from fastconv.layers import Conv3d as Conv3d
    from fastconv.plans import plan as plan
    from fastconv.problem import ConvProblem as ConvProblem
    from fastconv.problem import PoolProblem as PoolProblem
    from fastconv.selection import algorithms as algorithms
    from fastconv.selection import explain as explain
    from fastconv.selection import select as select
    from fastconv.selection.tuning import tune as tune

_HOME = {
    "Conv1d": "layers",
    "Conv2d": "layers",
    "Conv3d": "layers",
    "ConvProblem": "problem",
    "PoolProblem": "problem",
    "UnsupportedError": "errors",
    "algorithms": "selection",
    "clear_cache": "convolution",
    "conv1d": "convolution",
    "conv2d": "convolution",
    "conv3d": "convolution",
    "explain": "selection",
    "get_num_threads": "config",
    "get_tolerance": "config",
    "plan": "plans",
    "select": "selection",
    "options": "config",
    "set_algorithms": "config",
    "set_num_threads": "config",
    "set_tolerance": "config",
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
