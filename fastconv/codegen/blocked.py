"""Rows between arrays and the blocked layout [row][column][L channels], where a vector is L channels of a pixel.

Into it go the channels of an input, with zeros around them; out of it come filters, with the epilogue: bias, residual
and activation. Channels first, blocks of L channels x L pixels are transposed in registers.

Both functions take one argument, the address of their operands: int64 slots, strides in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from fastconv.codegen import activation as activations
from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, Builder, VectorModule

# fmt: off
#: Operands of both functions.
(
    FROM, TO,                       # addresses: of the first element to read; to write, zeros around it included
    ROW_FROM, ROW_TO,               # from one row to the next
    CHANNEL, PIXEL,                 # of the array, from one channel to the next, from one pixel of a row to the next
    CHANNELS,                       # of the block, L or fewer
    ROWS, COLUMNS,                  # that are copied
    ABOVE, BELOW, BEFORE, AFTER,    # into: rows of zeros and columns of zeros
    BIAS, RESIDUAL,                 # out of: addresses, 0 for none
    ROW_RESIDUAL, CHANNEL_RESIDUAL, PIXEL_RESIDUAL,
    BROKEN,                         # out of: address of a slot that is set where a value is no finite number
    OPERANDS,
) = range(20)
# fmt: on


def into(dtype: str, channels_first: bool) -> int:
    """Return the address of the function that copies rows of an array into the blocked layout.

    Behind the last row there must be room for as many pixels as a vector has lanes. Where the block has fewer channels
    than lanes, channels first the last one stands again.
    """
    target = targets.current()
    name = f"block_{dtype}_{_layout(channels_first)}"
    return jit.address(name, lambda: str(emit_into(name, dtype, channels_first, target)), target)


def out_of(dtype: str, channels_first: bool, activation: str | None) -> int:
    """Return the address of the function that writes blocked rows to an array, with the epilogue."""
    target = targets.current()
    name = f"unblock_{dtype}_{_layout(channels_first)}_{activation or 'linear'}"
    return jit.address(name, lambda: str(emit_out_of(name, dtype, channels_first, activation, target)), target)


def _layout(channels_first: bool) -> str:
    return "channels_first" if channels_first else "channels_last"


def emit_into(name: str, dtype: str, channels_first: bool, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(name, dtype, target)
    b, get = own.step(name, OPERANDS)
    vector = own.width

    def zeros(to: ir.Value, pixels: ir.Value) -> None:
        def store(i: ir.Value) -> None:
            b.store_vector(own.constant(0.0), b.at(to, b.mul(i, I64(vector))))

        b.count_up(I64(0), pixels, 1, store, "zeros")

    def rows_of_zeros(to: ir.Value, rows: ir.Value) -> None:
        zeros(to, b.mul(rows, b.sdiv(get[ROW_TO], I64(vector))))

    lines = _lines(b, b.pointer(get[FROM]), get[CHANNEL], get[CHANNELS]) if channels_first else []
    to = b.pointer(get[TO])
    rows_of_zeros(to, get[ABOVE])
    first = b.at(to, b.mul(get[ABOVE], get[ROW_TO]))

    def row(r: ir.Value) -> None:
        begin = b.at(first, b.mul(r, get[ROW_TO]))
        zeros(begin, get[BEFORE])
        begin = b.at(begin, b.mul(get[BEFORE], I64(vector)))
        offset = b.mul(r, get[ROW_FROM])
        if channels_first:
            _transpose_row(b, [b.at(line, offset) for line in lines], begin, get[COLUMNS])
        else:
            _copy_pixels(b, b.at(b.pointer(get[FROM]), offset), begin, get)
        zeros(b.at(begin, b.mul(get[COLUMNS], I64(vector))), get[AFTER])

    b.count_up(I64(0), get[ROWS], 1, row, "rows")
    rows_of_zeros(b.at(first, b.mul(get[ROWS], get[ROW_TO])), get[BELOW])
    b.ret_void()
    return own.module


def _lines(b: Builder, first: ir.Value, stride: ir.Value, count: ir.Value) -> list[ir.Value]:
    """A pointer for each lane, `stride` apart; beyond `count`, the last one again."""
    last = b.sub(count, I64(1))
    return [b.at(first, b.mul(b.least(I64(lane), last), stride)) for lane in range(b.owner.lanes)]


def _transpose_row(b: Builder, lines: Sequence[ir.Value], to: ir.Value, columns: ir.Value) -> None:
    """L channels of a row, from a line each. A last, shorter block reads what there is, and spills zeros."""
    own = b.owner

    def block(column: ir.Value, mask: ir.Value | None = None) -> None:
        place = b.mul(column, I64(own.bytes))
        begin = b.at(to, b.mul(place, I64(own.lanes)))
        pixels = b.transposed([b.load_vector(b.at(line, place), mask) for line in lines])
        for i, pixel in enumerate(pixels):
            b.store_vector(pixel, b.at(begin, i * own.width))

    left = b.srem(columns, I64(own.lanes))
    whole = b.sub(columns, left)
    b.count_up(I64(0), whole, own.lanes, block, "blocks")
    b.do_if(b.positive(left), lambda: block(whole, b.first_lanes(left)), "rest")


def _copy_pixels(b: Builder, source: ir.Value, to: ir.Value, get: Sequence[ir.Value]) -> None:
    """A row whose pixels hold their channels together; lanes beyond the last channel are zero."""
    own = b.owner
    fewer = b.icmp_signed("<", get[CHANNELS], I64(own.lanes))

    def copy(mask: ir.Value | None) -> None:
        def pixel(j: ir.Value) -> None:
            value = b.load_vector(b.at(source, b.mul(j, get[PIXEL])), mask)
            b.store_vector(value, b.at(to, b.mul(j, I64(own.width))))

        b.count_up(I64(0), get[COLUMNS], 1, pixel, "pixels")

    b.do_if(fewer, lambda: copy(b.first_lanes(get[CHANNELS])), "fewer")
    b.do_if(b.not_(fewer), lambda: copy(None), "whole")


def emit_out_of(
    name: str, dtype: str, channels_first: bool, activation: str | None, target: targets.Target
) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(name, dtype, target)
    finish = activations.declare(own, activation) if activation else None
    b, get = own.step(name, OPERANDS)
    out = _Out(b, get, finish)
    fewer = b.icmp_signed("<", get[CHANNELS], I64(own.lanes))
    b.do_if(fewer, lambda: out.rows(channels_first, True), "fewer")
    b.do_if(b.not_(fewer), lambda: out.rows(channels_first, False), "whole")
    out.report()
    b.ret_void()
    return own.module


class _Out:
    """Blocked rows on their way to an array."""

    def __init__(self, b: Builder, get: Sequence[ir.Value], finish: ir.Function | None) -> None:
        self.b, self.get, self.finish = b, get, finish
        self.lanes, self.item = b.owner.lanes, b.owner.bytes
        self.vector = self.lanes * self.item
        zero = b.owner.constant(0.0)
        self.broken = b.alloca(b.owner.vector, name="broken")  # 0 times every value: NaN if one is not finite
        b.store(zero, self.broken)
        has_bias = b.icmp_signed("!=", get[BIAS], I64(0))

        def load(_: Sequence[ir.Value]) -> list[ir.Value]:
            return [b.load_vector(b.pointer(get[BIAS]), b.first_lanes(get[CHANNELS]))]

        (self.bias,) = b.values_if(has_bias, [zero], load, "bias")
        self.has_residual = b.icmp_signed("!=", get[RESIDUAL], I64(0))

    def rows(self, channels_first: bool, fewer: bool) -> None:
        """All rows; `fewer` channels than lanes or as many."""
        b, get = self.b, self.get
        write = self.planes if channels_first else self.pixels

        def row(r: ir.Value) -> None:
            source = b.at(b.pointer(get[FROM]), b.mul(r, get[ROW_FROM]))
            residual = b.at(b.pointer(get[RESIDUAL]), b.mul(r, get[ROW_RESIDUAL]))
            write(source, b.at(b.pointer(get[TO]), b.mul(r, get[ROW_TO])), residual, fewer)

        b.count_up(I64(0), get[ROWS], 1, row, "rows")

    def planes(self, source: ir.Value, to: ir.Value, residual: ir.Value, fewer: bool) -> None:
        """A row of each filter's plane, L pixels at a time; the last block overlaps the one before it."""
        b, columns = self.b, self.get[COLUMNS]
        last = b.sub(columns, I64(self.lanes))
        short = b.icmp_signed("<", last, I64(0))

        def block(column: ir.Value, count: ir.Value | None = None) -> None:
            place = b.mul(column, I64(self.item))
            begin = b.at(source, b.mul(place, I64(self.lanes)))
            pixels = self.checked([b.load_vector(b.at(begin, i * self.vector)) for i in range(self.lanes)], count)
            lines = b.transposed([b.fadd(pixel, self.bias) for pixel in pixels])
            mask = None if count is None else b.first_lanes(count)
            for lane, value in enumerate(lines):
                self.line(lane, value, b.at(to, place), b.at(residual, place), mask, count, fewer)

        def blocks() -> None:
            b.count_up(I64(0), last, self.lanes, block, "blocks")
            block(last)

        b.do_if(b.not_(short), blocks, "long")
        b.do_if(short, lambda: block(I64(0), columns), "short")

    def line(
        self, lane: int, value: ir.Value, to: ir.Value, residual: ir.Value,
        mask: ir.Value | None, count: ir.Value | None, fewer: bool,
    ) -> None:  # fmt: skip
        """Pixels of one filter."""
        b, get = self.b, self.get

        def store() -> None:
            done = self.finished(value, b.at(residual, b.mul(I64(lane), get[CHANNEL_RESIDUAL])), mask)
            place = b.at(to, b.mul(I64(lane), get[CHANNEL]))
            if count is None:
                b.store_vector(done, place)
            else:
                b.store_lanes(done, place, count)

        if fewer:
            b.do_if(b.icmp_signed("<", I64(lane), get[CHANNELS]), store, f"line{lane}")
        else:
            store()

    def pixels(self, source: ir.Value, to: ir.Value, residual: ir.Value, fewer: bool) -> None:
        """A row of pixels that hold their filters together."""
        b, get = self.b, self.get
        mask = b.first_lanes(get[CHANNELS]) if fewer else None

        def pixel(j: ir.Value) -> None:
            (value,) = self.checked([b.load_vector(b.at(source, b.mul(j, I64(self.vector))))], None)
            value = b.fadd(value, self.bias)
            done = self.finished(value, b.at(residual, b.mul(j, get[PIXEL_RESIDUAL])), mask)
            place = b.at(to, b.mul(j, get[PIXEL]))
            if fewer:
                b.store_lanes(done, place, get[CHANNELS])
            else:
                b.store_vector(done, place)

        b.count_up(I64(0), get[COLUMNS], 1, pixel, "pixels")

    def finished(self, value: ir.Value, residual: ir.Value, mask: ir.Value | None) -> ir.Value:
        """activation(value + residual), where there is one"""
        b = self.b

        def add(values: Sequence[ir.Value]) -> list[ir.Value]:
            return [b.fadd(values[0], b.load_vector(residual, mask))]

        (total,) = b.values_if(self.has_residual, [value], add, "residual")
        return b.call(self.finish, [total]) if self.finish else total

    def checked(self, values: Sequence[ir.Value], count: ir.Value | None) -> Sequence[ir.Value]:
        """The values, of which the first `count` were looked at: finite or not?"""
        b = self.b
        zero = b.owner.constant(0.0)
        if count is not None:  # beyond, there is whatever an earlier row left
            values = [b.select(b.splat(b.icmp_signed("<", I64(i), count)), v, zero) for i, v in enumerate(values)]
        zeros = [b.fmul(value, zero) for value in values]
        while len(zeros) > 1:
            zeros = [b.fadd(x, y) for x, y in zip(zeros[::2], zeros[1::2], strict=True)]
        b.store(b.fadd(b.load(self.broken, typ=b.owner.vector), zeros[0]), self.broken)
        return values

    def report(self) -> None:
        """Set the slot where any value was not finite."""
        b, get = self.b, self.get
        found = b.fcmp_unordered("uno", b.load(self.broken, typ=b.owner.vector), b.owner.constant(0.0))
        bits = b.bitcast(found, ir.IntType(self.lanes))
        b.do_if(
            b.icmp_signed("!=", bits, ir.Constant(bits.type, 0)),
            lambda: b.store(I64(1), b.pointer(get[BROKEN])),
            "not_finite",
        )
