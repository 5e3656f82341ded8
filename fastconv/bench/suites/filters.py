"""Filters of images and signals: few channels, long rows, borders that are zeros or reflected."""

from __future__ import annotations

from fastconv.bench.suites.row import Row, Suite

__all__ = ["FILTERS"]

# One image at a time, as in image processing. "reflect" is the border that OpenCV takes by default
# (BORDER_REFLECT_101). gray: one plane; rgb and rgba: each plane with its own filter.
FILTERS = Suite(
    name="filters",
    title="Image and signal filters",
    source=(
        "the sizes of the usual filters: Sobel 3x3 (both derivatives at once), Gaussians of 5x5 to 31x31, in two "
        "dimensions and as a row and a column pass, a bank of 8 Gabor filters of 11x11; FIR filters of 64 to 1024 taps"
    ),
    rows=(
        Row("gray_3", "conv2d,c1,512x512,k1,3x3,p1"),
        Row("gray_5", "conv2d,c1,512x512,k1,5x5,p2,reflect"),
        Row("gray_9", "conv2d,c1,512x512,k1,9x9,p4,reflect"),
        Row("gray_25", "conv2d,c1,512x512,k1,25x25,p12"),
        Row("even_4", "conv2d,c1,512x512,k1,4x4,p1:2"),
        Row("gabor_11", "conv2d,c1,512x512,k8,11x11,p5,reflect"),
        Row("sobel_hd", "conv2d,c1,1080x1920,k2,3x3,p1,reflect"),
        Row("gray_hd_5", "conv2d,c1,1080x1920,k1,5x5,p2,reflect"),
        Row("gray_hd_7", "conv2d,c1,1080x1920,k1,7x7,p3"),
        Row("gray_hd_11", "conv2d,c1,1080x1920,k1,11x11,p5,reflect"),
        Row("gray_hd_15", "conv2d,c1,1080x1920,k1,15x15,p7"),
        Row("gray_hd_21", "conv2d,c1,1080x1920,k1,21x21,p10,reflect"),
        Row("gray_hd_31", "conv2d,c1,1080x1920,k1,31x31,p15"),
        Row("row_hd_31", "conv2d,c1,1080x1920,k1,1x31,p0x15,reflect"),
        Row("column_hd_31", "conv2d,c1,1080x1920,k1,31x1,p15x0,reflect"),
        Row("rgb_hd_3", "conv2d,c3,1080x1920,k3,3x3,p1,g3,reflect"),
        Row("rgb_hd_11", "conv2d,c3,1080x1920,k3,11x11,p5,g3"),
        Row("rgb_hd_row_9", "conv2d,c3,1080x1920,k3,1x9,p0x4,g3,reflect"),
        Row("rgb_hd_column_9", "conv2d,c3,1080x1920,k3,9x1,p4x0,g3,reflect"),
        Row("rgba_5", "conv2d,c4,512x512,k4,5x5,p2,g4,reflect"),
        Row("rgba_21", "conv2d,c4,512x512,k4,21x21,p10,g4"),
        Row("large_3", "conv2d,c1,2048x2048,k1,3x3,p1,reflect"),
        Row("large_9", "conv2d,c1,2048x2048,k1,9x9,p4"),
        Row("large_15", "conv2d,c1,2048x2048,k1,15x15,p7,reflect"),
        Row("fir_64", "conv1d,c1,65536,k1,64,p63:0"),  # causal: only what came before
        Row("fir_128", "conv1d,c1,262144,k1,128,p63:64"),
        Row("fir_256", "conv1d,c1,1048576,k1,256"),
        Row("fir_1024", "conv1d,c1,1048576,k1,1024"),
        Row("fir_stereo_512", "conv1d,c2,262144,k2,512,p511:0,g2"),
        Row("fir_decimate_256", "conv1d,c1,1048576,k1,256,s8"),
    ),
    batches=(1,),
)
