"""The device's peak: fused multiply-adds on registers, nothing else; what every rate is a share of."""

from __future__ import annotations

from numba import cuda

from fastconv.cuda.compile import Float, Kernel, Pointer
from fastconv.cuda.intrinsics import add_outer, load, store, zeros
from fastconv.cuda.plan import Operand, Plan, Target
from fastconv.cuda.unroll import static_range

__all__ = ["DTYPES", "THREADS", "flops", "plan"]

THREADS = 256
_BLOCKS = 8  # of a multiprocessor: it is never without a warp that can go on
_SIDE = 4  # of a square of independent sums
_AT_ONCE = 16  # products of a sum in a turn of the loop
_STEPS = {"float32": 4000, "float64": 1000}  # turns: some milliseconds
DTYPES = tuple(_STEPS)

SUMS = AT_ONCE = 0  # what the kernel is specialised by


def _peak(factors: Pointer, sink: Pointer, steps: int) -> None:
    """Add products to a square of sums, and keep what comes out lest the compiler drop it."""
    a = (load(factors, 0), load(factors, 1), load(factors, 2), load(factors, 3))
    b = (load(factors, 4), load(factors, 5), load(factors, 6), load(factors, 7))
    sums = zeros(Float(0), SUMS)
    for _ in range(steps):
        for _ in static_range(AT_ONCE):
            sums = add_outer(sums, a, b)
    total = Float(0)
    for i in range(SUMS):
        total += sums[i]
    store(sink, cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, total)


def plan(dtype: str, target: Target) -> Plan:
    """Return a plan on eight factors, and on as many elements as there are threads."""
    kernel = Kernel(_peak, dtype, THREADS, constants={"SUMS": _SIDE * _SIDE, "AT_ONCE": _AT_ONCE})
    grid = (blocks(target), 1, 1)
    return Plan(target, (target.step(kernel, grid, [Operand(0), Operand(1)], (_STEPS[dtype],)),), 0)


def blocks(target: Target) -> int:
    """Return how many blocks there are."""
    return _BLOCKS * target.device.multiprocessors


def flops(dtype: str, target: Target) -> int:
    """Return the operations of a run; a multiply-add counts as two."""
    return 2 * _SIDE * _SIDE * _AT_ONCE * _STEPS[dtype] * blocks(target) * THREADS
