"""What a plan's function is called with, and how it is made one that `fastconv.codegen.launch` hands out."""

from __future__ import annotations

from llvmlite import ir

from fastconv.codegen.vector import I64, Builder, VectorModule

# Addresses of the plan's numbers and of the arrays (0 for no bias, no residual), and a slot that the function sets
# where it left out what counts
PLAN, X, WEIGHT, BIAS, RESIDUAL, Y, LEFT_OUT, OPERANDS = range(8)
_NAMES = ("plan", "x", "weight", "bias", "residual", "y")

# Arguments that follow them in a function that `begin` begins
FIRST, LAST, SCRATCH, ARGUMENTS = range(LEFT_OUT, LEFT_OUT + 4)


def begin(own: VectorModule) -> tuple[ir.Function, Builder]:
    """Begin a function that `end` makes launchable.

    Its arguments are a plan's operands, the range of its tasks and the address of its scratch, all i64. It returns
    whether it left out what counts.
    """
    function, b = own.define("work", I64, [I64] * ARGUMENTS, internal=True)
    for argument, name in zip(function.args, (*_NAMES, "first", "last", "scratch"), strict=True):
        argument.name = name
    return function, b


def end(own: VectorModule, name: str, work: ir.Function) -> None:
    """Define the function `name` that is launched and calls `work`."""
    function, b = own.define(name, ir.VoidType(), [I64] * 4)
    given, scratch, first, last = function.args
    slots = [b.at(b.pointer(given), 8 * i) for i in range(OPERANDS)]
    failed = b.call(work, [*map(b.load_int, slots[:LEFT_OUT]), first, last, scratch])
    b.do_if(b.icmp_signed("!=", failed, I64(0)), lambda: b.store(failed, slots[LEFT_OUT]), "left_out")
    b.ret_void()
