"""Depthwise convolution with the channels of a pixel side by side: vectors lie along channels, and nothing is masked.

    y[q, p, c] = sum over r, s of w[r, s, c] * x[q * stride + r * dilation, p * stride + s * dilation, c]

A tile is some output pixels of one row and one vector of channels. A loop runs over kernel rows; inside it the
weights of the row stay in registers, and each input pixel is loaded once and feeds all the sums that it belongs to.
The loop over the channels of a tile is the inner one, so that pixels are read through from their first channel to
their last. The last vector of channels overlaps the one before it.

Weights are packed first: [vector of channels][kernel row][kernel column][channel].

Rows outside are left out by the bounds of the loop, columns outside by the code, which knows for each kind of tile
(at the left, inside, at the right) how many there are. Zero times infinity is NaN, though: where not all weights are
finite, which packing finds out, code that knows no kinds of tiles reads zeros for every pixel outside, and leaves out
nothing.

The function has the operands of that for channels first, and needs no scratch; a task is an output row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen import activation, jit, operands
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise_shape import MOST_KINDS, Kind, cut, most_weights
from fastconv.codegen.depthwise_walk import Rows
from fastconv.codegen.vector import I64, Builder, VectorModule

# fmt: off
(
    HEIGHT, WIDTH,               # of the input
    OUT_HEIGHT, OUT_WIDTH,
    CHANNELS, BLOCKS,            # vectors of channels
    BEFORE_H, BEFORE_W,          # padding
    STRIDE_H, DILATION_H,
    TAPS,                        # address of the first kernel row that meets the input, and their end, by output row
    X_IMAGE, X_ROW, X_PIXEL,
    Y_IMAGE, Y_PIXEL,
    RESIDUAL_PIXEL,
    ZEROS,                       # address of as many zeros as there are channels
    KIND_PIXELS,                 # first output column of each kind of tile, and the end of the last
) = range(19)
# fmt: on
SLOTS = KIND_PIXELS + MOST_KINDS + 1
MOST_PIXELS = 8  # of a tile: enough to keep two units of four cycles busy


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """What the code of a depthwise convolution along channels depends on.

    Parameters
    ----------
    dtype : str
        The elements' type.
    pixels : int
        Of a tile.
    kernel : tuple of int
        Its rows and columns.
    flip : bool
        Whether the kernel is turned round.
    stride, dilation : int
        Steps along a row.
    kinds : tuple of Kind
        Of tiles, from the left to the right: columns that lie outside. None: pixels outside are read as zeros.
    few : bool
        Whether there are fewer channels than lanes.
    residual : bool
        Whether there is one.
    activation : str, optional
        Applied last.
    """

    dtype: str
    pixels: int
    kernel: tuple[int, int]
    flip: bool = False
    stride: int = 1
    dilation: int = 1
    kinds: tuple[Kind, ...] = ()
    few: bool = False
    residual: bool = False
    activation: str | None = None

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        height, width = self.kernel
        parts = [
            f"depthwise_channels_last_{self.dtype}_{self.pixels}_k{height}x{width}_s{self.stride}_d{self.dilation}",
            *(f"{before}-{behind}" for before, behind in self.kinds),
            *(word for word in ("flip", "few", "residual") if getattr(self, word)),
            self.activation or "linear",
        ]
        return "_".join(parts)

    def variant(self, residual: bool, careful: bool) -> Pixels:
        """The code with or without a residual, and if `careful` leaving out nothing."""
        code = dataclasses.replace(self, residual=residual)
        return dataclasses.replace(code, kinds=()) if careful else code

    @property
    def extent(self) -> int:
        """Input columns from the first that a tile meets to the last."""
        return (self.pixels - 1) * self.stride + (self.kernel[1] - 1) * self.dilation + 1

    def columns(self, chunk: Sequence[int], kind: Kind | None) -> list[int]:
        """The input columns, counted from the tile's first, that a chunk of kernel columns meets."""
        before, behind = kind or (0, 0)
        met = {p * self.stride + s * self.dilation for p in range(self.pixels) for s in chunk}
        return [column for column in sorted(met) if before <= column < self.extent - behind]

    def chunks(self, kind: Kind | None, target: targets.Target) -> list[range]:
        """The kernel's columns that meet a column of the input, in chunks as equal as can be."""
        met = [s for s in range(self.kernel[1]) if self.columns([s], kind)]
        return cut(met[0], met[-1] + 1, most_weights(target, 8)) if met else []


def address(code: Pixels) -> int:
    """Return the address of the machine code for the target in force."""
    target = targets.current()
    return jit.address(code.name, lambda: str(emit(code, target)), target)


def emit(code: Pixels, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(code.name, code.dtype, target)
    finish = activation.declare(own, code.activation) if code.activation else None
    function, b = operands.begin(own)
    emitter = _Emitter(b, code, finish)
    b.count_up(function.args[operands.FIRST], function.args[operands.LAST], 1, emitter.row, "rows")
    b.ret(I64(0))
    operands.end(own, code.name, function)
    return own.module


class _Emitter:
    """The loops from the outermost to the innermost, one method each."""

    def __init__(self, b: Builder, code: Pixels, finish: ir.Function | None) -> None:
        self.b, self.code, self.finish = b, code, finish
        self.plan = b.pointer(b.function.args[operands.PLAN], "slots")
        self.item = b.owner.bytes
        _, _, _, bias, *_ = b.function.args
        none = b.icmp_signed("==", bias, I64(0))
        self.zeros = b.pointer(self.slot(ZEROS), "zeros")
        self.bias = b.pointer(b.select(none, self.slot(ZEROS), bias))  # without one, sums begin with zeros

    def slot(self, number: int) -> ir.Value:
        return self.b.load_int(self.b.at(self.plan, 8 * number))

    def row(self, number: ir.Value) -> None:
        """One output row of one image."""
        b, code = self.b, self.code
        _, x, _, _, residual, y = b.function.args[: operands.FIRST]
        height, width = self.slot(OUT_HEIGHT), self.slot(OUT_WIDTH)
        image, q = b.udiv(number, height, "image"), b.urem(number, height, "q")
        self.top = b.sub(b.mul(q, self.slot(STRIDE_H)), self.slot(BEFORE_H), "top")
        self.x = b.add(x, b.mul(image, self.slot(X_IMAGE)))
        pixel = b.mul(q, width)
        self.y = b.add(y, b.add(b.mul(image, self.slot(Y_IMAGE)), b.mul(pixel, self.slot(Y_PIXEL))))
        of_images = b.add(b.mul(b.mul(image, height), width), pixel)
        self.residual = b.add(residual, b.mul(of_images, self.slot(RESIDUAL_PIXEL)))
        self.first_tap, self.end_tap = I64(0), I64(code.kernel[0])
        if code.kinds:
            taps = b.at(b.pointer(self.slot(TAPS)), b.mul(q, I64(16)))
            self.first_tap, self.end_tap = b.load_int(taps), b.load_int(b.at(taps, 8))
        last = b.sub(width, I64(code.pixels))
        kinds: Sequence[Kind | None] = code.kinds or (None,)
        for number_of_kind, kind in enumerate(kinds):
            first, end = I64(0), width
            if len(kinds) > 1:
                first, end = (self.slot(KIND_PIXELS + number_of_kind + i) for i in range(2))

            def tile(left: ir.Value, kind: Kind | None = kind) -> None:
                self.tile(b.least(left, last), kind)

            b.count_up(first, end, code.pixels, tile, "tiles")

    def tile(self, left: ir.Value, kind: Kind | None) -> None:
        """Some pixels with all their channels."""
        b, code = self.b, self.code
        self.column = b.sub(b.mul(left, I64(code.stride)), self.slot(BEFORE_W), "column")
        self.left = left
        if code.few:
            self.mask = b.first_lanes(self.slot(CHANNELS))
            self.block(I64(0), I64(0), kind)
            return
        self.mask = None
        lanes = b.owner.lanes
        last = b.sub(self.slot(CHANNELS), I64(lanes))

        def block(number: ir.Value) -> None:
            channel = b.least(b.mul(number, I64(lanes)), last)
            self.block(number, b.mul(channel, I64(self.item)), kind)

        b.count_up(I64(0), self.slot(BLOCKS), 1, block, "channels")

    def block(self, number: ir.Value, channel: ir.Value, kind: Kind | None) -> None:
        """One vector of channels, which begins `channel` bytes along a pixel: a loop over kernel rows."""
        b, code = self.b, self.code
        size = code.kernel[0] * code.kernel[1] * b.owner.lanes * self.item
        weights = b.pointer(b.add(b.function.args[operands.WEIGHT], b.mul(number, I64(size))), "weights")
        pixel = self.slot(X_PIXEL)
        corner = b.add(b.add(self.x, channel), b.mul(self.column, pixel), "corner")
        bias = b.load_vector(b.at(self.bias, channel), self.mask)
        entry, loop = b.block, b.append_basic_block("kernel_rows")
        inside, done = b.append_basic_block("kernel_row"), b.append_basic_block("kernel_rows_done")
        b.branch(loop)
        b.position_at_end(loop)
        r = b.phi(I64, "r")
        sums = [b.phi(b.owner.vector) for _ in range(code.pixels)]
        b.cbranch(b.icmp_signed("<", r, self.end_tap), inside, done)
        b.position_at_end(inside)
        place = b.add(self.top, b.mul(r, self.slot(DILATION_H)))
        line = b.add(corner, b.mul(place, self.slot(X_ROW)), "line")
        in_height = None if kind is not None else b.icmp_unsigned("<", place, self.slot(HEIGHT))
        columns = Rows(b, line, pixel, code.extent)

        def load(column: int) -> ir.Value:
            pointer = columns.at(column, I64(0))
            if in_height is not None:
                in_width = b.icmp_unsigned("<", b.add(self.column, I64(column)), self.slot(WIDTH))
                pointer = b.select(b.and_(in_height, in_width), pointer, self.zeros)
            return b.load_vector(pointer, self.mask)

        new = self.products(r, weights, list(sums), kind, load)
        starts, following = [self.first_tap, *[bias] * code.pixels], [b.add(r, I64(1)), *new]
        for value, start, after in zip([r, *sums], starts, following, strict=True):
            value.add_incoming(start, entry)
            value.add_incoming(after, b.block)
        b.branch(loop)
        b.position_at_end(done)
        self.put(sums, channel)

    def products(
        self,
        r: ir.Value,
        weights: ir.Value,
        sums: list[ir.Value],
        kind: Kind | None,
        load: Callable[[int], ir.Value],
    ) -> list[ir.Value]:
        """Add the products of kernel row r to the sums; `load` returns the vector at a column of the input."""
        b, code = self.b, self.code
        height, width = code.kernel
        step = b.owner.lanes * self.item
        turn = -1 if code.flip else 1
        row = b.at(weights, b.mul(r, I64(turn * width * step)))
        for chunk in code.chunks(kind, b.owner.target):
            places = {s: height * width - 1 - s if code.flip else s for s in chunk}
            held = {s: b.load_vector(b.at(row, place * step)) for s, place in places.items()}
            for column in code.columns(chunk, kind):
                value = load(column)
                for p in range(code.pixels):
                    s, rest = divmod(column - p * code.stride, code.dilation)
                    if rest == 0 and s in chunk:
                        sums[p] = b.multiply_add(held[s], value, sums[p])
        return sums

    def put(self, sums: Sequence[ir.Value], channel: ir.Value) -> None:
        """Residual, activation, and the stores."""
        b, code = self.b, self.code

        def places(start: ir.Value, step: ir.Value) -> list[ir.Value]:
            pixels = Rows(b, b.add(start, b.mul(self.left, step)), step, code.pixels)
            return [pixels.at(p, channel) for p in range(code.pixels)]

        if code.residual:
            addends = [b.load_vector(place, self.mask) for place in places(self.residual, self.slot(RESIDUAL_PIXEL))]
            sums = [b.fadd(value, addend) for value, addend in zip(sums, addends, strict=True)]
        if self.finish:
            sums = [b.call(self.finish, [value]) for value in sums]
        for value, place in zip(sums, places(self.y, self.slot(Y_PIXEL)), strict=True):
            if self.mask is None:
                b.store_vector(value, place)
            else:
                b.store_lanes(value, place, self.slot(CHANNELS))


def packing(dtype: str, taps: int) -> int:
    """Return the address of i64 pack(to, weight, channels), which packs weights and returns 1 if one is not finite."""
    target = targets.current()
    name = f"depthwise_weights_{dtype}_{taps}"
    return jit.address(name, lambda: str(emit_packing(name, dtype, taps, target)), target)


def emit_packing(name: str, dtype: str, taps: int, target: targets.Target) -> ir.Module:
    """Return the function as a module: squares of channels and taps are transposed in registers; the last overlap."""
    own = VectorModule(name, dtype, target)
    function, b = own.define(name, I64, [I64] * 3)
    to, weight, channels = function.args
    lanes, item = own.lanes, own.bytes
    zero = own.constant(0.0)
    finite = b.alloca(own.vector, name="zero_if_finite")
    b.store(zero, finite)
    last_channel, last_start = b.sub(channels, I64(1)), b.sub(channels, I64(lanes))
    few = b.icmp_signed("<", last_start, I64(0))
    mask = ir.Constant(own.mask, [i < taps for i in range(lanes)]) if taps < lanes else None

    def block(number: ir.Value) -> None:
        """One vector of channels; where there are fewer, the last one stands again for those that are missing."""
        first = b.select(few, I64(0), b.least(b.mul(number, I64(lanes)), last_start))
        rows = [b.mul(b.least(b.add(first, I64(i)), last_channel), I64(taps * item)) for i in range(lanes)]
        panel = b.add(to, b.mul(number, I64(taps * lanes * item)))

        def square(tap: ir.Value) -> None:
            along = b.mul(tap, I64(item))
            values = [b.load_vector(b.pointer(b.add(weight, b.add(row, along))), mask) for row in rows]
            total = b.load(finite, typ=own.vector)
            for value in values:
                total = b.multiply_add(value, zero, total)
            b.store(total, finite)
            into = b.pointer(b.add(panel, b.mul(tap, I64(lanes * item))))
            for i, column in enumerate(b.transposed(values)[: min(taps, lanes)]):
                b.store_vector(column, b.at(into, i * lanes * item))

        last = I64(max(0, taps - lanes))
        b.count_up(I64(0), I64(taps), lanes, lambda tap: square(b.least(tap, last)), "taps")

    blocks = b.sdiv(b.add(channels, I64(lanes - 1)), I64(lanes))
    b.count_up(I64(0), blocks, 1, block, "blocks")
    every = b.all_lanes(b.fcmp_ordered("==", b.load(finite, typ=own.vector), zero))
    b.ret(b.zext(b.not_(every), I64))
    return own.module
