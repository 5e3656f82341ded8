"""An ONNX model of one convolution, written out by hand so that no ONNX package is needed.

A model is a protobuf message: a sequence of fields, each a key (field number and wire type) and
its value. Two wire types are enough here: 0, a variable-length integer of 7 bits a byte, and 2, a
length and as many bytes, which holds strings, arrays and nested messages alike. The field numbers
below are those of ``onnx.proto`` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), under
its names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.problem import ConvProblem

__all__ = ["INPUT", "convolution"]

INPUT, WEIGHT, BIAS, OUTPUT = "x", "weight", "bias", "y"

IR_VERSION = 8  # of 2021: every runtime of today reads it
OPSET_VERSION = 13  # Conv has meant the same since 11
FLOAT = 1  # TensorProto.DataType
ATTRIBUTE_INT, ATTRIBUTE_INTS = 2, 7  # AttributeProto.AttributeType


def convolution(
    problem: ConvProblem, weight: npt.NDArray[np.generic], bias: npt.NDArray[np.generic]
) -> bytes:
    """Return the bytes of a ModelProto that computes `problem`, a float32 one, channels first."""
    ends = zip(*problem.padding, strict=True)  # all the beginnings, then all the ends
    node = (
        _text(1, INPUT)
        + _text(1, WEIGHT)
        + _text(1, BIAS)
        + _text(2, OUTPUT)
        + _text(4, "Conv")  # op_type
        + _block(5, _integers("strides", problem.stride))  # attribute
        + _block(5, _integers("pads", [pad for end in ends for pad in end]))
        + _block(5, _integers("dilations", problem.dilation))
        + _block(5, _integers("kernel_shape", problem.kernel))
        + _block(5, _text(1, "group") + _integer(3, problem.groups) + _integer(20, ATTRIBUTE_INT))
    )
    planes_in = (problem.batch, problem.channels, *problem.size)
    planes_out = (problem.batch, problem.filters, *problem.output_size)
    graph = (
        _block(1, node)
        + _text(2, "convolution")  # name
        + _block(5, _tensor(WEIGHT, weight))  # initializer
        + _block(5, _tensor(BIAS, bias))
        + _block(11, _value(INPUT, planes_in))  # input
        + _block(12, _value(OUTPUT, planes_out))  # output
    )
    opset = _text(1, "") + _integer(2, OPSET_VERSION)  # domain, version
    return _integer(1, IR_VERSION) + _block(7, graph) + _block(8, opset)


def _integers(name: str, values: Sequence[int]) -> bytes:
    """AttributeProto: name, ints, type."""
    numbers = b"".join(_integer(8, value) for value in values)
    return _text(1, name) + numbers + _integer(20, ATTRIBUTE_INTS)


def _tensor(name: str, array: npt.NDArray[np.generic]) -> bytes:
    """TensorProto: dims, data_type, name, raw_data (little-endian)."""
    dims = b"".join(_integer(1, extent) for extent in array.shape)
    return dims + _integer(2, FLOAT) + _text(8, name) + _block(9, array.astype("<f4").tobytes())


def _value(name: str, shape: Sequence[int]) -> bytes:
    """ValueInfoProto: name, type; TypeProto.Tensor: elem_type, shape; Dimension: dim_value."""
    dims = b"".join(_block(1, _integer(1, extent)) for extent in shape)
    tensor_type = _integer(1, FLOAT) + _block(2, dims)
    return _text(1, name) + _block(2, _block(1, tensor_type))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _block(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _text(field: int, value: str) -> bytes:
    return _block(field, value.encode())


def _varint(value: int) -> bytes:
    """Return a non-negative integer, 7 bits a byte, the lowest first, all but the last marked."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
