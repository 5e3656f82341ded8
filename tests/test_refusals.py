"""Wrong calls: what each raises, what its message says, and that none reaches a kernel."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, UnsupportedError, conv1d, conv2d, conv3d
from fastconv.config import set_vector_bits
from fastconv.selection import TABLE

X = np.ones((2, 4, 6, 7), np.float32)
W = np.ones((8, 4, 3, 3), np.float32)
INTS = np.ones((2, 4, 6, 7), np.int32)
INT_W = np.ones((8, 4, 3, 3), np.int32)
PROBLEM = ConvProblem.from_shapes(X.shape, W.shape)
INT_PROBLEM = ConvProblem.from_shapes(X.shape, W.shape, "int32")
BACKWARD = replace(PROBLEM, direction="input_gradient")


def of_type(dtype):
    return np.zeros(X.shape, dtype)


def broadcast(*shape):
    """One number as an array of any size, with strides of 0."""
    return np.broadcast_to(np.float32(1), shape)


class OnDevice:
    """What an array on a GPU looks like."""

    shape, ndim, dtype = X.shape, X.ndim, X.dtype
    __cuda_array_interface__ = {  # the protocol asks for a dict
        "shape": X.shape, "typestr": "<f4", "data": (0, False), "version": 3,
    }  # fmt: skip

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("copied from the GPU without being asked to")


def read_only(shape):
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


# Exception, what the message must hold, the call. "..." stands for anything.
REFUSALS = [
    # stride, dilation
    (ValueError, "stride must be positive, got 0", lambda: conv2d(X, W, stride=0)),
    (ValueError, "stride must be positive, got -2", lambda: conv2d(X, W, stride=-2)),
    (ValueError, "stride must be positive, got 0 in (1, 0)", lambda: conv2d(X, W, stride=(1, 0))),
    (ValueError, "stride must have length 2...(1, 1, 1)", lambda: conv2d(X, W, stride=(1, 1, 1))),
    (ValueError, "stride must have length 2...[1]", lambda: conv2d(X, W, stride=[1])),
    (ValueError, "stride must have length 2...()", lambda: conv2d(X, W, stride=())),
    (ValueError, "stride must have length 3...(1, 2)", lambda: conv3d(X[..., None], W[..., None],
                                                                       stride=(1, 2))),
    (ValueError, "stride must be at most 2**63 - 1, got 9223372036854775808",
     lambda: conv2d(X, W, stride=2**63)),
    (TypeError, "stride must be an int, got 1.0 of type float", lambda: conv2d(X, W, stride=1.0)),
    (TypeError, "stride must be an int, got True of type bool", lambda: conv2d(X, W, stride=True)),
    (TypeError, "stride must be an int, got None", lambda: conv2d(X, W, stride=None)),
    (TypeError, "stride must be an int, got '2' of type str", lambda: conv2d(X, W, stride="2")),
    (TypeError, "stride must be an int, got {1}", lambda: conv2d(X, W, stride={1})),
    (TypeError, "stride must be an int, got array([1, 2])",
     lambda: conv2d(X, W, stride=np.array([1, 2]))),
    (TypeError, "stride must be ints, got 2.0...in (1, 2.0)",
     lambda: conv2d(X, W, stride=(1, 2.0))),
    (TypeError, "stride must be ints, got (1,)...", lambda: conv2d(X, W, stride=((1,), (1,)))),
    (ValueError, "dilation must be positive, got 0", lambda: conv2d(X, W, dilation=0)),
    (ValueError, "dilation must have length 2...(1, 2, 3)",
     lambda: conv2d(X, W, dilation=(1, 2, 3))),
    (TypeError, "dilation must be an int, got np.float64(2.0)",
     lambda: conv2d(X, W, dilation=np.float64(2))),
    (TypeError, "dilation must be ints, got False", lambda: conv2d(X, W, dilation=(1, False))),
    # padding
    (ValueError, "padding must not be negative, got -1", lambda: conv2d(X, W, padding=-1)),
    (ValueError, "padding must not be negative, got -1 in (0, -1)",
     lambda: conv2d(X, W, padding=(0, -1))),
    (ValueError, "padding must not be negative, got -3",
     lambda: conv2d(X, W, padding=((1, 1), (1, -3)))),
    (ValueError, "padding must have length 2...(1, 1, 1)", lambda: conv2d(X, W, padding=(1, 1, 1))),
    (ValueError, "padding must have length 2...((1, 1),)", lambda: conv2d(X, W, padding=((1, 1),))),
    (ValueError, "padding must be a (before, after) pair an axis, got (1, 1, 1)",
     lambda: conv2d(X, W, padding=((1, 1, 1), (1, 1)))),
    (TypeError, "padding must be one int an axis or one (before, after) pair an axis, got (1, (1,",
     lambda: conv2d(X, W, padding=(1, (1, 1)))),
    (TypeError, "padding must be an int, got 0.5", lambda: conv2d(X, W, padding=0.5)),
    (TypeError, "padding must be an int, got None", lambda: conv2d(X, W, padding=None)),
    (TypeError, "padding must be an int, got True", lambda: conv2d(X, W, padding=True)),
    (TypeError, "padding must be ints, got '1'", lambda: conv2d(X, W, padding=("1", "1"))),
    (ValueError, "padding must be one of valid, same, same_lower, got 'full'",
     lambda: conv2d(X, W, padding="full")),
    (ValueError, "padding must be at most 5 on axis 0 of size 6 with padding_mode='reflect', got",
     lambda: conv2d(X, W, padding=(6, 0), padding_mode="reflect")),
    (ValueError, "padding must be at most 7 on axis 1 of size 7...'circular', got (8, 8)",
     lambda: conv2d(X, W, padding=(0, 8), padding_mode="circular")),
    (ValueError, "padding must be at most 7 on axis 1...'symmetric', got (0, 8)",
     lambda: conv2d(X, W, padding=((0, 0), (0, 8)), padding_mode="symmetric")),
    (ValueError, "padding must be at most 0 on axis 0 of size 1...'reflect', got (1, 1)",
     lambda: conv1d(X[:, :, 0, :1], W[..., 0], padding="same", padding_mode="reflect")),
    # sizes that no window fits in, that are empty, or that 64 bits do not hold
    (ValueError, "x must hold one window on axis 0...floor((6 + 0 + 0 - 3 * (3 - 1) - 1) / 1) + 1",
     lambda: conv2d(X, W, dilation=3)),
    (ValueError, "x must hold one window on axis 1...= 0", lambda: conv2d(X[..., :2], W)),
    (ValueError, "x must hold one window...4611686018427387904", lambda: conv2d(X, W,
                                                                                dilation=2**62)),
    (ValueError, "padding must fit in 2**63 - 1 bytes...", lambda: conv2d(X, W, padding=2**62)),
    (ValueError, "padding must fit in 2**63 - 1 bytes...",
     lambda: conv2d(X, W, padding=((0, 2**31), (2**31, 0)))),
    (ValueError, "padding must be at most 2**63 - 1, got 9223372036854775808",
     lambda: conv2d(X, W, padding=2**63)),
    (ValueError, "x must fit in 2**63 - 1 bytes at 8 bytes an element, got shape (1, 1, 1073741824",
     lambda: conv2d(broadcast(1, 1, 2**30, 2**30), broadcast(1, 1, 1, 1))),
    (ValueError, "x must fit in 2**63 - 1 bytes...(0, 4, ",
     lambda: conv2d(np.lib.stride_tricks.as_strided(X[:0], (0, 4, 2**29, 2**29), (0, 0, 0, 0)), W)),
    (ValueError, "weight must fit in 2**63 - 1 bytes...(1152921504606846976, 1, 1)",
     lambda: conv1d(broadcast(1, 1, 1), broadcast(2**60, 1, 1))),
    (ValueError, "out must fit in 2**63 - 1 bytes...(1, 1048576, 1099511627776)",
     lambda: conv1d(broadcast(1, 1, 2**40), broadcast(2**20, 1, 1))),
    (ValueError, "x must have no empty axis but the batch axis, got shape (2, 4, 0, 7)",
     lambda: conv2d(X[:, :, :0], W, padding=3)),
    (ValueError, "x must have no empty axis but the batch axis, got shape (2, 0, 6, 7)",
     lambda: conv2d(X[:, :0], W)),
    (ValueError, "weight must have no empty axis, got shape (0, 4, 3, 3)",
     lambda: conv2d(X, W[:0])),
    (ValueError, "weight must have no empty axis, got shape (8, 4, 3, 0)",
     lambda: conv2d(X, W[..., :0])),
    # ranks, channels, groups
    (ValueError, "x must have 4 axes, or 3 for one image, got shape (6, 7)",
     lambda: conv2d(X[0, 0], W)),
    (ValueError, "x must have 4 axes, or 3 for one image, got shape (2, 4, 6, 7, 1)",
     lambda: conv2d(X[..., None], W)),
    (ValueError, "weight must have 4 axes...got shape (4, 3, 3)", lambda: conv2d(X, W[0])),
    (ValueError, "weight must have 3 axes...got shape (8, 4, 3, 3)", lambda: conv1d(X[0], W)),
    (ValueError, "weight must have 5 axes...got shape (8, 4, 3, 3)", lambda: conv3d(X, W)),
    (ValueError, "x must have...3 * 1 channels, got 4", lambda: conv2d(X, W[:, :3])),
    (ValueError, "x must have...4 * 1 channels, got 7", lambda: conv2d(X, W,
                                                                      layout="channels_last")),
    (ValueError, "x must have...4 * 2 channels, got 4", lambda: conv2d(X, W, groups=2)),
    (ValueError, "groups must divide the 4 channels and the 5 filters, got 2",
     lambda: conv2d(X, W[:5, :2], groups=2)),
    (ValueError, "groups must be positive, got 0", lambda: conv2d(X, W, groups=0)),
    (ValueError, "groups must be positive, got -1", lambda: conv2d(X, W, groups=-1)),
    (TypeError, "groups must be an int, got 1.0", lambda: conv2d(X, W, groups=1.0)),
    (TypeError, "groups must be an int, got (1, 1)", lambda: conv2d(X, W, groups=(1, 1))),
    (TypeError, "groups must be an int, got None", lambda: conv2d(X, W, groups=None)),
    # names
    (ValueError, "padding_mode must be one of zeros, reflect...got 'wrap'",
     lambda: conv2d(X, W, padding_mode="wrap")),
    (TypeError, "padding_mode must be a str, got None", lambda: conv2d(X, W, padding_mode=None)),
    (ValueError, "layout must be one of channels_first, channels_last, got 'NHWC'",
     lambda: conv2d(X, W, layout="NHWC")),
    (TypeError, "layout must be a str, got 1", lambda: conv2d(X, W, layout=1)),
    (ValueError, "activation must be one of relu, relu6...got 'elu'",
     lambda: conv2d(X, W, activation="elu")),
    (TypeError, "activation must be a str, got <ufunc 'tanh'>",
     lambda: conv2d(X, W, activation=np.tanh)),
    (TypeError, "activation must be a str, got True", lambda: conv2d(X, W, activation=True)),
    (TypeError, "activation must be one of relu, relu6 for integers, got 'gelu'",
     lambda: conv2d(INTS, INT_W, activation="gelu")),
    (TypeError, "flip must be a bool, got 1", lambda: conv2d(X, W, flip=1)),
    (TypeError, "flip must be a bool, got 'yes'", lambda: conv2d(X, W, flip="yes")),
    (ValueError, "algorithm must be one of auto, direct...got 'fastest'",
     lambda: conv2d(X, W, algorithm="fastest")),
    (TypeError, "algorithm must be a str, got None", lambda: conv2d(X, W, algorithm=None)),
    (TypeError, "algorithm must be a str, got ['direct']",
     lambda: conv2d(X, W, algorithm=["direct"])),
    # x and weight that are no arrays, or of types that are not computed
    (TypeError, "x must be an array, got NoneType", lambda: conv2d(None, W)),
    (TypeError, "x must be an array, got str", lambda: conv2d("image.png", W)),
    (TypeError, "x must be an array, got float", lambda: conv2d(1.0, W)),
    (TypeError, "x must be an array, got generator", lambda: conv2d((row for row in X), W)),
    (TypeError, "x must be an array, got list...inhomogeneous",
     lambda: conv1d([[[1.0, 2.0], [3.0]]], W[..., 0])),
    (TypeError, "weight must be an array, got dict", lambda: conv2d(X, {})),
    (TypeError, "x must be an array, got MaskedArray",
     lambda: conv2d(np.ma.masked_equal(X, 0), W)),
    (TypeError, "weight must be an array, got MaskedArray", lambda: conv2d(X, np.ma.array(W))),
    (TypeError, "x must be an array, got matrix",
     lambda: conv1d(X[0, 0].view(np.matrix), W[:, :, 0])),
    (TypeError, "weight must be on a device as x is, got weight of numpy.ndarray in the computer's memory and x of "
     "...OnDevice on a device", lambda: conv2d(OnDevice(), W)),
    (TypeError, "weight must be in the computer's memory as x is, got weight of ...OnDevice on a device and x of "
     "numpy.ndarray in the computer's memory", lambda: conv2d(X, OnDevice())),
    (TypeError, "out must be on a device as x is, got out of numpy.ndarray",
     lambda: conv2d(OnDevice(), OnDevice(), out=X)),
    (TypeError, "bias must be on a device as x is, got bias of builtins.list",
     lambda: conv2d(OnDevice(), OnDevice(), [1.0])),
    (TypeError, "bias must be an array in the computer's memory, got one on a GPU",
     lambda: conv2d(X, W, OnDevice())),
    (TypeError, "x must be one of float16...got object", lambda: conv2d(of_type(object), W)),
    (TypeError, "x must be one of float16...got complex64", lambda: conv2d(of_type("c8"), W)),
    (TypeError, "x must be one of float16...got float8_e5m2", lambda: conv2d(X.astype("float8_e5m2"), W)),
    (TypeError, "x must be one of float16...got bool", lambda: conv2d(of_type(bool), W)),
    (TypeError, "x must be one of float16...got uint64", lambda: conv2d(of_type("u8"), W)),
    (TypeError, "x must be one of float16...got datetime64", lambda: conv2d(of_type("M8[s]"), W)),
    (TypeError, "x must be one of float16...got timedelta64", lambda: conv2d(of_type("m8[s]"), W)),
    (TypeError, "x must be one of float16...got void", lambda: conv2d(of_type("f4,f4"), W)),
    (TypeError, "x must be one of float16...got str", lambda: conv2d(of_type("U3"), W)),
    (TypeError, "x must be one of float16...got object",
     lambda: conv1d([[[datetime.date(2000, 1, 1)]]], W[:, :1, :1, 0])),
    (TypeError, "weight must be one of float16...got complex128",
     lambda: conv2d(X, W.astype(complex))),
    (TypeError, "weight must be one of float16...got bool", lambda: conv2d(X, W > 0)),
    # bias and residual
    (ValueError, "bias must have shape (8,), got (4,)", lambda: conv2d(X, W, np.ones(4))),
    (ValueError, "bias must have shape (8,), got ()", lambda: conv2d(X, W, np.array(1.0))),
    (ValueError, "bias must have shape (8,), got (1, 8, 1, 1)",
     lambda: conv2d(X, W, np.ones((1, 8, 1, 1)))),
    (TypeError, "bias must be an array, got int", lambda: conv2d(X, W, 0)),
    (TypeError, "bias must be an array, got bool", lambda: conv2d(X, W, bias=True)),
    (TypeError, "bias must be one of float16...got complex128",
     lambda: conv2d(X, W, np.ones(8, complex))),
    (TypeError, "bias must have a type that casts to int64, got float64",
     lambda: conv2d(INTS, INT_W, np.ones(8))),
    (TypeError, "bias must have a type that casts to int64, got bfloat16",
     lambda: conv2d(INTS, INT_W, np.ones(8, "bfloat16"))),
    (TypeError, "bias must be an array, got MaskedArray",
     lambda: conv2d(X, W, np.ma.ones(8))),
    (ValueError, "residual must have shape (2, 8, 4, 5), got (2, 8, 6, 7)",
     lambda: conv2d(X, W, residual=np.ones((2, 8, 6, 7)))),
    (ValueError, "residual must have shape (8, 4, 5), got (1, 8, 4, 5)",
     lambda: conv2d(X[0], W, residual=np.ones((1, 8, 4, 5)))),
    (TypeError, "residual must be one of float16...got object",
     lambda: conv2d(X, W, residual=np.ones((2, 8, 4, 5), object))),
    (TypeError, "residual must have a type that casts to int64, got float32",
     lambda: conv2d(INTS, INT_W, residual=np.ones((2, 8, 4, 5), np.float32))),
    (TypeError, "residual must be an array, got float", lambda: conv2d(X, W, residual=1.0)),
    # out
    (TypeError, "out must be an array, got list", lambda: conv2d(X, W, out=[])),
    (TypeError, "out must be an array, got OnDevice", lambda: conv2d(X, W, out=OnDevice())),
    (TypeError, "out must be an array, got MaskedArray",
     lambda: conv2d(X, W, out=np.ma.zeros((2, 8, 4, 5), np.float32))),
    (ValueError, "out must have shape (2, 8, 4, 5), got (2, 8, 6, 7)",
     lambda: conv2d(X, W, out=np.zeros((2, 8, 6, 7), np.float32))),
    (ValueError, "out must have shape (8, 4, 5), got (1, 8, 4, 5)",
     lambda: conv2d(X[0], W, out=np.zeros((1, 8, 4, 5), np.float32))),
    (TypeError, "out must have type float32, got float64",
     lambda: conv2d(X, W, out=np.zeros((2, 8, 4, 5)))),
    (TypeError, "out must have type float32, got >f4",
     lambda: conv2d(X, W, out=np.zeros((2, 8, 4, 5), ">f4"))),
    (TypeError, "out must have type bfloat16, got float32",
     lambda: conv2d(X.astype("bfloat16"), W.astype("bfloat16"), out=np.zeros((2, 8, 4, 5), np.float32))),
    (TypeError, "out must have type int64, got int32",
     lambda: conv2d(INTS, INT_W, out=np.zeros((2, 8, 4, 5), np.int32))),
    (ValueError, "out must be writeable, got a read-only array",
     lambda: conv2d(X, W, out=read_only((2, 8, 4, 5)))),
    # what an algorithm asked for by name does not compute, and what none computes
    (UnsupportedError, "algorithm 'direct' does not compute conv2d,n2,c4,6x7,k8,3x3,int32: direct "
     "computes float32 and float64, not int32", lambda: conv2d(INTS, INT_W, algorithm="direct")),
    (UnsupportedError, "algorithm 'im2col' does not compute...not float16",
     lambda: conv2d(X.astype("f2"), W.astype("f2"), algorithm="im2col")),
    (UnsupportedError, "algorithm 'im2col' does not compute...not bfloat16",
     lambda: conv2d(X.astype("bfloat16"), W.astype("bfloat16"), algorithm="im2col")),
    (UnsupportedError, "algorithm 'winograd_4x4' does not compute conv2d...,s2,input_gradient,float32: ..., in conv2d",
     lambda: fastconv.conv2d_input(X.shape, W, np.ones((2, 8, 2, 3), np.float32), 2, algorithm="winograd_4x4")),
    (UnsupportedError, "fastconv.plan makes plans of forward convolutions, got conv2d...,input_gradient",
     lambda: fastconv.plan(BACKWARD)),
    # tolerance
    (ValueError, "tolerance must be a positive finite number, got 0", lambda: conv2d(X, W, tolerance=0)),
    (ValueError, "tolerance must be a positive finite number, got -0.001", lambda: conv2d(X, W, tolerance=-1e-3)),
    (ValueError, "tolerance must be a positive finite number, got nan",
     lambda: conv1d(X[:, :, 0], W[..., 0], tolerance=float("nan"))),
    (ValueError, "tolerance must be a positive finite number, got inf",
     lambda: conv2d(X[:0], W, tolerance=float("inf"))),
    (ValueError, "tolerance must be a positive finite number, got -1",
     lambda: conv2d(X, W, algorithm="direct", tolerance=-1)),
    (ValueError, "tolerance must be a positive finite number, got -2", lambda: conv2d(INTS, INT_W, tolerance=-2)),
    (TypeError, "tolerance must be a number, got '1e-3' of type str", lambda: conv2d(X, W, tolerance="1e-3")),
    (TypeError, "tolerance must be a number, got True of type bool",
     lambda: conv3d(X, W[:, :2, None], tolerance=True)),
    (TypeError, "tolerance must be a number, got [1] of type list", lambda: conv2d(X, W, tolerance=[1])),
    (TypeError, "tolerance must be a number, got array(0.1) of type ndarray",
     lambda: conv2d(X, W, tolerance=np.array(0.1))),
    (ValueError, "tolerance must be a positive finite number, got 0.0",
     lambda: fastconv.select(PROBLEM, tolerance=0.0)),
    (TypeError, "tolerance must be a number, got 'low'", lambda: fastconv.select(PROBLEM, "low")),
    (TypeError, "tolerance must be a number, got 'exact'", lambda: fastconv.explain(PROBLEM, "exact")),
    (ValueError, "tolerance must be a positive finite number, got -inf",
     lambda: fastconv.explain(PROBLEM, float("-inf"))),
    (ValueError, "tolerance must be a positive finite number, got -3", lambda: fastconv.set_tolerance(-3)),
    (TypeError, "tolerance must be a number, got False", lambda: fastconv.set_tolerance(False)),
    # what else the package offers
    (TypeError, "problem must be a ConvProblem or PoolProblem, got 'conv2d,n1,c1,1,k1,1,float32' of type str",
     lambda: fastconv.select("conv2d,n1,c1,1,k1,1,float32")),
    (TypeError, "problem must be a ConvProblem or PoolProblem, got None", lambda: fastconv.explain(None)),
    (TypeError, "count must be an int, got 2.0", lambda: fastconv.set_num_threads(2.0)),
    (TypeError, "count must be an int, got None", lambda: fastconv.set_num_threads(None)),
    (TypeError, "count must be an int, got True", lambda: fastconv.set_num_threads(True)),
    (ValueError, "count must be positive, got 0", lambda: fastconv.set_num_threads(0)),
    (ValueError, "count must be positive, got -4", lambda: fastconv.set_num_threads(-4)),
    (ValueError, "bits must be None or one of (128, 256, 512), got 64",
     lambda: set_vector_bits(64)),
    (TypeError, "bits must be an int, got 256.0", lambda: set_vector_bits(256.0)),
    (TypeError, "bits must be an int, got '256'", lambda: set_vector_bits("256")),
    (ValueError, "text must give the rank where it has 'conv4d'",
     lambda: ConvProblem.parse("conv4d,n1,c1,1,k1,1,float32")),
    (ValueError, "direction must be one of forward...got 'backward'",
     lambda: replace(PROBLEM, direction="backward")),
]  # fmt: skip


@pytest.fixture
def no_kernels(monkeypatch):
    def run(*arguments):
        pytest.fail("a wrong call reached a kernel")

    for entry in TABLE:
        monkeypatch.setattr(entry, "prepared", lambda problem, activation: run)
    fastconv.clear_cache()  # calls that are ready
    yield
    fastconv.clear_cache()


def test_the_table_is_long_enough():
    assert len(REFUSALS) >= 60
    assert len({message for _, message, _ in REFUSALS}) > 0.9 * len(REFUSALS)


def test_a_right_call_reaches_a_kernel(no_kernels, algorithm):
    with pytest.raises(pytest.fail.Exception, match="reached a kernel"):
        conv2d(X, W, algorithm=algorithm)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    REFUSALS,
    ids=[f"{place}: {message[:40]}" for place, (_, message, _) in enumerate(REFUSALS)],
)
def test_wrong_calls(no_kernels, error, message, call):
    threads = fastconv.get_num_threads()
    try:
        with pytest.raises(error) as raised:
            call()
    finally:
        set_vector_bits(None)
        changed = fastconv.get_num_threads() != threads
        fastconv.set_num_threads(threads)
    assert not changed
    assert type(raised.value) is error
    pattern = ".*".join(map(re.escape, message.split("...")))
    assert re.match(pattern, str(raised.value), re.DOTALL), str(raised.value)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_a_refusal_comes_again(no_kernels, error):
    # Problems of earlier calls are remembered by their arguments: 1, 1.0 and True must differ.
    ConvProblem.from_shapes(X.shape, W.shape, stride=1)
    wrong = 1.0 if error is TypeError else 0
    for _ in range(2):
        with pytest.raises(error, match="stride must be"):
            conv2d(X, W, stride=wrong)


@pytest.mark.parametrize("stride", [1, (1, 1)], ids=["int", "tuple"])
def test_after_a_right_call_an_equal_wrong_one_is_refused(stride):
    right = {"stride": stride, "flip": False, "groups": 1, "tolerance": 1}
    conv2d(X, W, **right)
    for wrong in (
        {"stride": (1, 1.0)},
        {"stride": (True, 1)},
        {"stride": 1.0},
        {"flip": 0},
        {"groups": True},
        {"groups": 1.0},
        {"tolerance": True},
    ):
        (name,) = wrong
        with pytest.raises(TypeError, match=f"{name} must be"):
            conv2d(X, W, **(right | wrong))


def test_a_refused_call_leaves_out_alone():
    out = np.full((2, 8, 4, 5), 77, np.float32)
    with pytest.raises(ValueError, match="bias must have shape"):
        conv2d(X, W, np.ones(3), out=out)
    with pytest.raises(TypeError, match="residual must be an array"):
        conv2d(X, W, residual=3, out=out)
    assert (out == 77).all()


def test_unsupported_is_no_type_and_no_value_error():
    assert not issubclass(UnsupportedError, TypeError | ValueError)
