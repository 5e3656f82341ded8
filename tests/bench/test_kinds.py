"""The classes of problems, each rule by hand."""

from __future__ import annotations

import pytest

from fastconv.bench.kinds import KINDS, kind_of
from fastconv.bench.suites import SUITES
from fastconv.problem import DIRECTIONS, parse

BY_HAND = {
    "conv2d,n1,c64,9x9,k64,3x3,p1,float32": "3x3",
    "conv2d,n1,c64,9x9,k64,3x2,p1,float32": "3x3",
    "conv2d,n1,c64,9x9,k64,1x1,float32": "1x1",
    "conv2d,n1,c64,9x9,k64,1x7,p0x3,float32": "1xN and Nx1",
    "conv2d,n1,c64,9x9,k64,3x1,p1x0,float32": "1xN and Nx1",
    "conv2d,n1,c64,9x9,k64,5x5,p2,float32": "other kernel",
    "conv2d,n1,c64,9x9,k64,2x2,float32": "other kernel",
    "conv2d,n1,c64,9x9,k64,7x7,p3,float32": "large kernel",
    "conv2d,n1,c64,9x9,k64,3x3,s2,p1,float32": "strided",
    "conv2d,n1,c64,9x9,k64,1x1,s1x2,float32": "strided",
    "conv2d,n1,c64,9x9,k64,3x3,s2,p2,d2,float32": "dilated",
    "conv2d,n1,c3,9x9,k64,7x7,s2,p3,float32": "few channels",
    "conv2d,n1,c4,9x9,k64,3x3,float32": "few channels",
    "conv2d,n1,c5,9x9,k64,3x3,float32": "3x3",
    "conv2d,n1,c64,9x9,k64,3x3,p1,g32,float32": "grouped",
    "conv2d,n1,c4,9x9,k64,3x3,p1,g2,float32": "grouped",
    "conv2d,n1,c64,9x9,k64,3x3,s2,p1,g64,float32": "depthwise",
    "conv2d,n1,c5,9x9,k10,3x3,g5,float32": "depthwise",
    "conv2d,n1,c1,9x9,k8,3x3,p1,float32": "image filter",
    "conv2d,n1,c4,9x9,k4,31x31,p15,g4,float32": "image filter",
    "conv1d,n1,c1,99,k1,64,float32": "1-D",
    "conv3d,n1,c4,9x9x9,k4,3x3x3,g4,float32": "3-D",
    "conv2d,n1,c64,9x9,k64,3x3,p1,input_gradient,float32": "gradient",
    "conv1d,n1,c1,99,k1,64,weight_gradient,float32": "gradient",
    "max_pool2d,n1,c64,9x9,3x3,s2,float32": "max pooling",
    "avg_pool1d,n1,c64,9,3,float32": "average pooling",
}


@pytest.mark.parametrize(("text", "kind"), BY_HAND.items())
def test_by_hand(text: str, kind: str) -> None:
    assert kind_of(parse(text)) == kind


def test_every_kind_is_tested_and_named_once() -> None:
    assert set(BY_HAND.values()) == set(KINDS)
    assert len(set(KINDS)) == len(KINDS)


def test_every_layer_of_every_suite_has_one() -> None:
    kinds = {kind_of(layer.problem) for suite in SUITES.values() for layer in suite.layers()}
    assert kinds == set(KINDS) - {"gradient"}  # which every convolution may become


@pytest.mark.parametrize("direction", DIRECTIONS[1:])
def test_every_gradient_is_one(direction: str) -> None:
    assert {kind_of(layer.problem) for layer in SUITES["resnet50"].layers(direction=direction)} == {"gradient"}
