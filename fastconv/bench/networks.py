"""The convolution layers of well-known networks, as data.

A table lists each *distinct* layer once, with the number of times it occurs in the network: what a
benchmark has to time, and what it has to weigh it by. Biases and activations are not in a table;
batch normalisation is taken as folded into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastconv.problem import ConvProblem

__all__ = ["NETWORKS", "Layer", "Network", "Row", "layers"]


@dataclass(frozen=True)
class Row:
    """One distinct two-dimensional layer: square stride and padding, batch and dtype left open."""

    name: str
    channels: int  # C, of the input
    height: int  # of the input
    width: int
    filters: int  # K, output channels
    kernel: int | tuple[int, int]
    stride: int
    padding: int | tuple[int, int]
    groups: int
    count: int  # how often the network has this layer


@dataclass(frozen=True)
class Network:
    """A network's distinct layers and where they are written down."""

    source: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Layer:
    """A layer as a problem, and how often the network has it."""

    name: str
    problem: ConvProblem
    count: int = 1


# A bottleneck block is a: 1x1 that reduces, b: 3x3, c: 1x1 that expands; p projects the shortcut.
# conv3_1b is the second convolution of the first block of the stage that the paper calls conv3_x.
_RESNET50 = Network(
    source=(
        "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), table 1, in the "
        "form called v1.5: the stride of a stage is in its first 3x3 (torchvision's "
        "resnet.Bottleneck, which notes the difference), where the paper has it in the 1x1 before"
    ),
    rows=(
        Row("conv1", 3, 224, 224, 64, 7, 2, 3, 1, 1),
        Row("conv2_1a", 64, 56, 56, 64, 1, 1, 0, 1, 1),
        Row("conv2_1b", 64, 56, 56, 64, 3, 1, 1, 1, 3),
        Row("conv2_1c", 64, 56, 56, 256, 1, 1, 0, 1, 4),  # 3 blocks, and the projection conv2_1p
        Row("conv2_2a", 256, 56, 56, 64, 1, 1, 0, 1, 2),
        Row("conv3_1a", 256, 56, 56, 128, 1, 1, 0, 1, 1),
        Row("conv3_1b", 128, 56, 56, 128, 3, 2, 1, 1, 1),
        Row("conv3_1c", 128, 28, 28, 512, 1, 1, 0, 1, 4),
        Row("conv3_1p", 256, 56, 56, 512, 1, 2, 0, 1, 1),
        Row("conv3_2a", 512, 28, 28, 128, 1, 1, 0, 1, 3),
        Row("conv3_2b", 128, 28, 28, 128, 3, 1, 1, 1, 3),
        Row("conv4_1a", 512, 28, 28, 256, 1, 1, 0, 1, 1),
        Row("conv4_1b", 256, 28, 28, 256, 3, 2, 1, 1, 1),
        Row("conv4_1c", 256, 14, 14, 1024, 1, 1, 0, 1, 6),
        Row("conv4_1p", 512, 28, 28, 1024, 1, 2, 0, 1, 1),
        Row("conv4_2a", 1024, 14, 14, 256, 1, 1, 0, 1, 5),
        Row("conv4_2b", 256, 14, 14, 256, 3, 1, 1, 1, 5),
        Row("conv5_1a", 1024, 14, 14, 512, 1, 1, 0, 1, 1),
        Row("conv5_1b", 512, 14, 14, 512, 3, 2, 1, 1, 1),
        Row("conv5_1c", 512, 7, 7, 2048, 1, 1, 0, 1, 3),
        Row("conv5_1p", 1024, 14, 14, 2048, 1, 2, 0, 1, 1),
        Row("conv5_2a", 2048, 7, 7, 512, 1, 1, 0, 1, 2),
        Row("conv5_2b", 512, 7, 7, 512, 3, 1, 1, 1, 2),
    ),
)

_VGG16 = Network(
    source=(
        "Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition "
        "(2014), table 1, configuration D"
    ),
    rows=(
        Row("conv1_1", 3, 224, 224, 64, 3, 1, 1, 1, 1),
        Row("conv1_2", 64, 224, 224, 64, 3, 1, 1, 1, 1),
        Row("conv2_1", 64, 112, 112, 128, 3, 1, 1, 1, 1),
        Row("conv2_2", 128, 112, 112, 128, 3, 1, 1, 1, 1),
        Row("conv3_1", 128, 56, 56, 256, 3, 1, 1, 1, 1),
        Row("conv3_2", 256, 56, 56, 256, 3, 1, 1, 1, 2),
        Row("conv4_1", 256, 28, 28, 512, 3, 1, 1, 1, 1),
        Row("conv4_2", 512, 28, 28, 512, 3, 1, 1, 1, 2),
        Row("conv5_1", 512, 14, 14, 512, 3, 1, 1, 1, 3),
    ),
)

# An inverted residual is e: 1x1 that expands, d: 3x3 depthwise, p: 1x1 that projects.
# b4d is the depthwise convolution of the fourth block (the first line of the table is block 1).
_MOBILENET_V2 = Network(
    source=(
        "Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear "
        "Bottlenecks (2018), table 2, width multiplier 1"
    ),
    rows=(
        Row("stem", 3, 224, 224, 32, 3, 2, 1, 1, 1),
        Row("b1d", 32, 112, 112, 32, 3, 1, 1, 32, 1),
        Row("b1p", 32, 112, 112, 16, 1, 1, 0, 1, 1),
        Row("b2e", 16, 112, 112, 96, 1, 1, 0, 1, 1),
        Row("b2d", 96, 112, 112, 96, 3, 2, 1, 96, 1),
        Row("b2p", 96, 56, 56, 24, 1, 1, 0, 1, 1),
        Row("b3e", 24, 56, 56, 144, 1, 1, 0, 1, 2),
        Row("b3d", 144, 56, 56, 144, 3, 1, 1, 144, 1),
        Row("b3p", 144, 56, 56, 24, 1, 1, 0, 1, 1),
        Row("b4d", 144, 56, 56, 144, 3, 2, 1, 144, 1),
        Row("b4p", 144, 28, 28, 32, 1, 1, 0, 1, 1),
        Row("b5e", 32, 28, 28, 192, 1, 1, 0, 1, 3),
        Row("b5d", 192, 28, 28, 192, 3, 1, 1, 192, 2),
        Row("b5p", 192, 28, 28, 32, 1, 1, 0, 1, 2),
        Row("b7d", 192, 28, 28, 192, 3, 2, 1, 192, 1),
        Row("b7p", 192, 14, 14, 64, 1, 1, 0, 1, 1),
        Row("b8e", 64, 14, 14, 384, 1, 1, 0, 1, 4),
        Row("b8d", 384, 14, 14, 384, 3, 1, 1, 384, 4),
        Row("b8p", 384, 14, 14, 64, 1, 1, 0, 1, 3),
        Row("b11p", 384, 14, 14, 96, 1, 1, 0, 1, 1),
        Row("b12e", 96, 14, 14, 576, 1, 1, 0, 1, 3),
        Row("b12d", 576, 14, 14, 576, 3, 1, 1, 576, 2),
        Row("b12p", 576, 14, 14, 96, 1, 1, 0, 1, 2),
        Row("b14d", 576, 14, 14, 576, 3, 2, 1, 576, 1),
        Row("b14p", 576, 7, 7, 160, 1, 1, 0, 1, 1),
        Row("b15e", 160, 7, 7, 960, 1, 1, 0, 1, 3),
        Row("b15d", 960, 7, 7, 960, 3, 1, 1, 960, 3),
        Row("b15p", 960, 7, 7, 160, 1, 1, 0, 1, 2),
        Row("b17p", 960, 7, 7, 320, 1, 1, 0, 1, 1),
        Row("head", 320, 7, 7, 1280, 1, 1, 0, 1, 1),
    ),
)

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {"resnet50": _RESNET50, "vgg16": _VGG16, "mobilenet_v2": _MOBILENET_V2}
)


def layers(
    network: str, batch: int = 1, dtype: str = "float32", layout: str = "channels_first"
) -> tuple[Layer, ...]:
    """Return a network's distinct layers as problems, in the order the network runs them.

    Parameters
    ----------
    network : str
        A key of `NETWORKS`.
    batch : int, optional
        Images a call.
    dtype : str, optional
        NumPy name of the element type.
    layout : {"channels_first", "channels_last"}, optional
        Where the channel axis is.

    Returns
    -------
    tuple of Layer
        One for each row of the network's table.

    Raises
    ------
    ValueError
        If there is no such network, or the problem refuses one of the other values.

    Examples
    --------
    >>> first = layers("resnet50")[0]
    >>> first.name, str(first.problem), first.count
    ('conv1', 'conv2d,n1,c3,224x224,k64,7x7,s2,p3,float32', 1)
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    return tuple(
        Layer(row.name, _problem(row, batch, dtype, layout), row.count)
        for row in NETWORKS[network].rows
    )


def _problem(row: Row, batch: int, dtype: str, layout: str) -> ConvProblem:
    return ConvProblem(
        dtype=dtype,
        batch=batch,
        channels=row.channels,
        size=(row.height, row.width),
        filters=row.filters,
        kernel=_pair(row.kernel),
        stride=_pair(row.stride),
        padding=tuple((pad, pad) for pad in _pair(row.padding)),
        dilation=(1, 1),
        groups=row.groups,
        layout=layout,
    )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
