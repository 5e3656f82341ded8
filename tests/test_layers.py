"""Layers: what the function computes, bit by bit, from weights that are packed once."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv import Conv1d, Conv2d, Conv3d, config, selection
from fastconv.call import MOST_BINDINGS
from fastconv.cpu.depthwise_channels_last import PixelsPlan
from fastconv.cpu.plan import Packing, Plans
from fastconv.problem import LAYOUTS, ConvProblem
from fastconv.selection import TABLE

FUNCTIONS = {1: fastconv.conv1d, 2: fastconv.conv2d, 3: fastconv.conv3d}
LAYERS = {1: Conv1d, 2: Conv2d, 3: Conv3d}

#: Each algorithm with each type that it computes.
every_type = pytest.mark.parametrize(
    ("algorithm", "dtype"),
    [
        (entry.name, dtype)
        for entry in TABLE
        for dtype in ("float32", "float64", "int64")
        if entry.supports(ConvProblem.parse(f"conv2d,n1,c1,3x3,k1,3x3,{dtype}")) is None
    ],
)


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def packed(monkeypatch):
    """What packed weights since: a panel for each call."""
    calls = []
    into_panels, into_blocks = Packing.__call__, PixelsPlan.pack

    def count_panels(self, *arguments):
        calls.append("panels")
        into_panels(self, *arguments)

    def count_blocks(self, *arguments):
        calls.append("blocks")
        return into_blocks(self, *arguments)

    monkeypatch.setattr(Packing, "__call__", count_panels)
    monkeypatch.setattr(PixelsPlan, "pack", count_blocks)
    yield calls
    fastconv.clear_cache()


def numbers(*shape, dtype="float32", seed=0):
    """Return small whole numbers, whose sums are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def reals(*shape, dtype="float32", seed=0):
    """Return numbers whose sums are rounded."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def arrays_of(problem, seed=0):
    """Return x, weight, bias and residual; of integers, small ones."""
    draw = reals if problem.dtype.startswith("float") else numbers
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    return [draw(*shape, dtype=problem.dtype, seed=seed + place) for place, shape in enumerate(shapes)]


# --- by hand --------------------------------------------------------------------------------------


@every_type
def test_one_axis(algorithm, dtype, layout):
    # The weight 1, 10, 100 writes the elements of a window as the digits of a number.
    x = np.array([[[1, 2, 3, 4, 5]]], dtype)
    x = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
    layer = Conv1d(np.array([[[1, 10, 100]]], dtype), np.array([1000], dtype), padding=1, layout=layout,
                   algorithm=algorithm)  # fmt: skip
    for _ in range(2):
        y = layer(x)
        assert y.dtype == dtype
        assert y.shape == x.shape
        np.testing.assert_allclose(y.ravel(), [1210, 1321, 1432, 1543, 1054], rtol=1e-5)


def test_two_axes():
    layer = Conv2d(np.array([[[[1, 10], [100, 1000]]]]), activation="relu")
    assert layer(np.arange(1, 10).reshape(1, 1, 3, 3)).tolist() == [[[[5421, 6532], [8754, 9865]]]]
    assert layer(-np.arange(1, 10).reshape(1, 3, 3)).tolist() == [[[0, 0], [0, 0]]]


def test_three_axes():
    layer = Conv3d(np.array([1, 10, 100, 1000]).reshape(1, 1, 2, 1, 2), flip=True)
    assert layer(np.arange(1, 9).reshape(1, 1, 2, 2, 2)).tolist() == [[[[[1256], [3478]]]]]


def test_bias_residual_activation_and_out_by_hand():
    layer = Conv1d([[[2.0]]], [1.0], activation="relu")
    out = np.zeros((1, 1, 3))
    assert layer([[[1.0, 2.0, 3.0]]], [[[0.0, -9.0, 0.5]]], out) is out
    assert out.tolist() == [[[3.0, 0.0, 7.5]]]


# --- the function's result, bit by bit ------------------------------------------------------------

PROBLEMS = [
    "conv1d,n2,c3,40,k5,4,s2,p1,{}",
    "conv2d,n1,c16,14x13,k24,3x3,p1,{}",
    "conv2d,n3,c5,9x8,k7,3x2,p1,{}",
    "conv2d,n1,c8,20x20,k40,1x1,{}",
    "conv2d,n2,c12,11x10,k12,3x3,p1,g12,{}",  # depthwise
    "conv2d,n1,c12,11x10,k24,3x3,s2,p1,g4,{}",
    "conv2d,n1,c32,32x32,k32,3x3,p16,d16,{}",  # areas
    "conv2d,n1,c6,8x9,k8,3x3,p2,reflect,flip,{}",
    "conv3d,n1,c3,5x6x7,k9,3x2x3,p1,{}",
]


def problem_of(text, dtype, layout):
    channels_last = "channels_last," if layout == "channels_last" else ""
    return ConvProblem.parse(text.format(channels_last + dtype))


@every_type
@pytest.mark.parametrize("text", PROBLEMS)
def test_a_layer_is_its_function_bit_by_bit(algorithm, dtype, layout, text):
    problem = problem_of(text, dtype, layout)
    x, weight, bias, residual = arrays_of(problem)
    arguments = {**problem.arguments(), "activation": "relu", "algorithm": algorithm}
    wanted = FUNCTIONS[problem.rank](x, weight, bias, residual=residual, **arguments)
    layer = LAYERS[problem.rank](weight, bias, **arguments)
    without = LAYERS[problem.rank](weight, **arguments)
    for _ in range(2):
        assert layer(x, residual).tobytes() == wanted.tobytes()
    assert without(x).tobytes() == FUNCTIONS[problem.rank](x, weight, **arguments).tobytes()


@pytest.mark.parametrize("text", PROBLEMS[1:5])
def test_every_vector_width(vector_bits, text, layout):
    problem = problem_of(text, "float32", layout)
    x, weight, bias, _ = arrays_of(problem)
    for algorithm in ("direct", "auto"):
        layer = Conv2d(weight, bias, algorithm=algorithm, **problem.arguments())
        expected = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **problem.arguments())
        assert layer(x).tobytes() == expected.tobytes()


def test_one_layer_when_the_vector_width_and_the_threads_change(always_threads):
    x, weight = reals(2, 16, 15, 15), reals(24, 16, 3, 3, seed=1)
    layer = Conv2d(weight, padding=1)
    try:
        for bits in (512, 128, 256, None):
            config.set_vector_bits(bits)
            for threads in (1, 2, 3):
                always_threads(threads)
                for _ in range(2):
                    assert layer(x).tobytes() == fastconv.conv2d(x, weight, padding=1).tobytes()
    finally:
        config.set_vector_bits(None)


def test_the_tolerance_is_that_of_the_call_and_of_the_settings(pretend, set_tolerance):
    coarse = pretend("coarse", 1e-3)
    weight, x = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 5, 5), np.float32)
    layer, tolerant = Conv2d(weight), Conv2d(weight, tolerance=1e-2)
    layer(x)
    assert coarse.calls == 0
    tolerant(x)
    assert coarse.calls == 1
    set_tolerance(1e-2)
    layer(x)
    assert coarse.calls == 2


def test_sizes_batches_and_none(algorithm):
    weight, bias = numbers(6, 4, 3, 3, seed=1), numbers(6, seed=2)
    layer = Conv2d(weight, bias, padding="same", algorithm=algorithm)
    for shape in [(1, 4, 9, 9), (4, 7, 8), (3, 4, 9, 9), (0, 4, 5, 5), (4, 1, 1), (1, 4, 9, 9), (2, 4, 30, 5)]:
        x = numbers(*shape, seed=3)
        y = layer(x)
        expected = fastconv.conv2d(x, weight, bias, padding="same", algorithm=algorithm)
        assert y.shape == expected.shape
        assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("x_type", ["float32", "float64", ">f4", "float16", "bfloat16", "int16", "int64"])
@pytest.mark.parametrize("weight_type", ["float32", ">f8", "bfloat16", "int32"])
def test_types_that_differ(x_type, weight_type):
    x, weight, bias = numbers(1, 2, 5, 5, dtype=x_type), numbers(3, 2, 3, 3, dtype=weight_type, seed=1), [1, 2, 3]
    expected, y = fastconv.conv2d(x, weight, bias), Conv2d(weight, bias)(x)
    assert y.dtype == expected.dtype
    assert y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("order", [np.asfortranarray, np.flip, lambda array: np.repeat(array, 2, axis=1)[:, ::2]])
def test_arrays_in_any_order(algorithm, order):
    x, weight, residual = reals(2, 4, 6, 7), reals(5, 4, 3, 3, seed=1), reals(2, 5, 4, 5, seed=2)
    expected = fastconv.conv2d(order(x), order(weight), residual=order(residual), algorithm=algorithm)
    layer = Conv2d(order(weight), algorithm=algorithm)
    assert layer(order(x), order(residual)).tobytes() == expected.tobytes()


def test_out_as_a_slice_of_channels(algorithm, layout):
    weight = reals(5, 4, 3, 3)
    x = reals(2, 4, 7, 6, seed=1) if layout == "channels_first" else reals(2, 7, 6, 4, seed=1)
    layer = Conv2d(weight, padding=1, layout=layout, algorithm=algorithm)
    expected = fastconv.conv2d(x, weight, padding=1, layout=layout, algorithm=algorithm)
    block = np.full((2, 9, 7, 6) if layout == "channels_first" else (2, 7, 6, 9), 77, np.float32)
    for first in (0, 3):
        out = block[:, first : first + 5] if layout == "channels_first" else block[..., first : first + 5]
        assert layer(x, out=out) is out
        assert out.tobytes() == expected.tobytes()
    backwards = np.empty(expected.shape, np.float32)[..., ::-1]
    assert layer(x, out=backwards).tobytes() == expected.tobytes()
    assert layer(x).tobytes() == expected.tobytes()


def test_out_may_be_the_input(algorithm):
    weight, x = reals(4, 4, 3, 3), reals(1, 4, 6, 6, seed=1)
    expected = fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
    Conv2d(weight, padding=1, algorithm=algorithm)(x, out=x)
    assert x.tobytes() == expected.tobytes()


@every_type
@pytest.mark.parametrize("text", ["conv2d,n1,c32,32x32,k32,3x3,p16,d16,{}", "conv2d,n1,c16,12x12,k16,3x3,p1,g16,{}"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(algorithm, dtype, layout, text, value):
    # An infinite weight times a zero of the padding is no zero: nothing may be left out.
    if dtype == "int64":
        return
    problem = problem_of(text, dtype, layout)
    x, weight, *_ = arrays_of(problem)
    weight[3, 0, 0, 0] = value
    expected = fastconv.conv2d(x, weight, algorithm=algorithm, **problem.arguments())
    assert np.isnan(expected).any()
    layer = Conv2d(weight, algorithm=algorithm, **problem.arguments())
    for _ in range(2):
        np.testing.assert_array_equal(layer(x), expected)


# --- whose the weights are ------------------------------------------------------------------------


def test_later_changes_by_the_caller_do_not_matter(algorithm, layout):
    weight, bias, stride = reals(6, 4, 3, 3), reals(6, seed=1), [1, 2]
    x = reals(1, 4, 9, 8, seed=2) if layout == "channels_first" else reals(1, 9, 8, 4, seed=2)
    layer = Conv2d(weight, bias, stride, layout=layout, algorithm=algorithm)
    expected = fastconv.conv2d(x, weight, bias, stride, layout=layout, algorithm=algorithm)
    weight[:], bias[:], stride[0] = 0, 0, 3
    fastconv.clear_cache()  # or the call of before would be found
    assert layer(x).tobytes() == expected.tobytes()
    weight[:] = 1
    assert layer(x).tobytes() == expected.tobytes()


def test_nothing_of_the_callers_is_written():
    arrays = [reals(1, 4, 9, 8), reals(6, 4, 3, 3, seed=1), reals(6, seed=2), reals(1, 6, 7, 6, seed=3)]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    x, weight, bias, residual = arrays
    layer = Conv2d(weight, bias)
    layer(x, residual)
    assert all((array == copied).all() for array, copied in zip(arrays, before, strict=True))


def test_the_layers_own_weights_can_be_read_and_not_written():
    weight = reals(2, 1, 3)
    layer = Conv1d(weight.astype(">f4"), [1, 2])
    assert layer.weight.dtype == np.float32
    assert (layer.weight == weight).all()
    assert layer.bias is not None
    assert layer.bias.tolist() == [1, 2]
    assert Conv1d(weight).bias is None
    for own in (layer.weight, layer.bias):
        assert not own.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            own.flags.writeable = True


# --- packed once ----------------------------------------------------------------------------------

# A plan that packs panels, one that packs them for each of several areas, and one that packs blocks of channels
PACKING = {
    "panels": "conv2d,n1,c16,24x24,k16,3x3,p1,float32",
    "areas": "conv2d,n1,c32,32x32,k32,3x3,p16,d16,float32",
    "blocks": "conv2d,n1,c16,12x12,k16,3x3,p1,g16,channels_last,float32",
}


def packing_layer(name):
    """Return an input, and a layer on an algorithm that packs its weights."""
    problem = ConvProblem.parse(PACKING[name])
    algorithm = "depthwise" if name == "blocks" else "direct"
    assert isinstance(selection.algorithm(algorithm).plan(problem), Plans) == (name == "areas")
    x, weight, *_ = arrays_of(problem)
    return x, Conv2d(weight, algorithm=algorithm, **problem.arguments())


@pytest.mark.parametrize("name", PACKING)
def test_weights_are_packed_by_the_first_call_alone(name, packed, allocated):
    x, layer = packing_layer(name)
    first = layer(x)
    once = list(packed)
    assert once
    allocated.clear()
    for _ in range(3):
        assert layer(x).tobytes() == first.tobytes()
    assert packed == once
    assert not allocated


@pytest.mark.parametrize("name", PACKING)
def test_clear_cache_makes_a_layer_forget(name, packed):
    x, layer = packing_layer(name)
    first = layer(x)
    (binding,) = layer._bindings.kept.values()
    once, alive = list(packed), weakref.ref(binding[0])
    del binding
    fastconv.clear_cache()
    gc.collect()
    assert alive() is None
    assert not layer._bindings.kept
    assert layer(x).tobytes() == first.tobytes()
    assert packed == 2 * once


def test_packed_weights_are_kept_for_a_few_inputs_alone(packed):
    weight = reals(16, 8, 3, 3)
    layer = Conv2d(weight, algorithm="direct")
    for size in range(40, 40 + 3 * MOST_BINDINGS):
        layer(np.ones((1, 8, size, size), np.float32))
        assert 1 <= len(layer._bindings.kept) <= MOST_BINDINGS
    assert len(packed) == 3 * MOST_BINDINGS
    layer(np.ones((1, 8, size, size), np.float32))
    assert len(packed) == 3 * MOST_BINDINGS


def test_results_of_other_strides_have_packed_weights_too(packed):
    x, layer = reals(2, 8, 24, 24), Conv2d(reals(16, 8, 3, 3, seed=1), padding=1, algorithm="direct")
    block = np.empty((2, 20, 24, 24), np.float32)
    for _ in range(3):
        layer(x)
        layer(x, out=block[:, 2:18])
    assert len(packed) == 2


@pytest.mark.parametrize("name", PACKING)
def test_packed_weights_go_with_the_layer(name):
    x, layer = packing_layer(name)
    layer(x)
    (binding,) = layer._bindings.kept.values()
    alive = weakref.ref(binding[0])
    del binding, layer
    gc.collect()
    assert alive() is None


def test_layers_of_one_shape_do_not_share_weights():
    x = reals(1, 8, 24, 24)
    weights = [reals(16, 8, 3, 3, seed=seed) for seed in range(3)]
    made = [Conv2d(weight, padding=1) for weight in weights]
    for _ in range(2):
        for layer, weight in zip(made, weights, strict=True):
            assert layer(x).tobytes() == fastconv.conv2d(x, weight, padding=1).tobytes()


def test_an_algorithm_without_packing_runs_with_the_layers_weights(pretend):
    entry = pretend("plain", 1e-7)
    weight = numbers(3, 2, 3, 3)
    layer, x = Conv2d(weight, [1, 2, 3], algorithm="plain"), numbers(1, 2, 5, 5, seed=1)
    for calls in (1, 2):
        assert (layer(x) == fastconv.conv2d(x, weight, [1, 2, 3], algorithm="reference")).all()
        assert entry.calls == calls


# --- copies, text, threads, processes -------------------------------------------------------------


@pytest.mark.parametrize("copied", [lambda layer: pickle.loads(pickle.dumps(layer)), copy.copy, copy.deepcopy])
def test_copies(copied):
    x, weight, bias = reals(1, 4, 9, 9), reals(6, 2, 3, 3, seed=1), reals(6, seed=2)
    arguments = {"padding": [(1, 0), (0, 2)], "groups": 2, "flip": True, "activation": "tanh", "algorithm": "im2col"}
    layer = Conv2d(weight, bias, [2, 1], **arguments)
    expected = layer(x)
    again = copied(layer)
    assert type(again) is Conv2d
    assert not again._bindings.kept
    assert repr(again) == repr(layer)
    assert again(x).tobytes() == expected.tobytes()


def test_a_subclass_stays_one():
    again = pickle.loads(pickle.dumps(Doubled(np.ones((1, 1, 2)))))
    assert again(np.ones((1, 1, 3))).tolist() == [[[4, 4]]]


class Doubled(Conv1d):
    def __call__(self, x, residual=None, out=None):
        return 2 * super().__call__(x, residual, out)


def test_repr():
    assert repr(Conv1d([[[1.0]]])) == "<Conv1d: 1 filter of 1x1, float64>"
    weight = np.ones((8, 4, 3, 5), np.float32)
    assert repr(Conv2d(weight)) == "<Conv2d: 8 filters of 4x3x5, float32>"
    assert repr(Conv2d(weight, np.ones(8), 2, "same", activation="relu", tolerance=1e-3)) == (
        "<Conv2d: 8 filters of 4x3x5, float32, bias, stride=2, padding='same', activation='relu', tolerance=0.001>"
    )


def test_several_threads_at_once(always_threads):
    always_threads(2)
    made = [Conv2d(reals(16, 8, 3, 3, seed=seed), padding=1) for seed in range(3)]
    inputs = [reals(1, 8, size, size, seed=size) for size in (9, 16, 17, 24, 25, 31)]  # more than are kept
    expected = {
        (i, j): fastconv.conv2d(x, layer.weight, padding=1).tobytes()
        for i, layer in enumerate(made)
        for j, x in enumerate(inputs)
    }
    keys = [*expected] * 20
    np.random.default_rng(0).shuffle(keys)
    with ThreadPoolExecutor(6) as pool:
        forgetting = [pool.submit(fastconv.clear_cache) for _ in range(5)]
        found = list(pool.map(lambda key: made[key[0]](inputs[key[1]]).tobytes(), keys))
    assert [one.result() for one in forgetting] == [None] * 5
    assert [key for key, got in zip(keys, found, strict=True) if expected[tuple(key)] != got] == []


FORK = """
import os, warnings
import numpy as np
import fastconv
from fastconv.cpu import threads

warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # Python 3.12 on fork
threads.WORTH_A_THREAD = 0.0
fastconv.set_num_threads(2)
x = np.random.default_rng(0).uniform(-1, 1, (1, 8, 24, 24)).astype("f4")
layer = fastconv.Conv2d(np.random.default_rng(1).uniform(-1, 1, (16, 8, 3, 3)).astype("f4"))
before = layer(x).tobytes()
child = os.fork()
if child == 0:
    os._exit(int(layer(x).tobytes() != before or layer(x[..., 1:]).shape != (1, 16, 22, 21)))
assert layer(x).tobytes() == before
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_fork_after_use():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
