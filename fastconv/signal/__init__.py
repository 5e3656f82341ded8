"""Convolution and correlation with the names and meanings of `scipy.signal`, on the package's algorithms.

Code moves over by changing the import; ``docs/signal.md`` has the few differences. Filters of images with their names
in `scipy.ndimage` are in `fastconv.ndimage`.

>>> from fastconv import signal
>>> signal.convolve([1, 2, 3], [1, 1])
array([1, 3, 5, 3])
"""

from __future__ import annotations

from fastconv.signal.convolution import convolve, correlate, correlation_lags, fftconvolve, oaconvolve
from fastconv.signal.two_dimensional import convolve2d, correlate2d

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "correlation_lags", "fftconvolve", "oaconvolve"]
