"""SqueezeNet 1.1."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["SQUEEZENET"]

# A fire module is s: 1x1 that squeezes, e1 and e3: 1x1 and 3x3 that expand, side by side.
SQUEEZENET = Suite(
    name="squeezenet",
    title="SqueezeNet 1.1",
    source=(
        "Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer: SqueezeNet: AlexNet-level accuracy with 50x fewer "
        "parameters and <0.5MB model size (2016, arXiv:1602.07360), table 1, in the authors' later version 1.1, "
        "which is torchvision's squeezenet1_1 at 224x224"
    ),
    rows=(
        Row("conv1", "conv2d,c3,224x224,k64,3x3,s2"),
        Row("fire2s", "conv2d,c64,55x55,k16,1x1"),
        Row("fire2e1", "conv2d,c16,55x55,k64,1x1", 2),
        Row("fire2e3", "conv2d,c16,55x55,k64,3x3,p1", 2),
        Row("fire3s", "conv2d,c128,55x55,k16,1x1"),
        Row("fire4s", "conv2d,c128,27x27,k32,1x1"),
        Row("fire4e1", "conv2d,c32,27x27,k128,1x1", 2),
        Row("fire4e3", "conv2d,c32,27x27,k128,3x3,p1", 2),
        Row("fire5s", "conv2d,c256,27x27,k32,1x1"),
        Row("fire6s", "conv2d,c256,13x13,k48,1x1"),
        Row("fire6e1", "conv2d,c48,13x13,k192,1x1", 2),
        Row("fire6e3", "conv2d,c48,13x13,k192,3x3,p1", 2),
        Row("fire7s", "conv2d,c384,13x13,k48,1x1"),
        Row("fire8s", "conv2d,c384,13x13,k64,1x1"),
        Row("fire8e1", "conv2d,c64,13x13,k256,1x1", 2),
        Row("fire8e3", "conv2d,c64,13x13,k256,3x3,p1", 2),
        Row("fire9s", "conv2d,c512,13x13,k64,1x1"),
        Row("conv10", "conv2d,c512,13x13,k1000,1x1"),
    ),
)
