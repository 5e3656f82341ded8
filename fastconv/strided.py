"""Views of dense arrays, wherever these are: which of an array's elements, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Strided:
    """A view of a dense array: the element at some indices lies at ``offset`` and the sum of index times stride.

    Attributes
    ----------
    shape, strides : tuple of int
        Elements an axis, and elements of the array from one to the next; those may be negative.
    offset : int
        Where the first element lies.

    Examples
    --------
    >>> rows = Strided.dense((2, 3))
    >>> rows.transposed(1, 0)
    Strided(shape=(3, 2), strides=(1, 3), offset=0)
    >>> rows.taken(1, first=2, step=-1, count=2)
    Strided(shape=(2, 2), strides=(3, -1), offset=2)
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def dense(cls, shape: Sequence[int]) -> Strided:
        """Return the view of a whole array, in the order in which it lies."""
        return cls(tuple(shape), tuple([prod(shape[axis + 1 :]) for axis in range(len(shape))]))

    @property
    def is_dense(self) -> bool:
        """Whether its elements lie one behind the other from the first one on."""
        plain = Strided.dense(self.shape).strides
        axes = zip(self.shape, self.strides, plain, strict=True)
        return self.offset == 0 and all(size == 1 or stride == wanted for size, stride, wanted in axes)

    def split(self, axis: int, parts: int) -> Strided:
        """Return it with an axis as two, of so many parts and of what one has."""
        size, stride = self.shape[axis] // parts, self.strides[axis]
        shape = (*self.shape[:axis], parts, size, *self.shape[axis + 1 :])
        return replace(self, shape=shape, strides=(*self.strides[:axis], stride * size, *self.strides[axis:]))

    def transposed(self, *axes: int) -> Strided:
        """Return it with its axes in another order."""
        shape, strides = ([values[axis] for axis in axes] for values in (self.shape, self.strides))
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def taken(self, axis: int, first: int, step: int, count: int) -> Strided:
        """Return `count` places of an axis, from `first` on and `step` apart."""
        shape, strides = list(self.shape), list(self.strides)
        shape[axis], strides[axis] = count, step * self.strides[axis]
        return Strided(tuple(shape), tuple(strides), self.offset + first * self.strides[axis])


class Axis(NamedTuple):
    """An axis of two views of one shape."""

    size: int
    source: int  # stride
    target: int


def merged(source: Strided, target: Strided) -> tuple[Axis, ...]:
    """Return the axes of views of one shape, those as one that lie alike in both."""
    axes: list[Axis] = []
    for axis in map(Axis, source.shape, source.strides, target.strides):
        if axis.size == 1:
            continue
        before = axes[-1] if axes else None
        alike = before and (before.source, before.target) == (axis.size * axis.source, axis.size * axis.target)
        if before and alike:
            axes[-1] = Axis(before.size * axis.size, axis.source, axis.target)
        else:
            axes.append(axis)
    return tuple(axes)
