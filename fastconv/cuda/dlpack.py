"""DLPack, the exchange of arrays between libraries: the structures that an exporter fills, and how they are read.

Source: https://dmlc.github.io/dlpack/latest/c_api.html.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

from fastconv.arguments import BFLOAT16

LEGACY_STREAM = 1  # CUDA's default stream, as DLPack and the driver number it

_READ_ONLY = 1  # the bit of flags

#: Kinds of numbers, by their code.
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}


class _Tensor(ctypes.Structure):
    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):
    """From version 1.0 on; before, there was the tensor first and no flags."""

    _fields_: ClassVar = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


class Exported(NamedTuple):
    """What an array says of itself."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None  # in elements; None: in C order without gaps
    dtype: str
    device: int
    read_only: bool
    capsule: object  # what keeps the memory; nobody consumes it, so it gives back what it holds when it goes


def exported(array: object) -> Exported:
    """Ask an array for its export, to be used on CUDA's default stream."""
    producer: Any = array
    try:
        capsule = producer.__dlpack__(stream=LEGACY_STREAM, max_version=(1, 0))
    except TypeError:  # before version 1.0 there was no such argument
        capsule = producer.__dlpack__(stream=LEGACY_STREAM)
    address = _address(capsule, b"dltensor_versioned")
    if address:
        versioned = _Versioned.from_address(address)
        tensor, read_only = versioned.tensor, bool(versioned.flags & _READ_ONLY)
    else:
        tensor, read_only = _Tensor.from_address(_address(capsule, b"dltensor")), False
    axes = range(tensor.ndim)
    return Exported(
        (tensor.data or 0) + tensor.byte_offset,
        tuple([tensor.shape[axis] for axis in axes]),
        tuple([tensor.strides[axis] for axis in axes]) if tensor.strides else None,
        _dtype(tensor),
        tensor.device_id,
        read_only,
        capsule,
    )


def _dtype(tensor: _Tensor) -> str:
    """The name of a type; one that nobody computes has one, too, with which it is refused."""
    kind = _KINDS.get(tensor.code, f"type {tensor.code} of ")
    lanes = "" if tensor.lanes == 1 else f"x{tensor.lanes}"
    return BFLOAT16 if (kind, tensor.bits, lanes) == ("bfloat", 16, "") else f"{kind}{tensor.bits}{lanes}"


def _address(capsule: object, name: bytes) -> int:
    """What a capsule of that name points to; 0 if it has another one."""
    api = ctypes.pythonapi
    api.PyCapsule_IsValid.argtypes = api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    return int(api.PyCapsule_GetPointer(capsule, name)) if api.PyCapsule_IsValid(capsule, name) else 0
