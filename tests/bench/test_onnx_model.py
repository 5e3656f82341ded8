"""The hand-written protobuf, byte by byte where that is possible."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.bench import onnx_model
from fastconv.problem import ConvProblem, PoolProblem


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**32, "8080808010")],
)
def test_integers_of_seven_bits_a_byte(value: int, encoded: str) -> None:
    assert onnx_model._varint(value).hex() == encoded  # 300 is the example in protobuf's manual


def test_text_is_a_length_and_its_bytes() -> None:
    assert onnx_model._text(2, "testing") == b"\x12\x07testing"  # from the same manual


def test_a_flag_and_a_list_of_integers() -> None:
    # AttributeProto: name = 1, i = 3, ints = 8, type = 20; a key is the field's number * 8 + its wire type
    assert onnx_model._flag("a", 5) == b"\x0a\x01a" + b"\x18\x05" + b"\xa0\x01\x02"
    assert onnx_model._integers("a", (3, 4)) == b"\x0a\x01a" + b"\x40\x03\x40\x04" + b"\xa0\x01\x07"


def compute(model: bytes, x: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {onnx_model.INPUT: x})
    return y


def test_a_runtime_reads_a_convolution() -> None:
    problem = ConvProblem.parse("conv2d,n1,c1,3x3,k1,2x2,p0:1x0,float32")
    weight = np.array([[[[1, 10], [100, 1000]]]], np.float32)
    model = onnx_model.convolution(problem, weight, np.array([0.5], np.float32))
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    y = compute(model, x)
    expected = [[5421.5, 6532.5], [8754.5, 9865.5], [87.5, 98.5]]  # the last row sees padding
    assert y[0, 0].tolist() == expected


# Windows over the columns of [1 .. 9] in rows of three.
POOLINGS = {
    "max_pool2d,n1,c1,3x3,2x2,float32": [[5, 6], [8, 9]],
    "max_pool2d,n1,c1,3x3,2x2,s2,ceil,float32": [[5, 6], [8, 9]],
    "max_pool2d,n1,c1,3x3,2x1,d2x1,float32": [[7, 8, 9]],
    "max_pool2d,n1,c1,3x3,1x2,s3x1,p0x1:0,float32": [[1, 2, 3]],
    "avg_pool2d,n1,c1,3x3,2x2,float32": [[3, 4], [6, 7]],
    "avg_pool2d,n1,c1,3x3,1x2,s3x1,p0x1:0,float32": [[0.5, 1.5, 2.5]],
    "avg_pool2d,n1,c1,3x3,1x2,s3x1,p0x1:0,exclude_pad,float32": [[1, 1.5, 2.5]],
    "avg_pool2d,n1,c1,3x3,2x2,s2,ceil,float32": [[3, 4.5], [7.5, 9]],
}


@pytest.mark.parametrize("text", POOLINGS)
def test_a_runtime_reads_a_pooling(text: str) -> None:
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    assert compute(onnx_model.pooling(PoolProblem.parse(text)), x)[0, 0].tolist() == POOLINGS[text]


def test_channels_are_those_of_the_input() -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    y = compute(onnx_model.pooling(PoolProblem.parse("max_pool1d,n2,c2,2,2,float32")), x)
    assert y.tolist() == [[[1], [3]], [[5], [7]]]
