"""The bytes that a layer says it holds."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import Conv2d, selection
from fastconv.cpu import scratch
from fastconv.cpu.algorithm import MOST_STRIDES
from fastconv.problem import ConvProblem

PANELS = "conv2d,n1,c16,24x24,k16,3x3,p1,float32"
AREAS = "conv2d,n1,c32,32x32,k32,3x3,p16,d16,float32"  # of an output, each with panels of its own
BLOCKS = "conv2d,n1,c40,14x14,k40,3x3,g40,channels_last,float32"

#: Algorithm, problem, and bytes of what is made of its weights, where these follow from the problem alone.
HOLDING = [
    ("reference", "conv2d,n1,c2,9x9,k3,3x3,float32", 0),
    ("im2col", "conv2d,n1,c16,14x14,k32,3x3,float32", 0),  # which reads weights as they lie,
    ("im2col", "conv2d,n1,c16,14x14,k32,3x3,channels_last,float32", 0),  # or packs some at a time
    ("depthwise", "conv2d,n1,c40,14x14,k40,3x3,g40,float32", 0),
    ("depthwise", BLOCKS, 40 * 9 * 4),
    ("separable", "conv2d,n1,c8,64x64,k8,5x5,g8,float64", 8 * (5 + 5 + 25) * 8),  # columns, rows, and the weights
    ("winograd_4x4", "conv2d,n1,c256,14x14,k256,3x3,p1,float32", 256 * 256 * 9 * 4),  # in panels
    ("direct", PANELS, None),
    ("direct", AREAS, None),
    ("winograd_4x4", "conv2d,n1,c32,14x14,k32,3x3,p1,float32", None),  # transformed
    ("fft", "conv2d,n1,c2,64x64,k3,15x15,float32", None),  # spectra for planes
    ("fft", "conv2d,n1,c64,30x30,k64,15x15,float32", None),  # and for channels
]


def held_layer(algorithm, text):
    """Return an input, and a layer with a bias, whose kernels are of rank one."""
    problem = ConvProblem.parse(text)
    x, weight = (np.ones(shape, problem.dtype) for shape in (problem.input_shape, problem.weight_shape))
    bias = np.ones(problem.filters, problem.dtype)
    return x, Conv2d(weight, bias, algorithm=algorithm, **problem.arguments())


@pytest.mark.parametrize(("algorithm", "text", "made"), HOLDING)
def test_the_bytes_that_a_layer_holds(allocated, algorithm, text, made):
    x, layer = held_layer(algorithm, text)
    own = layer.weight.nbytes + layer.bias.nbytes
    assert layer.nbytes == own
    layer(x)
    if made is None:
        assert layer.nbytes >= own + layer.weight.nbytes
        assert layer.nbytes - own in allocated or text == AREAS  # which has a block for each
    else:
        assert layer.nbytes == own + (scratch.allocated(made) if made else 0)
    after = layer.nbytes
    layer(x)
    assert layer.nbytes == after
    fastconv.clear_cache()
    assert layer.nbytes == own
    layer(x)
    assert layer.nbytes == after


def test_each_area_counts():
    x, layer = held_layer("direct", AREAS)
    own = layer.nbytes
    with fastconv.options(threads=1):
        layer(x)
        plan = selection.algorithm("direct").plan(ConvProblem.parse(AREAS))
    assert layer.nbytes - own == sum(scratch.allocated(each.weight_bytes) for each in plan.plans)


def test_each_kind_of_call_counts():
    x, layer = held_layer("depthwise", BLOCKS)
    own, block = layer.nbytes, scratch.allocated(40 * 9 * 4)
    layer(x)
    layer(x[:, :13])
    assert layer.nbytes == own + 2 * block
    layer(x, out=np.empty((1, 12, 12, 50), np.float32)[..., :40])  # a result of other strides
    assert layer.nbytes == own + 3 * block
    layer(x[0])  # a kind of its own, without a batch axis
    assert layer.nbytes == own + 4 * block


def test_what_is_cast_for_a_call_counts():
    x, weight = np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3), np.float32)
    layer = Conv2d(weight, np.ones(3, np.float32), algorithm="reference")
    own = layer.nbytes
    layer(x.astype(np.float32))
    assert layer.nbytes == own == 4 * (3 * 2 * 9 + 3)
    layer(x)
    assert layer.nbytes == own + 2 * own  # in float64, besides
    layer(np.ones((0, 2, 5, 5)))  # no images need no weight, but a bias was cast
    assert layer.nbytes == own + 2 * own + 8 * 3


def test_strides_that_are_forgotten_do_not_count():
    x, layer = held_layer("depthwise", BLOCKS)
    own, block = layer.nbytes, scratch.allocated(40 * 9 * 4)
    for width in range(40, 40 + 3 * MOST_STRIDES):
        layer(x, out=np.empty((1, 12, 12, width), np.float32)[..., :40])
        assert own < layer.nbytes <= own + MOST_STRIDES * block
