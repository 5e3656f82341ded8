"""Copies that a compiler would make slow: every other element of a row, and weights into panels."""

from __future__ import annotations

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, VectorModule


def every_other(dtype: str) -> int:
    """Return the address of void every_other(to, from, count): to[j] = from[2 j] for j < count, addresses as i64."""
    target = targets.current()
    name = f"every_other_{dtype}"
    return jit.address(name, lambda: str(emit_every_other(name, dtype, target)), target)


def emit_every_other(name: str, dtype: str, target: targets.Target) -> ir.Module:
    """The function as a module.

    A step takes L elements from 2 L - 1 (two loads that share one element, so that nothing behind the last wanted
    element is read); the last step overlaps the one before it. Fewer than L elements go one by one.
    """
    own = VectorModule(name, dtype, target)
    function, b = own.define(name, ir.VoidType(), [I64, I64, I64])
    to, source, count = function.args
    to, source = b.pointer(to, "to"), b.pointer(source, "from")
    lanes, item = own.lanes, own.bytes
    places = [2 * i if i < lanes // 2 else lanes + 2 * i - (lanes - 1) for i in range(lanes)]
    mask = b.places(places)

    def step(j: ir.Value) -> None:
        first = b.at(source, b.mul(j, I64(2 * item)))
        low, high = b.load_vector(first), b.load_vector(b.at(first, (lanes - 1) * item))
        b.store_vector(b.shuffle_vector(low, high, mask), b.at(to, b.mul(j, I64(item))))

    def vectors() -> None:
        last = b.sub(count, I64(lanes), "last")
        b.count_up(I64(0), last, lanes, step, "vectors")
        step(last)

    def element(j: ir.Value) -> None:
        value = b.load(b.at(source, b.mul(j, I64(2 * item))), typ=own.element, align=item)
        b.store(value, b.at(to, b.mul(j, I64(item))), align=item)

    long_enough = b.icmp_signed(">=", count, I64(lanes))
    b.do_if(long_enough, vectors, "long")
    b.do_if(b.not_(long_enough), lambda: b.count_up(I64(0), count, 1, element, "elements"), "short")
    b.ret_void()
    return own.module


# fmt: off
#: Operands of the function that `panels` makes: int64 slots.
(
    TO,                                # address of the first panel
    FROM,                              # address of the first filter's weight of the first step
    PARTS,                             # filter tiles of a group
    SIZE, LARGER,                      # filters of a tile; so many tiles of each group have one more
    FILTERS,                           # of a group
    STEPS,                             # of a panel
    FILTER_STRIDE,                     # elements from one filter's weights to the next's
    PANEL_STRIDE,                      # elements from one panel to the next
    PLACES,                            # where steps are left out, address of each step's place among those wanted
    PANEL_OPERANDS,
) = range(11)
# fmt: on


def panels(dtype: str, pitch: int, *, some: bool = False) -> int:
    """Return the address of the function that packs panels, [step][filter of the tile].

    Its tasks are the panels: filter tiles, counted over groups (`fastconv.codegen.launch` says how it is called; it
    needs no scratch). `pitch` is the elements from one step of a panel to the next: the filters of the largest tile.
    Where a tile has fewer, its last one stands again: nobody reads what is computed with it. With `some`, steps are
    left out, and a panel needs room for `spilled_steps` and one more.
    """
    target = targets.current()
    name = f"panels_{dtype}_{pitch}" + ("_some" if some else "")
    return jit.address(name, lambda: str(emit_panels(name, dtype, pitch, target, some)), target)


def spilled_steps(pitch: int, lanes: int) -> int:
    """Return how many steps of a panel the vectors stored for one step reach beyond it."""
    return -(-(-(-pitch // lanes) * lanes - pitch) // pitch)


def emit_panels(name: str, dtype: str, pitch: int, target: targets.Target, some: bool) -> ir.Module:
    """The function as a module.

    Blocks of L filters x L steps are transposed in registers: element by element the copy took four times as long, a
    tenth of a layer of 14 x 14 pixels. A stored vector may be longer than the rest of its step: what it spills into the
    next step is overwritten by it, and the last steps of a panel, which have no next one, go element by element.
    """
    own = VectorModule(name, dtype, target)
    function, b = own.define(name, ir.VoidType(), [I64] * 4)
    operands, _, first, last = function.args
    slots = b.load_slots(operands, PANEL_OPERANDS)
    to, source, parts, size, larger, filters, steps, filter_stride, stride, places = slots
    lanes, item = own.lanes, I64(own.bytes)
    bases = range(0, pitch, lanes)
    spilled = spilled_steps(pitch, lanes)

    def place_of(step: ir.Value) -> ir.Value:
        """Where in a panel a step goes; one that is not wanted is overwritten by the next that is."""
        return b.load_int(b.at(b.pointer(places), b.shl(step, I64(3)))) if some else step

    def panel(task: ir.Value) -> None:
        group, part = b.udiv(task, parts, "group"), b.urem(task, parts, "part")
        k = b.add(b.mul(part, size), b.least(part, larger), "first_filter")
        more = b.zext(b.icmp_signed("<", part, larger), I64)
        rows = b.least(b.add(size, more), b.sub(filters, k))
        row = b.mul(b.add(b.mul(group, filters), k), filter_stride)
        weights = b.pointer(b.add(source, b.mul(row, item)), "weights")
        begin = b.pointer(b.add(to, b.mul(b.mul(task, stride), item)), "panel")
        last_row, row_bytes = b.sub(rows, I64(1)), b.mul(filter_stride, item)
        lines = [b.at(weights, b.mul(b.least(I64(m), last_row), row_bytes)) for m in range(bases[-1] + lanes)]

        def block(step: ir.Value) -> None:
            place = b.mul(step, item)
            columns = [
                b.transposed([b.load_vector(b.at(line, place)) for line in lines[base : base + lanes]])
                for base in bases
            ]
            for i in range(lanes):
                at_step = b.at(begin, b.mul(place_of(b.add(step, I64(i))), I64(pitch * own.bytes)))
                for base, column in zip(bases, columns, strict=True):
                    b.store_vector(column[i], b.at(at_step, base * own.bytes))

        def single(step: ir.Value) -> None:
            at_step = b.at(begin, b.mul(place_of(step), I64(pitch * own.bytes)))
            for m in range(pitch):
                value = b.load(b.at(lines[m], b.mul(step, item)), typ=own.element, align=own.bytes)
                b.store(value, b.at(at_step, m * own.bytes), align=own.bytes)

        whole = b.mul(b.sdiv(b.sub(steps, I64(spilled)), I64(lanes)), I64(lanes))
        b.count_up(I64(0), whole, lanes, block, "blocks")
        b.count_up(b.select(b.icmp_signed("<", whole, I64(0)), I64(0), whole), steps, 1, single, "singles")

    b.count_up(first, last, 1, panel, "panels")
    b.ret_void()
    return own.module
