"""Codelets that apply a Winograd transform: straight-line programs of small matrices on vectors.

    Y = A X B^T      X: a tile of vectors, A and B: the matrices of `fastconv.codegen.cook_toom`, one for each axis

A lane is a channel, so nothing is shuffled. Where an axis is not transformed its matrix is the 1 x 1 identity: a pass
along one axis alone is the same codelet. With 16 registers the two axes of an input tile are two such passes, because
the second then shares what the first computed with the next tile, and neither spills.

A codelet takes one argument, the address of its operands: int64 slots, strides in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.cook_toom import transforms
from fastconv.codegen.straight_line import Program, program
from fastconv.codegen.vector import I64, Builder, VectorModule
from fastconv.codegen.winograd_tile import Axis

# fmt: off
#: Operands of a codelet. It goes through `COUNT` tiles of each of `OUTER` rows.
(
    FROM, TO,                        # addresses of the first tile
    IN_ROW, IN_COLUMN,               # from one vector of a tile to the next, along each axis
    OUT_ROW, OUT_COLUMN,             # the same of the result
    COUNT, FROM_STEP, TO_STEP,       # tiles, from one to the next
    OUTER, FROM_OUTER, TO_OUTER,     # rows of tiles, from one to the next
    OPERANDS,
) = range(13)
# fmt: on

#: Which matrix of F(m, r).
INPUT, WEIGHT, OUTPUT = "input", "weight", "output"


@dataclass(frozen=True)
class Codelet:
    """What the code of a codelet depends on."""

    dtype: str
    matrix: str  # INPUT, WEIGHT or OUTPUT
    rows: Axis
    columns: Axis

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        (m, r, down), (n, s, across) = self.rows, self.columns
        strides = f"_s{down}x{across}" if max(down, across) > 1 else ""
        return f"winograd_{self.matrix}_{self.dtype}_{m}x{n}_{r}x{s}{strides}"

    def programs(self) -> tuple[Program, Program]:
        """The programs along rows and along columns."""
        first, second = (program(getattr(transforms(*axis), self.matrix)) for axis in (self.rows, self.columns))
        return first, second


def address(codelet: Codelet) -> int:
    """Return the address of the codelet's function."""
    target = targets.current()
    return jit.address(codelet.name, lambda: str(emit(codelet, target)), target)


def emit(codelet: Codelet, target: targets.Target) -> ir.Module:
    """Return the codelet as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(codelet.name, codelet.dtype, target)
    b, get = own.step(codelet.name, OPERANDS)
    rows, columns = codelet.programs()

    def row(i: ir.Value) -> None:
        source = b.pointer(b.add(get[FROM], b.mul(i, get[FROM_OUTER])), "from")
        to = b.pointer(b.add(get[TO], b.mul(i, get[TO_OUTER])), "to")

        def tile(j: ir.Value) -> None:
            places = b.at(source, b.mul(j, get[FROM_STEP])), b.at(to, b.mul(j, get[TO_STEP]))
            _emit_tile(b, rows, columns, *places, get)

        b.count_up(I64(0), get[COUNT], 1, tile, "tiles")

    b.count_up(I64(0), get[OUTER], 1, row, "rows")
    b.ret_void()
    return own.module


def _emit_tile(
    b: Builder, rows: Program, columns: Program, source: ir.Value, to: ir.Value, get: list[ir.Value]
) -> None:
    """Column by column along the rows, then row by row along the columns."""
    arithmetic = _Vectors(b)
    transformed = []
    for j in range(columns.inputs):
        column = _walk(b, source, get[IN_COLUMN], j)
        vectors = [b.load_vector(_walk(b, column, get[IN_ROW], i)) for i in range(rows.inputs)]
        transformed.append(rows.apply(vectors, arithmetic))
    for i in range(len(rows.outputs)):
        line = _walk(b, to, get[OUT_ROW], i)
        for j, value in enumerate(columns.apply([column[i] for column in transformed], arithmetic)):
            b.store_vector(value, _walk(b, line, get[OUT_COLUMN], j))


def _walk(b: Builder, pointer: ir.Value, stride: ir.Value, steps: int) -> ir.Value:
    """`pointer` and so many strides."""
    return b.at(pointer, b.mul(stride, I64(steps))) if steps else pointer


class _Vectors:
    """What programs compute with: vectors of the module that is built."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def add(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fadd(x, y)

    def subtract(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fsub(x, y)

    def multiply(self, constant: Fraction, x: ir.Value) -> ir.Value:
        return self.b.fmul(self.b.owner.constant(float(constant)), x)

    def multiply_add(self, constant: Fraction, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.multiply_add(self.b.owner.constant(float(constant)), x, y)
