"""Short programs without branches that multiply a vector by a constant matrix.

The matrices of Winograd's transforms are small and full of structure: points come in pairs +p, -p, so rows, or
columns, come in pairs that differ in signs only. A program is found once, exactly, and then applied to whatever
computes: fractions in a test, NumPy in an error estimate, a builder of vector code in a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Literal, NamedTuple, Protocol, TypeVar

from fastconv.codegen.cook_toom import Matrix

Value = TypeVar("Value")
Kind = Literal["add", "subtract", "multiply", "multiply_add"]


class Arithmetic(Protocol[Value]):
    """What computes a program: exact numbers, arrays, or values of code being emitted."""

    def add(self, a: Value, b: Value, /) -> Value:
        """a + b"""

    def subtract(self, a: Value, b: Value, /) -> Value:
        """a - b"""

    def multiply(self, constant: Fraction, a: Value, /) -> Value:
        """constant * a"""

    def multiply_add(self, constant: Fraction, a: Value, b: Value, /) -> Value:
        """constant * a + b"""


class Operation(NamedTuple):
    """One operation on the values numbered in `operands`, with the constant where its kind has one."""

    kind: Kind
    operands: tuple[int, ...]
    constant: Fraction = Fraction(1)


@dataclass(frozen=True)
class Program:
    """Operations in order. Values are numbered: the inputs first, then the result of each operation.

    An output may be an input unchanged.
    """

    inputs: int
    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]

    def apply(self, values: Sequence[Value], arithmetic: Arithmetic[Value]) -> list[Value]:
        """Return the outputs for the inputs `values`, computed by `arithmetic`."""
        known = list(values)
        for kind, operands, constant in self.operations:
            arguments = [known[operand] for operand in operands]
            if kind == "add":
                known.append(arithmetic.add(*arguments))
            elif kind == "subtract":
                known.append(arithmetic.subtract(*arguments))
            elif kind == "multiply":
                known.append(arithmetic.multiply(constant, *arguments))
            else:
                known.append(arithmetic.multiply_add(constant, *arguments))
        return [known[output] for output in self.outputs]

    @property
    def live(self) -> int:
        """The most values that are needed at once, results that wait for the end included: registers it takes."""
        last = self._last_uses()
        return max(
            sum(made <= now < last.get(value, -1) for value, made in enumerate(self._births()))
            for now in range(len(self.operations) + 1)
        )

    def _births(self) -> list[int]:
        """The number of operations done when each value first exists."""
        return [0] * self.inputs + list(range(1, len(self.operations) + 1))

    def _last_uses(self) -> dict[int, int]:
        """For each value, the number of operations done after which nobody needs it."""
        last = {operand: step for step, entry in enumerate(self.operations, 1) for operand in entry.operands}
        return last | dict.fromkeys(self.outputs, len(self.operations) + 1)


@cache
def program(matrix: Matrix) -> Program:
    """Return a short program for ``matrix @ x``.

    Pairs of columns that differ in signs only become a sum and a difference; pairs of such rows become
    even + odd and even - odd. Operations are then put in an order in which few values are alive at once.
    """
    draft = _Draft(len(matrix[0]))
    rows = [{column: value for column, value in enumerate(row) if value != 0} for row in matrix]
    _share_columns(draft, rows)
    outputs = _share_rows(draft, rows)
    return _in_order(Program(draft.inputs, tuple(draft.operations), outputs))


Terms = dict[int, Fraction]  # value number: its coefficient, in a sum


@dataclass
class _Draft:
    """A program being written. The same operation on the same values is written once."""

    inputs: int
    operations: list[Operation] = field(default_factory=list)
    known: dict[Operation, int] = field(default_factory=dict)

    def emit(self, kind: Kind, *operands: int, constant: Fraction = Fraction(1)) -> int:
        """Return the value of the operation."""
        operation = Operation(kind, operands, constant)
        if operation not in self.known:
            self.known[operation] = self.inputs + len(self.operations)
            self.operations.append(operation)
        return self.known[operation]

    def multiply_add(self, constant: Fraction, a: int, b: int) -> int:
        """constant * a + b"""
        if constant == 1:
            return self.emit("add", b, a)
        if constant == -1:
            return self.emit("subtract", b, a)
        return self.emit("multiply_add", a, b, constant=constant)

    def total(self, terms: Terms) -> int:
        """The sum of coefficient * value. It begins with a value that needs no multiplication, if there is one."""
        if not terms:
            return self.emit("multiply", 0, constant=Fraction(0))
        first, *rest = sorted(terms, key=lambda value: (terms[value] != 1, value))
        value = first if terms[first] == 1 else self.emit("multiply", first, constant=terms[first])
        for other in rest:
            value = self.multiply_add(terms[other], other, value)
        return value


def _share_columns(draft: _Draft, rows: list[Terms]) -> None:
    """Rewrite `rows` in terms of p + q and p - q where the columns p and q differ in signs only."""
    columns = list(range(draft.inputs))
    while columns:
        p = columns.pop(0)
        partner = next((q for q in columns if _alike([(row.get(p), row.get(q)) for row in rows])), None)
        if partner is None:
            continue
        columns.remove(partner)
        total, difference = draft.emit("add", p, partner), draft.emit("subtract", p, partner)
        for row in rows:
            if p in row:
                coefficient = row.pop(p)
                row[total if row.pop(partner) == coefficient else difference] = coefficient


def _share_rows(draft: _Draft, rows: list[Terms]) -> tuple[int, ...]:
    """Write all rows, and return their values: those that differ in signs only as even + odd and even - odd."""
    outputs: dict[int, int] = {}
    for i, row in enumerate(rows):
        if i in outputs:
            continue
        for j in range(i + 1, len(rows)):
            other = rows[j]
            if j not in outputs and row.keys() == other.keys() and _alike([(row[v], other[v]) for v in row]):
                even = {value: c for value, c in row.items() if other[value] == c}
                odd = {value: c for value, c in row.items() if other[value] == -c}
                scale = odd[max(odd)]
                base, rest = draft.total({value: c / scale for value, c in odd.items()}), draft.total(even)
                outputs[i] = draft.multiply_add(scale, base, rest)
                outputs[j] = draft.multiply_add(-scale, base, rest)
                break
        else:
            outputs[i] = draft.total(row)
    return tuple(outputs[i] for i in range(len(rows)))


def _alike(pairs: list[tuple[Fraction | None, Fraction | None]]) -> bool:
    """Say whether the two of each pair differ in sign at most, some of them do and some do not."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if sum(a is None and b is None for a, b in pairs) + len(known) != len(pairs):
        return False
    same, opposite = sum(a == b for a, b in known), sum(a == -b for a, b in known)
    return same > 0 and opposite > 0 and same + opposite == len(known)


def _in_order(draft: Program) -> Program:
    """Put the operations in an order in which few values are alive at once.

    Of the operations whose operands exist, the next is one that ends the lives of most of them. So sums that begin
    with a value nobody else reads come first and grow in its place.
    """
    uses = dict.fromkeys(range(draft.inputs + len(draft.operations)), 0)
    for value in (*draft.outputs, *(operand for entry in draft.operations for operand in entry.operands)):
        uses[value] += 1
    number = {value: value for value in range(draft.inputs)}
    waiting = dict(enumerate(draft.operations, draft.inputs))
    ordered: list[Operation] = []
    while waiting:
        ready = [value for value, entry in waiting.items() if all(operand in number for operand in entry.operands)]
        best = max(ready, key=lambda value: sum(uses[operand] == 1 for operand in waiting[value].operands))
        kind, operands, constant = waiting.pop(best)
        for operand in operands:
            uses[operand] -= 1
        number[best] = draft.inputs + len(ordered)
        ordered.append(Operation(kind, tuple(number[operand] for operand in operands), constant))
    return Program(draft.inputs, tuple(ordered), tuple(number[output] for output in draft.outputs))
