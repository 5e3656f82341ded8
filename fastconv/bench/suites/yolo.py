"""YOLOv3: Darknet-53 and three detection heads."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["YOLOV3"]

# Numbered as they come in yolov3.cfg, from 0, the other kinds of layer not counted. A layer that comes
# again has the name of the first: conv0 to conv51 are the backbone, 58, 66 and 74 the outputs.
YOLOV3 = Suite(
    name="yolov3",
    title="YOLOv3 416",
    source=(
        "Redmon, Farhadi: YOLOv3: An Incremental Improvement (2018, arXiv:1804.02767), table 1 (Darknet-53), "
        "and the heads of the authors' yolov3.cfg at 416x416 for the 80 classes of COCO: 3 x (80 + 5) = 255 "
        "outputs"
    ),
    rows=(
        Row("conv0", "conv2d,c3,416x416,k32,3x3,p1"),
        Row("conv1", "conv2d,c32,416x416,k64,3x3,s2,p1"),
        Row("conv2", "conv2d,c64,208x208,k32,1x1"),
        Row("conv3", "conv2d,c32,208x208,k64,3x3,p1"),
        Row("conv4", "conv2d,c64,208x208,k128,3x3,s2,p1"),
        Row("conv5", "conv2d,c128,104x104,k64,1x1", 2),
        Row("conv6", "conv2d,c64,104x104,k128,3x3,p1", 2),
        Row("conv9", "conv2d,c128,104x104,k256,3x3,s2,p1"),
        Row("conv10", "conv2d,c256,52x52,k128,1x1", 10),
        Row("conv11", "conv2d,c128,52x52,k256,3x3,p1", 11),
        Row("conv26", "conv2d,c256,52x52,k512,3x3,s2,p1"),
        Row("conv27", "conv2d,c512,26x26,k256,1x1", 10),
        Row("conv28", "conv2d,c256,26x26,k512,3x3,p1", 11),
        Row("conv43", "conv2d,c512,26x26,k1024,3x3,s2,p1"),
        Row("conv44", "conv2d,c1024,13x13,k512,1x1", 7),
        Row("conv45", "conv2d,c512,13x13,k1024,3x3,p1", 7),
        Row("conv58", "conv2d,c1024,13x13,k255,1x1"),
        Row("conv59", "conv2d,c512,13x13,k256,1x1"),
        Row("conv60", "conv2d,c768,26x26,k256,1x1"),
        Row("conv66", "conv2d,c512,26x26,k255,1x1"),
        Row("conv67", "conv2d,c256,26x26,k128,1x1"),
        Row("conv68", "conv2d,c384,52x52,k128,1x1"),
        Row("conv74", "conv2d,c256,52x52,k255,1x1"),
    ),
)
