"""An ONNX model of one node, written out by hand so that no ONNX package is needed.

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

from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["INPUT", "convolution", "pooling"]

INPUT, WEIGHT, BIAS, OUTPUT = "x", "weight", "bias", "y"

IR_VERSION = 8  # of 2021: every runtime of today reads it
OPSET_VERSION = 13  # Conv has meant the same since 11, MaxPool since 12, AveragePool since 11
FLOAT = 1  # TensorProto.DataType
ATTRIBUTE_INT, ATTRIBUTE_INTS = 2, 7  # AttributeProto.AttributeType


def convolution(
    problem: ConvProblem, weight: npt.NDArray[np.generic], bias: npt.NDArray[np.generic]
) -> bytes:
    """Return the bytes of a ModelProto that computes `problem`, a float32 one, channels first."""
    attributes = _integers("dilations", problem.dilation), _flag("group", problem.groups)
    node = _node("Conv", problem, (INPUT, WEIGHT, BIAS), *attributes)
    return _model(problem, problem.filters, node, _tensor(WEIGHT, weight), _tensor(BIAS, bias))


def pooling(problem: PoolProblem) -> bytes:
    """Return the bytes of a ModelProto that computes `problem`, a float32 one, channels first."""
    ceil_mode = _flag("ceil_mode", problem.ceil_mode)
    if problem.operation == "max_pool":
        node = _node("MaxPool", problem, (INPUT,), ceil_mode, _integers("dilations", problem.dilation))
    else:  # has no dilations before version 19
        node = _node(
            "AveragePool", problem, (INPUT,), ceil_mode, _flag("count_include_pad", problem.count_include_pad)
        )
    return _model(problem, problem.channels, node)


def _node(op_type: str, problem: Problem, inputs: Sequence[str], *attributes: bytes) -> bytes:
    """NodeProto: input, output, op_type, attribute; with what all windows have."""
    ends = zip(*problem.padding, strict=True)  # all the beginnings, then all the ends
    windows = (
        _integers("kernel_shape", problem.kernel),
        _integers("strides", problem.stride),
        _integers("pads", [pad for end in ends for pad in end]),
    )
    return (
        b"".join(_text(1, name) for name in inputs)
        + _text(2, OUTPUT)
        + _text(4, op_type)
        + b"".join(_block(5, attribute) for attribute in (*windows, *attributes))
    )


def _model(problem: Problem, planes: int, node: bytes, *tensors: bytes) -> bytes:
    """ModelProto: ir_version, graph, opset_import; GraphProto: node, name, initializer, input, output."""
    graph = (
        _block(1, node)
        + _text(2, "one node")
        + b"".join(_block(5, tensor) for tensor in tensors)
        + _block(11, _value(INPUT, (problem.batch, problem.channels, *problem.size)))
        + _block(12, _value(OUTPUT, (problem.batch, planes, *problem.output_size)))
    )
    opset = _text(1, "") + _integer(2, OPSET_VERSION)  # domain, version
    return _integer(1, IR_VERSION) + _block(7, graph) + _block(8, opset)


def _flag(name: str, value: int) -> bytes:
    """AttributeProto: name, i, type."""
    return _text(1, name) + _integer(3, value) + _integer(20, ATTRIBUTE_INT)


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
