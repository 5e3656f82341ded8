"""Convolution in any number of dimensions, with zeros around: `convolve`, `correlate`, `fftconvolve`, `oaconvolve`.

All of them are a window of one full convolution of a by b, ``n1 + n2 - 1`` elements an axis::

    full[j] = sum over t of  a[j - t] * b[t]

so which of the two is the image and which the kernel is free to choose: the larger is the image. Correlation takes b
reversed and conjugated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastconv.arguments import one_of
from fastconv.signal.numbers import correlate_numbers
from fastconv.signal.planes import Border, Choice

MODES = ("full", "same", "valid")


@dataclass(frozen=True, slots=True)
class Window:
    """What an axis's result is of the full convolution."""

    start: int
    length: int


def window(mode: str, first: int, second: int) -> Window:
    """Return the window of `mode` for an axis of two sizes; "same" is centred, and has the size of the first."""
    if mode == "full":
        return Window(0, first + second - 1)
    if mode == "same":
        return Window((second - 1) // 2, first)
    return Window(min(first, second) - 1, abs(first - second) + 1)


def check_mode(mode: object) -> str:
    """Return `mode`, or raise TypeError or ValueError."""
    return one_of(mode, MODES, "mode")


def second_is_larger(mode: str, first: Sequence[int], second: Sequence[int]) -> bool:
    """Return whether "valid" slides the first array over the second; elsewhere nothing is asked of the sizes."""
    if mode != "valid" or all(a >= b for a, b in zip(first, second, strict=True)):
        return False
    if all(b >= a for a, b in zip(first, second, strict=True)):
        return True
    raise ValueError(
        f"in1 and in2 must be such that one is at least as large as the other on every axis with mode='valid', "
        f"got shapes {tuple(first)} and {tuple(second)}"
    )


def reversed_conjugate(array: np.ndarray) -> np.ndarray:
    """Return `array` backwards along all axes, and conjugated: with it, a convolution is a correlation."""
    backwards = np.flip(array)
    return backwards.conj() if array.dtype.kind == "c" else backwards


def convolve_windows(
    a: np.ndarray,
    b: np.ndarray,
    windows: Sequence[Window],
    together: Sequence[int],
    result: np.dtype[np.generic],
    choice: Choice,
) -> np.ndarray:
    """Return the windows of the full convolution of `a` and `b`.

    Along the axes in `together` both have the same size, and convolutions are apart.
    """
    image, kernel = (a, b) if a.size >= b.size else (b, a)
    axes = range(image.ndim)
    # Along an axis on which the image has one element, each element of the kernel is a filter of its own.
    bank = [i for i in axes if i not in together and image.shape[i] == 1 < kernel.shape[i]]
    spatial = [i for i in axes if i not in together and i not in bank]
    pairs, seen, used = [], [slice(None)] * image.ndim, [slice(None)] * image.ndim
    for i in bank:
        used[i] = slice(windows[i].start, windows[i].start + windows[i].length)
    for i in spatial:
        before = kernel.shape[i] - 1 - windows[i].start
        after = windows[i].start + windows[i].length - image.shape[i]
        pairs.append((max(before, 0), max(after, 0)))
        seen[i] = slice(max(-before, 0), image.shape[i] - max(-after, 0))
    image, kernel = image[tuple(seen)], np.flip(kernel[tuple(used)], tuple(spatial))

    order = [*together, *bank, *spatial]
    apart, filters = [image.shape[i] for i in together], [kernel.shape[i] for i in bank]
    groups = math.prod(apart)
    size = [image.shape[i] for i in spatial] or [1]  # a product of two arrays is a convolution of single elements
    kernel_size = [kernel.shape[i] for i in spatial] or [1]
    images = image.transpose(order).reshape(1, groups, *size)
    of_groups = kernel.transpose(order).reshape(groups, math.prod(filters), *kernel_size)
    y = correlate_numbers(images, of_groups, Border(tuple(pairs) or ((0, 0),)), result, choice)
    y = y.reshape(*apart, *filters, *(y.shape[3:] if spatial else ()))
    return y if order == sorted(order) else np.ascontiguousarray(y.transpose(np.argsort(order)))
