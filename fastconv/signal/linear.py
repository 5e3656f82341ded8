"""Convolution in any number of dimensions, with zeros around: `convolve`, `correlate`, `fftconvolve`, `oaconvolve`.

All of them are a window of one full convolution of a by b, ``n1 + n2 - 1`` elements an axis::

    full[j] = sum over t of  a[j - t] * b[t]

so which of the two is the image and which the kernel is free to choose: the larger is the image. Correlation takes b
reversed and conjugated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastconv.arguments import Pairs, one_of
from fastconv.signal.numbers import correlate_numbers
from fastconv.signal.planes import Border, Choice

MODES = ("full", "same", "valid")


class Window(NamedTuple):
    """What an axis's result is of the full convolution."""

    start: int
    length: int


@lru_cache(maxsize=256)
def windows_of(mode: str, first: tuple[int, ...], second: tuple[int, ...]) -> tuple[Window, ...]:
    """Return the windows of `mode` for the shapes of two arrays.

    Raises
    ------
    ValueError
        With "valid", if neither is at least as large as the other on every axis.
    """
    second_is_larger(mode, first, second)
    return tuple([window(mode, n, m) for n, m in zip(first, second, strict=True)])


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
    windows: tuple[Window, ...],
    together: tuple[int, ...],
    result: np.dtype[np.generic],
    choice: Choice,
) -> np.ndarray:
    """Return the windows of the full convolution of `a` and `b`.

    Along the axes in `together` both have the same size, and convolutions are apart.
    """
    image, kernel = (a, b) if a.size >= b.size else (b, a)
    plan = _arrangement(image.shape, kernel.shape, windows, together)
    image, kernel = image[plan.seen], kernel[plan.used]
    if plan.order:
        image, kernel = image.transpose(plan.order), kernel.transpose(plan.order)
    y = correlate_numbers(
        image.reshape(plan.image_shape), kernel.reshape(plan.kernel_shape), Border(plan.padding), result, choice
    )
    if not plan.order:
        return y.reshape(y.shape[3:])
    apart = image.shape[: len(together)] + kernel.shape[len(together) : plan.channels]
    y = y.reshape(*apart, *y.shape[3 : 3 + a.ndim - plan.channels])
    return np.ascontiguousarray(y.transpose(np.argsort(plan.order)))


class _Arrangement(NamedTuple):
    """Where the axes of two arrays go."""

    seen: tuple[slice, ...]  # of the image
    used: tuple[slice, ...]  # of the kernel, which is read backwards
    order: tuple[int, ...]  # groups, filters, what is summed along; () if only the last are there
    channels: int  # axes of groups and filters
    image_shape: tuple[int, ...]  # of one image of planes
    kernel_shape: tuple[int, ...]  # of filters for groups
    padding: Pairs


@lru_cache(maxsize=256)
def _arrangement(
    image: tuple[int, ...], kernel: tuple[int, ...], windows: tuple[Window, ...], together: tuple[int, ...]
) -> _Arrangement:
    axes = range(len(image))
    # Along an axis on which the image has one element, each element of the kernel is a filter of its own.
    bank = [i for i in axes if i not in together and image[i] == 1 < kernel[i]]
    spatial = [i for i in axes if i not in together and i not in bank]
    pairs, seen, used = [], [slice(None)] * len(image), [slice(None)] * len(image)
    for i in bank:
        used[i] = slice(windows[i].start, windows[i].start + windows[i].length)
    for i in spatial:
        before = kernel[i] - 1 - windows[i].start
        after = windows[i].start + windows[i].length - image[i]
        pairs.append((max(before, 0), max(after, 0)))
        seen[i] = slice(max(-before, 0), image[i] - max(-after, 0))
        used[i] = slice(None, None, -1)
    channels = [*together, *bank]
    groups = math.prod([image[i] for i in together])
    filters = math.prod([windows[i].length for i in bank])
    # Where nothing is summed, each product is a convolution of single elements.
    size = [seen[i].stop - seen[i].start for i in spatial] or [1]
    kernel_size = [kernel[i] for i in spatial] or [1]
    return _Arrangement(
        tuple(seen),
        tuple(used),
        (*channels, *spatial) if channels else (),
        len(channels),
        (1, groups, *size),
        (groups, filters, *kernel_size),
        tuple(pairs) or ((0, 0),),
    )
