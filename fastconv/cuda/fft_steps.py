"""Kernels of convolution by Fourier transforms on a device: transforms of tiles, and products without a sum.

A block transforms some tiles of two channels at once: one is the real part, the other the imaginary part of the same
transform, and as both are real, half of each spectrum says all. A thread has a line in its registers, all others are
in shared memory. Spectra lie as `winograd_steps` has its tiles: frequency after frequency and group after group, each
with two rows a channel, real and imaginary parts, of a column a tile.
"""

from __future__ import annotations

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Array, Float, IntPointer, Pointer, RealPointer, Wide, finish
from fastconv.cuda.fourier import transform_line
from fastconv.cuda.intrinsics import advance, get, load, load_if, mark, put, quotient, store
from fastconv.cuda.unroll import part
from fastconv.cuda.winograd_tiles import tile_place

# What kernels are specialised by.
HEIGHT, WIDTH, HALF = 32, 32, 17  # of a transform, and columns of half a spectrum
TILES, THREADS = 4, 128  # of a block
PITCH = 33  # from a row to the next: rows begin in different banks
TILE = HEIGHT * PITCH  # from a tile to the next
PLANE = TILES * TILE  # from a real part to its imaginary one
FLIP = False
PAIRED = True  # weights lie as factors of matrices; else as `combine` reads them


@part(results=0)
def transform_rows(shared: Array, thread: int, real: int, imaginary: int) -> None:
    """Transform the rows of all tiles in place, a thread a row."""
    for row in range(thread, int32(TILES * HEIGHT), int32(THREADS)):
        place = int32(row * PITCH)
        transform_line(shared, int32(place + real), int32(place + imaginary), 1, WIDTH)
    cuda.syncthreads()


@part(results=0)
def transform_columns(shared: Array, thread: int, real: int, imaginary: int) -> None:
    """Transform their columns, likewise."""
    if HEIGHT > 1:
        for column in range(thread, int32(TILES * WIDTH), int32(THREADS)):
            place = int32(column // WIDTH * TILE + column % WIDTH)
            transform_line(shared, int32(place + real), int32(place + imaginary), PITCH, HEIGHT)
        cuda.syncthreads()


@part()
def mirrored(tile: int, row: int, column: int) -> int:
    """Return where the frequency is that has the sign of this one turned."""
    opposite_row = int32(HEIGHT - row) if row else int32(0)
    opposite_column = int32(WIDTH - column) if column else int32(0)
    place: int = int32(tile * TILE + opposite_row * PITCH + opposite_column)
    return place


def inputs(
    x: Pointer,
    transformed: RealPointer,
    image_size: Wide,
    frequency_step: Wide,
    first_tile: int,
    tiles: int,
    padded_tiles: int,
    channels: int,
    padded_rows: int,
    image_tiles: int,
    image_multiplier: int,
    image_shift: int,
    row_tiles: int,
    row_multiplier: int,
    row_shift: int,
    row_step: int,
    column_step: int,
    height: int,
    width: int,
    padding_height: int,
    padding_width: int,
    pixel_step: int,
    channel_step: int,
) -> None:
    """Transform tiles of two channels; zeros for channels in the padding. What the sum of both gives is not halved."""
    shared = cuda.shared.array(2 * PLANE, Float)
    thread = int32(cuda.threadIdx.x)
    first = int32(cuda.blockIdx.x * TILES)
    channel = int32(cuda.blockIdx.y * 2)
    group = int32(cuda.blockIdx.z)
    for i in range(thread, int32(TILES * HEIGHT * WIDTH), int32(THREADS)):
        line, column = int32(i // WIDTH), int32(i % WIDTH)
        tile, row = int32(line // HEIGHT), int32(line % HEIGHT)
        image, down, across = tile_place(
            *(int32(first_tile + first + tile), image_tiles, image_multiplier, image_shift),
            *(row_tiles, row_multiplier, row_shift, int32(1), int32(1), int32(0), int32(1), int32(1), int32(0)),
        )
        h = int32(down * row_step + row - padding_height)
        w = int32(across * column_step + column - padding_width)
        inside = first + tile < tiles and h >= 0 and h < height and w >= 0 and w < width
        source = advance(x, int64(image) * image_size + int64(group * channels + channel) * int64(channel_step))
        step = int32((h * width + w) * pixel_step)
        place = int32(line * PITCH + column)
        put(shared, place, load_if(inside and channel < channels, source, step, Float(0)))
        second = load_if(inside and channel + 1 < channels, source, int32(step + channel_step), Float(0))
        put(shared, int32(place + PLANE), second)
    cuda.syncthreads()
    transform_rows(shared, thread, int32(0), int32(PLANE))
    transform_columns(shared, thread, int32(0), int32(PLANE))
    for i in range(thread, int32(TILES * HEIGHT * HALF), int32(THREADS)):
        tile, frequency = int32(i % TILES), int32(i // TILES)
        row, column = int32(frequency // HALF), int32(frequency % HALF)
        place = int32(tile * TILE + row * PITCH + column)
        opposite = mirrored(tile, row, column)
        # Z(k) of x + iy: 2 X(k) = Z(k) + conj Z(-k), 2i Y(k) = Z(k) - conj Z(-k)
        real, imaginary = get(shared, place), get(shared, int32(place + PLANE))
        other_real, other_imaginary = get(shared, opposite), get(shared, int32(opposite + PLANE))
        start = int64(frequency) * frequency_step + int64(first + tile)
        target = advance(transformed, start + int64(group * padded_rows + 2 * channel) * int64(padded_tiles))
        store(target, int32(0), real + other_real)
        store(target, padded_tiles, imaginary - other_imaginary)
        store(target, int32(2 * padded_tiles), imaginary + other_imaginary)
        store(target, int32(3 * padded_tiles), other_real - real)


def weights(
    weight: Pointer,
    transformed: RealPointer,
    frequency_step: Wide,
    channels: int,
    padded_rows: int,
    filters: int,
    padded_filters: int,
    kernel_height: int,
    kernel_width: int,
    dilation_height: int,
    dilation_width: int,
    scale: float,
) -> None:
    """Transform two channels of some filters, which are scaled.

    For matrices there are two columns a filter: a sum of products with conjugates is Re = sum of Xr Wr + Xi Wi and
    Im = sum of Xi Wr - Xr Wi. For `combine`, a filter's channels lie side by side, each with two numbers.
    """
    shared = cuda.shared.array(2 * PLANE, Float)
    thread = int32(cuda.threadIdx.x)
    first = int32(cuda.blockIdx.x * TILES)
    channel = int32(cuda.blockIdx.y * 2)
    group = int32(cuda.blockIdx.z)
    taps = int32(kernel_height * kernel_width)
    for i in range(thread, int32(TILES * HEIGHT * WIDTH), int32(THREADS)):
        line, column = int32(i // WIDTH), int32(i % WIDTH)
        filter_, row = int32(first + line // HEIGHT), int32(line % HEIGHT)
        down, across = int32(row // dilation_height), int32(column // dilation_width)
        inside = down < kernel_height and across < kernel_width and filter_ < filters
        inside = inside and down * dilation_height == row and across * dilation_width == column
        step = int32(down * kernel_width + across)
        if FLIP:
            step = int32(taps - 1 - step)
        source = advance(weight, int64((group * filters + filter_) * channels + channel) * int64(taps))
        place = int32(line * PITCH + column)
        put(shared, place, scale * load_if(inside and channel < channels, source, step, Float(0)))
        second = load_if(inside and channel + 1 < channels, source, int32(step + taps), Float(0))
        put(shared, int32(place + PLANE), scale * second)
    cuda.syncthreads()
    transform_rows(shared, thread, int32(0), int32(PLANE))
    transform_columns(shared, thread, int32(0), int32(PLANE))
    for i in range(thread, int32(TILES * HEIGHT * HALF), int32(THREADS)):
        tile, frequency = int32(i % TILES), int32(i // TILES)
        row, column = int32(frequency // HALF), int32(frequency % HALF)
        place = int32(tile * TILE + row * PITCH + column)
        opposite = mirrored(tile, row, column)
        real, imaginary = get(shared, place), get(shared, int32(place + PLANE))
        other_real, other_imaginary = get(shared, opposite), get(shared, int32(opposite + PLANE))
        filter_ = int32(first + tile)
        if filter_ < filters:
            start = int64(frequency) * frequency_step
            x_real, x_imaginary = real + other_real, imaginary - other_imaginary
            y_real, y_imaginary = imaginary + other_imaginary, other_real - real
            if PAIRED:
                line = int64(group * padded_rows + 2 * channel) * int64(padded_filters)
                target = advance(transformed, start + line + int64(2 * filter_))
                store(target, int32(0), x_real)
                store(target, int32(1), -x_imaginary)
                store(target, padded_filters, x_imaginary)
                store(target, int32(padded_filters + 1), x_real)
                store(target, int32(2 * padded_filters), y_real)
                store(target, int32(2 * padded_filters + 1), -y_imaginary)
                store(target, int32(3 * padded_filters), y_imaginary)
                store(target, int32(3 * padded_filters + 1), y_real)
            else:
                line = int64(group * filters + filter_) * int64(padded_rows)
                target = advance(transformed, start + line + int64(2 * channel))
                store(target, int32(0), x_real)
                store(target, int32(1), x_imaginary)
                store(target, int32(2), y_real)
                store(target, int32(3), y_imaginary)


def combine(
    transformed: RealPointer,
    weight: RealPointer,
    products: RealPointer,
    frequency_step: Wide,
    weight_step: Wide,
    product_step: Wide,
    tiles: int,
    padded_tiles: int,
    channels: int,
    weight_rows: int,
    filters: int,
) -> None:
    """Multiply and add the channels of a filter, where groups are too small for matrices: a thread a tile."""
    tile = int32(cuda.blockIdx.x * THREADS + cuda.threadIdx.x)
    filter_ = int32(cuda.blockIdx.y)
    frequency = int64(cuda.blockIdx.z)
    if tile < tiles:
        first = int32(filter_ // filters * channels)
        source = advance(transformed, frequency * frequency_step + int64(2 * first) * int64(padded_tiles) + int64(tile))
        factors = advance(weight, frequency * weight_step + int64(filter_) * int64(weight_rows))
        real, imaginary = Float(0), Float(0)
        for channel in range(channels):
            x_real, x_imaginary = load(source, int32(0)), load(source, padded_tiles)
            w_real, w_imaginary = load(factors, int32(2 * channel)), load(factors, int32(2 * channel + 1))
            real += x_real * w_real + x_imaginary * w_imaginary
            imaginary += x_imaginary * w_real - x_real * w_imaginary
            source = advance(source, int32(2 * padded_tiles))
        target = advance(products, frequency * product_step + int64(2 * filter_) * int64(padded_tiles) + int64(tile))
        store(target, int32(0), real)
        store(target, padded_tiles, imaginary)


def outputs(
    products: RealPointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    marks: IntPointer,
    image_size: Wide,
    frequency_step: Wide,
    first_tile: int,
    tiles: int,
    padded_tiles: int,
    filters: int,
    image_tiles: int,
    image_multiplier: int,
    image_shift: int,
    row_tiles: int,
    row_multiplier: int,
    row_shift: int,
    tile_outputs: int,
    outputs_multiplier: int,
    outputs_shift: int,
    row_outputs: int,
    column_outputs: int,
    column_multiplier: int,
    column_shift: int,
    stride_height: int,
    stride_width: int,
    height: int,
    width: int,
    pixel_step: int,
    filter_step: int,
) -> None:
    """Transform the products of two filters back, and do what follows a convolution; mark what is not finite."""
    shared = cuda.shared.array(2 * PLANE, Float)
    thread = int32(cuda.threadIdx.x)
    first = int32(cuda.blockIdx.x * TILES)
    in_group = int32(cuda.blockIdx.y * 2)
    both = in_group + 1 < filters
    filter_ = int32(int32(cuda.blockIdx.z) * filters + in_group)
    for i in range(thread, int32(TILES * HEIGHT * HALF), int32(THREADS)):
        tile, frequency = int32(i % TILES), int32(i // TILES)
        row, column = int32(frequency // HALF), int32(frequency % HALF)
        start = int64(frequency) * frequency_step + int64(first + tile)
        source = advance(products, start + int64(2 * filter_) * int64(padded_tiles))
        there = first + tile < tiles
        real = load_if(there, source, int32(0), Float(0))
        imaginary = load_if(there, source, padded_tiles, Float(0))
        second_real = load_if(there and both, source, int32(2 * padded_tiles), Float(0))
        second_imaginary = load_if(there and both, source, int32(3 * padded_tiles), Float(0))
        # X + iY, and where frequencies have the sign turned conj X + i conj Y
        place = int32(tile * TILE + row * PITCH + column)
        put(shared, place, real - second_imaginary)
        put(shared, int32(place + PLANE), imaginary + second_real)
        if column > 0 and 2 * column < WIDTH:
            place = mirrored(tile, row, column)
            put(shared, place, real + second_imaginary)
            put(shared, int32(place + PLANE), second_real - imaginary)
    cuda.syncthreads()
    transform_columns(shared, thread, int32(PLANE), int32(0))
    transform_rows(shared, thread, int32(PLANE), int32(0))
    doubt = Float(0)  # stays zero, or becomes NaN
    for i in range(thread, int32(TILES * tile_outputs), int32(THREADS)):
        tile = quotient(i, outputs_multiplier, outputs_shift)
        rest = int32(i - tile * tile_outputs)
        down = quotient(rest, column_multiplier, column_shift)
        across = int32(rest - down * column_outputs)
        image, row, column = tile_place(
            *(int32(first_tile + first + tile), image_tiles, image_multiplier, image_shift),
            *(row_tiles, row_multiplier, row_shift, int32(1), int32(1), int32(0), int32(1), int32(1), int32(0)),
        )
        row = int32(row * row_outputs + down)
        column = int32(column * column_outputs + across)
        if first + tile < tiles and row < height and column < width:
            begin = int64(image) * image_size + int64(filter_) * int64(filter_step)
            begin += int64(int32((row * width + column) * pixel_step))
            place = int32(tile * TILE + down * stride_height * PITCH + across * stride_width)
            total = get(shared, place)
            doubt += total - total
            store(out, begin, finish(total, bias, filter_, residual, begin))
            if both:
                total = get(shared, int32(place + PLANE))
                doubt += total - total
                begin += int64(filter_step)
                store(out, begin, finish(total, bias, int32(filter_ + 1), residual, begin))
            if doubt != Float(0):
                mark(marks, int32(0))
                mark(marks, int32(image + 1))
                doubt = Float(0)
