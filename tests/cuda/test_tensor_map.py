"""Tensor maps on the host: what the driver's functions are given, and where their bytes lie."""

from __future__ import annotations

import ctypes

import pytest

from fastconv.cuda.driver import Parameters
from fastconv.cuda.tensor_map import BYTES, Block, Encoder, Im2col, Tile

ROW = Tile("float16", (72, 9, 40), (144, 1296), (64, 1, 32))
WINDOWS = Im2col("tfloat32", (36, 7, 5, 2), (144, 1008, 5040), (-1, -2), (-1, 0), (2, 3), 32, 128)

_32, _64 = ctypes.c_uint32, ctypes.c_uint64


def listed(address, kind, count):
    return list((kind * count).from_address(address))


class Listening:
    """The driver's functions, as C calls them; they write down what they get."""

    def __init__(self, status=0):
        self.told, self._kept, self._status = [], [], status

    def find(self, name):
        """Return the address of a function."""
        kinds = {
            "cuTensorMapEncodeTiled": (_32, _32, _64, *[ctypes.c_void_p] * 4, *[_32] * 4),
            "cuTensorMapEncodeIm2col": (
                *(_32, _32, _64, *[ctypes.c_void_p] * 4, _32, _32, ctypes.c_void_p),
                *[_32] * 4,
            ),
            "cuTensorMapReplaceAddress": (_64,),
        }[name]

        def function(block, *arguments):
            self.told.append((name, block, *getattr(self, name)(*arguments)))
            return self._status

        made = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *kinds)(function)
        self._kept.append(made)
        return ctypes.cast(made, ctypes.c_void_p).value

    def cuTensorMapEncodeTiled(self, kind, rank, array, sizes, strides, box, steps, *rest):
        """Read what is pointed to."""
        boxes = listed(box, _32, rank), listed(steps, _32, rank)
        return kind, rank, array, listed(sizes, _64, rank), listed(strides, _64, rank - 1), *boxes, *rest

    def cuTensorMapEncodeIm2col(self, kind, rank, array, sizes, strides, lower, upper, channels, pixels, steps, *rest):
        """Likewise."""
        corners = (listed(one, ctypes.c_int, rank - 2) for one in (lower, upper))
        read = listed(sizes, _64, rank), listed(strides, _64, rank - 1), *corners
        return kind, rank, array, *read, channels, pixels, listed(steps, _32, rank), *rest

    def cuTensorMapReplaceAddress(self, array):
        """Likewise."""
        return (array,)


def test_what_the_driver_is_told():
    listening = Listening()
    encoder, block = Encoder(listening.find), Block(128)
    encoder.encode(ROW, block, 4096)
    encoder.encode(WINDOWS, block, 8192)
    encoder.move(block, 1 << 40)
    no_interleave, swizzle_128, promotion_128, zeros = 0, 3, 2, 0
    layout = no_interleave, swizzle_128, promotion_128, zeros
    uint16, tfloat32 = 1, 11
    assert listening.told == [
        (
            *("cuTensorMapEncodeTiled", 128, uint16, 3, 4096),
            *([72, 9, 40], [144, 1296], [64, 1, 32], [1, 1, 1], *layout),
        ),
        (
            *("cuTensorMapEncodeIm2col", 128, tfloat32, 4, 8192),
            *([36, 7, 5, 2], [144, 1008, 5040], [-1, -2], [-1, 0], 32, 128, [1, 2, 3, 1], *layout),
        ),
        ("cuTensorMapReplaceAddress", 128, 1 << 40),
    ]


def test_what_the_driver_refuses():
    with pytest.raises(RuntimeError, match="the CUDA driver says 1 of cuTensorMapEncodeTiled"):
        Encoder(Listening(status=1).find).encode(ROW, Block(128), 4096)


def test_blocks_lie_among_the_parameters():
    parameters = Parameters(2, [7], maps=2)
    addresses = list((ctypes.c_void_p * 5).from_address(parameters.address))
    first, second = (block.address for block in parameters.blocks)
    assert addresses[2:4] == [first, second]
    assert (first % 64, second - first) == (0, BYTES)
    parameters.words[1] = 5
    assert [ctypes.c_int64.from_address(addresses[i]).value for i in (0, 1, 4)] == [0, 5, 7]
