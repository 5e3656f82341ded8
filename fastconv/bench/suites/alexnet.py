"""AlexNet."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["ALEXNET"]

ALEXNET = Suite(
    name="alexnet",
    title="AlexNet of 2014",
    source=(
        "Krizhevsky: One weird trick for parallelizing convolutional neural networks (2014, arXiv:1404.5997), "
        "footnote 1, as torchvision's alexnet has it at 224x224: with 256 filters in the fourth layer, as in "
        "the author's code (cuda-convnet2, layers-imagenet-1gpu.cfg), where the footnote says 384"
    ),
    rows=(
        Row("conv1", "conv2d,c3,224x224,k64,11x11,s4,p2"),
        Row("conv2", "conv2d,c64,27x27,k192,5x5,p2"),
        Row("conv3", "conv2d,c192,13x13,k384,3x3,p1"),
        Row("conv4", "conv2d,c384,13x13,k256,3x3,p1"),
        Row("conv5", "conv2d,c256,13x13,k256,3x3,p1"),
    ),
)
