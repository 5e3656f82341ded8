"""Tensor maps: how an array lies in memory, and which part of it one instruction copies.

A map is 128 bytes that the driver encodes and a kernel gets as a parameter. Axes are in the order of the addresses:
the first lies densely. Tiles have rows of at most 128 bytes in shared memory, swizzled: of row r, the 16 bytes that
are the j-th lie at place j ^ (r % 8). Source: CUDA driver API, "Tensor Map Object Management".
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

BYTES, ALIGNMENT = 128, 64  # of a map
LEAST = 16  # bytes of which addresses and distances are multiples
ROW = 128  # bytes of a row in shared memory

#: What an element is to the engine that copies. Halves are bits: nothing is rounded. Numbers of tfloat32 are float32 in
#: memory, and rounded on their way.
_ELEMENTS = {"float16": 1, "bfloat16": 1, "float32": 2, "tfloat32": 11}
_NO_INTERLEAVE, _SWIZZLE_128, _PROMOTION_128, _ZEROS = 0, 3, 2, 0

#: The corners of a box of windows and the offsets of a window's elements, by the spatial axes: the range of the former
#: is [-corner, corner), of the latter [0, offset).
CORNERS, OFFSETS = {1: 1 << 15, 2: 1 << 7, 3: 1 << 4}, {1: 1 << 16, 2: 1 << 8, 3: 1 << 5}
MOST_STRIDE = 8


class Tile(NamedTuple):
    """A box of an array: what is outside the array is zeros, or is not stored."""

    element: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]  # bytes between neighbours along all axes but the first
    box: tuple[int, ...]

    @property
    def function(self) -> str:
        """The driver's, which encodes it."""
        return "cuTensorMapEncodeTiled"

    def arguments(self, address: int) -> tuple[Argument, ...]:
        """Return what that takes, of an array at an address."""
        return (*_begin(self, address), self.box, (1,) * len(self.sizes), *_END)


class Im2col(NamedTuple):
    """Some channels of the pixels under the same element of as many windows, of an array in channels_last.

    Axes are channels, then width, height and depth as far as there are any, then images. Windows' places, of their
    first elements, go from `lower` to `upper` less than the last pixel, by `steps`; behind a row's last begins the
    next row. Pixels outside the image are zeros.
    """

    element: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    steps: tuple[int, ...]
    channels: int
    pixels: int

    @property
    def function(self) -> str:
        """The driver's, which encodes it."""
        return "cuTensorMapEncodeIm2col"

    def arguments(self, address: int) -> tuple[Argument, ...]:
        """Return what that takes, of an array at an address."""
        box = self.lower, self.upper, self.channels, self.pixels
        return (*_begin(self, address), *box, (1, *self.steps, 1), *_END)


TensorMap: TypeAlias = Tile | Im2col
Argument: TypeAlias = int | tuple[int, ...]

_END = _NO_INTERLEAVE, _SWIZZLE_128, _PROMOTION_128, _ZEROS


def _begin(tensor_map: TensorMap, address: int) -> tuple[Argument, ...]:
    return _ELEMENTS[tensor_map.element], len(tensor_map.sizes), address, tensor_map.sizes, tensor_map.strides


@dataclass
class Block:
    """The bytes of a map, at an address that is a multiple of 64, and the address of the array that they are of."""

    address: int
    array: int = 0  # 0: none yet


_64, _32, _INT = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int

#: The driver's types of the arguments, behind the block's address.
_TYPES = {
    "cuTensorMapEncodeTiled": (_32, _32, _64, _64 * 5, _64 * 4, _32 * 5, _32 * 5, _32, _32, _32, _32),
    "cuTensorMapEncodeIm2col": (
        *(_32, _32, _64, _64 * 5, _64 * 4, _INT * 3, _INT * 3, _32, _32, _32 * 5),
        *(_32, _32, _32, _32),
    ),
    "cuTensorMapReplaceAddress": (_64,),
}


class Encoder:
    """The driver's functions that encode maps, called by their addresses.

    Those of `cuda.bindings` encode into objects of Python's, which do not lie at multiples of 64 bytes.

    Parameters
    ----------
    find : callable
        Returns the address of the driver's function of a name.
    """

    def __init__(self, find: Callable[[str], int]) -> None:
        self._functions = {}
        for name, types in _TYPES.items():
            passed = [ctypes.c_void_p if issubclass(kind, ctypes.Array) else kind for kind in types]
            self._functions[name] = ctypes.CFUNCTYPE(_INT, ctypes.c_void_p, *passed)(find(name))

    def encode(self, tensor_map: TensorMap, block: Block, array: int) -> None:
        """Write a map of the array at an address."""
        name = tensor_map.function
        pairs = zip(_TYPES[name], tensor_map.arguments(array), strict=True)
        given = [kind(*value) if isinstance(value, tuple) else value for kind, value in pairs]
        passed = [ctypes.addressof(one) if isinstance(one, ctypes.Array) else one for one in given]
        self._call(name, block, *passed)

    def move(self, block: Block, array: int) -> None:
        """Say that the array of an encoded map is at another address."""
        self._call("cuTensorMapReplaceAddress", block, array)

    def _call(self, name: str, block: Block, *arguments: object) -> None:
        status = self._functions[name](block.address, *arguments)
        if status:
            raise RuntimeError(f"the CUDA driver says {status} of {name}")
