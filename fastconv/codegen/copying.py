"""Copies that a compiler would make slow: every other element of a row, and weights into panels."""

from __future__ import annotations

from collections.abc import Callable

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


#: Arguments of the function that `panels` makes, all i64.
PANEL_ARGUMENTS = (
    "to",  # address of the first panel
    "from",  # address of the first filter's weight of the first step
    "first", "last",  # panels to make: filter tiles, counted over groups
    "parts",  # filter tiles of a group
    "size", "larger",  # filters of a tile; so many tiles of each group have one more
    "filters",  # of a group
    "steps",  # of a panel
    "filter_stride",  # elements from one filter's weights to the next's
    "panel_stride",  # elements from one panel to the next
    "pitch",  # elements from one step of a panel to the next
)  # fmt: skip

_CHUNK = 256  # steps: what is written stays in the first level cache until every filter is there


def panels(dtype: str) -> int:
    """Return the address of the function that packs panels, [step][filter of the tile]; see `PANEL_ARGUMENTS`.

    Where a tile has fewer filters than the panel is wide, zeros fill it.
    """
    target = targets.processor()
    name = f"panels_{dtype}"
    return jit.address(name, lambda: str(emit_panels(name, dtype, target)), target)


def emit_panels(name: str, dtype: str, target: targets.Target) -> ir.Module:
    """The function as a module."""
    own = VectorModule(name, dtype, target)
    function, b = own.define(name, ir.VoidType(), [I64] * len(PANEL_ARGUMENTS))
    for argument, of in zip(function.args, PANEL_ARGUMENTS, strict=True):
        argument.name = of
    to, source, first, last, parts, size, larger, filters, steps, filter_stride, stride, pitch = function.args
    item = I64(own.bytes)

    def panel(task: ir.Value) -> None:
        group, part = b.udiv(task, parts, "group"), b.urem(task, parts, "part")
        k = b.add(b.mul(part, size), b.least(part, larger), "first_filter")
        more = b.zext(b.icmp_signed("<", part, larger), I64)
        rows = b.least(b.add(size, more), b.sub(filters, k))
        row = b.mul(b.add(b.mul(group, filters), k), filter_stride)
        weights = b.pointer(b.add(source, b.mul(row, item)), "weights")
        begin = b.pointer(b.add(to, b.mul(b.mul(task, stride), item)), "panel")
        row_bytes, pitch_bytes = b.mul(filter_stride, item), b.mul(pitch, item)

        def columns(start: ir.Value) -> None:
            end = b.least(b.add(start, I64(_CHUNK)), steps)

            def fill(m: ir.Value, value_at: Callable[[ir.Value], ir.Value]) -> None:
                column = b.at(begin, b.mul(m, item))
                b.count_up(start, end, 1, lambda step: store(column, step, value_at(step)), "steps")

            def store(column: ir.Value, step: ir.Value, value: ir.Value) -> None:
                b.store(value, b.at(column, b.mul(step, pitch_bytes)), align=own.bytes)

            def filter_(m: ir.Value) -> None:
                line = b.at(weights, b.mul(m, row_bytes))
                fill(m, lambda step: b.load(b.at(line, b.mul(step, item)), typ=own.element, align=own.bytes))

            b.count_up(I64(0), rows, 1, filter_, "filters")
            b.count_up(rows, pitch, 1, lambda m: fill(m, lambda _: own.element(0.0)), "missing")

        b.count_up(I64(0), steps, _CHUNK, columns, "chunks")

    b.count_up(first, last, 1, panel, "panels")
    b.ret_void()
    return own.module
