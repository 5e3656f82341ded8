"""DLPack: arrays of libraries that have nothing else, by objects that export like theirs."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from interpreted import InterpretedArray

import fastconv
from fastconv.cuda import arrays, dlpack

CUDA, ORDINAL = 2, 0
_CODES = {"int64": (0, 64), "uint8": (1, 8), "float16": (2, 16), "float32": (2, 32), "bfloat16": (4, 16)}

_NEW = ctypes.pythonapi.PyCapsule_New
_NEW.restype, _NEW.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Producer:
    """An array of a library that nobody knows: it has DLPack, and a namespace that makes others."""

    versioned = True
    read_only = False
    asked: dict[str, object]

    def __init__(self, driver: object, array: InterpretedArray) -> None:
        self.driver, self.array = driver, array

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, ORDINAL

    def __dlpack__(self, **arguments: object) -> object:
        if not self.versioned and "max_version" in arguments:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.asked = arguments
        values, name = self.array._values, self.array.name
        axes = ctypes.c_int64 * values.ndim
        self._kept = axes(*values.shape), axes(*(step // values.itemsize for step in values.strides))
        exported = dlpack._Versioned()
        exported.major, exported.flags = 1, self.read_only
        tensor = exported.tensor
        tensor.data, tensor.byte_offset = values.ctypes.data - 64, 64
        tensor.device_type, tensor.device_id, tensor.ndim = CUDA, ORDINAL, values.ndim
        (tensor.code, tensor.bits), tensor.lanes = _CODES[name], 1
        tensor.shape, tensor.strides = self._kept
        self._exported = exported  # as long as this object
        if self.versioned:
            return _NEW(ctypes.addressof(exported), b"dltensor_versioned", None)
        return _NEW(ctypes.addressof(exported) + dlpack._Versioned.tensor.offset, b"dltensor", None)

    device = "this one"

    def __array_namespace__(self) -> object:
        return Namespace(self.driver)

    def numpy(self) -> np.ndarray:
        return self.driver.numpy(self.array)


class Namespace:
    """What makes arrays."""

    def __init__(self, driver: object) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> str:
        return name  # a type is its name

    def empty(self, shape: tuple[int, ...], *, dtype: str, device: object) -> Producer:
        assert device == "this one"
        return Producer(self._driver, self._driver.empty(None, shape, dtype))


class Older(Producer):
    """One of before version 1.0."""

    versioned = False


@pytest.mark.parametrize("kind", [Producer, Older])
def test_what_is_read(kind, interpreting):
    array = kind(interpreting, interpreting.array(np.zeros((2, 3, 4), np.float32))[:, ::2])
    library = arrays.library_of(array)
    found = library.look(array)
    assert (found.shape, found.strides, found.dtype, found.device) == ((2, 2, 4), (12, 8, 1), "float32", 0)
    assert found.pointer == array.array._values.ctypes.data
    assert found.owner is array
    assert found.kept is not None
    assert not found.read_only
    assert array.asked["stream"] == library.stream(found) == 1  # CUDA's default one


@pytest.mark.parametrize("kind", [Producer, Older])
def test_bfloat16_without_a_copy(kind, interpreting):
    """The result is of the same kind, and what was launched is the convolution alone."""
    x, weight = (kind(interpreting, interpreting.bfloat16(np.ones(shape, "f4"))) for shape in ((1, 1, 5), (1, 1, 3)))
    y = fastconv.conv1d(x, weight, padding=1, algorithm="direct")
    assert isinstance(y, Producer)
    assert y.array.name == "bfloat16"
    assert y.numpy().tolist() == [[[2, 3, 3, 3, 2]]]
    assert [launch.name for launch in interpreting.launches] == ["fastconv_direct"]
    assert {launch.stream for launch in interpreting.launches} == {1}


def test_pooling_with_indices_and_out(interpreting):
    x = Producer(interpreting, interpreting.array(np.arange(6, dtype="f4").reshape(1, 1, 6)))
    out = Producer(interpreting, interpreting.empty(None, (1, 1, 3), "float32"))
    y, indices = fastconv.max_pool1d(x, 2, return_indices=True, out=out)
    assert y is out
    assert y.numpy().tolist() == [[[1, 3, 5]]]
    assert indices.numpy().tolist() == [[[1, 3, 5]]]


def test_read_only_arrays_are_read_and_not_written(interpreting):
    x = Producer(interpreting, interpreting.array(np.ones((1, 1, 6), "f4")))
    x.read_only = True
    assert fastconv.avg_pool1d(x, 2).numpy().tolist() == [[[1, 1, 1]]]
    with pytest.raises(ValueError, match="out must be writeable, got a read-only array"):
        fastconv.avg_pool1d(x, 1, out=x)


def test_types_that_nobody_computes_have_a_name(interpreting, monkeypatch):
    x = Producer(interpreting, interpreting.array(np.ones((1, 1, 6), "f4")))
    for code, bits, name in ((5, 64, "complex64"), (6, 8, "bool8"), (2, 8, "float8"), (9, 8, "type 9 of 8")):
        monkeypatch.setitem(_CODES, "float32", (code, bits))
        with pytest.raises(TypeError, match=f"x must be one of float16, .*, got .*{name}"):
            fastconv.avg_pool1d(x, 2)


def test_without_a_namespace_nothing_is_made(interpreting, monkeypatch):
    monkeypatch.delattr(Producer, "__array_namespace__")
    x = Producer(interpreting, interpreting.array(np.ones((1, 1, 6), "f4")))
    with pytest.raises(TypeError, match=r"or have an __array_namespace__, got .*test_dlpack\.Producer"):
        fastconv.avg_pool1d(x, 2)
