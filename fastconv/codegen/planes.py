"""Copies of planes with zeros around them: what a box of a padded, perhaps strided, channels-first input is packed by.

    to[plane][above + r][before + j] = from[plane][r * stride][j * stride],   zeros in the rows and columns around

Rows are short: 16 elements where a plane of 14 x 14 is padded. A call of memcpy for each took as long as 60 elements;
here a row is some vectors, of which the last overlaps the one before it, and zeros are stored by whole vectors too:
what they spill is overwritten by what comes after it, and behind the last row there must be room for a vector.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, Builder, VectorModule

# fmt: off
#: Operands of the function: int64 slots. Pitches are in bytes.
(
    TO, FROM,               # addresses: of the first plane to write, of the first element to read
    PLANE_TO, PLANE_FROM,   # from one plane to the next
    ABOVE, ROWS, BELOW,     # rows of zeros, rows that are copied, rows of zeros
    ROW_TO, ROW_FROM,       # from one row to the next
    BEFORE, INSIDE, AFTER,  # zeros, elements that are copied (one or more), zeros of a row
    COLUMN_FROM,            # from one element to the next; read where the stride is not 1 or 2
    OPERANDS,
) = range(14)
# fmt: on


def planes(dtype: str, stride: int) -> int:
    """Return the address of the function for a stride along rows; its tasks are planes.

    `fastconv.codegen.launch` says how it is called; it needs no scratch.
    """
    target = targets.current()
    name = f"planes_{dtype}_{f'stride{stride}' if stride <= 2 else 'strided'}"
    return jit.address(name, lambda: str(emit(name, dtype, stride, target)), target)


def emit(name: str, dtype: str, stride: int, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(name, dtype, target)
    function, b = own.define(name, ir.VoidType(), [I64] * 4)
    operands, _, first, last = function.args
    get = b.load_slots(operands, OPERANDS)
    row_to, inside, item = get[ROW_TO], get[INSIDE], I64(own.bytes)
    row = _Row(b, stride, inside, get[PLANE_FROM], get[COLUMN_FROM])

    def zeros(to: ir.Value, size: ir.Value) -> None:
        def store(i: ir.Value) -> None:
            b.store_vector(own.constant(0.0), b.at(to, i))

        b.count_up(I64(0), size, own.width, store, "zeros")

    def plane(number: ir.Value) -> None:
        to = b.pointer(b.add(get[TO], b.mul(number, get[PLANE_TO])), "to")
        source = b.pointer(b.add(get[FROM], b.mul(number, get[PLANE_FROM])), "from")
        height = b.mul(get[ABOVE], row_to)
        zeros(to, height)
        to = b.at(to, height)

        def each(copy: Callable[[ir.Value, ir.Value], None]) -> None:
            def body(r: ir.Value) -> None:
                begin = b.at(to, b.mul(r, row_to))
                zeros(begin, b.mul(get[BEFORE], item))
                begin = b.at(begin, b.mul(get[BEFORE], item))
                copy(begin, b.at(source, b.mul(r, get[ROW_FROM])))
                zeros(b.at(begin, b.mul(inside, item)), b.mul(get[AFTER], item))

            b.count_up(I64(0), get[ROWS], 1, body, "rows")

        if stride <= 2:
            wide = b.icmp_signed(">=", inside, I64(own.lanes))
            b.do_if(wide, lambda: each(row.wide), "wide")
            b.do_if(b.not_(wide), lambda: each(row.narrow), "narrow")
        else:
            each(row.singly)
        zeros(b.at(to, b.mul(get[ROWS], row_to)), b.mul(get[BELOW], row_to))

    b.count_up(first, last, 1, plane, "planes")
    b.ret_void()
    return own.module


class _Row:
    """A row of `count` elements, `stride` apart; while it is copied, that of the next plane is asked for."""

    def __init__(self, b: Builder, stride: int, count: ir.Value, ahead: ir.Value, pitch: ir.Value) -> None:
        self.b, self.stride, self.count, self.ahead, self.pitch = b, stride, count, ahead, pitch

    def wide(self, to: ir.Value, source: ir.Value) -> None:
        """As many elements as a vector has, or more."""
        b, lanes = self.b, self.b.owner.lanes
        item = b.owner.bytes
        last = b.sub(self.count, I64(lanes))

        def step(j: ir.Value) -> None:
            place = b.at(source, b.mul(j, I64(self.stride * item)))
            b.prefetch(b.at(place, self.ahead))
            b.store_vector(self.vector(place), b.at(to, b.mul(j, I64(item))))

        b.count_up(I64(0), last, lanes, step, "vectors")
        step(last)

    def narrow(self, to: ir.Value, source: ir.Value) -> None:
        """Fewer elements than a vector has."""
        self.b.prefetch(self.b.at(source, self.ahead))
        self.b.store_vector(self.vector(source, self.count), to)

    def singly(self, to: ir.Value, source: ir.Value) -> None:
        """Element by element, `pitch` bytes apart."""
        b, item = self.b, self.b.owner.bytes

        def element(j: ir.Value) -> None:
            value = b.load(b.at(source, b.mul(j, self.pitch)), typ=b.owner.element, align=item)
            b.store(value, b.at(to, b.mul(j, I64(item))), align=item)

        b.count_up(I64(0), self.count, 1, element, "elements")

    def vector(self, source: ir.Value, count: ir.Value | None = None) -> ir.Value:
        """A vector of elements, or the first `count`; with a stride of 2 from two loads that share one element."""
        b, lanes = self.b, self.b.owner.lanes
        if self.stride == 1:
            return b.load_vector(source, None if count is None else b.first_lanes(count))
        low_mask = high_mask = None
        if count is not None:
            reach = b.sub(b.shl(count, I64(1)), I64(1))  # elements from the first to the last
            low_mask = b.first_lanes(reach)
            high_mask = b.first_lanes(b.sub(reach, I64(lanes - 1)))
        low = b.load_vector(source, low_mask)
        high = b.load_vector(b.at(source, (lanes - 1) * b.owner.bytes), high_mask)
        places = [2 * i if i < lanes // 2 else 2 * i + 1 for i in range(lanes)]
        return b.shuffle_vector(low, high, b.places(places))
