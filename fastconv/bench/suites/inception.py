"""Inception-v3: many small layers, among them 1x7, 7x1, 1x3 and 3x1."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["INCEPTION_V3"]

# Names are torchvision's without Conv2d_ or Mixed_ in front: 6b_7x7dbl_2 is the second convolution of
# branch7x7dbl of Mixed_6b. A layer that comes again, in whichever branch, has the name of the first.
INCEPTION_V3 = Suite(
    name="inception_v3",
    title="Inception-v3",
    source=(
        "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer Vision "
        "(2015, arXiv:1512.00567), with the sizes of torchvision's inception_v3 at 299x299, which are those of "
        "the authors' published model; without the auxiliary head"
    ),
    rows=(
        Row("1a_3x3", "conv2d,c3,299x299,k32,3x3,s2"),
        Row("2a_3x3", "conv2d,c32,149x149,k32,3x3"),
        Row("2b_3x3", "conv2d,c32,147x147,k64,3x3,p1"),
        Row("3b_1x1", "conv2d,c64,73x73,k80,1x1"),
        Row("4a_3x3", "conv2d,c80,73x73,k192,3x3"),
        Row("5b_1x1", "conv2d,c192,35x35,k64,1x1", 2),
        Row("5b_5x5_1", "conv2d,c192,35x35,k48,1x1"),
        Row("5b_5x5_2", "conv2d,c48,35x35,k64,5x5,p2", 3),
        Row("5b_3x3dbl_2", "conv2d,c64,35x35,k96,3x3,p1", 4),
        Row("5b_3x3dbl_3", "conv2d,c96,35x35,k96,3x3,p1", 3),
        Row("5b_pool", "conv2d,c192,35x35,k32,1x1"),
        Row("5c_1x1", "conv2d,c256,35x35,k64,1x1", 3),
        Row("5c_5x5_1", "conv2d,c256,35x35,k48,1x1"),
        Row("5d_1x1", "conv2d,c288,35x35,k64,1x1", 4),
        Row("5d_5x5_1", "conv2d,c288,35x35,k48,1x1"),
        Row("6a_3x3", "conv2d,c288,35x35,k384,3x3,s2"),
        Row("6a_3x3dbl_3", "conv2d,c96,35x35,k96,3x3,s2"),
        Row("6b_1x1", "conv2d,c768,17x17,k192,1x1", 12),
        Row("6b_7x7_1", "conv2d,c768,17x17,k128,1x1", 2),
        Row("6b_7x7_2", "conv2d,c128,17x17,k128,1x7,p0x3", 2),
        Row("6b_7x7_3", "conv2d,c128,17x17,k192,7x1,p3x0"),
        Row("6b_7x7dbl_2", "conv2d,c128,17x17,k128,7x1,p3x0", 2),
        Row("6b_7x7dbl_5", "conv2d,c128,17x17,k192,1x7,p0x3"),
        Row("6c_7x7_1", "conv2d,c768,17x17,k160,1x1", 4),
        Row("6c_7x7_2", "conv2d,c160,17x17,k160,1x7,p0x3", 4),
        Row("6c_7x7_3", "conv2d,c160,17x17,k192,7x1,p3x0", 2),
        Row("6c_7x7dbl_2", "conv2d,c160,17x17,k160,7x1,p3x0", 4),
        Row("6c_7x7dbl_5", "conv2d,c160,17x17,k192,1x7,p0x3", 2),
        Row("6e_7x7_2", "conv2d,c192,17x17,k192,1x7,p0x3", 4),
        Row("6e_7x7_3", "conv2d,c192,17x17,k192,7x1,p3x0", 4),
        Row("7a_3x3_2", "conv2d,c192,17x17,k320,3x3,s2"),
        Row("7a_7x7x3_4", "conv2d,c192,17x17,k192,3x3,s2"),
        Row("7b_1x1", "conv2d,c1280,8x8,k320,1x1"),
        Row("7b_3x3_1", "conv2d,c1280,8x8,k384,1x1"),
        Row("7b_3x3_2a", "conv2d,c384,8x8,k384,1x3,p0x1", 4),
        Row("7b_3x3_2b", "conv2d,c384,8x8,k384,3x1,p1x0", 4),
        Row("7b_3x3dbl_1", "conv2d,c1280,8x8,k448,1x1"),
        Row("7b_3x3dbl_2", "conv2d,c448,8x8,k384,3x3,p1", 2),
        Row("7b_pool", "conv2d,c1280,8x8,k192,1x1"),
        Row("7c_1x1", "conv2d,c2048,8x8,k320,1x1"),
        Row("7c_3x3_1", "conv2d,c2048,8x8,k384,1x1"),
        Row("7c_3x3dbl_1", "conv2d,c2048,8x8,k448,1x1"),
        Row("7c_pool", "conv2d,c2048,8x8,k192,1x1"),
    ),
)
