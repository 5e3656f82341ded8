"""VGG-16."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["VGG16"]

VGG16 = Suite(
    name="vgg16",
    title="VGG-16",
    source=(
        "Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (2014), table "
        "1, configuration D"
    ),
    rows=(
        Row("conv1_1", "conv2d,c3,224x224,k64,3x3,p1"),
        Row("conv1_2", "conv2d,c64,224x224,k64,3x3,p1"),
        Row("conv2_1", "conv2d,c64,112x112,k128,3x3,p1"),
        Row("conv2_2", "conv2d,c128,112x112,k128,3x3,p1"),
        Row("conv3_1", "conv2d,c128,56x56,k256,3x3,p1"),
        Row("conv3_2", "conv2d,c256,56x56,k256,3x3,p1", 2),
        Row("conv4_1", "conv2d,c256,28x28,k512,3x3,p1"),
        Row("conv4_2", "conv2d,c512,28x28,k512,3x3,p1", 2),
        Row("conv5_1", "conv2d,c512,14x14,k512,3x3,p1", 3),
    ),
)
