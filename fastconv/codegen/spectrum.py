"""Spectra between transforms: lines of tiles brought into lanes, products, results brought back to rows.

A lane is a pair of tiles, or of filters: one is the real part, the other the imaginary part. An element of a spectrum
is two vectors. Rows lie wherever a table says, one for each of the 2 L tiles, so that it does not matter to the code
whether lanes are tiles of one plane or channels of one tile.

Each function takes one argument, the address of its operands: int64 slots, steps in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from fastconv.codegen import activation as activations
from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, Builder, VectorModule

# fmt: off
#: Operands of `gather` and `scatter`: one row of each of 2 L tiles.
(
    TABLE,                         # address of a row of slots a tile, see below
    ROW,                           # which row of the tiles
    COLUMNS,                       # of it
    LINE,                          # address of the first element of the spectrum's row
    SUM,                           # scatter: address of a vector for each part, that becomes NaN where a value is not
                                   # finite; gather, if scaled: address of what each value is multiplied by
    LINE_OPERANDS,
) = range(6)

#: A row of gather's table.
FROM, FROM_ROW, GATHER_SLOTS = range(3)  # address of the tile's first element, from one row to the next

#: A row of scatter's table.
(
    TO, TO_ROW,                    # address of the tile's first result, from one row to the next
    ROWS, WIDTH,                   # results that there are
    RESIDUAL, RESIDUAL_ROW,        # the same of what is added, 0 for none
    BIAS,                          # address of what is added to each, 0 for none
    SCATTER_SLOTS,
) = range(8)

#: Operands of `product`: Y = sum over steps of X * conj(W), for each of COUNT elements (an even number of them).
(
    X, X_NEXT, X_STEP,             # address, from one element to the next, from one step to the next
    W, W_NEXT, W_STEP,
    Y, Y_NEXT,
    COUNT, STEPS,
    ADDS,                          # 1: to what Y holds
    PRODUCT_OPERANDS,
) = range(12)
# fmt: on

#: How an operand of a product is read: as two vectors; the first of each vector's lanes, for all; two scalars that lie
#: side by side, for all.
VECTORS, LANE, SCALARS = "vectors", "lane", "scalars"


def gather(dtype: str, *, scaled: bool = False) -> int:
    """Return the address of the function that brings one row of 2 L tiles into a row of a spectrum."""
    target = targets.current()
    name = f"gather_tiles_{dtype}" + ("_scaled" if scaled else "")
    return jit.address(name, lambda: str(emit_gather(name, dtype, target, scaled=scaled)), target)


def scatter(dtype: str, activation: str | None) -> int:
    """Return the address of the function that brings them back, with the epilogue."""
    target = targets.current()
    name = f"scatter_tiles_{dtype}_{activation or 'linear'}"
    return jit.address(name, lambda: str(emit_scatter(name, dtype, activation, target)), target)


def product(dtype: str, x: str, w: str) -> int:
    """Return the address of the function that multiplies spectra."""
    target = targets.current()
    name = f"multiply_spectra_{dtype}_{x}_{w}"
    return jit.address(name, lambda: str(emit_product(name, dtype, x, w, target)), target)


def _tiles(b: Builder, table: ir.Value, part: int, slots: int) -> list[ir.Value]:
    """The rows of a table for the tiles of one part."""
    lanes = b.owner.lanes
    return [b.at(b.pointer(table), 8 * slots * (part * lanes + lane)) for lane in range(lanes)]


def _blocks(b: Builder, columns: ir.Value, block: ir.Value, name: str) -> None:
    """Call block(first column, None) for each L columns, and block(first column, count) for the rest."""
    left = b.srem(columns, I64(b.owner.lanes))
    whole = b.sub(columns, left)
    b.count_up(I64(0), whole, b.owner.lanes, lambda column: block(column, None), name)
    b.do_if(b.positive(left), lambda: block(whole, left), f"{name}.rest")


def emit_gather(name: str, dtype: str, target: targets.Target, *, scaled: bool) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(name, dtype, target)
    b, get = own.step(name, LINE_OPERANDS)
    vector = own.width
    scale = b.broadcast(b.pointer(get[SUM])) if scaled else None
    for part in range(2):
        lines = []
        for tile in _tiles(b, get[TABLE], part, GATHER_SLOTS):
            first, pitch = (b.load_int(b.at(tile, 8 * slot)) for slot in (FROM, FROM_ROW))
            lines.append(b.pointer(b.add(first, b.mul(get[ROW], pitch))))

        def block(column: ir.Value, count: ir.Value | None, part: int = part, lines: list[ir.Value] = lines) -> None:
            place = b.mul(column, I64(own.bytes))
            mask = None if count is None else b.first_lanes(count)
            to = b.at(b.pointer(get[LINE]), b.mul(column, I64(2 * vector)))
            for i, value in enumerate(b.transposed([b.load_vector(b.at(line, place), mask) for line in lines])):

                def store(i: int = i, value: ir.Value = value) -> None:
                    b.store_vector(value if scale is None else b.fmul(value, scale), b.at(to, (2 * i + part) * vector))

                if count is None or i == 0:
                    store()
                else:  # beyond the row another thread may be writing
                    b.do_if(b.icmp_signed("<", I64(i), count), store, f"column{i}")

        _blocks(b, get[COLUMNS], block, f"part{part}")
    b.ret_void()
    return own.module


def emit_scatter(name: str, dtype: str, activation: str | None, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(name, dtype, target)
    finish = activations.declare(own, activation) if activation else None
    b, get = own.step(name, LINE_OPERANDS)
    for part in range(2):
        _Part(b, get, finish, part).write()
    b.ret_void()
    return own.module


class _Part:
    """Real or imaginary parts on their way to the rows of L tiles."""

    def __init__(self, b: Builder, get: Sequence[ir.Value], finish: ir.Function | None, part: int) -> None:
        self.b, self.get, self.finish, self.part = b, get, finish, part
        self.vector = b.owner.width
        self.tiles = _tiles(b, get[TABLE], part, SCATTER_SLOTS)
        self.sum = b.at(b.pointer(get[SUM]), part * self.vector)

    def write(self) -> None:
        """All columns."""
        _blocks(self.b, self.get[COLUMNS], self.block, f"part{self.part}")

    def block(self, column: ir.Value, count: ir.Value | None) -> None:
        """L columns, or `count`."""
        b, own = self.b, self.b.owner
        source = b.at(b.pointer(self.get[LINE]), b.mul(column, I64(2 * self.vector)))
        columns = [b.load_vector(b.at(source, (2 * i + self.part) * self.vector)) for i in range(own.lanes)]
        self.look(columns, count)
        for tile, value in zip(self.tiles, b.transposed(columns), strict=True):
            self.line(tile, value, column)

    def look(self, columns: Sequence[ir.Value], count: ir.Value | None) -> None:
        """Add 0 times each value: NaN where one is not finite."""
        b = self.b
        zero = b.owner.constant(0.0)
        if count is not None:  # beyond, there is whatever an earlier tile left
            columns = [b.select(b.splat(b.icmp_signed("<", I64(i), count)), v, zero) for i, v in enumerate(columns)]
        total = b.load(self.sum, typ=b.owner.vector, align=b.owner.bytes)
        for value in columns:
            total = b.multiply_add(value, zero, total)
        b.store_vector(total, self.sum)

    def line(self, tile: ir.Value, value: ir.Value, column: ir.Value) -> None:
        """L results of a row of a tile, as far as the tile has them."""
        b, own = self.b, self.b.owner
        rows, width = (b.load_int(b.at(tile, 8 * slot)) for slot in (ROWS, WIDTH))
        left = b.sub(width, column)
        place = b.mul(column, I64(own.bytes))

        def address(first: int, pitch: int) -> ir.Value:
            row = b.mul(self.get[ROW], b.load_int(b.at(tile, 8 * pitch)))
            return b.at(b.pointer(b.add(b.load_int(b.at(tile, 8 * first)), row)), place)

        def finished(mask: ir.Value | None) -> ir.Value:
            bias, residual = (b.load_int(b.at(tile, 8 * slot)) for slot in (BIAS, RESIDUAL))
            given = b.icmp_signed("!=", bias, I64(0))
            (done,) = b.values_if(given, [value], lambda v: [b.fadd(v[0], b.broadcast(b.pointer(bias)))], "bias")
            given = b.icmp_signed("!=", residual, I64(0))

            def add(values: Sequence[ir.Value]) -> list[ir.Value]:
                return [b.fadd(values[0], b.load_vector(address(RESIDUAL, RESIDUAL_ROW), mask))]

            (done,) = b.values_if(given, [done], add, "residual")
            return b.call(self.finish, [done]) if self.finish else done

        def store() -> None:
            whole = b.icmp_signed(">=", left, I64(own.lanes))
            b.do_if(whole, lambda: b.store_vector(finished(None), address(TO, TO_ROW)), "whole")

            def some() -> None:
                b.store_lanes(finished(b.first_lanes(left)), address(TO, TO_ROW), left)

            b.do_if(b.and_(b.not_(whole), b.positive(left)), some, "some")

        b.do_if(b.icmp_signed("<", self.get[ROW], rows), store, "row")


def emit_product(name: str, dtype: str, x: str, w: str, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(name, dtype, target)
    b, get = own.step(name, PRODUCT_OPERANDS)
    vector = own.width
    zero = own.constant(0.0)
    together = 2  # elements, each with four sums: as many as hide the time that a product takes

    def load(kind: str, place: ir.Value) -> tuple[ir.Value, ir.Value]:
        if kind == VECTORS:
            return b.load_vector(place), b.load_vector(b.at(place, vector))
        return b.broadcast(place), b.broadcast(b.at(place, vector if kind == LANE else own.bytes))

    def elements(i: ir.Value) -> None:
        places = [b.add(i, I64(j)) for j in range(together)]
        targets_ = [b.at(b.pointer(get[Y]), b.mul(place, get[Y_NEXT])) for place in places]

        def held(_: Sequence[ir.Value]) -> list[ir.Value]:
            return [b.load_vector(b.at(to, part * vector)) for to in targets_ for part in range(2)]

        adds = b.icmp_signed("!=", get[ADDS], I64(0))
        begun = b.values_if(adds, [zero] * 2 * together, held, "held")
        # of each element: x0 w0 and x1 w0 on top of what there was, x1 w1 and x0 w1 apart
        sums = [value for j in range(together) for value in (begun[2 * j], begun[2 * j + 1], zero, zero)]

        def step(s: ir.Value, sums: Sequence[ir.Value]) -> list[ir.Value]:
            found = []
            for j, place in enumerate(places):
                at_x = b.at(b.pointer(get[X]), b.add(b.mul(place, get[X_NEXT]), b.mul(s, get[X_STEP])))
                at_w = b.at(b.pointer(get[W]), b.add(b.mul(place, get[W_NEXT]), b.mul(s, get[W_STEP])))
                (x0, x1), (w0, w1) = load(x, at_x), load(w, at_w)
                real, imaginary, real_too, minus = sums[4 * j : 4 * j + 4]
                found += [b.multiply_add(x0, w0, real), b.multiply_add(x1, w0, imaginary)]
                found += [b.multiply_add(x1, w1, real_too), b.multiply_add(x0, w1, minus)]
            return found

        done = b.loop(I64(0), get[STEPS], 1, sums, step, "steps")
        for j, to in enumerate(targets_):
            b.store_vector(b.fadd(done[4 * j], done[4 * j + 2]), to)
            b.store_vector(b.fsub(done[4 * j + 1], done[4 * j + 3]), b.at(to, vector))

    b.count_up(I64(0), get[COUNT], together, elements, "elements")
    b.ret_void()
    return own.module
