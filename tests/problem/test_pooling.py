from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import reference
from fastconv.arguments import is_floating
from fastconv.problem import DTYPES, LAYOUTS, PoolProblem, parse
from fastconv.problem.pieces import largest_pieces, pieces

WINDOWED = ("max_pool", "avg_pool")

FLOATS = tuple(filter(is_floating, DTYPES))


def make(size=(8, 8), kernel_size=3, operation="max_pool", **arguments):
    """Return a problem of 2 channels, as a user would pose it."""
    return PoolProblem.from_shape(operation, (1, 2, *size), kernel_size, **arguments)


# --- output sizes, by hand ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "down", "up"),
    [
        (5, 3, 1, 0, 1, 3, 3),
        (5, 2, 2, 0, 1, 2, 3),  # with ceil_mode a window from 4 hangs over the end
        (6, 3, 2, 1, 1, 3, 4),  # from -1, 1, 3, and 5, which hangs over the padding
        (7, 2, 2, 1, 1, 4, 4),  # a fifth would begin at 7, in the padding after
        (7, 1, 4, 0, 1, 2, 2),  # a third would begin at 8
        (8, 3, 1, 0, 3, 2, 2),
        (8, 3, 3, 0, 3, 1, 2),
        (112, 3, 2, 0, 1, 55, 56),  # SqueezeNet's
        (112, 3, 2, 1, 1, 56, 57),
        (4, 2, 2, ((0, 1),), 1, 2, 2),  # a third would begin at 4, in the padding after
        (3, 2, 2, ((1, 0),), 1, 2, 2),
        (3, 2, 2, ((0, 3),), 1, 3, 2),  # with ceil_mode the window from 4, in the padding, is dropped
        (1, 1, 1, 3, 1, 7, 4),  # any padding is accepted; with ceil_mode no window begins after the input
    ],
)
@pytest.mark.parametrize("operation", WINDOWED)
def test_output_size_of_one_axis(operation, size, kernel, stride, padding, dilation, down, up):
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    for ceil_mode, expected in ((False, down), (True, up)):
        problem = make((size,), kernel, operation, ceil_mode=ceil_mode, **arguments)
        assert problem.output_size == (expected,)
        assert problem.output_shape == (1, 2, expected)


def test_the_stride_is_the_kernel_size_unless_given():
    assert make(kernel_size=(2, 3)).stride == (2, 3)
    assert make(kernel_size=(2, 3), stride=1).stride == (1, 1)


def test_axes_have_their_own_arguments():
    problem = make((9, 10, 11), (1, 2, 3), stride=(1, 2, 3), padding=(0, 1, 2), dilation=[1, 3, 2])
    assert problem.rank == 3
    assert problem.padding == ((0, 0), (1, 1), (2, 2))
    assert problem.receptive_field == (1, 4, 5)
    assert problem.output_size == (9, 5, 4)


def test_shapes_follow_the_layout():
    first = PoolProblem.from_shape("max_pool", (2, 6, 5, 7), 3, stride=1)
    last = PoolProblem.from_shape("max_pool", (2, 5, 7, 6), 3, stride=1, layout="channels_last")
    assert (first.channels, first.size) == (last.channels, last.size) == (6, (5, 7))
    assert (first.input_shape, first.output_shape) == ((2, 6, 5, 7), (2, 6, 3, 5))
    assert (last.input_shape, last.output_shape) == ((2, 5, 7, 6), (2, 3, 5, 6))


@pytest.mark.parametrize(
    ("input_shape", "kernel_size", "arguments", "output_size", "operations"),
    [
        ((1, 64, 112, 112), 3, {"stride": 2, "padding": 1}, 56, 1_806_336),  # ResNet's
        ((1, 192, 35, 35), 3, {"stride": 1, "padding": 1}, 35, 2_116_800),  # Inception's
        ((8, 64, 224, 224), 2, {}, 112, 25_690_112),  # VGG's, 8 images
        ((1, 2048, 7, 7), 7, {}, 1, 100_352),
    ],
)
def test_counts_of_known_layers(input_shape, kernel_size, arguments, output_size, operations):
    problem = PoolProblem.from_shape("avg_pool", input_shape, kernel_size, **arguments)
    assert problem.output_size == (output_size, output_size)
    assert problem.operations == operations


@pytest.mark.parametrize("input_shape", [(0, 3, 5, 5), (2, 0, 5, 5)])
def test_no_images_or_no_channels_are_a_problem(input_shape):
    problem = PoolProblem.from_shape("max_pool", input_shape, 3)
    assert problem.output_shape == (*input_shape[:2], 1, 1)
    assert problem.operations == 0


# --- what a problem is ----------------------------------------------------------------------------


def test_fields_are_plain_whatever_was_given():
    problem = PoolProblem.from_shape(
        "avg_pool",
        [np.int32(1), 4, 8, 8],
        [np.int8(3), 3],
        np.dtype(">f8"),
        stride=np.uint8(2),
        padding=[1, np.int16(2)],
        dilation=[1, 1],
        ceil_mode=np.True_,
        count_include_pad=np.False_,
    )

    def kinds(value):
        return set().union(*map(kinds, value)) if type(value) is tuple else {type(value)}

    shown = {entry.name: getattr(problem, entry.name) for entry in dataclasses.fields(problem)}
    assert set().union(*map(kinds, shown.values())) == {int, str, bool, type(None)}
    assert problem.dtype == "float64"


def test_equal_problems_are_one_key():
    posed = make(stride=(1, 1), padding="same", dtype=np.float32)
    same = PoolProblem(
        operation="max_pool",
        dtype="float32",
        batch=1,
        channels=2,
        size=(8, 8),
        kernel=(3, 3),
        stride=(1, 1),
        padding=((1, 1), (1, 1)),
        dilation=(1, 1),
    )
    assert posed == same
    assert hash(posed) == hash(same)
    assert {posed: "answer"}[same] == "answer"


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "max_pool"},
        {"dtype": "float64"},
        {"batch": 2},
        {"channels": 4},
        {"size": (8, 9)},
        {"kernel": (3, 1)},
        {"stride": (3, 2)},
        {"padding": ((1, 1), (1, 2))},
        {"dilation": (2, 1)},
        {"ceil_mode": True},
        {"count_include_pad": False},
        {"layout": "channels_last"},
    ],
)
def test_every_field_counts(change):
    problem = make(operation="avg_pool", padding=1)
    other = dataclasses.replace(problem, **change)
    assert other != problem
    assert len({problem, other, dataclasses.replace(problem)}) == 2
    assert str(other) != str(problem)
    assert PoolProblem.parse(str(other)) == other


def test_problems_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().batch = 2
    assert not hasattr(make(), "__dict__")


def test_the_hash_is_not_pickled():
    """Hashes of strings differ between processes, so a copied hash would find nothing."""
    problem = make(padding=1, ceil_mode=True)
    assert pickle.loads(pickle.dumps(problem)) == problem
    program = "import pickle, sys; p = pickle.load(sys.stdin.buffer); sys.exit(p not in {type(p).parse(str(p))})"
    for seed in "1", "2":  # of which one at least differs from ours
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(problem),
            env=environment,
            check=True,
            timeout=60,
        )


def test_arguments_pose_the_problem_again():
    posed = {"stride": 2, "padding": "same", "ceil_mode": True}
    largest = make(**posed)
    expected = {
        "kernel_size": (3, 3),
        "stride": (2, 2),
        "padding": ((0, 1), (0, 1)),
        "dilation": (1, 1),
        "ceil_mode": True,
        "layout": "channels_first",
    }
    assert largest.arguments() == expected
    average = make(operation="avg_pool", count_include_pad=False, **posed)
    assert average.arguments() == {**expected, "count_include_pad": False}
    for problem in (largest, average):
        assert PoolProblem.from_shape(problem.operation, problem.input_shape, **problem.arguments()) == problem


def test_the_package_has_it():
    assert fastconv.PoolProblem is PoolProblem
    assert "PoolProblem" in dir(fastconv)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "fragment"),
    [
        ({"operation": "pool"}, ValueError, "operation must be one of max_pool, avg_pool, .*, got 'pool"),
        ({"operation": None}, TypeError, "operation must be a str"),
        ({"dtype": "float128x"}, TypeError, "dtype must be one of"),
        ({"batch": -1}, ValueError, "batch must not be negative, got -1"),
        ({"channels": -1}, ValueError, "channels must not be negative, got -1"),
        ({"size": ()}, ValueError, r"size must have 1 to 3 axes, got \(\)"),
        ({"size": (8,) * 4}, ValueError, "size must have 1 to 3 axes"),
        ({"size": (8, 0)}, ValueError, "size must be positive, got 0 in"),
        ({"size": 8}, TypeError, "size must be a tuple of ints, got 8"),
        ({"kernel": (3,)}, ValueError, "kernel must have length 2"),
        ({"kernel": (3, 0)}, ValueError, "kernel must be positive, got 0 in"),
        ({"stride": (0, 1)}, ValueError, "stride must be positive, got 0 in"),
        ({"stride": None}, TypeError, "stride must be an int, got None"),
        ({"padding": ((-1, 0), (0, 0))}, ValueError, "padding must not be negative"),
        ({"dilation": (1, 1, 1)}, ValueError, "dilation must have length 2"),
        ({"ceil_mode": 1}, TypeError, "ceil_mode must be a bool, got 1"),
        ({"count_include_pad": 0}, TypeError, "count_include_pad must be a bool, got 0"),
        ({"layout": "nhwc"}, ValueError, "layout must be one of"),
    ],
)
def test_direct_construction_validates(change, error, fragment):
    with pytest.raises(error, match=fragment):
        dataclasses.replace(make(), **change)


def test_a_maximum_counts_no_padding():
    with pytest.raises(ValueError, match="count_include_pad must be True unless elements are counted"):
        make(count_include_pad=False)


@pytest.mark.parametrize(
    ("operation", "shape", "arguments"),
    [
        ("max_pool", (2, 8), {}),
        ("max_pool", (1, 1, 2, 3, 4, 5), {}),
        ("max_pool", (1, 2, 0), {}),
        ("max_pool", (1, 2, 8), {"kernel_size": 9}),
        ("max_pool", (1, 2, 8, 8), {"kernel_size": (3, 5), "dilation": 2, "padding": ((0, 0), (0, 0))}),
        ("max_pool", (1, 2, 8), {"kernel_size": 9, "stride": 1, "ceil_mode": True}),
        ("max_pool", (1, 2, 8), {"kernel_size": 0}),
        ("max_pool", (1, 2, 8), {"kernel_size": 2.0}),
        ("max_pool", (1, 2, 8), {"kernel_size": (2, 2)}),
        ("max_pool", (1, 2, 8), {"stride": 0}),
        ("max_pool", (1, 2, 8), {"padding": -1}),
        ("max_pool", (1, 2, 8), {"padding": "full"}),
        ("max_pool", (1, 2, 8), {"padding": 2**60}),
        ("max_pool", (1, 2, 8), {"dilation": 0}),
        ("max_pool", (1, 2, 8), {"dilation": 2**60, "stride": 2**61, "ceil_mode": True}),
        ("max_pool", (1, 2, 8), {"ceil_mode": "yes"}),
        ("max_pool", (1, 2, 8), {"layout": "NHWC"}),
        ("avg_pool", (1, 2, 8), {"count_include_pad": 1}),
        ("avg_pool", (1, 2, 8), {"dtype": "int32"}),
    ],
)
def test_the_reference_refuses_the_same_in_the_same_words(operation, shape, arguments):
    arguments = {"kernel_size": 2, **arguments}
    with pytest.raises((TypeError, ValueError)) as ours:
        PoolProblem.from_shape(operation, shape, **arguments)
    x = np.zeros(shape, arguments.pop("dtype", "float32"))
    with pytest.raises(ours.type) as theirs:
        getattr(reference, operation)(x, **arguments)
    assert str(ours.value) == str(theirs.value)


LIMIT = 2**60  # elements of 8 bytes in 2**63 bytes: the first number that does not fit


@pytest.mark.parametrize(
    ("fits", "refused", "name"),
    [
        ({"batch": LIMIT // 2 - 1}, {"batch": LIMIT // 2}, "x"),
        ({"size": (2**29, 2**29)}, {"size": (2**30, 2**29)}, "x"),
        ({"size": (2**29, 2**29), "batch": 0}, {"size": (2**30, 2**29), "batch": 0}, "x"),
        ({"padding": (2**27, 2**27)}, {"padding": (2**30, 2**28)}, "padding"),
        ({"padding": 2**19, "batch": 2**18}, {"padding": 2**19, "batch": 2**19}, "padding"),
        ({"kernel": (LIMIT - 1, 1), "stride": LIMIT}, {"kernel": (LIMIT, 1), "stride": LIMIT}, "receptive field"),
    ],
)
def test_arrays_fit_64_bits(fits, refused, name):
    point = make((1, 1), 1, ceil_mode=True)
    assert dataclasses.replace(point, **fits).output_size
    with pytest.raises(ValueError, match=rf"{name} must fit in 2\*\*63 - 1 bytes .* got shape \("):
        dataclasses.replace(point, **refused)


# --- any problem ----------------------------------------------------------------------------------


@st.composite
def problems(draw, torch=False):
    """Draw any problem, or one that PyTorch has a function for."""
    rank = draw(st.integers(1, 3))
    operation = draw(st.sampled_from(WINDOWED))
    average, ceil_mode = operation == "avg_pool", draw(st.booleans())
    size, kernel, stride, dilation, padding = [], [], [], [], []
    for _ in range(rank):
        kernel.append(draw(st.integers(1, 4)))
        stride.append(draw(st.integers(1, 5)))
        dilation.append(1 if torch and average else draw(st.integers(1, 3)))
        before = draw(st.integers(0, kernel[-1] // 2 if torch else 4))
        padding.append((before, before if torch else draw(st.integers(0, 4))))
        missing = stride[-1] - 1 if ceil_mode else 0  # so far the one window may hang over the end
        least = dilation[-1] * (kernel[-1] - 1) + 1 - sum(padding[-1]) - missing
        size.append(max(kernel[-1] if torch else 1, least) + draw(st.integers(0, 8)))
    return PoolProblem(
        operation=operation,
        dtype=draw(st.sampled_from(FLOATS if average else DTYPES)),
        batch=draw(st.integers(0, 3)),
        channels=draw(st.integers(0, 3)),
        size=tuple(size),
        kernel=tuple(kernel),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        ceil_mode=ceil_mode,
        count_include_pad=not average or draw(st.booleans()),
        layout=draw(st.sampled_from(LAYOUTS)),
    )


@given(problems())
def test_string_form_reads_back(problem):
    text = str(problem)
    assert PoolProblem.parse(text) == parse(text) == problem
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_,:")  # safe in any shell
    assert text.endswith("," + problem.dtype)


@given(problems())
def test_output_size_counts_the_windows(problem):
    for axis in range(problem.rank):
        size, stride, (before, after) = problem.size[axis], problem.stride[axis], problem.padding[axis]
        last = problem.receptive_field[axis] - 1  # element of a window
        starts = [-before]
        while starts[-1] + last < size + after - 1:  # the padded input goes on
            starts.append(starts[-1] + stride)
        if problem.ceil_mode:
            starts = [start for start in starts if start < size]
        else:
            starts = [start for start in starts if start + last < size + after]
        assert problem.output_size[axis] == len(starts)


@given(problems())
def test_the_reference_returns_the_output_shape(problem):
    x = np.zeros(problem.input_shape, problem.dtype)
    y = getattr(reference, problem.operation)(x, **problem.arguments())
    assert y.shape == problem.output_shape


@given(problems(torch=True))
def test_torch_returns_the_output_size(problem):
    torch = pytest.importorskip("torch")
    arguments = problem.arguments()
    arguments["padding"] = tuple(before for before, _ in problem.padding)
    del arguments["layout"]
    if problem.operation == "avg_pool":
        del arguments["dilation"]
    function = getattr(torch.nn.functional, f"{problem.operation}{problem.rank}d")
    assert function(torch.zeros(1, 1, *problem.size), **arguments).shape[2:] == problem.output_size


# --- norms, indices and pieces --------------------------------------------------------------------


def test_pieces_that_divide_the_input_are_windows():
    problem = PoolProblem.from_output_size("adaptive_max_pool", (1, 2, 8, 9), (4, 1), indices=True)
    assert str(problem) == "max_pool2d,n1,c2,8x9,2x9,s2x1,indices,float32"
    assert problem.output_size == (4, 1)


def test_the_kernel_of_pieces_is_the_largest_of_them():
    for size in range(1, 40):
        for outputs in range(1, 40):
            longest = max(end - first for first, end in pieces(size, outputs))
            assert largest_pieces((size,), (outputs,)) == (longest,)


def test_arguments_of_the_other_poolings():
    norm = parse("lp_pool1d,n1,c1,4,2,norm3,float32")
    assert norm.arguments()["norm_type"] == 3.0
    adaptive = parse("adaptive_max_pool1d,n1,c2,8,4,o3,indices,float32")
    assert adaptive.arguments() == {"output_size": (3,), "layout": "channels_first", "return_indices": True}
    assert adaptive.adaptive
    assert adaptive.maxima
    assert adaptive.output_size == (3,)


@pytest.mark.parametrize("text", ["max_pool2d,n1,c3,8x8,3x3,s3,bfloat16", "avg_pool2d,n1,c3,8x8,3x3,s3,bfloat16"])
def test_bfloat16_is_a_type_of_problems_that_numpy_lacks(text):
    problem = PoolProblem.parse(text)
    assert str(problem) == text
    assert problem.itemsize == 2
    assert fastconv.select(problem) == fastconv.select(parse(text.replace("bfloat16", "float32")))
