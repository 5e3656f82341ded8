"""Every other element of a row: what a stride of 2 reads, as vector code."""

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
