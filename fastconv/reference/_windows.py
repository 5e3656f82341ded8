"""Where the windows of a pooling lie."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fastconv.arguments import (
    Pairs,
    padding_pairs,
    per_axis,
    pooled_size,
    receptive_fields,
    truth,
)
from fastconv.reference._arrays import Index, spatial_pads, window_elements


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling: numbers an axis, and arrays that hold every element of them.

    How many there are is said by :func:`fastconv.arguments.pooled_size`.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    output_size: tuple[int, ...]

    @classmethod
    def of(
        cls,
        size: Sequence[int],
        kernel_size: object,
        stride: object,
        padding: object,
        dilation: object,
        ceil_mode: object,
    ) -> Windows:
        """Make windows of arguments as a user gives them; `stride` None is the kernel size.

        Raises
        ------
        TypeError
            If an argument is of a wrong kind.
        ValueError
            If its value is not possible, or the input holds no window.
        """
        rank = len(size)
        kernel = per_axis(kernel_size, rank, "kernel_size", 1)
        strides = kernel if stride is None else per_axis(stride, rank, "stride", 1)
        dilations = per_axis(dilation, rank, "dilation", 1)
        pairs = padding_pairs(padding, rank, size, kernel, strides, dilations)
        rounded_up = truth(ceil_mode, "ceil_mode")
        fields = receptive_fields(kernel, dilations)
        output_size = pooled_size(size, fields, strides, pairs, ceil_mode=rounded_up)
        return cls(tuple(size), kernel, strides, pairs, dilations, output_size)

    def taps(self) -> Iterator[Index]:
        """Yield, for each element of a window in turn, the slices that take it of every window.

        The slices are into what :meth:`covered` returns.
        """
        for tap in np.ndindex(*self.kernel):
            yield window_elements(tap, self.output_size, self.stride, self.dilation)

    def covered(self, array: np.ndarray, fill: float) -> np.ndarray:
        """Return `array` (..., *size) with `fill` around it as far as the windows reach."""
        return np.pad(array, spatial_pads(array, self._reach()), constant_values=fill)

    def uncovered(self, array: np.ndarray) -> np.ndarray:
        """Return what :meth:`covered` had put `fill` around."""
        axes = zip(self.size, self.padding, strict=True)
        input_elements: Index = (..., *(slice(before, before + w) for w, (before, _) in axes))
        return array[input_elements]

    def covered_zeros(self, leading: tuple[int, ...]) -> np.ndarray:
        """Return float64 zeros (*leading, *covered size), for gradients to be added to."""
        return self.covered(np.zeros((*leading, *self.size)), 0.0)

    def positions(self) -> np.ndarray:
        """Return the flat position of each element in the plane without padding, -1 around it."""
        plane = np.arange(int(np.prod(self.size))).reshape(self.size)
        return self.covered(plane, -1)

    def counts(self, include_padding: bool) -> np.ndarray:
        """Return how many elements of each window count: of the input, and of the padding if asked.

        What hangs over the end of the padding, in ceil_mode, never does.
        """
        counts = []
        for axis, (before, after) in enumerate(self.padding):
            begins = np.arange(self.output_size[axis]) * self.stride[axis]
            offsets = np.arange(self.kernel[axis]) * self.dilation[axis]
            places = begins[:, None] + offsets  # in the padded input
            end = before + self.size[axis]
            low, high = (0, end + after) if include_padding else (before, end)
            counts.append(((places >= low) & (places < high)).sum(axis=1))
        return functools.reduce(np.multiply.outer, counts)

    def _reach(self) -> Pairs:
        """Return what the windows reach before and after the input: all of the padding or not."""
        fields = receptive_fields(self.kernel, self.dilation)
        axes = zip(self.size, self.padding, self.output_size, self.stride, fields, strict=True)
        return tuple(
            (before, max(0, (o - 1) * s + field - before - w))
            for w, (before, _), o, s, field in axes
        )


def transposed_size(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: object,
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> tuple[tuple[int, ...], Pairs]:
    """Return the size that an operation came from which left `size`, and its padding in numbers.

    An axis, ``(W - 1) * S + D * (F - 1) + 1 - before - after + output_padding``; with ``"same"``
    or ``"same_lower"`` ``W * S``, the largest of which ``"same"`` leaves W.

    Raises
    ------
    ValueError
        If an axis would be empty, or a size is both "same" and enlarged by `output_padding`.
    """
    rank = len(size)
    if isinstance(padding, str) and padding != "valid":
        if any(output_padding):
            raise ValueError(
                f"output_padding must be 0 with padding={padding!r}, got {tuple(output_padding)}"
            )
        same = tuple(w * s for w, s in zip(size, stride, strict=True))
        return same, padding_pairs(padding, rank, same, kernel, stride, dilation)
    pairs = padding_pairs(padding, rank, size, kernel, stride, dilation)
    fields = receptive_fields(kernel, dilation)
    axes = zip(size, stride, fields, pairs, output_padding, strict=True)
    output_size = tuple((w - 1) * s + f - sum(pair) + o for w, s, f, pair, o in axes)
    if min(output_size) < 1:
        raise ValueError(f"padding must leave an output, got {pairs} for output size {output_size}")
    return output_size, pairs
