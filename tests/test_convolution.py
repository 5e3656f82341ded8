"""Convolutions that can be checked by hand, by every algorithm, then layers of real networks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv.bench.suites import suite
from fastconv.problem import LAYOUTS, ConvProblem
from fastconv.selection import TABLE

FUNCTIONS = {3: fastconv.conv1d, 4: fastconv.conv2d, 5: fastconv.conv3d}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


#: Each algorithm with each type that it computes: integers are the reference's alone.
every_type = pytest.mark.parametrize(
    ("algorithm", "dtype"),
    [
        (entry.name, dtype)
        for entry in TABLE
        for dtype in ("float32", "float64", "int64")
        if entry.supports(ConvProblem.parse(f"conv1d,n1,c1,1,k1,1,{dtype}")) is None
    ],
)


def conv(x, weight, layout="channels_first", residual=None, **arguments):
    """Convolve; x, residual and the result are channels first whatever the layout."""
    x, weight = np.asarray(x), np.asarray(weight)
    if layout == "channels_last":
        x = np.moveaxis(x, 1, -1)
        residual = None if residual is None else np.moveaxis(np.asarray(residual), 1, -1)
    y = FUNCTIONS[weight.ndim](x, weight, layout=layout, residual=residual, **arguments)
    return np.moveaxis(y, -1, 1) if layout == "channels_last" else y


# --- one, two and three axes ----------------------------------------------------------------------


@every_type
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [321, 432, 543]),
        ({"flip": True}, [123, 234, 345]),
        ({"padding": 1}, [210, 321, 432, 543, 54]),
        ({"padding": (1,)}, [210, 321, 432, 543, 54]),
        ({"padding": [(0, 2)]}, [321, 432, 543, 54, 5]),
        ({"padding": "valid"}, [321, 432, 543]),
        ({"padding": "same"}, [210, 321, 432, 543, 54]),
        ({"padding": "same", "dilation": 2}, [310, 420, 531, 42, 53]),
        ({"padding": "same_lower"}, [210, 321, 432, 543, 54]),
        ({"padding": 1, "flip": True}, [12, 123, 234, 345, 450]),
        ({"padding": 1, "padding_mode": "reflect"}, [212, 321, 432, 543, 454]),
        ({"padding": 1, "padding_mode": "replicate"}, [211, 321, 432, 543, 554]),
        ({"padding": 1, "padding_mode": "circular"}, [215, 321, 432, 543, 154]),
        ({"padding": [(2, 0)], "padding_mode": "symmetric"}, [112, 211, 321, 432, 543]),
        ({"padding": [(2, 0)], "padding_mode": "reflect"}, [123, 212, 321, 432, 543]),
        ({"padding": [(0, 4)], "padding_mode": "replicate", "stride": 3}, [321, 554, 555]),
        ({"stride": 2}, [321, 543]),
        ({"stride": 2, "padding": 1}, [210, 432, 54]),
        ({"stride": 4, "padding": [(0, 2)]}, [321, 5]),
        ({"stride": 9}, [321]),
        ({"dilation": 2}, [531]),
        ({"dilation": 2, "flip": True}, [135]),
        ({"dilation": 2, "padding": 3, "stride": 2}, [200, 420, 42, 4]),
        ({"dilation": 5, "padding": 5}, [10, 20, 30, 40, 50]),  # a window larger than the input
    ],
)
def test_one_axis(algorithm, dtype, layout, arguments, expected):
    # The weight 1, 10, 100 writes the elements of a window as the digits of a number.
    x, weight = np.array([[[1, 2, 3, 4, 5]]], dtype), np.array([[[1, 10, 100]]], dtype)
    y = conv(x, weight, layout, algorithm=algorithm, **arguments)
    assert y.dtype == dtype
    assert y.tolist() == [[expected]]


@every_type
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [[5421, 6532], [8754, 9865]]),
        ({"flip": True}, [[1245, 2356], [4578, 5689]]),
        ({"padding": "same"}, [[5421, 6532, 603], [8754, 9865, 906], [87, 98, 9]]),
        ({"padding": "same_lower"}, [[1000, 2100, 3200], [4010, 5421, 6532], [7040, 8754, 9865]]),
        ({"padding": ((1, 0), (0, 1))}, [[2100, 3200, 300], [5421, 6532, 603], [8754, 9865, 906]]),
        ({"padding": (0, 1)}, [[4010, 5421, 6532, 603], [7040, 8754, 9865, 906]]),
        ({"padding": (1, 0), "stride": (2, 1)}, [[2100, 3200], [8754, 9865]]),
        ({"stride": (1, 2)}, [[5421], [8754]]),
        ({"dilation": 2}, [[9731]]),
        ({"dilation": (1, 2)}, [[6431], [9764]]),
        ({"dilation": (2, 1), "stride": (1, 2)}, [[8721]]),
        # Only the corners of the padded image: it wraps around both axes, or turns back on both.
        ({"padding": 1, "padding_mode": "circular", "stride": 3}, [[1379, 1379], [1379, 1379]]),
        ({"padding": 1, "padding_mode": "reflect", "stride": 3}, [[1245, 2356], [4578, 5689]]),
        ({"padding": 1, "padding_mode": "replicate", "stride": 3}, [[1111, 3333], [7777, 9999]]),
        ({"padding": 1, "padding_mode": "symmetric", "stride": 3}, [[1111, 3333], [7777, 9999]]),
    ],
)
def test_two_axes(algorithm, dtype, layout, arguments, expected):
    x = np.arange(1, 10).reshape(1, 1, 3, 3).astype(dtype)
    weight = np.array([[[[1, 10], [100, 1000]]]], dtype)
    y = conv(x, weight, layout, algorithm=algorithm, **arguments)
    assert y.tolist() == [[expected]]


@every_type
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [[[6521], [8743]]]),
        ({"flip": True}, [[[1256], [3478]]]),
        ({"padding": ((1, 0), (0, 0), (0, 0))}, [[[2100], [4300]], [[6521], [8743]]]),
        ({"padding": ((0, 0), (0, 1), (0, 0)), "stride": (1, 2, 1)}, [[[6521], [0]]]),
        ({"padding": ((0, 0), (0, 0), (0, 1))}, [[[6521, 602], [8743, 804]]]),
        ({"dilation": (1, 7, 1)}, [[[6521], [8743]]]),
        (
            {"padding": ((0, 0), (0, 0), (1, 0)), "padding_mode": "circular"},
            [[[5612, 6521], [7834, 8743]]],
        ),
    ],
)
def test_three_axes(algorithm, dtype, layout, arguments, expected):
    x = np.arange(1, 9).reshape(1, 1, 2, 2, 2).astype(dtype)
    weight = np.array([1, 10, 100, 1000], dtype).reshape(1, 1, 2, 1, 2)
    y = conv(x, weight, layout, algorithm=algorithm, **arguments)
    assert y.tolist() == [[expected]]


# --- channels, groups, images ---------------------------------------------------------------------


@every_type
@pytest.mark.parametrize(
    ("groups", "weight", "expected"),
    [
        (1, [[1, 2, 3, 4], [0, 1, 0, 1]], [4321, 1010]),
        (2, [[1, 2], [3, 4], [5, 6], [7, 8]], [21, 43, 6500, 8700]),
        (4, [[1], [2], [3], [4]], [1, 20, 300, 4000]),
        (4, [[1], [2], [3], [4], [5], [6], [7], [8]], [1, 2, 30, 40, 500, 600, 7000, 8000]),
    ],
)
def test_groups(algorithm, dtype, layout, groups, weight, expected):
    x = np.array([1, 10, 100, 1000], dtype).reshape(1, 4, 1, 1) * np.array([[1, 2]], dtype)
    weight = np.array(weight, dtype)[..., np.newaxis, np.newaxis]
    y = conv(x, weight, layout, groups=groups, algorithm=algorithm)
    assert y.tolist() == [[[[value, 2 * value]] for value in expected]]


@every_type
def test_images_of_a_batch(algorithm, dtype, layout):
    x = np.array([[[1, 2]], [[3, 4]], [[5, 6]]], dtype)
    y = conv(x, np.array([[[1, 10]]], dtype), layout, algorithm=algorithm)
    assert y.tolist() == [[[21]], [[43]], [[65]]]


@every_type
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_image_without_a_batch_axis(algorithm, dtype, layout, rank):
    x = np.arange(2 * 2**rank).reshape(2, *(2,) * rank).astype(dtype)
    x = x if layout == "channels_first" else np.moveaxis(x, 0, -1)
    weight = np.array([1, 0, 0, 1, 1, 1], dtype).reshape(3, 2, *(1,) * rank)
    residual = np.full((3, *(2,) * rank) if layout == "channels_first" else (*(2,) * rank, 3), 100)
    y = FUNCTIONS[rank + 2](x, weight, residual=residual, layout=layout, algorithm=algorithm)
    assert y.shape == residual.shape
    first, second, both = y if layout == "channels_first" else np.moveaxis(y, -1, 0)
    one, other = x if layout == "channels_first" else np.moveaxis(x, -1, 0)
    assert (first == one + 100).all()
    assert (second == other + 100).all()
    assert (both == one + other + 100).all()


@every_type
def test_no_images(algorithm, dtype, layout):
    shape = (0, 2, 5, 5) if layout == "channels_first" else (0, 5, 5, 2)
    x, weight = np.zeros(shape, dtype), np.ones((4, 2, 3, 3), dtype)
    y = fastconv.conv2d(x, weight, np.ones(4, dtype), layout=layout, algorithm=algorithm)
    assert y.shape == ((0, 4, 3, 3) if layout == "channels_first" else (0, 3, 3, 4))
    assert y.dtype == dtype
    out = np.zeros_like(y)
    assert fastconv.conv2d(x, weight, out=out, layout=layout, algorithm=algorithm) is out


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_no_images_whatever_the_algorithm(dtype, layout):
    shape = (0, 2, 5, 5) if layout == "channels_first" else (0, 5, 5, 2)
    problem = ConvProblem.from_shapes(shape, (4, 2, 3, 3), dtype, layout=layout)
    assert fastconv.select(problem) == fastconv.explain(problem).picked
    y = fastconv.conv2d(np.zeros(shape, dtype), np.ones((4, 2, 3, 3), dtype), layout=layout)
    assert y.shape == problem.output_shape


# --- bias, residual, activation -------------------------------------------------------------------


@every_type
def test_bias_and_residual(algorithm, dtype, layout):
    x, weight = np.array([[[1, 2, 3]]], dtype), np.array([[[1, 1]], [[10, 0]]], dtype)
    y = conv(x, weight, layout, bias=np.array([100, 200], dtype), algorithm=algorithm)
    assert y.tolist() == [[[103, 105], [210, 220]]]
    residual = np.array([[[1000, 2000], [3000, 4000]]], dtype)
    y = conv(x, weight, layout, residual, algorithm=algorithm)
    assert y.tolist() == [[[1003, 2005], [3010, 4020]]]
    y = conv(x, weight, layout, residual, bias=[100, 200], activation="relu", algorithm=algorithm)
    assert y.tolist() == [[[1103, 2105], [3210, 4220]]]


def test_bias_and_residual_of_another_type_are_cast(algorithm):
    x, weight = np.ones((1, 1, 2), np.float32), np.ones((1, 1, 1), np.float32)
    y = fastconv.conv1d(x, weight, np.array([2.0]), residual=[[[1, 2]]], algorithm=algorithm)
    assert y.dtype == np.float32
    assert y.tolist() == [[[4, 5]]]


@every_type
def test_the_activation_comes_last(algorithm, dtype, layout):
    x, weight = np.array([[[-5, -1, 9]]], dtype), np.array([[[1]]], dtype)
    plain = {"bias": np.array([1], dtype), "algorithm": algorithm, "layout": layout}
    residual = np.array([[[3, 3, 3]]], dtype)
    assert conv(x, weight, residual=residual, activation="relu", **plain).tolist() == [[[0, 3, 13]]]
    assert conv(x, weight, residual=residual, activation="relu6", **plain).tolist() == [[[0, 3, 6]]]


LN3 = math.log(3.0)


POINTS = {
    "relu": [(-2, 0), (0, 0), (3, 3)],
    "relu6": [(-2, 0), (0.5, 0.5), (7, 6)],
    "leaky_relu": [(-2, -0.02), (0, 0), (3, 3)],
    "sigmoid": [(0, 0.5), (LN3, 0.75), (-LN3, 0.25), (-200, 0), (200, 1)],
    "tanh": [(0, 0), (LN3 / 2, 0.5), (-LN3 / 2, -0.5), (-200, -1), (200, 1)],
    "silu": [(0, 0), (LN3, 0.75 * LN3), (-LN3, -0.25 * LN3), (200, 200), (-200, 0)],
    # the normal distribution's share below one standard deviation
    "gelu": [(0, 0), (1, 0.8413447460685429), (-1, -0.15865525393145707), (200, 200)],
    "hardswish": [(-4, 0), (-3, 0), (-1, -1 / 3), (0, 0), (1, 2 / 3), (3, 3), (4, 4)],
}


@pytest.mark.parametrize(("activation", "points"), POINTS.items())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_at_points(algorithm, layout, dtype, activation, points):
    arguments, expected = np.array(points, dtype).T
    y = conv([[arguments]], np.ones((1, 1, 1), dtype), layout, activation=activation,
             algorithm=algorithm)  # fmt: skip
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(y[0, 0], expected, rtol=tolerance, atol=tolerance)


def test_every_activation_has_points():
    assert set(POINTS) == set(reference.ACTIVATIONS)


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_integers_are_exact_and_int64(kind):
    largest = np.iinfo(kind).max if kind != "int64" else 2**31
    x = np.full((1, 1, 4), largest, kind)
    y = fastconv.conv1d(x, np.array([[[2, 1]]], kind), [largest], residual=[[[1, 2, 3]]])
    assert y.dtype == np.int64
    assert y.tolist() == [[[4 * largest + 1, 4 * largest + 2, 4 * largest + 3]]]


def test_integers_beyond_float64():
    x = np.array([[[2**53, 1]]])
    assert fastconv.conv1d(x, np.array([[[1, 1]]])).tolist() == [[[2**53 + 1]]]


def test_integers_that_might_not_fit_are_refused():
    with pytest.raises(OverflowError, match="2 products"):
        fastconv.conv1d(np.full((1, 1, 2), 2**31), np.full((1, 1, 2), 2**31))


@pytest.mark.parametrize(("dtype", "many"), [("float16", 2048), ("bfloat16", 256)])
def test_halves_are_summed_wider_and_rounded_once(dtype, many):
    x = np.array([[[many, 1, 1]]], dtype)
    assert (x[0, 0, 0] + x[0, 0, 1]).item() == many  # the next number is greater by two
    for algorithm in ("auto", "reference"):
        y = fastconv.conv1d(x, np.ones((1, 1, 3), dtype), algorithm=algorithm)
        assert y.dtype == dtype
        assert y.tolist() == [[[many + 2]]]


@pytest.mark.parametrize(
    ("x", "weight", "result"),
    [
        ("float32", "float64", "float64"),
        ("float16", "float32", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float64", "bfloat16", "float64"),
        ("bfloat16", "float16", "float32"),  # neither holds the other
        ("bfloat16", "int8", "float32"),
        ("int8", "float32", "float32"),
        ("uint8", "int8", "int64"),
    ],
)
def test_the_result_has_the_common_type(x, weight, result):
    y = fastconv.conv1d(np.array([[[1, 2]]], x), np.array([[[3, 4]]], weight))
    assert y.dtype == result
    assert y.tolist() == [[[11]]]


def test_lists(algorithm):
    y = fastconv.conv1d([[[1.0, 2.0]]], [[[3.0, 4.0]]], [0.5], residual=(((1,),),),
                        algorithm=algorithm)  # fmt: skip
    assert y.dtype == np.float64
    assert y.tolist() == [[[12.5]]]


class _Grid:
    """An image of a library of its own."""

    def __array__(self, dtype=None, copy=None):
        return np.array([[[1.0, 2.0]]])


def test_objects_that_show_themselves_as_arrays(algorithm):
    assert fastconv.conv1d(_Grid(), [[[3.0, 4.0]]], algorithm=algorithm).tolist() == [[[11]]]


# --- out ------------------------------------------------------------------------------------------


def whole_numbers(*shape, dtype="float32", seed=0):
    """Return an array of integers from -4 to 4: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


@every_type
def test_out_is_filled_and_returned(algorithm, dtype, layout):
    x, weight = whole_numbers(2, 3, 6, 7, dtype=dtype), whole_numbers(5, 3, 3, 3, dtype=dtype)
    expected = conv(x, weight, layout, algorithm="reference")
    shape = expected.shape if layout == "channels_first" else (2, 4, 5, 5)
    out = np.full(shape, 77, dtype)
    x = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
    assert fastconv.conv2d(x, weight, layout=layout, algorithm=algorithm, out=out) is out
    assert (np.moveaxis(out, -1, 1) if layout == "channels_last" else out).tolist() == (expected.tolist())


def test_out_whose_axis_of_one_element_has_any_stride(algorithm, inexact):
    x, weight = whole_numbers(1, 1, 3, 1, 3), np.ones((1, 1, 2, 1, 2), np.float32)
    memory = np.full((1, 1, 2, 2, 2), 77, np.float32)
    fastconv.conv3d(x, weight, algorithm=algorithm, out=memory[:, :, :, ::2])
    expected = fastconv.conv3d(x, weight, algorithm="reference")
    np.testing.assert_allclose(memory[:, :, :, :1], expected, atol=inexact)
    assert (memory[:, :, :, 1] == 77).all()


@pytest.mark.parametrize("kernel", [1, 3])
def test_branches_of_a_block_written_side_by_side(algorithm, inexact, layout, kernel):
    # Three branches of 5, 3 and 9 filters write their channels of one array; 18 and 19 stay.
    x = whole_numbers(2, 4, 7, 6)
    block = np.full((2, 20, 7, 6), 77, np.float32)
    if layout == "channels_last":
        block = np.ascontiguousarray(np.moveaxis(block, 1, -1))
    expected, begin = [], 1
    for filters in (5, 3, 9):
        weight = whole_numbers(filters, 4, kernel, kernel, seed=filters)
        channels = slice(begin, begin + filters)
        out = block[:, channels] if layout == "channels_first" else block[..., channels]
        images = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
        before = block.copy()
        fastconv.conv2d(images, weight, padding="same", layout=layout, algorithm=algorithm, out=out)
        changed = np.flatnonzero((block != before).any(axis=(0, 2, 3) if layout == "channels_first"
                                                       else (0, 1, 2)))  # fmt: skip
        assert changed.tolist() == list(range(begin, begin + filters))
        expected.append(conv(x, weight, padding="same", algorithm="reference"))
        begin += filters
    written = block if layout == "channels_first" else np.moveaxis(block, -1, 1)
    assert np.abs(written[:, 1:18] - np.concatenate(expected, axis=1)).max() <= inexact
    assert (written[:, [0, 18, 19]] == 77).all()


def misaligned(array):
    """Return an equal array one byte off its element's alignment."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    moved = memory.view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


@every_type
@pytest.mark.parametrize(
    "lay",
    [
        np.asfortranarray,
        lambda out: np.flip(out),
        lambda out: out[..., ::-1],
        lambda out: np.repeat(out, 2, axis=-1)[..., ::2],
        lambda out: np.repeat(out, 3, axis=-2)[..., ::3, :],
        lambda out: np.repeat(out, 3, axis=0)[::3],
        lambda out: np.moveaxis(np.ascontiguousarray(np.moveaxis(out, 1, -1)), -1, 1),
        lambda out: np.pad(out, ((0, 0), (1, 2), (2, 1), (1, 1)))[:, 1:-2, 2:-1, 1:-1],
        misaligned,
    ],
    ids=["Fortran", "reversed", "rows reversed", "every second element", "every third row",
         "every third image", "transposed", "inside", "misaligned"],
)  # fmt: skip
def test_out_of_any_memory_order(algorithm, dtype, layout, lay):
    x, weight = whole_numbers(2, 3, 6, 7, dtype=dtype), whole_numbers(5, 3, 3, 3, dtype=dtype)
    residual = whole_numbers(2, 5, 4, 5, dtype=dtype)
    expected = conv(x, weight, layout, residual, algorithm="reference")
    arrays = [x, residual, expected]
    if layout == "channels_last":
        arrays = [np.moveaxis(array, 1, -1) for array in arrays]
    x, residual, expected = arrays
    out = lay(np.full(expected.shape, 77, dtype))
    y = fastconv.conv2d(x, weight, residual=residual, layout=layout, algorithm=algorithm, out=out)
    assert y is out
    assert (out == expected).all()


@pytest.mark.parametrize("overlap", ["x", "x shifted", "weight", "residual", "residual reversed"])
def test_out_that_overlaps_an_input(algorithm, inexact, layout, overlap):
    memory = whole_numbers(4 * 5 * 36 + 7)
    shape = (4, 5, 6, 6) if layout == "channels_first" else (4, 6, 6, 5)
    count = math.prod(shape)
    out = memory[:count].reshape(shape)
    x, weight = whole_numbers(*shape, seed=1), whole_numbers(5, 5, 3, 3, seed=2)
    residual = whole_numbers(*shape, seed=3)
    if overlap == "x":
        x = out
    elif overlap == "x shifted":
        x = memory[7 : 7 + count].reshape(shape)
    elif overlap == "weight":
        weight = memory[3 : 3 + weight.size].reshape(weight.shape)
    elif overlap == "residual":
        residual = out
    else:
        residual = np.flip(out)
    call = {"padding": 1, "layout": layout, "residual": residual}
    expected = fastconv.conv2d(x, weight, algorithm="reference", **call)
    fastconv.conv2d(x, weight, algorithm=algorithm, out=out, **call)
    assert np.abs(out - expected).max() <= inexact


# --- layers of networks ---------------------------------------------------------------------------


def reduced_layers():
    """Return layers of each kind, at no more than 15 x 13 pixels."""
    found = []
    wanted = {
        "resnet50": ("conv1", "conv2_2a", "conv3_1b", "conv4_1p", "conv5_1c"),
        "mobilenet_v2": ("stem", "b1d", "b2d", "b2p", "b15d"),
    }
    for network, names in wanted.items():
        table = {layer.name: layer.problem for layer in suite(network).layers(batch=2)}
        for name in names:
            height, width = table[name].size
            problem = replace(table[name], size=(min(height, 15), min(width, 13)))
            found.append(pytest.param(problem, id=f"{network}-{name}"))
    return found


@pytest.mark.parametrize("problem", reduced_layers())
def test_layers_of_networks(algorithm, layout, problem):
    random = np.random.default_rng(0)
    problem = replace(problem, layout=layout)
    x = random.standard_normal(problem.input_shape, np.float32)
    weight = random.standard_normal(problem.weight_shape, np.float32)
    weight /= np.float32(math.sqrt(problem.parameters / problem.filters / 2))
    bias = random.standard_normal(problem.filters, np.float32)
    residual = random.standard_normal(problem.output_shape, np.float32)
    y = fastconv.conv2d(x, weight, bias, residual=residual, activation="relu6",
                        algorithm=algorithm, **problem.arguments())  # fmt: skip
    exact = [array.astype(np.float64) for array in (x, weight, bias, residual)]
    expected = reference.conv(replace(problem, dtype="float64"), *exact, activation="relu6")
    assert np.linalg.norm(y - expected) < 2e-6 * np.linalg.norm(expected)
