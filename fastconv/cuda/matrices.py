"""Products of many matrices of one size, whose factors and results are read and written by 16 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, Kernel, Pointer
from fastconv.cuda.driver import Device, Extent
from fastconv.cuda.im2col import Tile
from fastconv.cuda.intrinsics import (
    add_products,
    advance,
    block_x_again,
    block_y_again,
    block_z_again,
    load_quads,
    other_buffer,
    set_quads,
    store_run,
    thread_x_again,
    zeros,
)
from fastconv.cuda.plan import Operand, Step, Target
from fastconv.cuda.unroll import static_range

# What the kernel is specialised by; see `im2col.Tile`.
FILTERS = PIXELS = 128
THREAD_FILTERS = THREAD_PIXELS = 8
DEPTH = 8
THREADS = 256
WEIGHT_LOADS = COLUMN_LOADS = 1


#: Share of the multiprocessors' cycles that are products, by the tile: that of the loop's instructions, less what the
#: blocks' ends take.
_BUSY = {(128, 128): 0.84, (64, 64): 0.83, (32, 128): 0.82}
_ENOUGH_THREADS = 256  # of a multiprocessor


class Matrices(NamedTuple):
    """Sizes of the products: of M, N and K of each, and how many there are."""

    filters: int  # rows of a result that are stored
    padded_filters: int  # in whole tiles
    padded_channels: int  # in whole steps
    padded_tiles: int  # columns from one row of a factor and a result to the next
    products: int


def _multiply(
    weight: Pointer,
    transformed: Pointer,
    products: Pointer,
    filters: int,
    padded_filters: int,
    padded_channels: int,
    padded_tiles: int,
) -> None:
    """Compute a tile of ``products[filter, pixel] = sum over channels of weight[channel, filter] * x[channel, pixel]``.

    M is the filters of a group, N the pixels, which are tiles of the input, K the channels; the grid's third axis is
    frequencies and groups. The loop is that of `product.multiply`: while the products of one buffer in shared memory
    are summed, the next is loaded into registers. The last round loads what nobody uses, but there is memory for it.
    Its frame stands there and here, as what is loaded differs: there elements of windows, here quads.
    """
    shared = cuda.shared.array(2 * DEPTH * (PIXELS + FILTERS), Float, alignment=16)  # columns first
    thread = cuda.threadIdx.x
    matrix = int64(cuda.blockIdx.z)
    first_filter = int32(cuda.blockIdx.y * FILTERS)
    first_pixel = int32(cuda.blockIdx.x * PIXELS)
    factors = advance(weight, matrix * int64(padded_channels) * int64(padded_filters) + int64(first_filter))
    source = advance(transformed, matrix * int64(padded_channels) * int64(padded_tiles) + int64(first_pixel))
    factors = advance(factors, int32(thread // (FILTERS // 4) * padded_filters + thread % (FILTERS // 4) * 4))
    weight_step = int32(THREADS // (FILTERS // 4) * padded_filters)
    source = advance(source, int32(thread // (PIXELS // 4) * padded_tiles + thread % (PIXELS // 4) * 4))
    column_step = int32(THREADS // (PIXELS // 4) * padded_tiles)
    put_columns = int32(thread * 4)
    put_weights = int32(2 * DEPTH * PIXELS + put_columns)
    get_columns = int32(thread % (PIXELS // THREAD_PIXELS) * 4)
    get_weights = int32(2 * DEPTH * PIXELS + thread // (PIXELS // THREAD_PIXELS) * 4)
    sums = zeros(Float(0), THREAD_FILTERS * THREAD_PIXELS)
    for whole in static_range(2):
        channel = int32(0)
        while channel < (padded_channels if whole else int32(DEPTH)):
            channel = int32(channel + DEPTH)
            next_weights = load_quads(factors, int32(0), weight_step, WEIGHT_LOADS)
            next_columns = load_quads(source, int32(0), column_step, COLUMN_LOADS)
            factors = advance(factors, int64(DEPTH * padded_filters))
            source = advance(source, int64(DEPTH * padded_tiles))

            if whole:
                # fmt: off
                sums = add_products(
                    sums, shared,
                    get_weights, FILTERS, FILTERS * 4 // THREAD_FILTERS, THREAD_FILTERS // 4,
                    get_columns, PIXELS, PIXELS * 4 // THREAD_PIXELS, THREAD_PIXELS // 4,
                    DEPTH,
                )
                # fmt: on
                get_weights = other_buffer(get_weights, DEPTH * FILTERS, whole)
                get_columns = other_buffer(get_columns, DEPTH * PIXELS, whole)

            set_quads(shared, put_weights, THREADS * 4, next_weights)
            set_quads(shared, put_columns, THREADS * 4, next_columns)
            put_weights = other_buffer(put_weights, DEPTH * FILTERS, whole)
            put_columns = other_buffer(put_columns, DEPTH * PIXELS, whole)
            cuda.syncthreads()

    thread = thread_x_again()
    first_pixel = int32(block_x_again() * PIXELS)
    first_filter = int32(block_y_again() * FILTERS)
    my_filter = int32(thread // (PIXELS // THREAD_PIXELS) * 4)
    my_pixel = int32(thread % (PIXELS // THREAD_PIXELS) * 4)
    target = advance(products, int64(block_z_again()) * int64(filters) * int64(padded_tiles))
    for i in static_range(THREAD_FILTERS):
        filter_ = int32(first_filter + my_filter + (i // 4 * (FILTERS * 4 // THREAD_FILTERS) + i % 4))
        if filter_ < filters:
            place = int32(filter_ * padded_tiles + first_pixel + my_pixel)
            for j in static_range(0, THREAD_PIXELS, 4):
                store_run(target, place + j * PIXELS // THREAD_PIXELS, sums, i * THREAD_PIXELS + j, 4)


def multiply(
    target: Target, dtype: str, tile: Tile, matrices: Matrices, pointers: Sequence[Operand], columns: Sequence[int]
) -> list[Step]:
    """Return a step for each number of columns, given where weights, columns and products are."""
    constants = {**tile.constants(), "COLUMN_LOADS": tile.depth * tile.pixels // (4 * tile.threads)}
    kernel = Kernel(_multiply, dtype, tile.threads, tile.blocks, constants)
    filters = matrices.padded_filters // tile.filters
    grids: list[Extent] = [(-(-count // tile.pixels), filters, matrices.products) for count in columns]
    return target.steps(kernel, pointers, [(grid, matrices[:-1]) for grid in grids])


def seconds(device: Device, dtype: str, tile: Tile, matrices: Matrices, columns: int) -> float:
    """Return the predicted time of the multiply-adds, for columns in whole tiles."""
    blocks = columns // tile.pixels * (matrices.padded_filters // tile.filters) * matrices.products
    on_one = -(-blocks // device.multiprocessors)  # of them, on the multiprocessor that has the most
    busy = _BUSY[tile.filters, tile.pixels] * min(1.0, min(on_one, tile.blocks) * tile.threads / _ENOUGH_THREADS)
    lanes = 128 if dtype == "float32" else device.doubles
    return on_one * tile.filters * tile.pixels * matrices.padded_channels / (lanes * busy * device.clock)
