"""Large windows: one problem in growing kernel sizes, and layers of networks that have such kernels."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["LARGE_KERNELS"]

# Three series, one problem each in growing kernel sizes, all with "same" padding: <series>_<kernel>.
# depthwise_7 is also stage 1 of ConvNeXt-B, depthwise_31 stage 1 of RepLKNet-31B, whose windows are
# larger than the plane in all later stages.
LARGE_KERNELS = Suite(
    name="large_kernels",
    title="Large kernels",
    source=(
        "plane, depthwise, dense: chosen to show time by kernel size. replknet: Ding, Zhang, Zhou, Han, Ding, Sun: "
        "Scaling Up Your Kernels to 31x31 (2022, arXiv:2203.06717), section 4.1, RepLKNet-31B at 224x224. convnext: "
        "Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s (2022, arXiv:2201.03545), section 3, "
        "ConvNeXt-B. vit: Dosovitskiy and others: An Image is Worth 16x16 Words (2020, arXiv:2010.11929), table 1, "
        "the patch embedding of ViT-B/16"
    ),
    rows=(
        Row("plane_3", "conv2d,c1,512x512,k1,3x3,p1"),
        Row("plane_5", "conv2d,c1,512x512,k1,5x5,p2"),
        Row("plane_7", "conv2d,c1,512x512,k1,7x7,p3"),
        Row("plane_9", "conv2d,c1,512x512,k1,9x9,p4"),
        Row("plane_11", "conv2d,c1,512x512,k1,11x11,p5"),
        Row("plane_13", "conv2d,c1,512x512,k1,13x13,p6"),
        Row("plane_15", "conv2d,c1,512x512,k1,15x15,p7"),
        Row("plane_21", "conv2d,c1,512x512,k1,21x21,p10"),
        Row("plane_31", "conv2d,c1,512x512,k1,31x31,p15"),
        Row("depthwise_3", "conv2d,c128,56x56,k128,3x3,p1,g128"),
        Row("depthwise_5", "conv2d,c128,56x56,k128,5x5,p2,g128"),
        Row("depthwise_7", "conv2d,c128,56x56,k128,7x7,p3,g128"),
        Row("depthwise_9", "conv2d,c128,56x56,k128,9x9,p4,g128"),
        Row("depthwise_11", "conv2d,c128,56x56,k128,11x11,p5,g128"),
        Row("depthwise_13", "conv2d,c128,56x56,k128,13x13,p6,g128"),
        Row("depthwise_15", "conv2d,c128,56x56,k128,15x15,p7,g128"),
        Row("depthwise_21", "conv2d,c128,56x56,k128,21x21,p10,g128"),
        Row("depthwise_31", "conv2d,c128,56x56,k128,31x31,p15,g128"),
        Row("dense_3", "conv2d,c64,56x56,k64,3x3,p1"),
        Row("dense_5", "conv2d,c64,56x56,k64,5x5,p2"),
        Row("dense_7", "conv2d,c64,56x56,k64,7x7,p3"),
        Row("dense_9", "conv2d,c64,56x56,k64,9x9,p4"),
        Row("dense_11", "conv2d,c64,56x56,k64,11x11,p5"),
        Row("dense_13", "conv2d,c64,56x56,k64,13x13,p6"),
        Row("dense_15", "conv2d,c64,56x56,k64,15x15,p7"),
        Row("replknet_29", "conv2d,c256,28x28,k256,29x29,p14,g256"),
        Row("replknet_27", "conv2d,c512,14x14,k512,27x27,p13,g512"),
        Row("replknet_13", "conv2d,c1024,7x7,k1024,13x13,p6,g1024"),
        Row("convnext_7", "conv2d,c512,14x14,k512,7x7,p3,g512"),
        Row("vit_16", "conv2d,c3,224x224,k768,16x16,s16"),
    ),
)
