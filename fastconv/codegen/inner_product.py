"""Inner products: each output is the sum along one row of weights and one row of inputs, both as long as the steps.

    Y (rows, filters) = X (rows, steps) W (filters, steps)^T

A row is an output pixel of an image, a step a channel and a kernel tap. Vectors lie along the steps, so weights are
read as they lie, once for each block of rows, and no lane is lost where there are few pixels; what it costs is that
every sum ends across the lanes of a vector. Inputs are copied into rows first; a tile is some filters by some rows.

Steps are cut into blocks of whole channels, whose rows of inputs stay in the cache while all filters pass. Sums between
blocks wait behind them in scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from llvmlite import ir

from fastconv.codegen import activation, jit, operands
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, Builder, VectorModule

# fmt: off
#: Slots of a plan; strides and offsets in bytes.
(
    PARTS, PART,                                  # tasks of a group, filters of one: a multiple of a tile's
    FILTERS, CHANNELS, TAPS,                      # of one group
    BLOCK,                                        # channels of a block of steps
    ROW_BLOCKS, ROW_BLOCK,                        # blocks of rows, rows of one
    LAST_ROWS,                                    # of the last block
    CHUNKS, FIRST_CHUNKS,                         # addresses: chunks of rows, number of each block's first one
    X_GROUP, X_CHANNEL, ROW,                      # ROW: of scratch, from one row to the next
    SUMS,                                         # from the scratch to the sums between blocks
    Y_ROWS, RESIDUAL_ROWS,                        # addresses of where each row of the result begins
    Y_FILTER, RESIDUAL_FILTER,
    SLOTS,
) = range(20)

#: A chunk of rows is copied at once. What stands of it in the table:
(
    CHUNK_ROW,       # its first row, counted within the block
    CHUNK_ROWS,
    CHUNK_X,         # where its input begins
    CHUNK_PLACES,    # address of the offset of each tap of its window, negative where a zero is
    CHUNK_SLOTS,
) = range(5)
# fmt: on

#: How a chunk is copied: a row whose steps lie one after the other; several rows that are columns of a plane a channel
#: (kernels of one tap); a row tap by tap, channel after channel, or of all channels, where these lie side by side.
RUNS, COLUMNS, TAPS_APART, PIXELS = "runs", "columns", "taps", "pixels"


@dataclass(frozen=True)
class Products:
    """What the code depends on.

    Parameters
    ----------
    dtype : str
        The elements' type.
    gather : str
        How rows are copied.
    filters : int
        Of a tile.
    rows : tuple of int
        Of each kind of tile, the largest first.
    residual : bool
        Whether there is one.
    activation : str, optional
        Applied last.
    """

    dtype: str
    gather: str
    filters: int
    rows: tuple[int, ...]
    residual: bool = False
    activation: str | None = None

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        words = [f"inner_product_{self.dtype}_{self.gather}_{self.filters}x{'or'.join(map(str, self.rows))}"]
        return "_".join([*words, *(["residual"] if self.residual else []), self.activation or "linear"])


def shape(target: targets.Target, dtype: str, rows: int) -> tuple[int, int]:
    """Return the (filters, rows) of the largest tile where there are so many rows.

    Sums fill the registers but for the rows of inputs and one of weights; those of a single row take twice as many
    filters, as fewer would wait for each other.
    """
    lanes = target.lanes(dtype)
    return (min(8, lanes), 1) if rows == 1 else (min(4, lanes), 6 if target.vector_registers == 32 else 3)


def address(code: Products) -> int:
    """Return the address of the machine code for the target in force."""
    target = targets.current()
    return jit.address(code.name, lambda: str(emit(code, target)), target)


def emit(code: Products, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(code.name, code.dtype, target)
    finish = activation.declare(own, code.activation) if code.activation else None
    function, b = operands.begin(own)
    emitter = _Emitter(b, code, finish)
    b.count_up(function.args[operands.FIRST], function.args[operands.LAST], 1, emitter.task, "tasks")
    b.ret(I64(0))
    operands.end(own, code.name, function)
    return own.module


@dataclass(frozen=True)
class _Filters:
    """Those of a tile."""

    place: ir.Value  # of the first among those of the task
    count: ir.Value  # that there are
    numbers: list[ir.Value]
    weights: list[ir.Value]  # where each one's begin, of the block of steps


class _Emitter:
    """The loops from the outermost to the innermost, one method each."""

    def __init__(self, b: Builder, code: Products, finish: ir.Function | None) -> None:
        self.b, self.code, self.finish = b, code, finish
        self.get = b.load_slots(b.function.args[operands.PLAN], SLOTS)
        self.scratch = b.function.args[operands.SCRATCH]
        self.item = I64(b.owner.bytes)
        self.zero = b.alloca(b.owner.element, name="zero")
        b.store(ir.Constant(b.owner.element, 0.0), self.zero)
        self.all_steps = b.mul(self.get[CHANNELS], self.get[TAPS], "all_steps")

    def task(self, number: ir.Value) -> None:
        """Some filters of a group, for all rows."""
        b, get = self.b, self.get
        self.group, part = b.udiv(number, get[PARTS], "group"), b.urem(number, get[PARTS])
        self.first_filter = b.mul(part, get[PART], "first_filter")
        self.end_filter = b.least(b.add(self.first_filter, get[PART]), get[FILTERS])

        def row_block(block: ir.Value) -> None:
            last = b.icmp_signed("==", b.add(block, I64(1)), get[ROW_BLOCKS])
            self.block, self.rows = block, b.select(last, get[LAST_ROWS], get[ROW_BLOCK])
            self.before_rows = b.mul(block, get[ROW_BLOCK])
            self.sum_over_blocks()

        b.count_up(I64(0), get[ROW_BLOCKS], 1, row_block, "row_blocks")

    def sum_over_blocks(self) -> None:
        """All steps of a block of rows, block by block."""
        b, get = self.b, self.get

        def block(channel: ir.Value, values: Sequence[ir.Value]) -> Sequence[ir.Value]:
            self.channels = b.least(get[BLOCK], b.sub(get[CHANNELS], channel))
            self.first_step = b.mul(channel, get[TAPS], "first_step")
            self.steps = b.mul(self.channels, get[TAPS], "steps")
            self.is_first = b.icmp_signed("==", channel, I64(0))
            self.is_last = b.icmp_signed("==", b.add(channel, self.channels), get[CHANNELS])
            self.gather(channel)
            b.count_up(self.first_filter, self.end_filter, self.code.filters, self.sweep, "filters")
            return values

        b.loop(I64(0), get[CHANNELS], get[BLOCK], [], block, "blocks")

    # -- copies of inputs

    def gather(self, channel: ir.Value) -> None:
        """The rows of a block of steps into scratch."""
        b, get = self.b, self.get
        ends = b.at(b.pointer(get[FIRST_CHUNKS]), b.shl(self.block, I64(3)))
        x = b.add(b.function.args[operands.X], b.mul(self.group, get[X_GROUP]))
        x = b.add(x, b.mul(channel, get[X_CHANNEL]), "x_of_block")
        first, last = b.load_int(ends), b.load_int(b.at(ends, 8))

        def chunk(number: ir.Value, channel: ir.Value | None = None) -> None:
            slots = b.load_slots(b.add(get[CHUNKS], b.mul(number, I64(8 * CHUNK_SLOTS))), CHUNK_SLOTS)
            to = b.pointer(b.add(self.scratch, b.mul(slots[CHUNK_ROW], get[ROW])), "row")
            source = b.add(x, slots[CHUNK_X])
            if channel is not None:
                self.copy_taps(to, source, b.pointer(slots[CHUNK_PLACES]), channel)
            elif self.code.gather == PIXELS:
                self.copy_pixels(to, source, b.pointer(slots[CHUNK_PLACES]))
            elif self.code.gather == COLUMNS:
                self.copy_columns(to, source, slots[CHUNK_ROWS])
            else:
                self.copy_run(to, b.pointer(source))

        def of_channel(channel: ir.Value) -> None:
            b.count_up(first, last, 1, lambda number: chunk(number, channel), "rows")

        if self.code.gather == TAPS_APART:  # a channel's plane stays in the cache until all rows have theirs
            b.count_up(I64(0), self.channels, 1, of_channel, "channels")
        else:
            b.count_up(first, last, 1, chunk, "chunks")

    def copy_run(self, to: ir.Value, source: ir.Value) -> None:
        """A row whose steps lie one after the other."""
        b, lanes = self.b, self.b.owner.lanes

        def vector(step: ir.Value) -> None:
            offset = b.mul(step, self.item)
            b.store_vector(b.load_vector(b.at(source, offset), self.wanted(step)), b.at(to, offset))

        b.count_up(I64(0), self.steps, lanes, vector, "run")

    def wanted(self, step: ir.Value) -> ir.Value:
        """The lanes of a vector from `step` on that are steps of the block."""
        return self.b.first_lanes(self.b.least(self.b.sub(self.steps, step), I64(self.b.owner.lanes)))

    def copy_columns(self, to: ir.Value, x: ir.Value, rows: ir.Value) -> None:
        """Up to L rows that lie side by side in each channel's plane: squares of L channels are transposed."""
        b, get, lanes = self.b, self.get, self.b.owner.lanes
        mask = b.first_lanes(rows)
        last = b.sub(self.channels, I64(1))

        def square(channel: ir.Value) -> None:
            lines = [b.mul(b.least(b.add(channel, I64(i)), last), get[X_CHANNEL]) for i in range(lanes)]
            columns = b.transposed([b.load_vector(b.pointer(b.add(x, line)), mask) for line in lines])
            begin = b.at(to, b.mul(channel, self.item))
            for i, column in enumerate(columns):
                place = b.at(begin, b.mul(get[ROW], I64(i)))
                b.do_if(b.icmp_signed("<", I64(i), rows), partial(b.store_vector, column, place), f"row{i}")

        b.count_up(I64(0), self.channels, lanes, square, "squares")

    def copy_taps(self, to: ir.Value, x: ir.Value, places: ir.Value, channel: ir.Value) -> None:
        """A channel's taps of a row, element by element."""
        b, get = self.b, self.get
        plane = b.add(x, b.mul(channel, get[X_CHANNEL]))
        begin = b.at(to, b.mul(b.mul(channel, get[TAPS]), self.item))

        def tap(t: ir.Value) -> None:
            place = b.load_int(b.at(places, b.shl(t, I64(3))))
            outside = b.icmp_signed("<", place, I64(0))
            self.copy(b.select(outside, self.zero, b.pointer(b.add(plane, place))), b.at(begin, b.mul(t, self.item)))

        b.count_up(I64(0), get[TAPS], 1, tap, "taps")

    def copy_pixels(self, to: ir.Value, x: ir.Value, places: ir.Value) -> None:
        """A row, the channels of a pixel at a time; outside, they are all the same zero."""
        b, get = self.b, self.get
        pitch = b.mul(get[TAPS], self.item)

        def tap(t: ir.Value) -> None:
            place = b.load_int(b.at(places, b.shl(t, I64(3))))
            outside = b.icmp_signed("<", place, I64(0))
            source = b.select(outside, self.zero, b.pointer(b.add(x, place)))
            step = b.select(outside, I64(0), get[X_CHANNEL])
            begin = b.at(to, b.mul(t, self.item))

            def channel(c: ir.Value) -> None:
                self.copy(b.at(source, b.mul(c, step)), b.at(begin, b.mul(c, pitch)))

            b.count_up(I64(0), self.channels, 1, channel, "channels")

        b.count_up(I64(0), get[TAPS], 1, tap, "taps")

    def copy(self, source: ir.Value, to: ir.Value) -> None:
        """An element."""
        b = self.b
        b.store(b.load(source, typ=b.owner.element, align=b.owner.bytes), to, align=b.owner.bytes)

    # -- products

    def sweep(self, filter_: ir.Value) -> None:
        """A tile's filters for all rows of the block, cut into the fewest tiles, as equal as can be."""
        b = self.b
        filters = self.filters_from(filter_)
        most = max(self.code.rows)
        tiles = b.udiv(b.add(self.rows, I64(most - 1)), I64(most), "tiles")
        size, larger = b.udiv(self.rows, tiles), b.urem(self.rows, tiles)
        done: ir.Value = I64(0)
        for rows in self.code.rows:
            counts = [(b.add(size, I64(1)), larger), (size, b.sub(tiles, larger))]
            count = I64(0)
            for of_size, many in counts:
                count = b.select(b.icmp_signed("==", of_size, I64(rows)), many, count)
            end = b.add(done, b.mul(count, I64(rows)))
            b.count_up(done, end, rows, partial(self.tile, filters, rows), f"tiles_of_{rows}")
            done = end

    def filters_from(self, filter_: ir.Value) -> _Filters:
        """So many filters from one on; the task's last one stands again where there are fewer."""
        b = self.b
        first, last = (
            b.add(b.mul(self.group, self.get[FILTERS]), number) for number in (filter_, b.sub(self.end_filter, I64(1)))
        )
        numbers = [b.least(b.add(first, I64(k)), last) for k in range(self.code.filters)]
        weight = b.add(b.function.args[operands.WEIGHT], b.mul(self.first_step, self.item))
        pitch = b.mul(self.all_steps, self.item)
        weights = [b.pointer(b.add(weight, b.mul(number, pitch))) for number in numbers]
        count = b.least(b.sub(self.end_filter, filter_), I64(self.code.filters))
        return _Filters(b.sub(filter_, self.first_filter), count, numbers, weights)

    def tile(self, filters: _Filters, rows: int, row: ir.Value) -> None:
        """The sums of some filters and so many rows from one on, two vectors of steps at a time.

        Every tile adds in the same order, so that a row's results do not depend on what rows are beside it.
        """
        b, lanes = self.b, self.b.owner.lanes
        begin = b.pointer(b.add(self.scratch, b.mul(row, self.get[ROW])))
        inputs = [b.at(begin, b.mul(self.get[ROW], I64(i))) for i in range(rows)]
        width = b.owner.width

        def products(
            offset: ir.Value, masks: Sequence[ir.Value | None], sums: Sequence[ir.Value]
        ) -> Sequence[ir.Value]:
            new = list(sums)
            for u, mask in enumerate(masks):
                vectors = [b.load_vector(b.at(b.at(pointer, offset), u * width), mask) for pointer in inputs]
                for k, pointer in enumerate(filters.weights):
                    weights = b.load_vector(b.at(b.at(pointer, offset), u * width), mask)
                    for i, vector in enumerate(vectors):
                        new[k * rows + i] = b.multiply_add(weights, vector, new[k * rows + i])
            return new

        def whole(step: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return products(b.mul(step, self.item), (None, None), sums)

        zeros: list[ir.Value] = [b.owner.constant(0.0)] * (len(filters.weights) * rows)
        end = b.mul(b.udiv(b.sub(self.steps, I64(1)), I64(2 * lanes)), I64(2 * lanes))
        sums = b.loop(I64(0), end, 2 * lanes, zeros, whole, "steps")
        masks = [self.wanted(b.add(end, I64(u * lanes))) for u in range(2)]
        ended = products(b.mul(end, self.item), masks, sums)
        self.put(filters, row, [b.sums_across(ended[i::rows]) for i in range(rows)])

    def put(self, filters: _Filters, row: ir.Value, sums: Sequence[ir.Value]) -> None:
        """Add what waits of earlier blocks to the sums of some rows, which then wait for more or are finished."""
        b, size = self.b, self.code.filters
        tile = b.add(b.mul(filters.place, self.get[ROW_BLOCK]), b.mul(row, I64(size)))
        waiting = b.pointer(b.add(b.add(self.scratch, self.get[SUMS]), b.mul(tile, self.item)))
        places = [b.at(waiting, i * size * b.owner.bytes) for i in range(len(sums))]
        some = ir.VectorType(b.owner.element, size)
        lanes = b.places([min(lane, size - 1) for lane in range(b.owner.lanes)])

        def add(values: Sequence[ir.Value]) -> list[ir.Value]:
            before = [b.load(place, typ=some, align=b.owner.bytes) for place in places]
            return [b.fadd(value, b.shuffle_vector(x, x, lanes)) for value, x in zip(values, before, strict=True)]

        def wait() -> None:
            for total, place in zip(totals, places, strict=True):
                b.store(b.pick(total, range(size)), place, align=b.owner.bytes)

        totals = b.values_if(b.not_(self.is_first), sums, add, "before")
        b.do_if(b.not_(self.is_last), wait, "wait")
        b.do_if(self.is_last, lambda: self.finished(filters, row, totals), "finish")

    def finished(self, filters: _Filters, row: ir.Value, totals: Sequence[ir.Value]) -> None:
        """The epilogue of the tile's filters of some rows: bias, residual, activation, stores."""
        b, get = self.b, self.get
        bias, residual, y = (b.function.args[i] for i in (operands.BIAS, operands.RESIDUAL, operands.Y))
        first = b.shl(b.add(self.before_rows, row), I64(3))

        def row_of(array: ir.Value, table: int, i: int) -> ir.Value:
            return b.add(array, b.load_int(b.at(b.at(b.pointer(get[table]), first), 8 * i)))

        def add_bias(values: Sequence[ir.Value]) -> list[ir.Value]:
            of_filters = self.elements(filters, bias, self.item)
            return [b.fadd(value, of_filters) for value in values]

        totals = b.values_if(b.icmp_signed("!=", bias, I64(0)), totals, add_bias, "bias")
        if self.code.residual:
            begins = [row_of(residual, RESIDUAL_ROWS, i) for i in range(len(totals))]
            addends = [self.elements(filters, begin, get[RESIDUAL_FILTER]) for begin in begins]
            totals = [b.fadd(total, addend) for total, addend in zip(totals, addends, strict=True)]
        if self.finish:
            totals = [b.call(self.finish, [total]) for total in totals]
        rows = [row_of(y, Y_ROWS, i) for i in range(len(totals))]
        for k, number in enumerate(filters.numbers):
            store = partial(self.store, k, totals, rows, b.mul(number, get[Y_FILTER]))
            b.do_if(b.icmp_signed("<", I64(k), filters.count), store, f"store{k}")

    def store(self, lane: int, totals: Sequence[ir.Value], rows: Sequence[ir.Value], offset: ir.Value) -> None:
        """One filter of some rows."""
        b = self.b
        for total, row in zip(totals, rows, strict=True):
            place = b.pointer(b.add(row, offset))
            b.store(b.extract_element(total, I64(lane)), place, align=b.owner.bytes)

    def elements(self, filters: _Filters, begin: ir.Value, pitch: ir.Value) -> ir.Value:
        """The elements of a tile's filters, `pitch` bytes apart, as the first lanes of a vector."""
        b = self.b
        vector: ir.Value = b.owner.constant(0.0)
        for k, number in enumerate(filters.numbers):
            place = b.pointer(b.add(begin, b.mul(number, pitch)))
            vector = b.insert_element(vector, b.load(place, typ=b.owner.element, align=b.owner.bytes), I64(k))
        return vector
