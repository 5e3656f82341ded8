"""Arrays of libraries that are not installed here, by objects that look like theirs."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import fastconv
from fastconv import devices
from fastconv.cuda import arrays
from fastconv.cuda.arrays import DeviceArray


def of(module, name, **attributes):
    """Return an object of a class of a library."""
    kind = type(name, (), {"__module__": module, "__qualname__": name, **attributes})
    return kind()


def on_cuda(self):
    return (2, 1)


def in_memory(self):
    return (1, 0)


def tensor(**attributes):
    """Return what looks like a PyTorch tensor of 2 x 3 on device 1, with gaps."""
    raises = property(lambda self: (_ for _ in ()).throw(RuntimeError("requires grad")))
    return of(
        "torch",
        "Tensor",
        __dlpack_device__=on_cuda,
        __cuda_array_interface__=raises,
        dtype="torch.float32",
        shape=(2, 3),
        stride=lambda self: (4, 1),
        data_ptr=lambda self: 4096,
        device=SimpleNamespace(index=1),
        **attributes,
    )


def test_a_tensor_of_pytorch(monkeypatch):
    x = tensor()
    assert devices.is_on_device(x)
    found = arrays.library_of(x).look(x)
    assert found == DeviceArray(4096, (2, 3), (4, 1), "float32", 1, x)
    torch = ModuleType("torch")
    torch.cuda = SimpleNamespace(current_stream=lambda device: SimpleNamespace(cuda_stream=40 + device))
    torch.float64 = "the type"
    torch.empty = lambda shape, dtype, device: (shape, dtype, device.index)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert arrays.library_of(x).stream(found) == 41
    assert arrays.library_of(x).empty(found, (5,), "float64") == ((5,), "the type", 1)


@pytest.mark.parametrize("name", ["bfloat16", "float16", "uint8"])  # uint8 is what workspace is of
def test_types_of_pytorch(name):
    x = tensor()
    type(x).dtype = f"torch.{name}"
    found = arrays.library_of(x).look(x)
    assert (found.dtype, found.itemsize) == (name, 1 if name == "uint8" else 2)


def test_an_array_of_cupy():
    array = of(
        "cupy",
        "ndarray",
        __dlpack_device__=on_cuda,
        data=SimpleNamespace(ptr=512),
        shape=(2, 3),
        strides=(8, 16),
        dtype=np.dtype(np.float64),
        device=SimpleNamespace(id=1),
    )
    assert arrays.library_of(array).look(array) == DeviceArray(512, (2, 3), (1, 2), "float64", 1, array)


def test_an_array_of_any_library():
    interface = {"shape": (2, 3), "typestr": "<f4", "data": (256, True), "version": 3, "stream": 9, "strides": None}
    array = of("somebody", "Array", __cuda_array_interface__=interface)
    library = arrays.library_of(array)
    found = library.look(array)
    assert found == DeviceArray(256, (2, 3), (3, 1), "float32", 0, array, read_only=True)
    assert library.stream(found) == 9
    with pytest.raises(TypeError, match=r"or have an __array_namespace__, got somebody\.Array"):
        library.empty(found, (1,), "float32")


def test_another_byte_order_is_refused():
    interface = {"shape": (2,), "typestr": ">f4", "data": (256, False), "version": 3}
    array = of("somebody", "Array", __cuda_array_interface__=interface)
    with pytest.raises(TypeError, match="must be in the machine's byte order, got >f4"):
        arrays.library_of(array).look(array)


def test_what_is_not_on_a_device():
    assert not devices.is_on_device(np.ones(3))
    assert not devices.is_on_device([1.0])
    assert not devices.is_on_device(of("torch", "Tensor", __dlpack_device__=in_memory))


def test_dense():
    def array(shape, strides, pointer=512):
        return DeviceArray(pointer, shape, strides, "float32", 0, None)

    assert array((2, 3), (3, 1)).dense
    assert array((2, 1, 3), (3, 99, 1)).dense
    assert array((0, 3), (7, 5)).dense
    assert not array((2, 3), (4, 1)).dense
    assert not array((2, 3), (1, 2)).dense
    assert not array((2, 3), (3, 1), 516).dense  # kernels load 16 bytes at once


def test_extent():
    array = DeviceArray(1000, (2, 3), (-6, 2), "float32", 0, None)
    assert array.extent == (1000 - 6 * 4, 1000 + 4 * 4 + 4)


def test_the_built_in_target_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "import_module", lambda name: ModuleType(name))
    devices.check_compiler.cache_clear()
    interface = {"shape": (1, 1, 3), "typestr": "<f4", "data": (256, False), "version": 3}
    x = of("somebody", "Array", __cuda_array_interface__=interface)
    with pytest.raises(devices.UnavailableError, match=r"need numba-cuda.*install fastconv\[cuda13\]"):
        fastconv.conv1d(x, x)
    devices.check_compiler.cache_clear()
