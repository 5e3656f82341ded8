"""The layer tables against numbers that are known of the networks."""

from __future__ import annotations

import pytest

from fastconv.bench.networks import NETWORKS, layers

# Multiply-adds and parameters: torchvision's model cards give those of the whole network, for
# ResNet-50 4.09e9 and 25 557 032, for VGG-16 15.47e9 and 138 357 544, for MobileNet-V2 0.301e9 and
# 3 504 872; what belongs to fully connected layers, biases and batch normalisation is taken off.
KNOWN = {
    "resnet50": (53, 4_089_184_256 - 2048 * 1000, 25_557_032 - 2049 * 1000 - 2 * 26_560),
    "vgg16": (13, 15_470_264_320 - 123_633_664, 138_357_544 - 123_642_856 - 4_224),
    "mobilenet_v2": (52, 300_774_272 - 1280 * 1000, 3_504_872 - 1281 * 1000 - 2 * 17_056),
}


def test_every_network_is_known() -> None:
    assert set(KNOWN) == set(NETWORKS)
    assert all(network.source for network in NETWORKS.values())


@pytest.mark.parametrize("network", NETWORKS)
def test_totals(network: str) -> None:
    table = layers(network)
    convolutions, multiply_adds, parameters = KNOWN[network]
    assert sum(layer.count for layer in table) == convolutions
    assert sum(layer.count * layer.problem.multiply_adds for layer in table) == multiply_adds
    assert sum(layer.count * layer.problem.parameters for layer in table) == parameters


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_are_distinct(network: str) -> None:
    table = layers(network)
    assert len({layer.problem for layer in table}) == len(table)
    assert len({layer.name for layer in table}) == len(table)


def test_resnet50_by_hand() -> None:
    table = {layer.name: layer for layer in layers("resnet50")}
    assert str(table["conv1"].problem) == "conv2d,n1,c3,224x224,k64,7x7,s2,p3,float32"
    assert table["conv1"].problem.output_size == (112, 112)
    assert str(table["conv3_1b"].problem) == "conv2d,n1,c128,56x56,k128,3x3,s2,p1,float32"
    assert str(table["conv3_1p"].problem) == "conv2d,n1,c256,56x56,k512,1x1,s2,float32"
    assert table["conv3_1p"].problem.output_size == table["conv3_1b"].problem.output_size


def test_batch_dtype_and_layout_reach_the_problems() -> None:
    for layer in layers("mobilenet_v2", batch=8, dtype="float64", layout="channels_last"):
        assert layer.problem.batch == 8
        assert layer.problem.dtype == "float64"
        assert layer.problem.layout == "channels_last"


def test_unknown_network() -> None:
    with pytest.raises(ValueError, match=r"network must be one of resnet50, .*got 'lenet'"):
        layers("lenet")
