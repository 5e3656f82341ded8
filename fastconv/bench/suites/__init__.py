"""Tables of layers to benchmark, as data: those of well-known networks, and those of other uses.

A network's table lists each *distinct* layer once, with the number of times it occurs: what a
benchmark has to time, and what it has to weigh it by. Biases and activations are not in a table;
batch normalisation is taken as folded into the weights. The tables of other uses (`large_kernels`,
`filters`, `pooling`, `tiny`) collect layers from many places and count each once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastconv.bench.suites.alexnet import ALEXNET
from fastconv.bench.suites.densenet import DENSENET121
from fastconv.bench.suites.filters import FILTERS
from fastconv.bench.suites.inception import INCEPTION_V3
from fastconv.bench.suites.large_kernels import LARGE_KERNELS
from fastconv.bench.suites.mobilenet import MOBILENET_V2
from fastconv.bench.suites.pooling import POOLING
from fastconv.bench.suites.resnet import DILATED_RESNET, RESNET50, RESNEXT50
from fastconv.bench.suites.row import Layer, Row, Suite
from fastconv.bench.suites.squeezenet import SQUEEZENET
from fastconv.bench.suites.tiny import TINY
from fastconv.bench.suites.unet import UNET
from fastconv.bench.suites.vgg import VGG16
from fastconv.bench.suites.yolo import YOLOV3

__all__ = ["SUITES", "Layer", "Row", "Suite", "suite"]

SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        one.name: one
        for one in (
            RESNET50,
            VGG16,
            INCEPTION_V3,
            MOBILENET_V2,
            RESNEXT50,
            SQUEEZENET,
            ALEXNET,
            DENSENET121,
            UNET,
            YOLOV3,
            DILATED_RESNET,
            LARGE_KERNELS,
            FILTERS,
            POOLING,
            TINY,
        )
    }
)


def suite(name: str) -> Suite:
    """Return a suite by its name.

    Parameters
    ----------
    name : str
        A key of `SUITES`.

    Returns
    -------
    Suite
        Its ``layers(batch, dtype, layout, direction)`` are the problems.

    Raises
    ------
    ValueError
        If there is no such suite.

    Examples
    --------
    >>> vgg16 = suite("vgg16")
    >>> vgg16.title, sum(layer.count * layer.problem.multiply_adds for layer in vgg16.layers())
    ('VGG-16', 15346630656)
    """
    if name not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {name!r}")
    return SUITES[name]
