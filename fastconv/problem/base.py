"""What a convolution and a pooling have in common: windows that slide over a batch of images."""

from __future__ import annotations

from typing import ClassVar

from fastconv.arguments import Pairs, itemsize, one_of, receptive_fields, shape

LAYOUTS = ("channels_first", "channels_last")
MAX_RANK = 3


def image_shape(array_shape: tuple[int, ...], name: str, layout: str) -> tuple[int, ...]:
    """Return (N, C, *size) of the shape of a batch of images or volumes in `layout`.

    Raises
    ------
    TypeError
        If `layout` is no string.
    ValueError
        If it is another one than `LAYOUTS` has, or the shape has too few or too many axes, or an
        empty spatial axis.

    Examples
    --------
    >>> image_shape((8, 56, 60, 32), "x", "channels_last")
    (8, 32, 56, 60)
    """
    if not 3 <= len(array_shape) <= MAX_RANK + 2:
        raise ValueError(
            f"{name} must have a batch axis, a channel axis and 1 to {MAX_RANK} spatial axes, got shape {array_shape}"
        )
    one_of(layout, LAYOUTS, "layout")
    first = array_shape
    if layout == "channels_last":
        first = (array_shape[0], array_shape[-1], *array_shape[1:-1])
    if 0 in first[2:]:
        raise ValueError(f"{name} must have no empty spatial axis, got shape {array_shape}")
    return first


def checked_size(size: object) -> tuple[int, ...]:
    """Return the `size` of a problem as a tuple of 1 to 3 positive ints."""
    sizes = shape(size, "size", 1)
    if not 1 <= len(sizes) <= MAX_RANK:
        raise ValueError(f"size must have 1 to {MAX_RANK} axes, got {sizes}")
    return sizes


class WindowedProblem:
    """The base of both kinds of problem, which are dataclasses that fill these fields."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]  # a dataclass's fields that its maker gives, in order

    dtype: str
    batch: int
    channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    layout: str
    output_size: tuple[int, ...]
    _hash: int

    def _keep(self, *values: object) -> None:
        """Set the fields to validated values, given in the fields' order, and hash them."""
        for name, value in zip(self.__match_args__, values, strict=True):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_hash", hash(values))

    def __reduce__(self) -> tuple[type[WindowedProblem], tuple[object, ...]]:
        """Pickle the fields alone: hashes of strings differ from process to process."""
        return type(self), tuple([getattr(self, name) for name in self.__match_args__])

    def _arranged(self, channels: int, size: tuple[int, ...]) -> tuple[int, ...]:
        if self.layout == "channels_first":
            return (self.batch, channels, *size)
        return (self.batch, *size, channels)

    def _padded_shape(self) -> tuple[int, ...]:
        axes = zip(self.size, self.padding, strict=True)
        return self._arranged(self.channels, tuple([w + p + q for w, (p, q) in axes]))

    @property
    def rank(self) -> int:
        """The number of spatial axes, 1 to 3."""
        return len(self.size)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return itemsize(self.dtype)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the input in `layout`, with its batch axis."""
        return self._arranged(self.channels, self.size)

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """What one window spans of the input, ``D * (F - 1) + 1`` an axis."""
        return receptive_fields(self.kernel, self.dilation)
