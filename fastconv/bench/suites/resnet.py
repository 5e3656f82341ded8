"""ResNet-50, and two networks made of it: ResNeXt-50, and the dilated one of DeepLabv3."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["DILATED_RESNET", "RESNET50", "RESNEXT50"]

# A bottleneck block is a: 1x1 that reduces, b: 3x3, c: 1x1 that expands; p projects the shortcut.
# conv3_1b is the second convolution of the first block of the stage that the paper calls conv3_x.
RESNET50 = Suite(
    name="resnet50",
    title="ResNet-50",
    source=(
        "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), table 1, in the form called "
        "v1.5: the stride of a stage is in its first 3x3 (torchvision's resnet.Bottleneck, which notes the "
        "difference), where the paper has it in the 1x1 before"
    ),
    rows=(
        Row("conv1", "conv2d,c3,224x224,k64,7x7,s2,p3"),
        Row("conv2_1a", "conv2d,c64,56x56,k64,1x1"),
        Row("conv2_1b", "conv2d,c64,56x56,k64,3x3,p1", 3),
        Row("conv2_1c", "conv2d,c64,56x56,k256,1x1", 4),  # 3 blocks, and the projection conv2_1p
        Row("conv2_2a", "conv2d,c256,56x56,k64,1x1", 2),
        Row("conv3_1a", "conv2d,c256,56x56,k128,1x1"),
        Row("conv3_1b", "conv2d,c128,56x56,k128,3x3,s2,p1"),
        Row("conv3_1c", "conv2d,c128,28x28,k512,1x1", 4),
        Row("conv3_1p", "conv2d,c256,56x56,k512,1x1,s2"),
        Row("conv3_2a", "conv2d,c512,28x28,k128,1x1", 3),
        Row("conv3_2b", "conv2d,c128,28x28,k128,3x3,p1", 3),
        Row("conv4_1a", "conv2d,c512,28x28,k256,1x1"),
        Row("conv4_1b", "conv2d,c256,28x28,k256,3x3,s2,p1"),
        Row("conv4_1c", "conv2d,c256,14x14,k1024,1x1", 6),
        Row("conv4_1p", "conv2d,c512,28x28,k1024,1x1,s2"),
        Row("conv4_2a", "conv2d,c1024,14x14,k256,1x1", 5),
        Row("conv4_2b", "conv2d,c256,14x14,k256,3x3,p1", 5),
        Row("conv5_1a", "conv2d,c1024,14x14,k512,1x1"),
        Row("conv5_1b", "conv2d,c512,14x14,k512,3x3,s2,p1"),
        Row("conv5_1c", "conv2d,c512,7x7,k2048,1x1", 3),
        Row("conv5_1p", "conv2d,c1024,14x14,k2048,1x1,s2"),
        Row("conv5_2a", "conv2d,c2048,7x7,k512,1x1", 2),
        Row("conv5_2b", "conv2d,c512,7x7,k512,3x3,p1", 2),
    ),
)

# The blocks of ResNet-50, with a 3x3 twice as wide and in 32 groups.
RESNEXT50 = Suite(
    name="resnext50",
    title="ResNeXt-50 32x4d",
    source=(
        "Xie, Girshick, Dollár, Tu, He: Aggregated Residual Transformations for Deep Neural Networks (2016, "
        "arXiv:1611.05431), table 1, ResNeXt-50 (32x4d), form c of figure 3; the stride of a stage is in its "
        "first 3x3, as in torchvision's resnext50_32x4d"
    ),
    rows=(
        Row("conv1", "conv2d,c3,224x224,k64,7x7,s2,p3"),
        Row("conv2_1a", "conv2d,c64,56x56,k128,1x1"),
        Row("conv2_1b", "conv2d,c128,56x56,k128,3x3,p1,g32", 3),
        Row("conv2_1c", "conv2d,c128,56x56,k256,1x1", 3),
        Row("conv2_1p", "conv2d,c64,56x56,k256,1x1"),
        Row("conv2_2a", "conv2d,c256,56x56,k128,1x1", 2),
        Row("conv3_1a", "conv2d,c256,56x56,k256,1x1"),
        Row("conv3_1b", "conv2d,c256,56x56,k256,3x3,s2,p1,g32"),
        Row("conv3_1c", "conv2d,c256,28x28,k512,1x1", 4),
        Row("conv3_1p", "conv2d,c256,56x56,k512,1x1,s2"),
        Row("conv3_2a", "conv2d,c512,28x28,k256,1x1", 3),
        Row("conv3_2b", "conv2d,c256,28x28,k256,3x3,p1,g32", 3),
        Row("conv4_1a", "conv2d,c512,28x28,k512,1x1"),
        Row("conv4_1b", "conv2d,c512,28x28,k512,3x3,s2,p1,g32"),
        Row("conv4_1c", "conv2d,c512,14x14,k1024,1x1", 6),
        Row("conv4_1p", "conv2d,c512,28x28,k1024,1x1,s2"),
        Row("conv4_2a", "conv2d,c1024,14x14,k512,1x1", 5),
        Row("conv4_2b", "conv2d,c512,14x14,k512,3x3,p1,g32", 5),
        Row("conv5_1a", "conv2d,c1024,14x14,k1024,1x1"),
        Row("conv5_1b", "conv2d,c1024,14x14,k1024,3x3,s2,p1,g32"),
        Row("conv5_1c", "conv2d,c1024,7x7,k2048,1x1", 3),
        Row("conv5_1p", "conv2d,c1024,14x14,k2048,1x1,s2"),
        Row("conv5_2a", "conv2d,c2048,7x7,k1024,1x1", 2),
        Row("conv5_2b", "conv2d,c1024,7x7,k1024,3x3,p1,g32", 2),
    ),
)

# The blocks of ResNet-50, where conv4 and conv5 keep their input's size and dilate instead: the first
# block of either as much as the stage before it, the others twice that. Then the pyramid (ASPP).
DILATED_RESNET = Suite(
    name="dilated_resnet",
    title="DeepLabv3 on ResNet-50, output stride 8",
    source=(
        "Chen, Papandreou, Schroff, Adam: Rethinking Atrous Convolution for Semantic Image Segmentation (2017, "
        "arXiv:1706.05587), sections 3.1 and 3.3, as torchvision's deeplabv3_resnet50 has it at 520x520: "
        "replace_stride_with_dilation=[False, True, True], rates of 12, 24 and 36, 21 classes, without the "
        "auxiliary head. Not to be confused with the networks of Yu, Koltun, Funkhouser: Dilated Residual "
        "Networks (2017, arXiv:1705.09914), whose idea it is"
    ),
    rows=(
        Row("conv1", "conv2d,c3,520x520,k64,7x7,s2,p3"),
        Row("conv2_1a", "conv2d,c64,130x130,k64,1x1"),
        Row("conv2_1b", "conv2d,c64,130x130,k64,3x3,p1", 3),
        Row("conv2_1c", "conv2d,c64,130x130,k256,1x1", 4),
        Row("conv2_2a", "conv2d,c256,130x130,k64,1x1", 2),
        Row("conv3_1a", "conv2d,c256,130x130,k128,1x1"),
        Row("conv3_1b", "conv2d,c128,130x130,k128,3x3,s2,p1"),
        Row("conv3_1c", "conv2d,c128,65x65,k512,1x1", 4),
        Row("conv3_1p", "conv2d,c256,130x130,k512,1x1,s2"),
        Row("conv3_2a", "conv2d,c512,65x65,k128,1x1", 3),
        Row("conv3_2b", "conv2d,c128,65x65,k128,3x3,p1", 3),
        Row("conv4_1a", "conv2d,c512,65x65,k256,1x1"),
        Row("conv4_1b", "conv2d,c256,65x65,k256,3x3,p1", 2),  # and the convolution of the head, after aspp_project
        Row("conv4_1c", "conv2d,c256,65x65,k1024,1x1", 6),
        Row("conv4_1p", "conv2d,c512,65x65,k1024,1x1"),
        Row("conv4_2a", "conv2d,c1024,65x65,k256,1x1", 5),
        Row("conv4_2b", "conv2d,c256,65x65,k256,3x3,p2,d2", 5),
        Row("conv5_1a", "conv2d,c1024,65x65,k512,1x1"),
        Row("conv5_1b", "conv2d,c512,65x65,k512,3x3,p2,d2"),
        Row("conv5_1c", "conv2d,c512,65x65,k2048,1x1", 3),
        Row("conv5_1p", "conv2d,c1024,65x65,k2048,1x1"),
        Row("conv5_2a", "conv2d,c2048,65x65,k512,1x1", 2),
        Row("conv5_2b", "conv2d,c512,65x65,k512,3x3,p4,d4", 2),
        Row("aspp_1", "conv2d,c2048,65x65,k256,1x1"),
        Row("aspp_rate12", "conv2d,c2048,65x65,k256,3x3,p12,d12"),
        Row("aspp_rate24", "conv2d,c2048,65x65,k256,3x3,p24,d24"),
        Row("aspp_rate36", "conv2d,c2048,65x65,k256,3x3,p36,d36"),
        Row("aspp_pool", "conv2d,c2048,1x1,k256,1x1"),  # of the average of the whole plane
        Row("aspp_project", "conv2d,c1280,65x65,k256,1x1"),
        Row("classifier", "conv2d,c256,65x65,k21,1x1"),
    ),
    batches=(1,),
)
