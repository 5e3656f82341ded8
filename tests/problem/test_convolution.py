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
from fastconv.arguments import PRECISIONS
from fastconv.problem import DIRECTIONS, DTYPES, LAYOUTS, PADDING_MODES, ConvProblem


def make(size=(8, 8), kernel=(3, 3), **arguments):
    """Return a problem of 2 channels and 4 filters, as a user would pose it."""
    groups = arguments.get("groups", 1)
    return ConvProblem.from_shapes((1, 2, *size), (4, 2 // groups, *kernel), **arguments)


# --- output sizes, by hand ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "expected"),
    [
        (5, 3, 1, 0, 1, 3),
        (5, 3, 1, 1, 1, 5),
        (5, 3, 2, 1, 1, 3),  # windows start at -1, 1, 3
        (6, 3, 2, 1, 1, 3),  # the last column of padding is not reached
        (7, 3, 1, 0, 3, 1),  # 3 taps, 3 apart, span exactly 7
        (8, 3, 1, 0, 3, 2),
        (1, 1, 5, 0, 9, 1),
        (224, 7, 2, 3, 1, 112),
        (4, 2, 1, ((0, 1),), 1, 4),
        (3, 3, 1, ((2, 0),), 1, 3),
    ],
)
def test_output_size_of_one_axis(size, kernel, stride, padding, dilation, expected):
    problem = ConvProblem.from_shapes(
        (1, 1, size), (1, 1, kernel), stride=stride, padding=padding, dilation=dilation
    )
    assert problem.output_size == (expected,)
    assert problem.output_shape == (1, 1, expected)


def test_axes_have_their_own_arguments():
    problem = make((9, 10, 11), (1, 2, 3), stride=(1, 2, 3), padding=(0, 1, 2), dilation=[1, 3, 2])
    assert problem.rank == 3
    assert problem.padding == ((0, 0), (1, 1), (2, 2))
    assert problem.receptive_field == (1, 4, 5)
    assert problem.output_size == (9, 5, 4)


def test_shapes_follow_the_layout():
    first = ConvProblem.from_shapes((2, 6, 5, 7), (4, 3, 3, 3), groups=2)
    last = ConvProblem.from_shapes((2, 5, 7, 6), (4, 3, 3, 3), groups=2, layout="channels_last")
    assert (first.channels, first.size) == (last.channels, last.size) == (6, (5, 7))
    assert (first.input_shape, first.output_shape) == ((2, 6, 5, 7), (2, 4, 3, 5))
    assert (last.input_shape, last.output_shape) == ((2, 5, 7, 6), (2, 3, 5, 4))
    assert first.weight_shape == last.weight_shape == (4, 3, 3, 3)


def test_an_empty_batch_is_a_problem():
    problem = ConvProblem.from_shapes((0, 3, 5, 5), (4, 3, 3, 3))
    assert problem.output_shape == (0, 4, 3, 3)
    assert problem.multiply_adds == 0


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "arguments", "output_size", "parameters", "multiply_adds"),
    [  # layers of ResNet-50 and MobileNet for one image of 224 x 224
        ((1, 3, 224, 224), (64, 3, 7, 7), {"stride": 2, "padding": 3}, 112, 9408, 118_013_952),
        ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}, 56, 36_864, 115_605_504),
        ((1, 256, 56, 56), (128, 256, 1, 1), {}, 56, 32_768, 102_760_448),
        ((1, 256, 56, 56), (512, 256, 1, 1), {"stride": 2}, 28, 131_072, 102_760_448),
        ((1, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}, 7, 2_359_296, 115_605_504),
        ((1, 32, 112, 112), (32, 1, 3, 3), {"padding": 1, "groups": 32}, 112, 288, 3_612_672),
    ],
)
def test_counts_of_known_layers(
    input_shape, weight_shape, arguments, output_size, parameters, multiply_adds
):
    problem = ConvProblem.from_shapes(input_shape, weight_shape, **arguments)
    assert problem.output_size == (output_size, output_size)
    assert problem.parameters == parameters
    assert problem.multiply_adds == multiply_adds
    eight = dataclasses.replace(problem, batch=8)
    assert (eight.parameters, eight.multiply_adds) == (parameters, 8 * multiply_adds)


# --- what a problem is ----------------------------------------------------------------------------


def test_fields_are_plain_whatever_was_given():
    problem = ConvProblem.from_shapes(
        [np.int32(1), 4, 8, 8],
        (np.int64(4), 2, 3, 3),
        np.dtype(">f8"),
        stride=np.uint8(2),
        padding=[1, np.int16(2)],
        dilation=[1, 1],
        groups=np.int64(2),
        flip=np.True_,
    )

    def kinds(value):
        return set().union(*map(kinds, value)) if type(value) is tuple else {type(value)}

    shown = {entry.name: getattr(problem, entry.name) for entry in dataclasses.fields(problem)}
    assert set().union(*map(kinds, shown.values())) == {int, str, bool}
    assert problem.dtype == "float64"


def test_equal_problems_are_one_key():
    posed = make(stride=(1, 1), padding="same", dtype=np.float32)
    same = ConvProblem(
        dtype="float32",
        batch=1,
        channels=2,
        size=(8, 8),
        filters=4,
        kernel=(3, 3),
        stride=(1, 1),
        padding=((1, 1), (1, 1)),
        dilation=(1, 1),
        groups=1,
    )
    assert posed == same
    assert hash(posed) == hash(same)
    assert {posed: "answer"}[same] == "answer"


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float64"},
        {"batch": 2},
        {"channels": 4},
        {"size": (8, 9)},
        {"filters": 2},
        {"kernel": (3, 1)},
        {"stride": (1, 2)},
        {"padding": ((1, 1), (1, 2))},
        {"dilation": (2, 1)},
        {"groups": 2},
        {"padding_mode": "reflect"},
        {"flip": True},
        {"layout": "channels_last"},
        {"direction": "input_gradient"},
        {"precision": "bf16"},
    ],
)
def test_every_field_counts(change):
    problem = make(padding=1)
    other = dataclasses.replace(problem, **change)
    assert other != problem
    assert len({problem, other, dataclasses.replace(problem)}) == 2
    assert str(other) != str(problem)
    assert ConvProblem.parse(str(other)) == other


def test_problems_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().batch = 2
    assert not hasattr(make(), "__dict__")


def test_the_hash_is_not_pickled():
    """Hashes of strings differ between processes, so a copied hash would find nothing."""
    problem = make(padding=1, flip=True)
    assert pickle.loads(pickle.dumps(problem)) == problem
    program = (
        "import pickle, sys; p = pickle.load(sys.stdin.buffer); "
        "sys.exit(p not in {type(p).parse(str(p))})"
    )
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
    problem = make(stride=2, padding="same", groups=2, flip=True, padding_mode="reflect")
    assert problem.arguments() == {
        "stride": (2, 2),
        "padding": ((0, 1), (0, 1)),
        "dilation": (1, 1),
        "groups": 2,
        "padding_mode": "reflect",
        "flip": True,
        "layout": "channels_first",
        "precision": "ieee",
    }
    again = ConvProblem.from_shapes(
        problem.input_shape, problem.weight_shape, problem.dtype, **problem.arguments()
    )
    assert again == problem


def test_precision_is_part_of_a_problem_of_float32_alone():
    problems = {make(precision=precision) for precision in PRECISIONS}
    assert {problem.precision for problem in problems} == set(PRECISIONS)
    assert len(set(map(hash, problems))) == len(PRECISIONS)
    for dtype in ("float16", "bfloat16", "float64", "int32"):
        assert make(dtype=dtype, precision="tf32") == make(dtype=dtype)
    with pytest.raises(ValueError, match="precision must be one of ieee, tf32, bf16, fp16, got 'fp32'"):
        make(precision="fp32")
    with pytest.raises(TypeError, match="precision must be a str"):
        make(dtype="float64", precision=None)


# --- the string form ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (make(), "conv2d,n1,c2,8x8,k4,3x3,float32"),
        (make((9,), (3,), dtype="int8"), "conv1d,n1,c2,9,k4,3,int8"),
        (make(stride=(2, 1), padding=1), "conv2d,n1,c2,8x8,k4,3x3,s2x1,p1,float32"),
        (make(padding=(1, 2)), "conv2d,n1,c2,8x8,k4,3x3,p1x2,float32"),
        (make(padding=((0, 1), (2, 1))), "conv2d,n1,c2,8x8,k4,3x3,p0:1x2:1,float32"),
        (make(padding=((0, 1), (2, 2))), "conv2d,n1,c2,8x8,k4,3x3,p0:1x2,float32"),
        (make(padding=((0, 1), (0, 1))), "conv2d,n1,c2,8x8,k4,3x3,p0:1,float32"),
        (
            ConvProblem(
                *("float32", 1, 64, (56, 56), 64, (3, 3), (2, 2), ((1, 1), (1, 1)), (2, 2), 4),
                *("reflect", True, "channels_last"),
            ),
            "conv2d,n1,c64,56x56,k64,3x3,s2,p1,d2,g4,reflect,flip,channels_last,float32",
        ),
        (
            dataclasses.replace(make((4, 5, 6), (1, 1, 1)), direction="weight_gradient"),
            "conv3d,n1,c2,4x5x6,k4,1x1x1,weight_gradient,float32",
        ),
        (
            ConvProblem(
                *("float32", 1, 2, (8, 8), 4, (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
                *("zeros", False, "channels_last", "forward", "tf32"),
            ),
            "conv2d,n1,c2,8x8,k4,3x3,channels_last,tf32,float32",
        ),
    ],
)
def test_string_form(problem, text):
    assert str(problem) == text
    assert ConvProblem.parse(text) == problem


def test_tokens_after_the_sizes_come_in_any_order_and_may_state_a_default():
    problem = make(stride=2, padding=1, flip=True)
    shuffled = "conv2d,n1,c2,8x8,k4,3x3,float32,flip,p1x1,zeros,d1,channels_first,forward,s2,g1"
    assert ConvProblem.parse(shuffled) == problem


def axes(low, high):
    return st.integers(low, high)


@st.composite
def problems(draw):
    rank = draw(axes(1, 3))

    def each(strategy):
        return tuple(draw(strategy) for _ in range(rank))

    groups = draw(axes(1, 3))
    kernel, dilation, padding = (
        each(axes(1, 4)),
        each(axes(1, 3)),
        each(st.tuples(*[axes(0, 3)] * 2)),
    )
    spans = [d * (f - 1) + 1 for f, d in zip(kernel, dilation, strict=True)]
    size = tuple(draw(axes(max(span, 4), 40)) for span in spans)  # 4: reflects 3
    return ConvProblem(
        dtype=draw(st.sampled_from(DTYPES)),
        batch=draw(axes(0, 9)),
        channels=groups * draw(axes(1, 5)),
        size=size,
        filters=groups * draw(axes(1, 5)),
        kernel=kernel,
        stride=each(axes(1, 3)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
        flip=draw(st.booleans()),
        layout=draw(st.sampled_from(LAYOUTS)),
        direction=draw(st.sampled_from(DIRECTIONS)),
        precision=draw(st.sampled_from(PRECISIONS)),
    )


@given(problems())
def test_string_form_reads_back(problem):
    text = str(problem)
    assert ConvProblem.parse(text) == problem
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_,:")  # safe in any shell
    assert text.endswith("," + problem.dtype)


@given(problems())
def test_output_size_counts_the_windows_that_fit(problem):
    for axis in range(problem.rank):
        before, after = problem.padding[axis]
        end = problem.size[axis] + before + after
        reach = problem.dilation[axis] * (problem.kernel[axis] - 1)
        starts = [q for q in range(0, end, problem.stride[axis]) if q + reach < end]
        assert problem.output_size[axis] == len(starts)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "text must give the rank where it has ''"),
        ("conv4d,n1,c2,8x8,k4,3x3,float32", "the rank where it has 'conv4d'"),
        ("pool2d,n1,c2,8x8,k4,3x3,float32", "the rank where it has 'pool2d'"),
        ("conv2d,n1", "text must give the channels"),
        ("conv2d,n-1,c2,8x8,k4,3x3,float32", "the batch where it has 'n-1'"),
        ("conv2d,c2,n1,8x8,k4,3x3,float32", "the batch where it has 'c2'"),
        ("conv2d,n1,c2,8x,k4,3x3,float32", "the size where it has '8x'"),
        ("conv2d,n1,c2,8,k4,3x3,float32", "2 numbers, one an axis, got '8'"),
        ("conv2d,n1,c2,8x8x8,k4,3x3,float32", "2 numbers, one an axis, got '8x8x8'"),
        ("conv2d,n1,c2,8x8,k4,3,float32", "2 numbers, one an axis, got '3'"),
        ("conv2d,n1,c2,8x8,k4,3x3,s1x2x3,float32", "2 numbers, one an axis, got '1x2x3'"),
        ("conv2d,n1,c2,8x8,k4,3x3,p1:2:3,float32", "known tokens, got 'p1:2:3'"),
        ("conv2d,n1,c2,8x8,k4,3x3,q7,float32", "known tokens, got 'q7'"),
        ("conv2d,n1,c2,8x8,k4,3x3, p1,float32", "known tokens, got ' p1'"),
        ("conv2d,n1,c2,8x8,k4,3x3,\N{ARABIC-INDIC DIGIT ONE},float32", "known tokens, got"),
        ("conv2d,n1,c2,8x8,k4,3x3,float32,", "known tokens, got ''"),
        ("conv2d,n1,c2,8x8,k4,3x3,complex64", "known tokens, got 'complex64'"),
        ("conv2d,n1,c2,8x8,k4,3x3,s2,s2,float32", "the stride once, got 's2' too"),
        ("conv2d,n1,c2,8x8,k4,3x3,float32,int8", "the dtype once, got 'int8' too"),
        ("conv2d,n1,c2,8x8,k4,3x3", "text must give the dtype"),
        ("conv2d,n1,c2,8x8,k4,3x3,g3,float32", "groups must divide"),
        ("conv2d,n1,c2,8x8,k4,3x3,s0,float32", "stride must be positive, got 0"),
        (f"conv2d,n{'9' * 5000},c2,8x8,k4,3x3,float32", "the batch where it has"),
        (f"conv2d,n{'9' * 19},c2,8x8,k4,3x3,float32", r"batch must be at most 2\*\*63 - 1"),
    ],
)
def test_parse_refuses(text, fragment):
    with pytest.raises(ValueError, match=fragment):
        ConvProblem.parse(text)


def test_parse_takes_text_alone():
    with pytest.raises(TypeError, match="text must be a str, got b'conv2d'"):
        ConvProblem.parse(b"conv2d")


# --- refusals of shapes and fields (those of arguments are in test_arguments.py) ----------------


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "arguments", "error", "fragment"),
    [
        ((1, 2, 8), (4, 2, 3, 3), {}, ValueError, r"x must have 4 axes, .* got shape \(1, 2, 8\)"),
        ((2, 8, 8, 8, 8), (4, 2, 3, 3), {}, ValueError, "x must have 4 axes"),
        ((1, 2, 0, 8), (4, 2, 3, 3), {}, ValueError, "x must have no empty axis but the batch"),
        ((1, 0, 8, 8), (4, 2, 3, 3), {}, ValueError, "x must have no empty axis but the batch"),
        ((1, 2, -8, 8), (4, 2, 3, 3), {}, ValueError, "input_shape must not be negative, got -8"),
        ((1, 2, 8.0, 8), (4, 2, 3, 3), {}, TypeError, "input_shape must be ints, got 8.0"),
        (8, (4, 2, 3, 3), {}, TypeError, "input_shape must be a tuple of ints, got 8"),
        ((1, 2), (4, 2), {}, ValueError, r"weight must have 3 to 5 axes, .* got shape \(4, 2\)"),
        ((1,) * 6, (1,) * 6, {}, ValueError, "weight must have 3 to 5 axes"),
        ((1, 2, 8, 8), (0, 2, 3, 3), {}, ValueError, "weight must have no empty axis"),
        ((1, 2, 8, 8), (4, 2, 0, 3), {}, ValueError, "weight must have no empty axis"),
        ((1, 2, 8, 8), (4, 2, True, 3), {}, TypeError, "weight_shape must be ints, got True"),
        ((1, 3, 8, 8), (4, 2, 3, 3), {}, ValueError, r"x must have .* = 2 \* 1 channels, got 3"),
        ((1, 2, 8, 8), (4, 2, 3, 3), {"groups": 2}, ValueError, r"= 2 \* 2 channels, got 2"),
        ((1, 4, 8, 8), (3, 2, 3, 3), {"groups": 2}, ValueError, "groups must divide .* got 2"),
        (
            (1, 2, 8, 8),
            (4, 2, 3, 3),
            {"layout": "channels_last"},
            ValueError,
            r"channels, got 8: x of shape \(1, 2, 8, 8\), weight of shape \(4, 2, 3, 3\)",
        ),
    ],
)
def test_shapes_refused(input_shape, weight_shape, arguments, error, fragment):
    with pytest.raises(error, match=fragment):
        ConvProblem.from_shapes(input_shape, weight_shape, **arguments)


@pytest.mark.parametrize(
    ("change", "error", "fragment"),
    [
        ({"dtype": "float128x"}, TypeError, "dtype must be one of"),
        ({"batch": -1}, ValueError, "batch must not be negative, got -1"),
        ({"batch": 1.0}, TypeError, "batch must be an int, got 1.0"),
        ({"channels": 0}, ValueError, "channels must be positive, got 0"),
        ({"filters": 0}, ValueError, "filters must be positive, got 0"),
        ({"size": ()}, ValueError, r"size must have 1 to 3 axes, got \(\)"),
        ({"size": (8,) * 4}, ValueError, "size must have 1 to 3 axes"),
        ({"size": (8, 0)}, ValueError, "size must be positive, got 0 in"),
        ({"size": 8}, TypeError, "size must be a tuple of ints, got 8"),
        ({"kernel": (3,)}, ValueError, "kernel must have length 2"),
        ({"kernel": (3, 0)}, ValueError, "kernel must be positive, got 0 in"),
        ({"stride": (0, 1)}, ValueError, "stride must be positive, got 0 in"),
        ({"padding": ((-1, 0), (0, 0))}, ValueError, "padding must not be negative"),
        ({"dilation": (1, 1, 1)}, ValueError, "dilation must have length 2"),
        ({"groups": 3}, ValueError, "groups must divide the 2 channels and the 4 filters, got 3"),
        ({"groups": 4}, ValueError, "groups must divide"),
        ({"padding_mode": "edge"}, ValueError, "padding_mode must be one of"),
        ({"flip": 0}, TypeError, "flip must be a bool, got 0"),
        ({"layout": "nhwc"}, ValueError, "layout must be one of"),
        ({"direction": "backward"}, ValueError, "direction must be one of forward, .* got 'backw"),
    ],
)
def test_direct_construction_validates(change, error, fragment):
    with pytest.raises(error, match=fragment):
        dataclasses.replace(make(), **change)


# --- 64 bits --------------------------------------------------------------------------------------

LIMIT = 2**60  # elements of 8 bytes in 2**63 bytes: the first number that does not fit


@pytest.mark.parametrize(
    ("fits", "refused", "name"),
    [
        ({"batch": LIMIT // 2 - 1, "size": (1, 1)}, {"batch": LIMIT // 2, "size": (1, 1)}, "x"),
        ({"size": (2**29, 2**29)}, {"size": (2**30, 2**29)}, "x"),
        ({"size": (2**29, 2**29), "batch": 0}, {"size": (2**30, 2**29), "batch": 0}, "x"),
        ({"filters": LIMIT // 2 - 1, "size": (1, 1)}, {"filters": LIMIT // 2}, "weight"),
        ({"padding": (2**27, 2**27)}, {"padding": (2**30, 2**28)}, "padding"),
        ({"filters": LIMIT // 128}, {"filters": LIMIT // 64}, "out"),
    ],
)
def test_arrays_fit_64_bits(fits, refused, name):
    point = dataclasses.replace(make((8, 8), (1, 1)), filters=1)
    assert dataclasses.replace(point, **fits).output_size
    with pytest.raises(ValueError, match=rf"{name} must fit in 2\*\*63 - 1 bytes .* got shape \("):
        dataclasses.replace(point, **refused)


def test_huge_arguments_that_never_reach_far_are_problems():
    problem = make((8, 8), (1, 1), stride=2**63 - 1, dilation=2**63 - 1)
    assert problem.output_size == (1, 1)
    with pytest.raises(ValueError, match=r"dilation must be at most 2\*\*63 - 1"):
        make((8, 8), (1, 1), dilation=2**63)


def test_receptive_field_is_computed_without_wrapping():
    with pytest.raises(ValueError, match=r"x must hold one window on axis 0"):
        make((8, 8), (3, 3), dilation=2**62)  # 2**63 + 1 wraps to a negative number in 64 bits


def test_bfloat16_is_a_type_of_problems_that_numpy_lacks():
    problem = ConvProblem.parse("conv2d,n1,c3,8x8,k4,3x3,bfloat16")
    assert problem.dtype == "bfloat16"
    assert problem.itemsize == 2
    assert ConvProblem.parse(str(problem)) == problem
    assert fastconv.select(problem) == "reference"
    assert fastconv.get_tolerance("bfloat16") > fastconv.get_tolerance("float16")
