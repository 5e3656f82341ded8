"""One tap at a time: the sums of products that convolutions are made of.

Arrays have an axis of groups here: (N, G, C/G, *spatial) and weights (G, K/G, C/G, *kernel).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastconv.arguments import Pairs
from fastconv.reference._arrays import window_elements


def correlate(
    padded: np.ndarray,
    weight: np.ndarray,
    output_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Return (N, G, K/G, *output) from (N, G, C/G, *padded) and (G, K/G, C/G, *kernel)."""
    batch, groups, channels = padded.shape[:3]
    filters, kernel = weight.shape[1], weight.shape[3:]
    pixels_of_image = math.prod(output_size)
    y = np.zeros((batch, groups, filters, pixels_of_image), padded.dtype)
    for tap in np.ndindex(*kernel):
        elements = window_elements(tap, output_size, stride, dilation)
        pixels = padded[elements].reshape(batch, groups, channels, pixels_of_image)
        # M = filters of a group, K = channels of a group, N = pixels of an image.
        y += weight[(..., *tap)] @ pixels
    return y.reshape(batch, groups, filters, *output_size)


def spread(
    weight: np.ndarray,
    y: np.ndarray,
    padded_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Return the adjoint of `correlate`: (N, G, C/G, *padded) from (N, G, K/G, *output)."""
    batch, groups, filters, *output_size = y.shape
    channels, *kernel = weight.shape[2:]
    pixels = y.reshape(batch, groups, filters, math.prod(output_size))
    padded = np.zeros((batch, groups, channels, *padded_size), y.dtype)
    for tap in np.ndindex(*kernel):
        elements = window_elements(tap, output_size, stride, dilation)
        # M = channels of a group, K = filters of a group, N = pixels of an image.
        product = weight[(..., *tap)].swapaxes(-1, -2) @ pixels
        # No element twice within a tap: the windows of one tap are S apart.
        padded[elements] += product.reshape(batch, groups, channels, *output_size)
    return padded


def correlate_weight(
    padded: np.ndarray,
    y: np.ndarray,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Return the other adjoint, (G, K/G, C/G, *kernel), from what `correlate` reads and gives."""
    batch, groups, filters, *output_size = y.shape
    channels, pixels_of_image = padded.shape[2], math.prod(output_size)
    gradients = y.reshape(batch, groups, filters, pixels_of_image)
    weight = np.zeros((groups, filters, channels, *kernel), y.dtype)
    for tap in np.ndindex(*kernel):
        elements = window_elements(tap, output_size, stride, dilation)
        pixels = padded[elements].reshape(batch, groups, channels, pixels_of_image)
        # M = filters of a group, K = pixels of an image, N = channels of a group; then the batch.
        weight[(..., *tap)] = (gradients @ pixels.swapaxes(-1, -2)).sum(axis=0)
    return weight


def grouped(array: np.ndarray, groups: int) -> np.ndarray:
    """Return (N, C, *spatial) as (N, G, C/G, *spatial)."""
    return array.reshape(len(array), groups, array.shape[1] // groups, *array.shape[2:])


def flipped(weight: np.ndarray, rank: int) -> np.ndarray:
    """Return a weight with each of its last `rank` axes reversed."""
    return np.flip(weight, axis=tuple(range(weight.ndim - rank, weight.ndim)))


def per_channel(values: np.ndarray, rank: int) -> np.ndarray:
    """Return (C,) or (N, C) in a shape that adds to (N, C, *spatial)."""
    return values.reshape(*values.shape, *(1,) * rank)


def padded_size(size: Sequence[int], padding: Pairs) -> tuple[int, ...]:
    """Return the size with its padding."""
    return tuple(w + sum(pair) for w, pair in zip(size, padding, strict=True))
