"""The processor's peak: fused multiply-adds on registers, nothing else; what every rate is a share of."""

from __future__ import annotations

import ctypes
import time

import numpy as np
from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, POINTER, VectorModule

_STEPS = 20_000


def measure(dtype: str, rounds: int = 25) -> float:
    """Return the floating-point operations a second of one thread, a multiply-add counting as two.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    rounds : int
        Short runs of some tenths of a millisecond; the fastest counts.
    """
    target = targets.current()
    # latency (4 or 5 cycles) x two units needs 10 independent sums; more would not fit 16 registers
    sums = 24 if target.vector_registers == 32 else 12
    name = f"peak_{dtype}"
    address = jit.address(name, lambda: str(_emit(name, dtype, sums, target)), target)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(address)
    sink = np.zeros(64, dtype)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        run(_STEPS, sink.ctypes.data)
        best = min(best, time.perf_counter() - start)
    return 2 * sums * target.lanes(dtype) * _STEPS / best


def _emit(name: str, dtype: str, count: int, target: targets.Target) -> ir.Module:
    """void peak(steps, sink): `count` sums of `steps` products; their total is stored so that none is dropped."""
    own = VectorModule(name, dtype, target)
    function, b = own.define(name, ir.VoidType(), [I64, POINTER])
    steps, sink = function.args
    factor = b.load_vector(sink)
    entry, loop = b.block, b.append_basic_block("loop")
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(I64, "i")
    sums = [b.phi(own.vector) for _ in range(count)]
    new = [b.multiply_add(factor, factor, value) for value in sums]
    i_next = b.add(i, I64(1))
    for phi, first, following in zip(
        [i, *sums], [I64(0), *[own.constant(0.0)] * count], [i_next, *new], strict=True
    ):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, loop)
    done = b.append_basic_block("done")
    b.cbranch(b.icmp_signed("<", i_next, steps), loop, done)
    b.position_at_end(done)
    total = new[0]
    for value in new[1:]:
        total = b.fadd(total, value)
    b.store_vector(total, sink)
    b.ret_void()
    return own.module
