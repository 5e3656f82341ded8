"""Arrays on a device, whatever library they are of: where they lie, on which stream, and new ones of the same kind.

No library is imported that no array came from.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from math import prod
from types import ModuleType
from typing import Any, ClassVar, Protocol, cast

import numpy as np

from fastconv.arguments import DTYPES, itemsize
from fastconv.cuda.dlpack import LEGACY_STREAM, exported
from fastconv.devices import kind

_ALIGNMENT = 16  # bytes that a thread loads at once


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """An array of any library, looked at."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    dtype: str  # a name, as NumPy does not have all types
    device: int
    owner: object  # what it was made from
    read_only: bool = False
    kept: object = None  # what the memory is there as long as, besides the owner

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return itemsize(self.dtype)

    @property
    def dense(self) -> bool:
        """Whether elements lie in C order without gaps, from a multiple of 16 bytes on: what kernels take."""
        if self.pointer % _ALIGNMENT:
            return False
        expected = 1
        for size, stride in zip(self.shape[::-1], self.strides[::-1], strict=True):
            if size > 1 and stride != expected:
                return 0 in self.shape
            expected *= size
        return True

    @property
    def extent(self) -> tuple[int, int]:
        """The addresses of its first byte and of the byte after its last."""
        if 0 in self.shape:
            return self.pointer, self.pointer
        spans = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        low, high = sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
        item = self.itemsize
        return self.pointer + low * item, self.pointer + (high + 1) * item


class Library(Protocol):
    """What looks at arrays and makes them, and knows which stream calls of this thread go to."""

    def look(self, array: object) -> DeviceArray:
        """Return what is to know of an array."""

    def stream(self, array: DeviceArray) -> int:
        """Return the handle of the current stream of an array's device."""

    def empty(self, like: DeviceArray, shape: tuple[int, ...], dtype: str) -> object:
        """Return an array of undefined values, on the device of another one."""


def look(value: object) -> DeviceArray:
    """Return what is to know of an array on a device."""
    return library_of(value).look(value)


def library_of(value: object) -> Library:
    """Return the library that an array is of."""
    name = type(value).__module__.partition(".")[0]
    found = _LIBRARIES.get(name)
    if found is not None:
        return found
    return _OF_INTERFACE if hasattr(value, "__cuda_array_interface__") else _OF_DLPACK


def named(dtype: np.dtype[np.generic]) -> str:
    """Return the name of a data type.

    Raises
    ------
    TypeError
        If it is of another byte order than the device's.
    """
    if not dtype.isnative:
        raise TypeError(f"arrays on a device must be in the machine's byte order, got {dtype.str}")
    return dtype.name


class _AnyLibrary:
    """Any library: it makes arrays if these have the namespace that the array API standard says."""

    def empty(self, like: DeviceArray, shape: tuple[int, ...], dtype: str) -> object:
        """Ask the namespace; without one, nobody knows how."""
        owner = cast("Any", like.owner)
        if not hasattr(owner, "__array_namespace__"):
            raise TypeError(
                f"x must be an array of CuPy, PyTorch or Numba, or have an __array_namespace__, got {kind(owner)}, "
                f"of which no new ones can be made"
            )
        namespace = owner.__array_namespace__()
        return cast("object", namespace.empty(shape, dtype=getattr(namespace, dtype), device=owner.device))


class _OfInterface(_AnyLibrary):
    """Libraries whose arrays have the CUDA array interface."""

    def look(self, array: object) -> DeviceArray:
        """Read the interface; DLPack tells the device, which the interface does not."""
        interface = array.__cuda_array_interface__  # type: ignore[attr-defined]
        dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
        in_bytes = interface.get("strides")
        strides = _dense_strides(shape) if in_bytes is None else tuple([step // dtype.itemsize for step in in_bytes])
        told = getattr(array, "__dlpack_device__", None)
        device = 0 if told is None else int(told()[1])
        pointer, read_only = interface["data"]
        return DeviceArray(pointer, shape, strides, named(dtype), device, array, bool(read_only))

    def stream(self, array: DeviceArray) -> int:
        """Return the stream that the array says it is used on, or else CUDA's default."""
        stream = array.owner.__cuda_array_interface__.get("stream")  # type: ignore[attr-defined]
        return int(stream or 0)


class _OfDlpack(_AnyLibrary):
    """Libraries whose arrays have DLPack alone."""

    def look(self, array: object) -> DeviceArray:
        """Read what the array exports."""
        found = exported(array)
        strides = _dense_strides(found.shape) if found.strides is None else found.strides
        seen = found.pointer, found.shape, strides, found.dtype, found.device
        return DeviceArray(*seen, array, found.read_only, found.capsule)

    def stream(self, array: DeviceArray) -> int:
        """Return the stream that arrays are exported to."""
        return LEGACY_STREAM


def seen_as(array: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """Return a dense array in another shape of as many elements."""
    return replace(array, shape=shape, strides=_dense_strides(shape))


def _dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in shape[::-1]:
        strides.append(step)
        step *= size
    return tuple(strides[::-1])


class _CuPy:
    def look(self, array: object) -> DeviceArray:
        a = cast("Any", array)
        item = a.dtype.itemsize
        strides = tuple([step // item for step in a.strides])
        return DeviceArray(a.data.ptr, a.shape, strides, named(a.dtype), a.device.id, array)

    def stream(self, array: DeviceArray) -> int:
        return int(_module("cupy").cuda.get_current_stream(array.device).ptr)

    def empty(self, like: DeviceArray, shape: tuple[int, ...], dtype: str) -> object:
        cupy = _module("cupy")
        with cupy.cuda.Device(like.device):
            return cast("object", cupy.empty(shape, dtype))


class _Torch:
    _dtypes: ClassVar = {f"torch.{name}": name for name in DTYPES}

    def look(self, array: object) -> DeviceArray:
        a = cast("Any", array)
        dtype = self._dtypes.get(str(a.dtype))
        if dtype is None:
            raise TypeError(f"tensors must have a type of {', '.join(self._dtypes)}, got {a.dtype}")
        return DeviceArray(a.data_ptr(), tuple(a.shape), a.stride(), dtype, a.device.index, array)

    def stream(self, array: DeviceArray) -> int:
        return int(_module("torch").cuda.current_stream(array.device).cuda_stream)

    def empty(self, like: DeviceArray, shape: tuple[int, ...], dtype: str) -> object:
        torch = _module("torch")
        device = cast("Any", like.owner).device
        return cast("object", torch.empty(shape, dtype=getattr(torch, dtype), device=device))


class _Numba(_OfInterface):
    def empty(self, like: DeviceArray, shape: tuple[int, ...], dtype: str) -> object:
        return cast("object", _module("numba.cuda").device_array(shape, dtype))


def _module(name: str) -> ModuleType:
    """Return a module that an array's library has imported."""
    return sys.modules[name]


_OF_INTERFACE, _OF_DLPACK = _OfInterface(), _OfDlpack()

#: By the package that an array's class is of.
_LIBRARIES: dict[str, Library] = {"cupy": _CuPy(), "torch": _Torch(), "numba": _Numba()}


def register(package: str, library: Library | None) -> None:
    """Let a library look at the arrays whose class is of a package; None forgets it."""
    if library is None:
        del _LIBRARIES[package]
    else:
        _LIBRARIES[package] = library
