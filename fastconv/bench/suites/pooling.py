"""Poolings: those of networks, averages of a whole plane, and large windows on one large plane."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["POOLING"]

# The last number of a name tells poolings of one network apart: the size of the plane, or the window.
POOLING = Suite(
    name="pooling",
    title="Pooling",
    source=(
        "the papers of the networks' own suites; squeezenet1_0: torchvision, where ceil_mode adds a window that "
        "overhangs; spp: the spatial pyramid of yolov3-spp.cfg at 416x416 (Redmon); global: the average before the "
        "last layer of ResNet-50 and of Inception-v3; plane: chosen to show time by window size"
    ),
    rows=(
        Row("resnet50", "max_pool2d,c64,112x112,3x3,s2,p1"),
        Row("vgg16_224", "max_pool2d,c64,224x224,2x2,s2"),
        Row("vgg16_56", "max_pool2d,c256,56x56,2x2,s2"),
        Row("vgg16_14", "max_pool2d,c512,14x14,2x2,s2"),
        Row("inception_v3_147", "max_pool2d,c64,147x147,3x3,s2"),
        Row("inception_v3_17", "max_pool2d,c768,17x17,3x3,s2"),
        Row("inception_v3_avg_35", "avg_pool2d,c288,35x35,3x3,p1"),
        Row("inception_v3_avg_17", "avg_pool2d,c768,17x17,3x3,p1"),
        Row("inception_v3_avg_8", "avg_pool2d,c2048,8x8,3x3,p1,exclude_pad"),  # as in the authors' code
        Row("squeezenet1_1_111", "max_pool2d,c64,111x111,3x3,s2,ceil"),
        Row("squeezenet1_0_54", "max_pool2d,c256,54x54,3x3,s2,ceil"),
        Row("spp_5", "max_pool2d,c512,13x13,5x5,p2"),
        Row("spp_9", "max_pool2d,c512,13x13,9x9,p4"),
        Row("spp_13", "max_pool2d,c512,13x13,13x13,p6"),
        Row("global_7", "avg_pool2d,c2048,7x7,7x7"),
        Row("global_8", "avg_pool2d,c2048,8x8,8x8"),
        Row("plane_max_2", "max_pool2d,c1,2048x2048,2x2,s2"),
        Row("plane_max_3", "max_pool2d,c1,2048x2048,3x3"),
        Row("plane_max_15", "max_pool2d,c1,2048x2048,15x15"),
        Row("plane_max_31", "max_pool2d,c1,2048x2048,31x31"),
        Row("plane_avg_2", "avg_pool2d,c1,2048x2048,2x2,s2"),
        Row("plane_avg_3", "avg_pool2d,c1,2048x2048,3x3"),
        Row("plane_avg_15", "avg_pool2d,c1,2048x2048,15x15"),
        Row("plane_avg_31", "avg_pool2d,c1,2048x2048,31x31"),
    ),
    batches=(1,),
)
