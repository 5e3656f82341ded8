"""Depthwise planes: every output plane is made of one input plane, and nothing is summed over channels.

    y[q, p] = sum over r, s of w[r, s] * x[q * stride + r * dilation, p * stride + s * dilation]

No filter shares its products with another, so what pays for a load is the column of the kernel: a tile is `rows`
output rows of `vectors` vectors; one kernel column s after another, the weights of the column stay in registers while
the input rows stream by, each feeding up to as many products as the kernel is high. Small kernels are written out; of
large ones the columns are a loop, and the rows are cut into chunks, so that sums and weights fit the registers
together.

Rows shorter than a vector are stored whole where the result is contiguous: what they spill is overwritten by the row
after it, and only the last row of a range of tasks is stored in pieces.

Nothing is copied, unless the rows of a tile would share sets of the cache (`depthwise_table.py`). Columns outside are
left out by masked loads, which the tiles within the plane do without; the masks are read from a row that is as long as
an input row with its padding. Rows outside are left out by the code, which knows for each kind of band (at the top,
inside, at the bottom) how many there are. Zero times infinity is NaN, though: what is left out counts if a weight is
not finite. So the function looks at the weights, too, and says in the end whether they were all finite; if not, the
caller has the planes computed again by code that knows no kinds of bands: it looks up its rows in a table
(`depthwise_table.py`), where a row of zeros stands for those outside, and leaves out nothing. Padding of other modes
than zeros and volumes are done so, too. The last tile of a row and the last band of rows overlap the ones before them.

With a stride of 2 along a row, vectors of every other element are picked from two that lie side by side, and two
columns of the kernel share them. The picking costs as much as the products: what could be saved there is most.

With a dilation D of rows (coprime to the stride), output rows D apart share their input rows: they are taken
together, a class of them at a time.

The function has every loop inside it. Its operands (`fastconv.codegen.launch` says how it is called) are the address of
the plan (int64 slots, strides in bytes), of input, weights, bias (or 0), residual and result, and a slot that it sets
to 1 where it left out what counts. Its scratch is for strips of the borders.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from llvmlite import ir

from fastconv.codegen import activation, jit, operands
from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise_shape import Kind, Planes
from fastconv.codegen.depthwise_table import Table
from fastconv.codegen.depthwise_walk import Rows, Walk
from fastconv.codegen.vector import I64, Builder, VectorModule


def address(planes: Planes) -> int:
    """Return the address of the machine code for the target in force."""
    target = targets.current()
    return jit.address(planes.name, lambda: str(emit(planes, target)), target)


def emit(planes: Planes, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(planes.name, planes.dtype, target)
    finish = activation.declare(own, planes.activation) if planes.activation else None
    function, b = operands.begin(own)
    emitter = _Emitter(b, planes, finish)
    b.count_up(function.args[operands.FIRST], function.args[operands.LAST], 1, emitter.task, "tasks")
    b.ret(emitter.failed())
    operands.end(own, planes.name, function)
    return own.module


class _Emitter:
    """The loops from the outermost to the innermost, one method each."""

    def __init__(self, b: Builder, planes: Planes, finish: ir.Function | None) -> None:
        self.b, self.planes, self.finish = b, planes, finish
        self.table = Table(b, planes, self.slot)
        self.plan = b.pointer(b.function.args[operands.PLAN], "slots")
        self.span = planes.vectors * b.owner.lanes  # output columns of a tile
        self.finite = _Finite(b, planes.kernel[0] * planes.kernel[1]) if planes.leaves_out else None
        self.walk = Walk(b, planes, self.slot)

    def slot(self, number: int) -> ir.Value:
        return self.b.load_int(self.b.at(self.plan, 8 * number))

    def failed(self) -> ir.Value:
        """1 if something was left out that counts."""
        return I64(0) if self.finite is None else self.b.zext(self.b.not_(self.finite.all()), I64)

    def task(self, number: ir.Value) -> None:
        """One part of the rows of one output plane."""
        b, planes, walk = self.b, self.planes, self.walk
        self.x, self.y = b.load_int(walk.x), b.load_int(walk.y)
        self.residual = b.load_int(walk.residual) if planes.residual else None
        self.weight = b.pointer(b.load_int(walk.weight), "weights")
        self.bias = b.broadcast(b.pointer(b.load_int(walk.bias)))
        self.goes_on = b.icmp_signed("<", b.add(number, I64(1)), b.function.args[operands.LAST], "more_tasks")
        self.layer = b.load_int(walk.part) if planes.deep else I64(0)
        if planes.deep:
            along = b.mul(self.layer, self.slot(slot.Y_SLICE))
            self.y = b.add(self.y, along)
            self.residual = b.add(self.residual, along) if planes.residual else None
        self.table.start()
        if self.finite:
            self.finite.look(self.weight)
        if planes.height:
            for top, one in zip(range(0, planes.height, planes.rows), planes.kinds, strict=True):
                last = planes.height - planes.rows
                self.is_last = top >= last
                self.band(I64(min(top, last)), one)
        elif planes.classes:
            count = b.least(self.slot(slot.CLASSES), self.slot(slot.OUT_HEIGHT))
            b.count_up(I64(0), count, 1, self.class_of_rows, "classes")
        else:
            begin, end = walk.part_of(self.slot(slot.OUT_HEIGHT))
            kinds: Sequence[Kind | None] = planes.kinds or (None,)
            for number_of_kind, kind in enumerate(kinds):
                first, after = begin, end
                if len(planes.kinds) > 1:
                    kind_rows = (self.slot(slot.KIND_ROWS + number_of_kind + i) for i in range(2))
                    first, after = b.greatest(begin, next(kind_rows)), b.least(end, next(kind_rows))
                self.bands(first, after, self.slot(slot.OUT_HEIGHT), kind)
        walk.on()

    def class_of_rows(self, first_row: ir.Value) -> None:
        """Every so many output rows from `first_row` on: those that share input rows."""
        b = self.b
        more = b.zext(b.icmp_signed("<", first_row, self.slot(slot.CLASS_MORE)), I64)
        count = b.add(self.slot(slot.CLASS_ROWS), more, "rows_of_class")
        self.bands(I64(0), count, count, None, first_row)

    def bands(
        self, begin: ir.Value, end: ir.Value, count: ir.Value, kind: Kind | None, first_row: ir.Value | None = None
    ) -> None:
        """Bands from row `begin` to row `end` of `count`."""
        b = self.b
        last = b.sub(count, I64(self.planes.rows))

        def band(row: ir.Value) -> None:
            top = b.least(row, last)
            self.is_last = b.icmp_signed("==", top, last, "is_last_band")
            if first_row is not None:
                top = b.add(first_row, b.mul(top, self.slot(slot.CLASSES)), "top")
            self.band(top, kind)

        b.count_up(begin, end, self.planes.rows, band, "bands")

    def band(self, top: ir.Value, kind: Kind | None) -> None:
        """`rows` output rows from `top` on: where their input rows lie, and the tiles along them."""
        b, planes = self.b, self.planes
        self.kind = kind
        corner = b.add(self.x, b.mul(top, self.slot(slot.X_BAND)), "corner")
        step = self.slot(slot.X_STEP)
        if kind is None:
            self.table.fill(self.x, top, self.layer)
        else:
            present = planes.present(kind)
            first = b.add(corner, b.mul(step, I64(present.start)))
            self.rows = Rows(b, first, step, len(present))
        if planes.narrow:
            self.tile(top, I64(0))
            return
        width = self.slot(slot.OUT_WIDTH)
        last = b.sub(width, I64(self.span))
        b.count_up(I64(0), width, self.span, lambda column: self.tile(top, b.least(column, last)), "tiles")

    def row(self, i: int, offset: ir.Value, edge: bool) -> ir.Value:
        """The address `offset` bytes along input row i of the band, its padding included; at an edge, maybe copied."""
        b = self.b
        if edge and self.planes.bordered:
            return self.table.strip(i, offset)
        if self.kind is None:
            return b.at(b.pointer(self.table.at(i)), offset)
        return self.rows.at(i - self.kind[0], offset)

    def tile(self, top: ir.Value, left: ir.Value) -> None:
        """`rows` x `vectors` sums whose first is at (top, left), without masks where the plane goes far enough."""
        b, planes = self.b, self.planes
        column = b.mul(left, I64(planes.stride), "column")  # of the padded input
        if not (planes.edges and planes.inner):
            self.put(self.sums(column, planes.edges), top, left)
            return
        extent = (planes.kernel[1] - 1) * planes.dilation + (self.span - 1) * planes.stride + 1
        first = b.sub(column, self.slot(slot.BEFORE_W))
        within = b.and_(
            b.icmp_signed(">=", first, I64(0)),
            b.icmp_signed("<=", b.add(first, I64(extent)), self.slot(slot.WIDTH)),
        )
        inner, edge, both = (b.append_basic_block(name) for name in ("inner", "edge", "sums_done"))
        b.cbranch(within, inner, edge)
        ways = []
        for block, at_edge in ((inner, False), (edge, True)):
            b.position_at_end(block)
            values = self.sums(column, at_edge)
            ways.append((values, b.block))
            b.branch(both)
        b.position_at_end(both)
        sums = [b.phi(b.owner.vector) for _ in ways[0][0]]
        for values, block in ways:
            for phi, value in zip(sums, values, strict=True):
                phi.add_incoming(value, block)
        self.put(sums, top, left)

    def sums(self, column: ir.Value, edge: bool) -> list[ir.Value]:
        """The sums over the kernel, chunk by chunk, column by column."""
        b, planes = self.b, self.planes
        if edge and planes.bordered:
            left = b.icmp_signed("<", column, self.slot(slot.BEFORE_W))
            column = b.sub(column, b.select(left, I64(0), self.slot(slot.STRIP_SHIFT)), "column_of_strip")
        values = [self.bias] * (planes.rows * planes.vectors)
        for chunk in planes.chunks(self.kind, self.b.owner.target):
            add = functools.partial(self.chunk, column, chunk, edge)
            if self.kind is None and planes.leaves_out:
                meets = self.table.meets_the_plane(planes.input_rows(chunk, None))
                values = b.values_if(meets, values, add, "chunk")
            else:
                values = add(values)
        return values

    def chunk(self, column: ir.Value, chunk: range, edge: bool, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """Add the products of a chunk of kernel rows with all columns, as many together as share their loads."""
        planes = self.planes
        width, together = planes.kernel[1], planes.together
        whole = width - width % together
        values = list(sums)
        for columns in (range(0, whole, together), range(whole, width)):
            if planes.unrolled or len(columns) < 2:
                for s in columns:
                    values = self.products(column, I64(s), columns.step, chunk, values, edge)
            else:
                values = self.columns(column, columns, chunk, values, edge)
        return values

    def products(
        self, column: ir.Value, s: ir.Value, taps: int, chunk: range, starts: Sequence[ir.Value], edge: bool
    ) -> list[ir.Value]:
        """Add the products of a chunk of kernel rows with kernel columns s to s + taps - 1."""
        b, planes = self.b, self.planes
        height, width = planes.kernel
        item = b.owner.bytes
        turn = -1 if planes.flip else 1
        start = b.at(self.weight, b.mul(s, I64(turn * item)))
        place = b.add(column, b.mul(s, I64(planes.dilation)), "place")

        def weight(r: int, tap: int) -> ir.Value:
            number = r * width + tap
            return b.broadcast(b.at(start, item * (height * width - 1 - number if planes.flip else number)))

        weights = {(r, tap): weight(r, tap) for tap in range(taps) for r in chunk}
        masks = b.pointer(self.slot(slot.MASKS)) if edge and not planes.bordered else None
        loads = Columns(b, planes.vectors, planes.stride, taps, place, masks)
        sums = list(starts)
        for i in planes.input_rows(chunk, self.kind):
            for tap, vectors in enumerate(loads.of(self.row(i, loads.offset, edge))):
                for m, r in planes.pairs(i):
                    if r in chunk:
                        for v, value in enumerate(vectors):
                            at = m * planes.vectors + v
                            sums[at] = b.multiply_add(weights[r, tap], value, sums[at])
        return sums

    def columns(
        self, column: ir.Value, of: range, chunk: range, starts: Sequence[ir.Value], edge: bool
    ) -> list[ir.Value]:
        """A loop over kernel columns; those that lie outside altogether are left out."""
        b, planes = self.b, self.planes
        dilation = planes.dilation
        first, end = I64(of.start), I64(of.stop)
        if edge and planes.leaves_out:
            # s * dilation must be greater than `before`, and less than `after`
            after = b.sub(b.add(self.slot(slot.WIDTH), self.slot(slot.BEFORE_W)), column)
            before = b.sub(b.sub(self.slot(slot.BEFORE_W), column), I64((self.span - 1) * planes.stride + 1))
            meets = b.and_(b.add(b.sdiv(before, I64(dilation)), I64(1)), I64(-of.step))
            first = b.select(b.icmp_signed("<", before, I64(0)), first, b.least(meets, I64(of.stop - of.step)))
            end = b.least(b.sdiv(b.add(after, I64(dilation - 1)), I64(dilation)), end)
        entry = b.block
        loop, done = b.append_basic_block("columns"), b.append_basic_block("columns_done")
        b.branch(loop)
        b.position_at_end(loop)
        s = b.phi(I64, "s")
        sums = [b.phi(b.owner.vector) for _ in starts]
        new = self.products(column, s, of.step, chunk, sums, edge)
        following = [(s, first, b.add(s, I64(of.step))), *zip(sums, starts, new, strict=True)]
        for phi, start, value in following:
            phi.add_incoming(start, entry)
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following[0][2], end), loop, done)
        b.position_at_end(done)
        return new

    def put(self, sums: Sequence[ir.Value], top: ir.Value, left: ir.Value) -> None:
        """Residual, activation, and the stores."""
        b, planes = self.b, self.planes
        pitch = self.slot(slot.Y_ROW)
        first = b.mul(top, pitch)
        step = b.mul(self.slot(slot.CLASSES), pitch) if planes.classes else pitch
        along = b.mul(left, I64(b.owner.bytes))
        width = b.owner.width
        order = lane_order(b, planes.stride)
        if order != sorted(order):
            sums = [b.pick(value, [order.index(i) for i in range(len(order))]) for value in sums]

        def places(plane: ir.Value) -> list[ir.Value]:
            rows = Rows(b, b.add(plane, first), step, planes.rows)
            starts = [rows.at(m, along) for m in range(planes.rows)]
            return [b.at(start, v * width) for start in starts for v in range(planes.vectors)]

        if planes.residual:
            mask = b.first_lanes(self.slot(slot.OUT_WIDTH)) if planes.narrow else None
            addends = [b.load_vector(place, mask) for place in places(self.residual)]
            sums = [b.fadd(value, addend) for value, addend in zip(sums, addends, strict=True)]
        if self.finish:
            sums = [b.call(self.finish, [value]) for value in sums]
        stores = list(zip(sums, places(self.y), strict=True))
        if planes.narrow:
            self.put_narrow(stores)
            return
        for value, place in stores:
            b.store_vector(value, place)

    def put_narrow(self, stores: Sequence[tuple[ir.Value, ir.Value]]) -> None:
        """Store rows shorter than a vector: whole where the next row will be stored, else in pieces."""
        b, planes = self.b, self.planes
        *before, last = stores
        count = self.slot(slot.OUT_WIDTH)
        if not planes.spills:
            for value, place in stores:
                b.store_lanes(value, place, count)
            return
        for value, place in before:
            b.store_vector(value, place)
        if self.is_last is False:
            b.store_vector(*last)
            return
        whole = self.goes_on if self.is_last is True else b.or_(self.goes_on, b.not_(self.is_last))
        b.do_if(whole, lambda: b.store_vector(*last), "whole")
        b.do_if(b.not_(whole), lambda: b.store_lanes(*last, count), "pieces")


class _Finite:
    """Whether all weights that were looked at are finite: the sum of zero times each is then zero.

    The sum of a filter is made in registers, and added to that of those before it once: a sum in memory takes a dozen
    cycles to change, and where planes are small and kernels large that was most of the time.
    """

    SUMS = 4  # at a time: as many as a multiply-add takes cycles

    def __init__(self, b: Builder, taps: int) -> None:
        self.b, self.taps = b, taps
        self.zero = b.owner.constant(0.0)
        self.total = b.alloca(b.owner.vector, name="zero_if_finite")
        b.store(self.zero, self.total)

    def look(self, weight: ir.Value) -> None:
        """Look at the weights of one filter."""
        b, lanes = self.b, self.b.owner.lanes
        last = self.taps - lanes

        def add(total: ir.Value, first: ir.Value, mask: ir.Value | None = None) -> ir.Value:
            value = b.load_vector(b.at(weight, b.mul(first, I64(b.owner.bytes))), mask)
            return b.multiply_add(value, self.zero, total)

        def several(i: ir.Value, totals: Sequence[ir.Value]) -> list[ir.Value]:
            places = [b.least(b.add(i, I64(j * lanes)), I64(last)) for j in range(self.SUMS)]
            return [add(total, place) for total, place in zip(totals, places, strict=True)]

        if self.taps < lanes:
            totals = [add(self.zero, I64(0), ir.Constant(b.owner.mask, [i < self.taps for i in range(lanes)]))]
        elif self.taps <= 8 * lanes:
            totals = [add(self.zero, I64(min(first, last))) for first in range(0, self.taps, lanes)]
        else:
            totals = b.loop(I64(0), I64(self.taps), self.SUMS * lanes, [self.zero] * self.SUMS, several, "finite")
        b.store(functools.reduce(b.fadd, totals, b.load(self.total, typ=b.owner.vector)), self.total)

    def all(self) -> ir.Value:
        """Whether they were finite."""
        b = self.b
        return b.all_lanes(b.fcmp_ordered("==", b.load(self.total, typ=b.owner.vector), self.zero))


def lane_order(b: Builder, stride: int) -> list[int]:
    """Which output each lane of a sum belongs to.

    A stride of 2 picks from two vectors within blocks of 128 bits, which costs less than across them: the first half of
    a block comes from the first vector, the second half from the second. The sums are put in order once.
    """
    lanes = b.owner.lanes
    if stride != 2:
        return list(range(lanes))
    block = 16 // b.owner.bytes
    half = block // 2
    return [
        vector * (lanes // 2) + first // 2 + i
        for first in range(0, lanes, block)
        for vector in range(2)
        for i in range(half)
    ]


class Columns:
    """Loads of the input under one kernel column, or two neighbours: vectors of elements `column_stride` apart."""

    def __init__(
        self, b: Builder, vectors: int, stride: int, taps: int, place: ir.Value, masks: ir.Value | None = None
    ) -> None:
        self.b, self.stride, self.taps = b, stride, taps
        lanes, item = b.owner.lanes, b.owner.bytes
        self.offset = b.mul(place, I64(item), "column_offset")
        # Vectors begin where nothing behind the last element that is wanted is read.
        end = (lanes - 1) * self.stride + taps
        self.places: list[int] = []  # of the first elements of the vectors that are loaded
        for place_ in range(0, end - taps + 1, self.stride):
            if not self.places or place_ >= self.places[-1] + lanes:
                self.places.append(min(place_, end - lanes))
        self.starts = [[v * lanes * self.stride + first for first in self.places] for v in range(vectors)]
        self.masks = [
            [masks and b.load_mask(b.at(b.at(masks, self.offset), start * item)) for start in group]
            for group in self.starts
        ]
        self.order = lane_order(b, self.stride)

    def of(self, pointer: ir.Value) -> list[list[ir.Value]]:
        """For each column, the vectors of one input row, given the address of the first element."""
        b = self.b
        loaded = [
            [
                b.load_vector(b.at(pointer, start * b.owner.bytes), mask)
                for start, mask in zip(starts, masks, strict=True)
            ]
            for starts, masks in zip(self.starts, self.masks, strict=True)
        ]
        return [[self._pick(vectors, tap) for vectors in loaded] for tap in range(self.taps)]

    def _pick(self, vectors: Sequence[ir.Value], tap: int) -> ir.Value:
        """The elements under one column, in the order of the sums' lanes."""
        lanes = self.b.owner.lanes
        result = vectors[0]
        if self.stride == 1:
            return result
        wanted = [place * self.stride + tap for place in self.order]
        kept: Sequence[int] = [place % lanes for place in wanted]  # where the first vector has them
        for first, vector in zip(self.places[1:], vectors[1:], strict=True):
            taken = [
                lanes + place - first if 0 <= place - first < lanes else before
                for place, before in zip(wanted, kept, strict=True)
            ]
            kept = range(lanes)
            result = self.b.shuffle_vector(result, vector, self.b.places(taken))
        return result
