"""Discrete Fourier transforms of lines of complex vectors, in place, by passes of small straight-line butterflies.

    X[k] = sum over n of x[n] w^(nk),   w = exp(-2 pi i / N)

A lane is a line of its own: nothing is shuffled. An element is two vectors, real parts and imaginary parts. A line of N
elements, N a product of RADICES, goes through one pass a radix. The forward passes split by frequency (Gentleman and
Sande, 1966): with n elements and radix r, elements n / r apart become r sums, one for each of the r shorter lines that
the next passes go on with. So frequencies end up in the order of reversed digits. Nobody minds: the inverse passes
split by time (Cooley and Tukey, 1965), take that order and end in the natural one, and what happens between them
depends on no frequency's place.

The inverse is the forward transform with the two parts exchanged, and is not scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, Builder, VectorModule

#: Sizes of butterflies. Eight complex vectors fill the 16 registers of a 256-bit processor; 5 and 3 are for sizes
#: between the powers of two.
RADICES = (8, 5, 4, 3, 2)

# fmt: off
#: Operands of `lines`: int64 slots, steps in bytes.
(
    DATA, LINE, LINES,             # address of the first element; from one line to the next; how many
    PASSES, COUNT,                 # address of the rows below; how many
    OPERANDS,
) = range(6)

#: A row of a table of passes.
(
    FUNCTION,                      # address of the butterfly
    LEG,                           # from one of its elements to the next
    STEPS, STEP,                   # butterflies of a block, with a twiddle factor a leg each; from one to the next
    BLOCKS, BLOCK,                 # blocks of a line, from one to the next
    TWIDDLES,                      # address of (real, imaginary) a leg but the first, a step
    PASS_SLOTS,
) = range(8)
# fmt: on

Complex = tuple[ir.Value, ir.Value]


@dataclass(frozen=True)
class Butterfly:
    """What the code of a pass depends on."""

    dtype: str
    radix: int
    inverse: bool
    twiddled: bool  # else all factors are 1

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        direction = "inverse" if self.inverse else "forward"
        return f"butterfly_{self.dtype}_{self.radix}_{direction}_{'twiddled' if self.twiddled else 'plain'}"


@cache
def radices(size: int) -> tuple[int, ...] | None:
    """Return the radices whose product is `size`, in as few operations as can be; None if there are none."""
    if size == 1:
        return ()
    found = [
        (radix, *rest) for radix in RADICES if size % radix == 0 and (rest := radices(size // radix)) is not None
    ]
    return min(found, key=lambda factors: (_work(factors), factors), default=None)


#: Cycles of a butterfly for each of its elements, measured in the first level cache with vectors of 256 bits.
CYCLES = {2: 2.5, 3: 3.3, 4: 3.0, 5: 4.3, 8: 4.5}


def _work(factors: Iterable[int]) -> float:
    """Return the cycles of passes of these radices, for each vector element of a line."""
    return sum(CYCLES[radix] for radix in factors)


def cycles(size: int) -> float:
    """Return the cycles of a line of `size` elements."""
    return size * _work(radices(size) or ())


class Passes:
    """The passes of a line: a table for `lines`.

    Parameters
    ----------
    dtype : str
        Type of the real and imaginary parts.
    size : int
        Elements N of a line.
    stride : int
        Bytes from one to the next.
    inverse : bool
        Which direction.
    """

    def __init__(self, dtype: str, size: int, stride: int, inverse: bool) -> None:
        factors = radices(size)
        if factors is None:
            raise ValueError(f"size must be a product of {RADICES}, got {size}")
        rows, kept, length = [], [], size
        for radix in factors:
            steps = length // radix
            twiddles = _twiddles(dtype, length, radix)
            code = Butterfly(dtype, radix, inverse, steps > 1)
            kept.append(twiddles)
            rows.append(
                [address(code), steps * stride, steps, stride, size // length, length * stride, twiddles.ctypes.data]
            )
            length = steps
        self.table = np.array(rows[::-1] if inverse else rows, np.int64).reshape(-1)
        self.count = len(rows)
        self._kept = kept


def _twiddles(dtype: str, length: int, radix: int) -> npt.NDArray[np.floating]:
    """w^(jq) for j < length / radix and 0 < q < radix: (real, imaginary)."""
    places = np.arange(length // radix)[:, np.newaxis] * np.arange(1, radix)
    angles = -2 * math.pi * (places % length) / length
    return np.ascontiguousarray(np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(dtype))


# ------------------------------------------------------------------------------------------------ code


def address(butterfly: Butterfly) -> int:
    """Return the address of a butterfly: void f(address of the line, address of a row of the table)."""
    target = targets.current()
    return jit.address(butterfly.name, lambda: str(emit(butterfly, target)), target)


def lines(dtype: str) -> int:
    """Return the address of the function that transforms lines, one after the other."""
    target = targets.current()
    name = f"fourier_lines_{dtype}"
    return jit.address(name, lambda: str(emit_lines(name, dtype, target)), target)


def emit_lines(name: str, dtype: str, target: targets.Target) -> ir.Module:
    """Return the loops over lines and passes as an LLVM module."""
    own = VectorModule(name, dtype, target)
    b, (data, line, count, passes, many) = own.step(name, OPERANDS)
    kind = ir.FunctionType(ir.VoidType(), [I64, I64])

    def one(i: ir.Value) -> None:
        begin = b.add(data, b.mul(i, line))

        def pass_(j: ir.Value) -> None:
            row = b.add(passes, b.mul(j, I64(8 * PASS_SLOTS)))
            called = b.load_int(b.pointer(row))
            b.call(b.inttoptr(called, kind.as_pointer()), [begin, row])

        b.count_up(I64(0), many, 1, pass_, "passes")

    b.count_up(I64(0), count, 1, one, "lines")
    b.ret_void()
    return own.module


def emit(butterfly: Butterfly, target: targets.Target) -> ir.Module:
    """Return a pass of a line as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(butterfly.name, butterfly.dtype, target)
    function, b = own.define(butterfly.name, ir.VoidType(), [I64, I64])
    line, row = (b.pointer(argument) for argument in function.args)
    leg, steps, step, blocks, block, twiddles = (
        b.load_int(b.at(row, 8 * slot)) for slot in range(LEG, TWIDDLES + 1)
    )
    factors = 2 * own.bytes * (butterfly.radix - 1)

    def of_block(i: ir.Value) -> None:
        begin = b.at(line, b.mul(i, block))

        def of_step(j: ir.Value) -> None:
            at_twiddles = b.at(b.pointer(twiddles), b.mul(j, I64(factors)))
            _emit_step(b, butterfly, b.at(begin, b.mul(j, step)), leg, at_twiddles)

        if butterfly.twiddled:
            b.count_up(I64(0), steps, 1, of_step, "steps")
        else:
            of_step(I64(0))

    b.count_up(I64(0), blocks, 1, of_block, "blocks")
    b.ret_void()
    return own.module


def _emit_step(b: Builder, butterfly: Butterfly, place: ir.Value, leg: ir.Value, twiddles: ir.Value) -> None:
    """One butterfly, in place."""
    own = b.owner
    vector = own.width
    parts = (vector, 0) if butterfly.inverse else (0, vector)
    legs = [b.at(place, b.mul(leg, I64(q))) if q else place for q in range(butterfly.radix)]
    values = [(b.load_vector(b.at(at, parts[0])), b.load_vector(b.at(at, parts[1]))) for at in legs]

    def turned(values: Sequence[Complex]) -> list[Complex]:
        found = [values[0]]
        for q, value in enumerate(values[1:]):
            pair = 2 * own.bytes * q
            factor = b.broadcast(b.at(twiddles, pair)), b.broadcast(b.at(twiddles, pair + own.bytes))
            found.append(_product(b, value, factor))
        return found

    if butterfly.twiddled and butterfly.inverse:
        values = turned(values)
    values = transform(b, values)
    if butterfly.twiddled and not butterfly.inverse:
        values = turned(values)
    for at, (real, imaginary) in zip(legs, values, strict=True):
        b.store_vector(real, b.at(at, parts[0]))
        b.store_vector(imaginary, b.at(at, parts[1]))


def _product(b: Builder, x: Complex, y: Complex) -> Complex:
    """(x0 y0 - x1 y1, x0 y1 + x1 y0)"""
    real = b.multiply_add(x[0], y[0], b.fneg(b.fmul(x[1], y[1])))
    return real, b.multiply_add(x[0], y[1], b.fmul(x[1], y[0]))


def transform(b: Builder, x: Sequence[Complex]) -> list[Complex]:
    """The transform of a few values in straight-line code, in the order of frequencies."""
    size = len(x)
    if size == 1:
        return list(x)
    if size % 2:
        return _odd(b, x)
    # E and O are the transforms of the even and the odd places: X[k] = E[k] + w^k O[k], X[k + N/2] = E[k] - w^k O[k]
    even, odd = transform(b, x[::2]), transform(b, x[1::2])
    found = [_add_turned(b, even[k], odd[k], k, size) for k in range(size // 2)]
    return [plus for plus, _ in found] + [minus for _, minus in found]


def _add_turned(b: Builder, x: Complex, y: Complex, k: int, size: int) -> tuple[Complex, Complex]:
    """x + w^k y and x - w^k y, with as few operations as w^k allows."""
    if 4 * k == size:  # -i (y0 + i y1) = y1 - i y0
        return (b.fadd(x[0], y[1]), b.fsub(x[1], y[0])), (b.fsub(x[0], y[1]), b.fadd(x[1], y[0]))
    if 8 * k in (size, 3 * size):  # (+-1 - i) / sqrt(2)
        total, difference = b.fadd(y[0], y[1]), b.fsub(y[1], y[0])
        root = math.sqrt(0.5)
        real, imaginary, sign = (total, difference, 1) if 8 * k == size else (difference, total, -1)
        return (
            (_scaled(b, root, real, x[0]), _scaled(b, sign * root, imaginary, x[1])),
            (_scaled(b, -root, real, x[0]), _scaled(b, -sign * root, imaginary, x[1])),
        )
    if k:
        angle = -2 * math.pi * k / size
        y = _product(b, y, (b.owner.constant(math.cos(angle)), b.owner.constant(math.sin(angle))))
    return (b.fadd(x[0], y[0]), b.fadd(x[1], y[1])), (b.fsub(x[0], y[0]), b.fsub(x[1], y[1]))


def _scaled(b: Builder, scale: float, x: ir.Value, y: ir.Value) -> ir.Value:
    """scale * x + y"""
    return b.multiply_add(b.owner.constant(scale), x, y)


def _odd(b: Builder, x: Sequence[Complex]) -> list[Complex]:
    """Of an odd size, by sums and differences of opposite places.

    With s_j = x[j] + x[N-j], d_j = x[j] - x[N-j]: X[k] and X[N-k] are x[0] + sum cos(2 pi jk / N) s_j -+ i sum
    sin(2 pi jk / N) d_j.
    """
    size, half = len(x), len(x) // 2
    pairs = [(x[j], x[size - j]) for j in range(1, half + 1)]
    sums = [(b.fadd(p[0], q[0]), b.fadd(p[1], q[1])) for p, q in pairs]
    differences = [(b.fsub(p[0], q[0]), b.fsub(p[1], q[1])) for p, q in pairs]
    total = x[0]
    for pair in sums:
        total = b.fadd(total[0], pair[0]), b.fadd(total[1], pair[1])
    found = {0: total}
    for k in range(1, half + 1):
        even: list[ir.Value] = list(x[0])
        turned: list[ir.Value | None] = [None, None]
        for j, (total_j, difference) in enumerate(zip(sums, differences, strict=True), 1):
            angle = 2 * math.pi * (j * k % size) / size
            cosine, sine = b.owner.constant(math.cos(angle)), b.owner.constant(math.sin(angle))
            for part in range(2):
                even[part] = b.multiply_add(cosine, total_j[part], even[part])
                before = turned[part]
                term = difference[part]
                turned[part] = b.fmul(sine, term) if before is None else b.multiply_add(sine, term, before)
        # -i (t0 + i t1) = t1 - i t0
        found[k] = b.fadd(even[0], turned[1]), b.fsub(even[1], turned[0])
        found[size - k] = b.fsub(even[0], turned[1]), b.fadd(even[1], turned[0])
    return [found[k] for k in range(size)]
