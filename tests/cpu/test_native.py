"""Addresses, slots and locks that machine code and Python share."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

from fastconv.cpu import native

BASE = np.arange(120.0).reshape(4, 5, 6)
ARRAYS = {
    "whole": BASE,
    "a slice": BASE[1:, 2:, 3:],
    "reversed": BASE[::-1, :, ::-1],
    "transposed": BASE.T,
    "scalar": np.array(3.0),
    "empty": np.empty((0, 3)),
    "read-only": np.broadcast_to(np.float32(1), (3, 3)),
    "of bytes": np.frombuffer(b"abcdef", np.uint8),
    "subclass": np.ma.masked_array([1, 2, 3]),
    "records": np.zeros(3, [("a", "i1"), ("b", "f8")])["b"],
    "huge": np.lib.stride_tricks.as_strided(np.zeros(1), (2**40,), (0,)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_address_is_the_one_that_numpy_documents(name):
    array = ARRAYS[name]
    assert native.address(array) == array.__array_interface__["data"][0] == array.ctypes.data


def test_slots_are_zero_aligned_and_kept():
    slots = [native.Slots(10) for _ in range(20)]
    for one in slots:
        assert one.address % native.LINE == 0
        assert list(one.memory) == [0] * len(one.memory)
        one[0], one[9] = 5, -6
    seen = np.ctypeslib.as_array(slots[3].memory)[slots[3].offset // 8 :]
    assert native.address(seen) == slots[3].address
    assert seen[:10].tolist() == [5, 0, 0, 0, 0, 0, 0, 0, 0, -6]


def test_a_held_lock_is_held_until_it_is_released():
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    acquire = prototype(native.function("PyThread_acquire_lock"))
    release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(native.function("PyThread_release_lock"))
    lock = native.held_lock()
    assert acquire(lock, 0) == 0
    release(lock)
    assert acquire(lock, 0) == 1
    sleeper = threading.Thread(target=acquire, args=(lock, 1))
    sleeper.start()
    release(lock)
    sleeper.join(60)
    assert not sleeper.is_alive()
