"""Transposed convolutions: by hand, as the reference and PyTorch have them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import reference
from fastconv.problem import LAYOUTS

FUNCTIONS = {1: fastconv.conv_transpose1d, 2: fastconv.conv_transpose2d, 3: fastconv.conv_transpose3d}


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "reference"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [1, 12, 120, 200]),
        ({"flip": True}, [100, 210, 21, 2]),
        ({"stride": 2}, [1, 10, 102, 20, 200]),
        ({"stride": 2, "output_padding": 1}, [1, 10, 102, 20, 200, 0]),
        ({"stride": 2, "padding": 1, "output_padding": 1}, [10, 102, 20, 200]),
        ({"stride": 4, "bias": [5.0]}, [6, 15, 105, 5, 7, 25, 205]),
        ({"dilation": 2}, [1, 2, 10, 20, 100, 200]),
        ({"dilation": 2, "padding": [(0, 1)], "output_padding": 1}, [1, 2, 10, 20, 100, 200]),
        ({"padding": "same"}, [12, 120]),
        ({"padding": "same", "stride": 2}, [1, 10, 102, 20]),
        ({"padding": [(1, 0)]}, [12, 120, 200]),
    ],
)
def test_by_hand(algorithm, arguments, expected):
    # The weight 1, 10, 100 writes what an element is reached by as the digits of a number.
    x, weight = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    assert fastconv.conv_transpose1d(x, weight, algorithm=algorithm, **arguments).tolist() == [[expected]]


def test_integers():
    found = fastconv.conv_transpose1d(np.array([[[2**53, 1]]]), np.array([[[1, 1]]]), np.array([1]))
    assert found.dtype == np.int64
    assert found.tolist() == [[[2**53 + 1, 2**53 + 2, 2]]]
    with pytest.raises(OverflowError, match="products and what is added"):
        fastconv.conv_transpose1d(np.array([[[1]]]), np.array([[[1]]]), np.array([2**63 - 1]))


@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0))
def test_against_the_reference(data, seed):
    rank = data.draw(st.integers(1, 3))

    def numbers(most, least=1):
        return data.draw(st.lists(st.integers(least, most), min_size=rank, max_size=rank))

    stride, dilation, kernel = numbers(3), numbers(3), numbers(4)
    extra = [data.draw(st.integers(0, s - 1)) for s in stride]
    full = [d * (f - 1) + 1 + e for d, f, e in zip(dilation, kernel, extra, strict=True)]
    size = [max(1, w) for w in numbers(6)]
    padding = [[data.draw(st.integers(0, min(3, (w + 1) // 2 - 1))) for _ in range(2)] for w in full]
    groups, layout = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(LAYOUTS))
    channels, filters = (groups * data.draw(st.integers(1, 5)) for _ in range(2))
    random = np.random.default_rng(seed)

    def whole(*shape):
        return random.integers(-4, 5, shape).astype(np.float64)

    x = whole(2, *size, channels) if layout == "channels_last" else whole(2, channels, *size)
    weight, bias = whole(channels, filters // groups, *kernel), whole(filters)
    arguments = {
        "stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "dilation": dilation,
        "flip": data.draw(st.booleans()), "layout": layout,
    }  # fmt: skip
    wanted = reference.conv_transpose(x, weight, bias, **arguments)
    for algorithm in ("direct", "im2col", "reference"):
        np.testing.assert_array_equal(FUNCTIONS[rank](x, weight, bias, **arguments, algorithm=algorithm), wanted)
    found = FUNCTIONS[rank](x[0], weight, bias, **arguments)
    np.testing.assert_allclose(found, wanted[0], atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "arguments", [{}, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, {"dilation": 2}]
)
def test_pytorchs_results(arguments, dtype):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    random = np.random.default_rng(0)
    shapes = (2, 6, 5, 4), (6, 4, 3, 3), (4 * arguments.get("groups", 1),)
    x, weight, bias = (random.uniform(-1, 1, shape).astype(dtype) for shape in shapes)
    wanted = torch.nn.functional.conv_transpose2d(*map(torch.from_numpy, (x, weight, bias)), **arguments).numpy()
    found = fastconv.conv_transpose2d(x, weight, bias, **arguments)
    assert np.linalg.norm(found - wanted) <= {"float32": 2e-6, "float64": 1e-14}[dtype] * np.linalg.norm(wanted)


def test_out_and_no_images():
    x, weight = np.ones((0, 2, 3, 3)), np.ones((2, 4, 2, 2))
    assert fastconv.conv_transpose2d(x, weight, stride=2).shape == (0, 4, 6, 6)
    memory = np.full((1, 8, 2, 2), 77.0)
    out = memory[:, ::2]
    assert fastconv.conv_transpose2d(np.ones((1, 2, 1, 1)), weight, np.arange(4.0), out=out) is out
    assert out[0, :, 1, 1].tolist() == [2, 3, 4, 5]
    assert (memory[:, 1::2] == 77).all()


@pytest.mark.parametrize(
    ("kind", "message", "arguments"),
    [
        (ValueError, r"output_padding must be less than the stride \(2\)", {"stride": 2, "output_padding": 2}),
        (fastconv.UnsupportedError, "output_padding must be less than the stride .1. and the padding after .0.",
         {"dilation": 2, "output_padding": 1}),
        (ValueError, "groups must divide the 2 channels of x, got 3", {"groups": 3}),
        (ValueError, r"bias must have shape \(4,\), got \(3,\)", {"bias": np.ones(3)}),
        (ValueError, "padding must leave an output", {"padding": 3}),
        (ValueError, "stride must be positive", {"stride": 0}),
        (ValueError, "layout must be one of", {"layout": "rows"}),
    ],
)  # fmt: skip
def test_what_is_refused(kind, message, arguments):
    with pytest.raises(kind, match=message):
        fastconv.conv_transpose2d(np.ones((1, 2, 3, 3)), np.ones((2, 4, 2, 2)), **arguments)
    with pytest.raises(ValueError, match="weight must have shape"):
        fastconv.conv_transpose2d(np.ones((1, 3, 3, 3)), np.ones((2, 4, 2, 2)))
