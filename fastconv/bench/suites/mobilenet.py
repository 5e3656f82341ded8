"""MobileNet-V2: half of its layers are depthwise."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["MOBILENET_V2"]

# An inverted residual is e: 1x1 that expands, d: 3x3 depthwise, p: 1x1 that projects.
# b4d is the depthwise convolution of the fourth block (the first line of the table is block 1).
MOBILENET_V2 = Suite(
    name="mobilenet_v2",
    title="MobileNet-V2",
    source=(
        "Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks (2018), "
        "table 2, width multiplier 1"
    ),
    rows=(
        Row("stem", "conv2d,c3,224x224,k32,3x3,s2,p1"),
        Row("b1d", "conv2d,c32,112x112,k32,3x3,p1,g32"),
        Row("b1p", "conv2d,c32,112x112,k16,1x1"),
        Row("b2e", "conv2d,c16,112x112,k96,1x1"),
        Row("b2d", "conv2d,c96,112x112,k96,3x3,s2,p1,g96"),
        Row("b2p", "conv2d,c96,56x56,k24,1x1"),
        Row("b3e", "conv2d,c24,56x56,k144,1x1", 2),
        Row("b3d", "conv2d,c144,56x56,k144,3x3,p1,g144"),
        Row("b3p", "conv2d,c144,56x56,k24,1x1"),
        Row("b4d", "conv2d,c144,56x56,k144,3x3,s2,p1,g144"),
        Row("b4p", "conv2d,c144,28x28,k32,1x1"),
        Row("b5e", "conv2d,c32,28x28,k192,1x1", 3),
        Row("b5d", "conv2d,c192,28x28,k192,3x3,p1,g192", 2),
        Row("b5p", "conv2d,c192,28x28,k32,1x1", 2),
        Row("b7d", "conv2d,c192,28x28,k192,3x3,s2,p1,g192"),
        Row("b7p", "conv2d,c192,14x14,k64,1x1"),
        Row("b8e", "conv2d,c64,14x14,k384,1x1", 4),
        Row("b8d", "conv2d,c384,14x14,k384,3x3,p1,g384", 4),
        Row("b8p", "conv2d,c384,14x14,k64,1x1", 3),
        Row("b11p", "conv2d,c384,14x14,k96,1x1"),
        Row("b12e", "conv2d,c96,14x14,k576,1x1", 3),
        Row("b12d", "conv2d,c576,14x14,k576,3x3,p1,g576", 2),
        Row("b12p", "conv2d,c576,14x14,k96,1x1", 2),
        Row("b14d", "conv2d,c576,14x14,k576,3x3,s2,p1,g576"),
        Row("b14p", "conv2d,c576,7x7,k160,1x1"),
        Row("b15e", "conv2d,c160,7x7,k960,1x1", 3),
        Row("b15d", "conv2d,c960,7x7,k960,3x3,p1,g960", 3),
        Row("b15p", "conv2d,c960,7x7,k160,1x1", 2),
        Row("b17p", "conv2d,c960,7x7,k320,1x1"),
        Row("head", "conv2d,c320,7x7,k1280,1x1"),
    ),
)
