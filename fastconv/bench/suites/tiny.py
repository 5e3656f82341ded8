"""Calls so small that what is around the arithmetic takes the time."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["TINY"]

TINY = Suite(
    name="tiny",
    title="Tiny calls",
    source=(
        "chosen to show what a call costs. lenet5: LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied "
        "to Document Recognition (1998), figure 2, on 28x28 padded by 2, with C3 connected to all of S2. resnet20: He, "
        "Zhang, Ren, Sun (2015), section 4.2, on CIFAR-10"
    ),
    rows=(
        Row("plane_16", "conv2d,c1,16x16,k1,3x3,p1"),
        Row("dense_8", "conv2d,c8,8x8,k8,3x3,p1"),
        Row("strided_8", "conv2d,c8,8x8,k16,3x3,s2,p1"),
        Row("depthwise_16", "conv2d,c16,8x8,k16,3x3,p1,g16"),
        Row("pointwise_32", "conv2d,c32,4x4,k32,1x1"),
        Row("connected_64", "conv2d,c64,1x1,k64,1x1"),  # a fully connected layer
        Row("signal_16", "conv1d,c16,32,k16,3,p1"),
        Row("signal_depthwise_64", "conv1d,c64,16,k64,4,p3:0,g64"),
        Row("volume_4", "conv3d,c4,4x8x8,k4,3x3x3,p1"),
        Row("lenet5_c1", "conv2d,c1,28x28,k6,5x5,p2"),
        Row("lenet5_s2", "avg_pool2d,c6,28x28,2x2,s2"),
        Row("lenet5_c3", "conv2d,c6,14x14,k16,5x5"),
        Row("lenet5_c5", "conv2d,c16,5x5,k120,5x5"),
        Row("resnet20_1", "conv2d,c3,32x32,k16,3x3,p1"),
        Row("resnet20_2", "conv2d,c16,32x32,k16,3x3,p1"),
        Row("resnet20_4", "conv2d,c64,8x8,k64,3x3,p1"),
        Row("max_pool_8", "max_pool2d,c8,8x8,2x2,s2"),
        Row("avg_pool_global", "avg_pool2d,c64,8x8,8x8"),
    ),
    batches=(1,),
)
