"""Tensor maps: 128 bytes that say how an array lies and which part of it is copied, encoded for the interpreter.

`encode` takes the name and the arguments of the driver's function, and refuses what the driver refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from interpreter.errors import InterpreterError

_FORMAT = "<8sQ5Q4Q3h3h5HHB5BBB"  # 128 bytes at most
_MAGIC = b"tensors!"

#: Bytes of an element, and whether it is rounded to tfloat32 on its way, by the driver's number of the type.
ELEMENTS = {1: (2, False), 2: (4, False), 6: (2, False), 7: (4, False), 9: (2, False), 11: (4, True)}
_SWIZZLE_BYTES = {0: 1 << 20, 1: 32, 2: 64, 3: 128}


@dataclass(frozen=True)
class TensorMap:
    """What a map says; axes in the order of addresses."""

    array: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]  # bytes, of all axes but the first
    steps: tuple[int, ...]
    swizzle: int  # the driver's number
    element: int  # likewise
    box: tuple[int, ...] = ()  # of a tiled one
    lower: tuple[int, ...] = ()  # of one for im2col
    upper: tuple[int, ...] = ()
    channels: int = 0
    pixels: int = 0

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ELEMENTS[self.element][0]

    @property
    def row(self) -> int:
        """Bytes that lie together in shared memory."""
        return (self.box[0] if self.box else self.channels) * self.itemsize

    @property
    def rows(self) -> int:
        """How many such rows are copied."""
        if not self.box:
            return self.pixels
        count = 1
        for size in self.box[1:]:
            count *= size
        return count

    def packed(self) -> bytes:
        """Return the bytes."""
        rank = len(self.sizes)

        def filled(values: Sequence[int], count: int) -> list[int]:
            return [*values, *[0] * (count - len(values))]

        pixels = [self.channels, self.pixels] if self.lower else self.box
        found = struct.pack(
            _FORMAT,
            *(_MAGIC, self.array, *filled(self.sizes, 5), *filled(self.strides, 4)),
            *(*filled(self.lower, 3), *filled(self.upper, 3), *filled(pixels, 5)),
            *(rank, bool(self.lower), *filled(self.steps, 5), self.swizzle, self.element),
        )
        return found.ljust(128, b"\0")


def unpacked(code: bytes) -> TensorMap:
    """Return the map that these bytes are."""
    magic, array, *words = struct.unpack(_FORMAT, code[: struct.calcsize(_FORMAT)])
    if magic != _MAGIC:
        raise InterpreterError("no tensor map is where one was expected")
    sizes, strides, lower, upper, box = words[:5], words[5:9], words[9:12], words[12:15], words[15:20]
    rank, gathers, *steps, swizzle, element = words[20:]
    known = array, tuple(sizes[:rank]), tuple(strides[: rank - 1]), tuple(steps[:rank]), swizzle, element
    if gathers:
        corners = tuple(lower[: rank - 2]), tuple(upper[: rank - 2])
        return TensorMap(*known, (), *corners, *box[:2])
    return TensorMap(*known, tuple(box[:rank]))


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise InterpreterError(f"the driver would refuse a tensor map: {text}")


def encode(function: str, *arguments: object) -> bytes:
    """Return what the driver's function of a name writes, given its arguments behind the map's address."""
    if function == "cuTensorMapEncodeTiled":
        *begin, box, steps, interleave, swizzle, promotion, fill = arguments
        found = TensorMap(*_begin(*begin), steps, swizzle, begin[0], box=box)  # type: ignore[arg-type]
        _require(len(box) == len(found.sizes), "a box has as many axes as the array")  # type: ignore[arg-type]
        _require(all(0 < size <= 256 for size in found.box), f"a box of {found.box}")
    else:
        assert function == "cuTensorMapEncodeIm2col"
        *begin, lower, upper, channels, pixels, steps, interleave, swizzle, promotion, fill = arguments
        found = TensorMap(
            *_begin(*begin), steps, swizzle, begin[0], (), lower, upper, channels, pixels  # type: ignore[arg-type]
        )
        _check_windows(found)
    _require(len(found.steps) == len(found.sizes), "as many steps as axes")
    _require(all(0 < step <= 8 for step in found.steps), f"steps of {found.steps}")
    _require((interleave, fill) == (0, 0), "this interpreter knows no interleaved layouts, and zeros outside")
    _require(found.row % 16 == 0, f"rows of {found.row} bytes")
    _require(found.row <= _SWIZZLE_BYTES[found.swizzle], f"rows of {found.row} bytes, swizzled")
    _require(promotion in range(4), f"promotion {promotion}")
    return found.packed()


def _begin(element: int, rank: int, array: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[object, ...]:
    _require(element in ELEMENTS, f"elements of type {element}")
    _require(len(sizes) == rank and len(strides) == rank - 1 and 1 <= rank <= 5, f"{rank} axes")
    _require(array > 0 and array % 16 == 0, f"an array at {array:#x}")
    _require(all(0 < size <= 1 << 32 for size in sizes), f"sizes of {sizes}")
    _require(all(step % 16 == 0 and 0 <= step < 1 << 40 for step in strides), f"distances of {strides} bytes")
    return array, sizes, strides


def _check_windows(found: TensorMap) -> None:
    axes = len(found.sizes) - 2
    _require(axes in (1, 2, 3), f"{axes} spatial axes")
    _require(len(found.lower) == len(found.upper) == axes, "corners of as many axes as are spatial")
    limit = {1: 1 << 15, 2: 1 << 7, 3: 1 << 4}[axes]
    corners = *found.lower, *found.upper
    _require(all(-limit <= corner < limit for corner in corners), f"corners of {corners}")
    spans = zip(found.sizes[1:-1], found.lower, found.upper, strict=True)
    _require(all(size + upper - lower > 0 for size, lower, upper in spans), "a box without windows")
    _require(0 < found.channels <= 256 and 0 < found.pixels <= 1024, f"{found.pixels} x {found.channels} at once")
