"""The register tile: the one inner kernel of every convolution that is a sum of products.

A tile holds `rows` x `vectors` sums in registers. One side of each product is a scalar, broadcast ("a", one for each
row), the other a vector ("b", one for each column of vectors). With channels first, rows are filters and vectors run
along pixels:

    y[m, v] += sum over s of w[m][s * w_step] * x[v][table[s]]

With channels last, rows are pixels and vectors run along filters:

    y[m, v] += sum over s of x[m][table[s]] * w[v][s * w_step]

The table is what makes it a convolution: step s is a channel and a kernel tap, and table[s] is where they lie relative
to the first. Weights are always read one after the other, as they lie (channel, tap) or were packed: w_step is a
constant of the code.

The tile ends with the epilogue: what is in y already, bias, residual and activation, as the frame asks. Then it moves
on by as many rows as it has, REPEATS times: a call costs as much as some dozen products.

A tile takes one argument, the address of its frame: int64 slots, listed below. Strides, steps and table entries are
in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen import activation, jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, POINTER, Builder, VectorModule

MAX_VECTORS = 4

Change = Callable[[Sequence[ir.Value]], Sequence[ir.Value]]  # of values that a part of the code may change

STEPS = 0  # products of a sum
TABLE = 1  # address of STEPS offsets into the input
A = 2  # address of the first row's scalars
A_ROW = 3  # from one row to the next; in panels of filters it is an element
Y_ROW = 4  # from one row of the result to the next
RESIDUAL_ROW = 5
ACCUMULATE = 6  # 1: add to what y holds, 0: overwrite it
FINISH = 7  # 1: add bias and residual, apply the activation
BIAS = 8  # address, or 0 for none; one element a filter
B = 9  # addresses, one a vector, from here on; of weights only the first: the others follow it
Y = B + MAX_VECTORS
RESIDUAL = Y + MAX_VECTORS  # 0 in the first: none
LANES = RESIDUAL + MAX_VECTORS  # valid lanes of each vector, read by partial tiles only
REPEATS = LANES + MAX_VECTORS  # tiles of rows to compute, one after the other
A_NEXT = REPEATS + 1  # from one of them to the next
Y_NEXT = A_NEXT + 1
RESIDUAL_NEXT = Y_NEXT + 1
BIAS_NEXT = RESIDUAL_NEXT + 1
JOINT = BIAS_NEXT + 1  # of each vector: lanes in front of its first joint, read by joined tiles only
RUN = JOINT + MAX_VECTORS  # lanes from one joint to the next
GAP = RUN + 1  # that the operand skips at a joint
FRAME_SLOTS = GAP + 1

#: How the vectors of a tile are filled. A vector may join the end of one run of pixels with the beginning of the next:
#: they follow each other in the result, and lie a gap apart in the operand, which is then loaded from both places.
#: Of the vectors of a tile the last 0 (WHOLE), 1, ... MAX_VECTORS are joined. PARTIAL: any vector may be shorter than
#: the register, LANES says how short, and any may be joined.
WHOLE, PARTIAL = 0, MAX_VECTORS + 1
FILLS = MAX_VECTORS + 2


@dataclass(frozen=True)
class Tile:
    """What the code of a tile depends on."""

    dtype: str
    rows: int
    vectors: int
    fill: int  # joined vectors, or PARTIAL
    rows_are_filters: bool  # channels first; else rows are pixels
    activation: str | None
    pitch: int  # elements from the weights of a step to those of the next; 1: filters lie A_ROW bytes apart
    joints: int = 0  # that a joined vector has at most

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        parts = [
            f"tile_{self.dtype}_{self.rows}x{self.vectors}",
            "partial" if self.fill == PARTIAL else "whole",
            *([f"joined{self.joined}x{self.joints}"] if self.joined else []),
            "filters_by_pixels" if self.rows_are_filters else "pixels_by_filters",
            f"pitch{self.pitch}",
            self.activation or "linear",
        ]
        return "_".join(parts)

    @property
    def steps_together(self) -> int:
        """Steps that the loop takes at a time.

        A step of 6 x 2 is 22 instructions instead of 28, of which 20 multiply and load. A core that is alone hides the
        difference. One that shares its units with a neighbour took 1.05 to 1.25 times as long without it. Joined
        vectors need registers for their masks, and spill more.
        """
        if self.joined:
            return 1
        return 4 if self.rows * self.vectors <= 12 else 2

    @property
    def joined(self) -> int:
        """How many of its vectors, the last ones, are loaded from several runs."""
        if self.fill == PARTIAL:
            return self.vectors if self.joints else 0
        return self.fill


def address(tile: Tile) -> int:
    """Return the address of the tile's machine code for the target in force."""
    target = targets.current()
    return jit.address(tile.name, lambda: str(emit(tile, target)), target)


def shape(target: targets.Target, rows: int) -> tuple[int, int]:
    """Return the (rows, vectors) of a full tile where the product has `rows` rows.

    Sums fill the registers but for the vectors of b and one broadcast: 12 sums of 16 registers (6 x 2: 6 broadcasts
    and 2 loads for 12 fused multiply-adds), 24 of 32 (8 x 3). Products of few rows take more vectors instead, but no
    3 x 4 of 16 registers: with its vectors that is one more than there are, and steps took up to twice the time.
    """
    most_rows, vectors = (8, 3) if target.vector_registers == 32 else (6, 2)
    if rows == 3:
        return rows, MAX_VECTORS if target.vector_registers == 32 else 3
    if rows < 3:
        return rows, MAX_VECTORS
    return min(rows, most_rows), vectors


def emit(tile: Tile, target: targets.Target) -> ir.Module:
    """Return the tile as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(tile.name, tile.dtype, target)
    finish = activation.declare(own, tile.activation) if tile.activation else None
    function, b = own.define(tile.name, ir.VoidType(), [POINTER])
    function.args[0].name = "frame"
    frame = _Frame(b, function.args[0], tile)
    repeats = frame.integer(REPEATS, "repeats")
    moves = [frame.integer(slot, f"next{slot}") for slot in (A_NEXT, Y_NEXT, RESIDUAL_NEXT, BIAS_NEXT)]

    def one_tile(_: ir.Value, shifts: Sequence[ir.Value]) -> Sequence[ir.Value]:
        a_shift, *others = shifts
        sums = _emit_sums(b, frame, tile, a_shift)
        _emit_epilogue(b, frame, tile, sums, finish, *others)
        return [b.add(shift, move) for shift, move in zip(shifts, moves, strict=True)]

    b.loop_once(I64(0), repeats, 1, [I64(0)] * len(moves), one_tile, "tile")
    b.ret_void()
    return own.module


class _Frame:
    """The slots of the frame, loaded when asked for."""

    def __init__(self, b: Builder, pointer: ir.Value, tile: Tile) -> None:
        self.b, self.pointer, self.tile = b, pointer, tile

    def integer(self, slot: int, name: str) -> ir.Value:
        return self.b.load_int(self.b.at(self.pointer, 8 * slot), name)

    def address(self, slot: int, name: str) -> ir.Value:
        return self.b.pointer(self.integer(slot, f"{name}.address"), name)

    def vectors(self, slot: int, name: str) -> list[ir.Value]:
        return [self.address(slot + v, f"{name}{v}") for v in range(self.tile.vectors)]

    def rows_of(self, pointer: ir.Value, stride: ir.Value) -> list[ir.Value]:
        """`pointer` and the pointers `stride` bytes apart after it, one a row."""
        pointers = [pointer]
        for _ in range(self.tile.rows - 1):
            pointers.append(self.b.at(pointers[-1], stride))
        return pointers


def _emit_sums(b: Builder, frame: _Frame, tile: Tile, a_shift: ir.Value) -> list[ir.Value]:
    """The loop over steps, some at a time and then those left; returns the sums, row by row."""
    steps, table = frame.integer(STEPS, "steps"), frame.address(TABLE, "table")
    step = _Step(b, frame, tile, b.at(frame.address(A, "a"), a_shift))
    pitch = tile.pitch * b.owner.bytes

    def some_steps(count: int) -> Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]:
        def body(i: ir.Value, values: Sequence[ir.Value]) -> Sequence[ir.Value]:
            weights, *sums = values
            offsets = b.at(table, b.shl(i, I64(3)))
            for u in range(count):
                input_offset = b.load_int(b.at(offsets, 8 * u), "input_offset")
                sums = step.add(b.at(weights, u * pitch), input_offset, sums)
            return [b.at(weights, count * pitch), *sums]

        return body

    def steps_from(first: ir.Value, end: ir.Value, count: int, name: str) -> Change:
        return lambda values: b.loop_once(first, end, count, values, some_steps(count), name)

    values: list[ir.Value] = [step.weights, *[ir.Constant(b.owner.vector, None)] * (tile.rows * tile.vectors)]
    together = tile.steps_together
    if together == 1:
        _, *sums = steps_from(I64(0), steps, 1, "steps")(values)
        return sums
    whole = b.and_(steps, I64(-together), "whole")
    left = b.icmp_signed("<", whole, steps, "left")
    values = b.values_if(b.positive(whole), values, steps_from(I64(0), whole, together, "steps"), "some_steps")
    _, *sums = b.values_if(left, values, steps_from(whole, steps, 1, "step"), "last_steps")
    return sums


class _Step:
    """The products of one step."""

    def __init__(self, b: Builder, frame: _Frame, tile: Tile, a: ir.Value) -> None:
        self.b, self.tile = b, tile
        self.rows = _row_offsets(b, frame, tile)
        self.joints = _Joints(frame)
        if tile.rows_are_filters:
            self.weights, self.inputs = a, frame.vectors(B, "b")
        else:
            self.weights, self.inputs = frame.address(B, "b"), [a]

    def add(self, weights: ir.Value, input_offset: ir.Value, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """Return sums + a b, of a step whose weights and input lie there."""
        b = self.b
        inputs = [b.at(pointer, input_offset) for pointer in self.inputs]
        if self.tile.rows_are_filters:
            first = weights
            columns = [self.joints.load(v, pointer) for v, pointer in enumerate(inputs)]
        else:
            (first,) = inputs
            columns = [b.load_vector(b.at(weights, v * b.owner.width)) for v in range(self.tile.vectors)]
        old, new = iter(sums), []
        for row in self.rows:
            scalar = b.broadcast(b.at(first, row))
            new += [b.multiply_add(scalar, column, next(old)) for column in columns]
        return new


def _row_offsets(b: Builder, frame: _Frame, tile: Tile) -> list[ir.Value | int]:
    """Bytes from the first row's scalar to each row's: constants in a panel of filters, else a register each.

    Left alone, LLVM would compute each address from the one before, with an instruction each.
    """
    if tile.rows_are_filters and tile.pitch > 1:
        return [m * b.owner.bytes for m in range(tile.rows)]
    row = frame.integer(A_ROW, "a_row")
    return [0, *(b.opaque(b.mul(row, I64(m))) for m in range(1, tile.rows))]


class _Joints:
    """Loads of the operand's vectors, the joined ones from each of their runs."""

    def __init__(self, frame: _Frame) -> None:
        self.b, tile = frame.b, frame.tile
        self.first = tile.vectors - tile.joined
        self.gap = frame.integer(GAP, "gap") if tile.joined else None
        run = frame.integer(RUN, "run") if tile.joints > 1 else None
        self.masks: list[list[ir.Value]] = []  # for each joined vector, the lanes behind each of its joints
        for v in range(self.first, tile.vectors):
            place, masks = frame.integer(JOINT + v, f"joint{v}"), []
            for joint in range(tile.joints):
                place = self.b.add(place, run) if joint else place
                masks.append(self.b.lanes_from(place))
            self.masks.append(masks)

    def load(self, v: int, pointer: ir.Value) -> ir.Value:
        value = self.b.load_vector(pointer)
        for mask in self.masks[v - self.first] if v >= self.first else ():
            pointer = self.b.at(pointer, self.gap)
            value = self.b.blend(value, self.b.load_vector(pointer), mask)
        return value


def _emit_epilogue(
    b: Builder,
    frame: _Frame,
    tile: Tile,
    sums: Sequence[ir.Value],
    finish: ir.Function | None,
    y_shift: ir.Value,
    residual_shift: ir.Value,
    bias_shift: ir.Value,
) -> None:
    """y = activation(sums + y + bias + residual), each term where the frame asks for it."""
    lanes = [frame.integer(LANES + v, f"lanes{v}") for v in range(tile.vectors)]
    short = tile.fill == PARTIAL
    masks = [b.first_lanes(count) for count in lanes] if short else [None] * tile.vectors
    places = [(m, v) for m in range(tile.rows) for v in range(tile.vectors)]
    y_row = frame.integer(Y_ROW, "y_row")
    columns = [frame.rows_of(b.at(pointer, y_shift), y_row) for pointer in frame.vectors(Y, "y")]
    targets_ = [columns[v][m] for m, v in places]

    def wanted(slot: int, name: str) -> ir.Value:
        return b.icmp_signed("!=", frame.integer(slot, name), I64(0))

    def accumulate(values: Sequence[ir.Value]) -> list[ir.Value]:
        return [
            b.fadd(b.load_vector(pointer, masks[v]), value)
            for (_, v), pointer, value in zip(places, targets_, values, strict=True)
        ]

    def add_bias(values: Sequence[ir.Value]) -> list[ir.Value]:
        bias = b.at(frame.address(BIAS, "bias"), bias_shift)
        if tile.rows_are_filters:
            of_row = [b.broadcast(b.at(bias, m * b.owner.bytes)) for m in range(tile.rows)]
            return [b.fadd(value, of_row[m]) for (m, _), value in zip(places, values, strict=True)]
        of_vector = [b.load_vector(b.at(bias, v * b.owner.width), masks[v]) for v in range(tile.vectors)]
        return [b.fadd(value, of_vector[v]) for (_, v), value in zip(places, values, strict=True)]

    def add_residual(values: Sequence[ir.Value]) -> list[ir.Value]:
        stride = frame.integer(RESIDUAL_ROW, "residual_row")
        pointers = [
            frame.rows_of(b.at(pointer, residual_shift), stride)
            for pointer in frame.vectors(RESIDUAL, "residual")
        ]
        return [
            b.fadd(value, b.load_vector(pointers[v][m], masks[v]))
            for (m, v), value in zip(places, values, strict=True)
        ]

    def complete(values: Sequence[ir.Value]) -> list[ir.Value]:
        values = b.values_if(wanted(BIAS, "has_bias"), values, add_bias, "bias")
        values = b.values_if(wanted(RESIDUAL, "has_residual"), values, add_residual, "residual")
        return [b.call(finish, [value]) for value in values] if finish else list(values)

    total = b.values_if(wanted(ACCUMULATE, "accumulates"), sums, accumulate, "accumulate")
    total = b.values_if(wanted(FINISH, "finishes"), total, complete, "finish")
    for (_, v), pointer, value in zip(places, targets_, total, strict=True):
        if short:
            b.store_lanes(value, pointer, lanes[v])
        else:
            b.store_vector(value, pointer)
