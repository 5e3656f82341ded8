"""The hand-written protobuf, byte by byte where that is possible."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.bench import onnx_model
from fastconv.problem import ConvProblem


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**32, "8080808010")],
)
def test_integers_of_seven_bits_a_byte(value: int, encoded: str) -> None:
    assert onnx_model._varint(value).hex() == encoded  # 300 is the example in protobuf's manual


def test_text_is_a_length_and_its_bytes() -> None:
    assert onnx_model._text(2, "testing") == b"\x12\x07testing"  # from the same manual


def test_a_runtime_reads_it() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    problem = ConvProblem.parse("conv2d,n1,c1,3x3,k1,2x2,p0:1x0,float32")
    weight = np.array([[[[1, 10], [100, 1000]]]], np.float32)
    model = onnx_model.convolution(problem, weight, np.array([0.5], np.float32))
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {onnx_model.INPUT: x})
    expected = [[5421.5, 6532.5], [8754.5, 9865.5], [87.5, 98.5]]  # the last row sees padding
    assert y[0, 0].tolist() == expected
