"""Poolings as text: one line that states all, and reads back."""

from __future__ import annotations

import pytest

from fastconv.problem import ConvProblem, PoolProblem, parse

pose = PoolProblem.from_shape
PLANES = 1, 2, 8, 8


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (pose("max_pool", PLANES, 3, stride=1), "max_pool2d,n1,c2,8x8,3x3,float32"),
        (pose("max_pool", PLANES, 3), "max_pool2d,n1,c2,8x8,3x3,s3,float32"),
        (pose("avg_pool", (1, 2, 9), 3, stride=1), "avg_pool1d,n1,c2,9,3,float32"),
        (pose("max_pool", PLANES, 3, "int8", padding=(1, 2)), "max_pool2d,n1,c2,8x8,3x3,s3,p1x2,int8"),
        (
            PoolProblem("max_pool", "float32", 1, 64, (112, 112), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
            "max_pool2d,n1,c64,112x112,3x3,s2,p1,float32",
        ),
        (
            PoolProblem(
                *("avg_pool", "float64", 0, 3, (4, 5, 6), (1, 2, 2), (2, 1, 1)),
                *(((0, 1), (2, 2), (0, 1)), (1, 2, 1), True, False, "channels_last"),
            ),
            "avg_pool3d,n0,c3,4x5x6,1x2x2,s2x1x1,p0:1x2x0:1,d1x2x1,ceil,exclude_pad,channels_last,float64",
        ),
    ],
)
def test_string_form(problem, text):
    assert str(problem) == text
    assert PoolProblem.parse(text) == parse(text) == problem


def test_tokens_after_the_sizes_come_in_any_order_and_may_state_a_default():
    problem = pose("avg_pool", PLANES, 3, stride=2, padding=1, ceil_mode=True)
    shuffled = "avg_pool2d,n1,c2,8x8,3x3,float32,ceil,p1x1,d1,channels_first,s2"
    assert PoolProblem.parse(shuffled) == problem


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "text must give the operation where it has ''"),
        ("max_pool4d,n1,c2,8x8,3x3,float32", "the operation where it has 'max_pool4d'"),
        ("lpp_pool2d,n1,c2,8x8,3x3,float32", "the operation where it has 'lpp_pool2d'"),
        ("lp_pool2d,n1,c2,8x8,3x3,float32", "norm_type must be given for lp_pool"),
        ("max_pool2d,n1,c2,8x8,3x3,norm2,float32", "norm_type must not be given for max_pool"),
        ("lp_pool2d,n1,c2,8x8,3x3,norm0,float32", "norm_type must be a positive finite number"),
        ("max_pool2d,n1,c2,8x8,3x3,divisor2,float32", "divisor_override must not be given for max_pool"),
        ("avg_pool2d,n1,c2,8x8,3x3,divisor0,float32", "divisor_override must be positive, got 0"),
        ("avg_pool2d,n1,c2,8x8,3x3,exclude_pad,divisor2,float32", "count_include_pad must be True"),
        ("avg_pool2d,n1,c2,8x8,3x3,indices,float32", "return_indices must be False for avg_pool"),
        ("avg_pool2d,n1,c2,8x8,3x3,o3x3,float32", "outputs must not be given for avg_pool"),
        ("adaptive_avg_pool2d,n1,c2,8x8,4x4,float32", "outputs must be given for adaptive_avg_pool"),
        ("adaptive_avg_pool2d,n1,c2,8x8,3x3,o3x3,float32", "kernel must be the largest piece"),
        ("adaptive_avg_pool2d,n1,c2,8x8,4x4,o3x3,s2,float32", "kernel must be the largest piece"),
        ("conv2d,n1,c2,8x8,k4,3x3,float32", "the operation where it has 'conv2d'"),
        ("max_pool2d,n1", "text must give the channels"),
        ("max_pool2d,n1,c2,8x8,k4,3x3,float32", "the kernel where it has 'k4'"),
        ("max_pool2d,n1,c2,8x8x8,3x3,float32", "2 numbers, one an axis, got '8x8x8'"),
        ("max_pool2d,n1,c2,8x8,3,float32", "2 numbers, one an axis, got '3'"),
        ("max_pool2d,n1,c2,8x8,3x3,g2,float32", "known tokens, got 'g2'"),
        ("max_pool2d,n1,c2,8x8,3x3,reflect,float32", "known tokens, got 'reflect'"),
        ("max_pool2d,n1,c2,8x8,3x3,ceil,ceil,float32", "the ceil_mode once, got 'ceil' too"),
        ("max_pool2d,n1,c2,8x8,3x3,s2", "text must give the dtype"),
        ("max_pool2d,n1,c2,8x8,3x3,exclude_pad,float32", "count_include_pad must be True"),
        ("max_pool2d,n1,c2,8x8,9x3,float32", "x must hold one window"),
    ],
)
def test_parse_refuses(text, fragment):
    with pytest.raises(ValueError, match=fragment):
        PoolProblem.parse(text)


@pytest.mark.parametrize("read", [PoolProblem.parse, parse])
def test_parse_refuses_what_is_no_text(read):
    with pytest.raises(TypeError, match="text must be a str, got 7"):
        read(7)


def test_one_parse_reads_every_kind():
    convolution = "conv2d,n1,c2,8x8,k4,3x3,float32"
    assert parse(convolution) == ConvProblem.parse(convolution)
    with pytest.raises(ValueError, match="the rank where it has 'conv4d'"):
        parse("conv4d,n1,c2,8x8,k4,3x3,float32")
    with pytest.raises(ValueError, match=r"text must begin with conv, max_pool.*, got 'pool2d,n1'"):
        parse("pool2d,n1")


@pytest.mark.parametrize(
    "text",
    [
        "lp_pool2d,n1,c2,8x8,3x3,s2,norm1.5,float32",
        "lp_pool1d,n1,c1,4,2,norminf,float64",
        "avg_pool1d,n1,c2,8,3,ceil,divisor3,float32",
        "max_pool3d,n1,c2,8x8x8,3x1x1,indices,int8",
        "adaptive_max_pool1d,n1,c2,8,4,o3,indices,channels_last,int32",
        "adaptive_avg_pool2d,n2,c3,5x9,3x1,o2x9,float64",
    ],
)
def test_the_string_form_of_the_other_poolings_reads_back(text):
    assert str(parse(text)) == text
    assert PoolProblem.parse(text) in {parse(text)}
