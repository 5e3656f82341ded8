"""Tiles of Winograd's convolution, as all of its kernels have them: where they lie, and how results are stored."""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, Pointer, Tuple, Wide, finish
from fastconv.cuda.intrinsics import advance, quotient, store, store_run
from fastconv.cuda.unroll import part, static_range

# What kernels are specialised by.
ROW_OUTPUTS, COLUMN_OUTPUTS = 4, 4
RUN = 1  # outputs that lie side by side and are stored at once: 1, 2 or 4


@part(results=3)
def tile_place(
    tile: int,
    image_tiles: int,
    image_multiplier: int,
    image_shift: int,
    row_tiles: int,
    row_multiplier: int,
    row_shift: int,
    row_gap: int,
    row_gap_multiplier: int,
    row_gap_shift: int,
    column_gap: int,
    column_gap_multiplier: int,
    column_gap_shift: int,
) -> tuple[int, int, int]:
    """Return the image of a tile, and the row and the column of its first output.

    A tile is of every so manyth row and column, its gaps; so many tiles are interleaved.
    """
    image = quotient(tile, image_multiplier, image_shift)
    rest = int32(tile - image * image_tiles)
    down = quotient(rest, row_multiplier, row_shift)
    across = int32(rest - down * row_tiles)
    of_rows = quotient(down, row_gap_multiplier, row_gap_shift)
    of_columns = quotient(across, column_gap_multiplier, column_gap_shift)
    row = int32(of_rows * ((ROW_OUTPUTS - 1) * row_gap) + down)
    column = int32(of_columns * ((COLUMN_OUTPUTS - 1) * column_gap) + across)
    return image, row, column


@part()
def store_tile(
    doubt: float,
    outputs: Tuple,
    filter_: int,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    begin: Wide,
    first_row: int,
    first_column: int,
    row_gap: int,
    column_gap: int,
    height: int,
    width: int,
    pixel_step: int,
) -> float:
    """Do what follows a convolution, and store what of a tile is inside the plane, which lies from `begin` on.

    The doubt stays as it is, or becomes NaN where an output is not finite.
    """
    target = advance(out, begin)
    run = cuda.local.array(RUN, Float)
    for i in static_range(ROW_OUTPUTS):
        row = int32(first_row + i * row_gap)
        for j in static_range(0, COLUMN_OUTPUTS, RUN):
            column = int32(first_column + j * column_gap)
            if row < height and column < width:
                place = int32((row * width + column) * pixel_step)
                for k in static_range(RUN):
                    total = outputs[i * COLUMN_OUTPUTS + j + k]
                    doubt += total - total
                    run[k] = finish(total, bias, filter_, residual, begin + int64(place + k))
                if RUN == 4:
                    store_run(target, place, (run[0], run[1], run[2], run[3]), 0, 4)
                elif RUN == 2:
                    store_run(target, place, (run[0], run[1]), 0, 2)
                else:
                    store(target, place, run[0])
    return doubt
