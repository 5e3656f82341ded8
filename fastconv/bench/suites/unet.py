"""U-Net: large planes, and no padding anywhere."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["UNET"]

# Named by the level, 1 the finest, and the way. The four 2x2 up-convolutions are transposed convolutions
# and not in the table: 19 of the 23 convolutions that the paper counts are.
UNET = Suite(
    name="unet",
    title="U-Net",
    source=(
        "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation (2015, "
        "arXiv:1505.04597), figure 1: one plane of 572x572, two classes"
    ),
    rows=(
        Row("down1_1", "conv2d,c1,572x572,k64,3x3"),
        Row("down1_2", "conv2d,c64,570x570,k64,3x3"),
        Row("down2_1", "conv2d,c64,284x284,k128,3x3"),
        Row("down2_2", "conv2d,c128,282x282,k128,3x3"),
        Row("down3_1", "conv2d,c128,140x140,k256,3x3"),
        Row("down3_2", "conv2d,c256,138x138,k256,3x3"),
        Row("down4_1", "conv2d,c256,68x68,k512,3x3"),
        Row("down4_2", "conv2d,c512,66x66,k512,3x3"),
        Row("down5_1", "conv2d,c512,32x32,k1024,3x3"),
        Row("down5_2", "conv2d,c1024,30x30,k1024,3x3"),
        Row("up4_1", "conv2d,c1024,56x56,k512,3x3"),
        Row("up4_2", "conv2d,c512,54x54,k512,3x3"),
        Row("up3_1", "conv2d,c512,104x104,k256,3x3"),
        Row("up3_2", "conv2d,c256,102x102,k256,3x3"),
        Row("up2_1", "conv2d,c256,200x200,k128,3x3"),
        Row("up2_2", "conv2d,c128,198x198,k128,3x3"),
        Row("up1_1", "conv2d,c128,392x392,k64,3x3"),
        Row("up1_2", "conv2d,c64,390x390,k64,3x3"),
        Row("output", "conv2d,c64,388x388,k2,1x1"),
    ),
    batches=(1,),
)
