"""Layers whose weights are on a device: what the function computes, from weights that are packed once."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv.call import MOST_BINDINGS

# Each with an algorithm that packs weights, or that reads them as they lie, and the kernel that packs.
LAYERS = [
    ("im2col", "fastconv_pack", {"padding": 1}),
    ("depthwise", "fastconv_copy", {"groups": 4, "layout": "channels_last", "padding": 3}),
    ("direct", None, {"padding": "same", "stride": 2}),
    ("winograd_4x4", "fastconv_weights", {"padding": 1}),
    ("implicit_gemm_mma", "fastconv_pack_fragments", {"padding": 1, "precision": "tf32"}),
]


def made(device, algorithm, arguments, dtype=np.float32):
    """Return x, weight and bias on a device, and their layer."""
    random = np.random.default_rng(0)
    shape = (2, 9, 8, 4) if "layout" in arguments else (2, 4, 9, 8)
    kernel = (1, 7, 7) if "groups" in arguments else (4, 3, 3)
    x, weight, bias = (device.array(random.uniform(-1, 1, size).astype(dtype)) for size in (shape, (4, *kernel), (4,)))
    layer = fastconv.Conv2d(weight, bias, activation="relu", algorithm=algorithm, **arguments)
    return x, weight, bias, layer


@pytest.mark.parametrize(("algorithm", "packing", "arguments"), LAYERS)
def test_the_functions_result(algorithm, packing, arguments, device):
    x, weight, bias, layer = made(device, algorithm, arguments)
    wanted = fastconv.conv2d(x, weight, bias, activation="relu", algorithm=algorithm, **arguments)
    for _ in range(2):
        np.testing.assert_array_equal(device.numpy(layer(x)), device.numpy(wanted))
    np.testing.assert_array_equal(device.numpy(layer(x[1])), device.numpy(wanted)[1])


@pytest.mark.parametrize(("algorithm", "packing", "arguments"), LAYERS)
def test_weights_are_packed_once(algorithm, packing, arguments, interpreting):
    x, weight, _, layer = made(interpreting, algorithm, arguments)
    assert interpreting.waits == [7]  # for the copies of weight and bias: calls may come on other streams
    own = 4 * (np.prod(weight.shape) + 4)
    assert layer.nbytes == own
    before = len(interpreting.launches)
    for _ in range(3):
        layer(x)
    names = [launch.name for launch in interpreting.launches[before:]]
    assert names.count(packing) == (packing is not None)
    assert (layer.nbytes > own) == (packing is not None)
    fastconv.clear_cache()
    assert layer.nbytes == own
    layer(x)
    names = [launch.name for launch in interpreting.launches[before:]]
    assert names.count(packing) == 2 * (packing is not None)


def test_weights_are_packed_for_each_stream(interpreting, monkeypatch):
    """On another stream they might be read before they are written."""
    x, _, _, layer = made(interpreting, *LAYERS[0][::2])
    layer(x)
    monkeypatch.setattr(interpreting, "stream", lambda array: 8)
    before = len(interpreting.launches)
    layer(x)
    layer(x)
    launched = interpreting.launches[before:]
    assert [launch.name for launch in launched].count("fastconv_pack") == 1
    assert {launch.stream for launch in launched} == {8}


def test_packed_weights_are_kept_for_a_few_inputs_alone(interpreting):
    x, _, _, layer = made(interpreting, *LAYERS[0][::2])
    for height in range(2, 3 + MOST_BINDINGS):
        layer(x[:, :, :height])
        assert 1 <= len(layer._bindings.kept) <= MOST_BINDINGS
    assert len(layer._bindings.kept) == 1


def test_what_happens_to_the_weights_later_does_not_matter(device):
    x, weight, bias, layer = made(device, *LAYERS[2][::2])
    first = device.numpy(layer(x))
    for array in (weight, bias, layer.weight, layer.bias):
        array[...] = 0
    np.testing.assert_array_equal(device.numpy(layer(x)), first)
    assert device.numpy(layer.weight).any()


def test_residual_and_out(device):
    x, weight, bias, layer = made(device, *LAYERS[2][::2])
    y = device.numpy(layer(x))
    residual = np.random.default_rng(1).uniform(0, 1, y.shape).astype("f4")
    wanted = fastconv.conv2d(
        x, weight, bias, 2, "same", residual=device.array(residual), activation="relu", algorithm="direct"
    )
    out = device.array(np.zeros((2, 4, 5, 8), "f4"))
    found = layer(x, device.array(residual), out[..., ::2])
    np.testing.assert_array_equal(device.numpy(found), device.numpy(wanted))
    np.testing.assert_array_equal(device.numpy(out)[..., ::2], device.numpy(wanted))


def test_one_and_three_axes(device):
    x, weight = np.arange(5.0).reshape(1, 1, 5), np.array([[[-1.0, 0.0, 1.0]]])
    layer = fastconv.Conv1d(device.array(weight), padding=1)
    assert device.numpy(layer(device.array(x))).tolist() == [[[1.0, 2.0, 2.0, 2.0, -3.0]]]
    cube = fastconv.Conv3d(device.array(np.ones((1, 1, 2, 2, 2))))
    assert device.numpy(cube(device.array(np.ones((1, 3, 3, 3))))).tolist() == [[[[8.0] * 2] * 2] * 2]


def test_no_images(device):
    layer = fastconv.Conv1d(device.array(np.ones((2, 1, 3))))
    assert layer(device.array(np.ones((0, 1, 5)))).shape == (0, 2, 3)


def test_a_copy_is_a_layer_of_its_own(device):
    x, _, _, layer = made(device, *LAYERS[0][::2])
    other = copy.copy(layer)
    np.testing.assert_array_equal(device.numpy(other(x)), device.numpy(layer(x)))
    assert repr(other) == repr(layer)
    assert repr(layer).startswith("<Conv2d: 4 filters of 4x3x3, float32, bias, padding=1, activation='relu'")


def test_threads(interpreting):
    x, _, _, layer = made(interpreting, *LAYERS[0][::2])
    wanted = interpreting.numpy(layer(x))
    fastconv.clear_cache()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(layer, [x] * 8):
            np.testing.assert_array_equal(interpreting.numpy(found), wanted)


def test_what_is_refused(interpreting):
    x, weight, bias, layer = made(interpreting, *LAYERS[0][::2])
    on_host = interpreting.numpy(x)
    named = r"got x of numpy\.ndarray in the computer's memory and weight of interpreted\.InterpretedArray on a device"
    with pytest.raises(TypeError, match="x must be on a device as weight is, " + named):
        layer(on_host)
    with pytest.raises(TypeError, match=r"residual must be on a device as weight is"):
        layer(x, on_host)
    host = fastconv.Conv2d(np.ones((4, 4, 3, 3), np.float32))
    with pytest.raises(TypeError, match=r"x must be in the computer's memory as weight is, got x of interpreted"):
        host(x)
    with pytest.raises(TypeError, match=r"bias must be in the computer's memory as weight is, got bias of interpreted"):
        fastconv.Conv2d(np.ones((4, 4, 3, 3), np.float32), bias)
    with pytest.raises(TypeError, match="bias must have the type of weight, float32, on a device, got float64"):
        fastconv.Conv2d(weight, interpreting.array(np.ones(4)))
    with pytest.raises(TypeError, match="x must have the type of weight, float32, on a device, got float64"):
        layer(interpreting.array(on_host.astype(np.float64)))
    with pytest.raises(ValueError, match=r"bias must have shape \(4,\), got \(3,\)"):
        fastconv.Conv2d(weight, bias[:3])
    with pytest.raises(ValueError, match="algorithm must be one of auto, direct, "):
        fastconv.Conv2d(weight, algorithm="fastest")
    with pytest.raises(ValueError, match="stride must be positive"):
        fastconv.Conv2d(weight, stride=0)
