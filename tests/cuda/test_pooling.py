"""Poolings on a device: every kernel's PTX against the reference, and what the machine code is made of."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from machine_code import machine_code

import fastconv
from fastconv.problem import PoolProblem

# Each has something that is odd: sizes, strides, ends that hang over, more planes than a block has threads. Compiling
# takes most of the time: kernels are those of few constants, and of `CODE` where they can be.
PROBLEMS = [
    "max_pool2d,n2,c3,13x11,3x3,s2,p1,float32",
    "max_pool2d,n2,c5,13x11,3x3,s2,p1,channels_last,float32",
    "max_pool2d,n1,c2,9x7,3x3,s1x2,p1x0:1,ceil,float64",
    "max_pool2d,n1,c3,7x9,2x2,s2,ceil,int8",
    "max_pool2d,n2,c3,9x8,3x2,s2,p1,d2,indices,float32",
    "max_pool2d,n2,c3,9x8,3x3,s1,p3,indices,channels_last,float32",
    "max_pool1d,n2,c3,50,3,s2,p1,indices,float32",
    "max_pool3d,n1,c2,5x6x7,3x3x3,s2,p1,float64",
    "max_pool2d,n1,c2,8x8,9x9,p4,float32",  # more taps than are unrolled
    "avg_pool2d,n2,c3,10x11,3x3,s2,p1,ceil,float32",
    "avg_pool2d,n2,c3,10x11,3x3,s2,p1,exclude_pad,channels_last,float32",
    "avg_pool2d,n1,c3,10x11,2x3,s2,p1,d2,ceil,float32",
    "avg_pool2d,n1,c3,10x11,3x3,s2,p1,d2,exclude_pad,float64",
    "avg_pool2d,n1,c3,10x11,2x2,s2,divisor3,float32",
    "avg_pool3d,n1,c2,5x6x7,2x3x2,s2,p1,float32",
    "lp_pool2d,n1,c3,10x11,3x3,s2,norm2,float64",
    "lp_pool2d,n1,c3,10x11,3x3,s2,norminf,float32",
    "lp_pool2d,n1,c3,10x11,3x3,s2,norm3,float32",
    "adaptive_avg_pool2d,n1,c3,10x11,4x4,o3x4,float32",
    "adaptive_max_pool2d,n2,c3,10x11,4x4,o3x4,indices,channels_last,float32",
    "avg_pool2d,n70,c5,5x7,5x7,float32",  # whole planes by four threads each, the last warp without planes for all
    "max_pool2d,n1,c5,20x20,20x20,float64",
    "avg_pool2d,n2,c40,5x5,5x5,channels_last,float32",
]


def called(problem, x, **arguments):
    """Call the function that the problem is of."""
    return getattr(fastconv, f"{problem.operation}{problem.rank}d")(x, **problem.arguments(), **arguments)


def drawn(problem):
    """Numbers with equals among them: zeros, of both signs, are often the largest, and NaN lies beside NaN."""
    random = np.random.default_rng(0)
    x = random.integers(-9, 1, problem.input_shape).astype(problem.dtype)
    if x.dtype.kind == "f":
        x -= random.choice([0, 0.25], x.shape).astype(x.dtype)
        x[x == 0] *= random.choice([-1, 1], np.count_nonzero(x == 0))
        x.flat[[7, 8, 7 + problem.channels]] = np.nan  # beside each other in either layout
    return x


@pytest.mark.parametrize("text", PROBLEMS)
def test_problems(text, device):
    problem = PoolProblem.parse(text)
    x = drawn(problem)
    expected, found = called(problem, x, algorithm="reference"), called(problem, device.array(x))
    if problem.indices:
        np.testing.assert_array_equal(device.numpy(found[1]), expected[1])
        assert device.numpy(found[1]).dtype == np.int64
        expected, found = expected[0], found[0]
    y = device.numpy(found)
    assert y.dtype == x.dtype
    if problem.maxima:
        np.testing.assert_array_equal(y, expected)
        if x.dtype.kind == "f" and problem.kernel != problem.size:  # whole planes are folded in no order
            np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))  # the first of equal zeros
    else:
        tolerance = 1e-6 if x.dtype == np.float32 else 1e-14
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)


def test_minus_infinity_is_something_and_padding_is_nothing(device):
    x = np.full((1, 1, 4, 4), -np.inf, np.float32)
    y, indices = fastconv.max_pool2d(device.array(x), 2, 1, ((3, 0), (0, 0)), return_indices=True)
    expected = fastconv.max_pool2d(x, 2, 1, ((3, 0), (0, 0)), return_indices=True, algorithm="reference")
    np.testing.assert_array_equal(device.numpy(y), expected[0])
    np.testing.assert_array_equal(device.numpy(indices), expected[1])
    assert expected[1].min() == -1


def test_where_nothing_counts_the_average_is_0(device):
    x = np.ones((1, 1, 2, 2), np.float32)
    y = fastconv.avg_pool2d(device.array(x), 3, 2, 5, count_include_pad=False)
    expected = fastconv.avg_pool2d(x, 3, 2, 5, count_include_pad=False, algorithm="reference")
    np.testing.assert_array_equal(device.numpy(y), expected)
    assert expected.min() == 0


@pytest.mark.parametrize(
    ("function", "arguments", "layout"),
    [
        (fastconv.global_avg_pool, (), "channels_first"),
        (fastconv.global_avg_pool, (), "channels_last"),
        (fastconv.global_lp_pool, (2,), "channels_first"),
    ],
)
def test_global_poolings_without_their_axes(function, arguments, layout, device):
    x = np.random.default_rng(1).standard_normal((2, 3, 5, 7)).astype(np.float32)
    expected = function(x, *arguments, layout=layout, keepdims=False, algorithm="reference")
    found = device.numpy(function(device.array(x), *arguments, layout=layout, keepdims=False))
    assert found.shape == (2, 3 if layout == "channels_first" else 7)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_windows_of_channels(layout, device):
    x = np.random.default_rng(3).standard_normal((2, 3, 5, 7)).astype(np.float32)
    expected = fastconv.channel_pool(x, 3, 1, 1, kind="max", layout=layout, algorithm="reference")
    found = fastconv.channel_pool(device.array(x), 3, 1, 1, kind="max", layout=layout)
    np.testing.assert_array_equal(device.numpy(found), expected)


def test_strided_arguments_one_image_and_out(device):
    x = np.random.default_rng(2).standard_normal((4, 12, 9)).astype(np.float32)
    expected = fastconv.max_pool2d(x.transpose(0, 2, 1)[1:, ::2], 3, 2, 1, algorithm="reference")  # of 5x12
    target = device.array(np.full((3, 3, 12), np.nan, np.float32))
    turned = device.transposed(device.array(x), 0, 2, 1)
    found = fastconv.max_pool2d(turned[1:, ::2], 3, 2, 1, out=target[:, :, ::2])
    np.testing.assert_array_equal(device.numpy(found), expected)
    np.testing.assert_array_equal(device.numpy(target)[:, :, ::2], expected)
    assert np.isnan(device.numpy(target)[:, :, 1::2]).all()


def test_nothing_to_compute(device):
    assert fastconv.max_pool2d(device.array(np.zeros((0, 3, 4, 4), np.float32)), 2).shape == (0, 3, 2, 2)


def test_what_no_kernel_computes_is_refused(interpreting):
    from fastconv.cuda.pooling import Pooling

    many, long = (PoolProblem.parse(f"max_pool1d,n1,c1,3000000000,{size},float16") for size in ("3,s1", "3,s3"))
    assert "computes at most 1073741823 outputs on a device" in Pooling().supports(many)
    assert "takes planes of at most 2147483647 elements on a device" in Pooling().supports(long)
    with pytest.raises(ValueError, match="algorithm must be"):
        fastconv.avg_pool2d(interpreting.array(np.zeros((1, 1, 4, 4), np.float32)), 2, algorithm="im2col")


# What machine code may have: registers (65536 shared by 2048 threads are 32 each, and 64 halve that), loads by width.
CODE = {
    "max_pool2d,n32,c64,112x112,3x3,s2,p1,float32": (64, Counter({32: 27})),
    "max_pool2d,n32,c64,112x112,3x3,s2,p1,channels_last,float32": (64, Counter({32: 27})),
    "avg_pool2d,n32,c192,35x35,3x3,s2,p1,exclude_pad,float32": (64, Counter({32: 27})),
    "max_pool2d,n32,c64,112x112,7x7,p3,float32": (96, Counter({32: 70})),
    "lp_pool2d,n32,c64,112x112,7x7,s7,norm2,float32": (96, Counter({32: 49})),
    "max_pool2d,n32,c64,112x112,3x3,s2,p1,indices,float32": (64, None),
    "lp_pool2d,n32,c64,112x112,3x3,s2,norm3,float32": (64, None),
    "adaptive_avg_pool2d,n32,c64,113x113,17x17,o7x7,float32": (64, None),
    "avg_pool2d,n32,c2048,7x7,7x7,float32": (32, None),
}


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
@pytest.mark.parametrize("text", CODE)
def test_machine_code(text, capability, codes_of):
    registers, loads = CODE[text]
    (compiled,) = codes_of(PoolProblem.parse(text), capability)
    code = machine_code(compiled.machine_code)
    assert (code.local_accesses, code.stack, code.doubles) == (0, 0, 0)
    assert code.registers <= registers
    if loads is not None:
        assert code.widths("LDG") == loads
