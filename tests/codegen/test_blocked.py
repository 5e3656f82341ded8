"""Into and out of the blocked layout: every size of a row and of a block, and not an element further.

That no copy reads or writes beyond what it should is seen against unreadable pages, in a process that this file is the
program of::

    python tests/codegen/test_blocked.py 512

"""

from __future__ import annotations

import ctypes
import itertools
import runpy
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastconv import config, reference
from fastconv.codegen import blocked
from fastconv.codegen import target as targets
from fastconv.problem import ACTIVATIONS, LAYOUTS

UNTOUCHED = -77.0
JUNK = np.nan  # what nobody may read, or not look at
DTYPES = ("float32", "float64")

layouts = pytest.mark.parametrize("layout", LAYOUTS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
#: A vector of each width takes a function of its own to copy; of the epilogue there are nine.
every_width = pytest.mark.usefixtures("vector_bits")


def call(function, **operands):
    slots = (ctypes.c_int64 * blocked.OPERANDS)()
    for name, value in operands.items():
        slots[getattr(blocked, name)] = value
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(ctypes.addressof(slots))


def channel_and_pixel(layout, array):
    """Return from one channel to the next, from one pixel to the next, and from one row."""
    if layout == "channels_first":
        channel, row, pixel = array.strides
    else:
        row, pixel, channel = array.strides
    return channel, pixel, row


def as_layout(layout, array):
    """(channels, rows, columns) as the layout has it."""
    return array if layout == "channels_first" else np.moveaxis(array, 0, -1)


def inside_of(values, random, beside):
    """Return an array full of `beside`, and the values inside it."""
    before, behind = random.integers(0, 4, (2, values.ndim)).tolist()
    around = np.full([a + n + b for a, n, b in zip(before, values.shape, behind, strict=True)], beside, values.dtype)
    inside = around[tuple(slice(a, a + n) for a, n in zip(before, values.shape, strict=True))]
    inside[...] = values
    return around, inside


# --------------------------------------------------------------------------------------- into


def copy_into(layout, source, to, borders, pitch):
    """Copy (channels, rows, columns) or (rows, columns, channels) to the elements from `to` on."""
    above, below, before, after = borders
    channels, rows, columns = source.shape if layout == "channels_first" else np.moveaxis(source, -1, 0).shape
    channel, pixel, row = channel_and_pixel(layout, source)
    call(
        blocked.into(source.dtype.name, layout == "channels_first"),
        FROM=source.ctypes.data, TO=to.ctypes.data, ROW_FROM=row, ROW_TO=pitch, CHANNEL=channel, PIXEL=pixel,
        CHANNELS=channels, ROWS=rows, COLUMNS=columns, ABOVE=above, BELOW=below, BEFORE=before, AFTER=after,
    )  # fmt: skip


def blocks_of(layout, values, lanes, borders):
    """(rows, columns, lanes) with zeros around: what `copy_into` should make of (channels, rows, columns)."""
    above, below, before, after = borders
    missing = (0, lanes - len(values)), (0, 0), (0, 0)
    whole = np.pad(values, missing, mode="edge" if layout == "channels_first" else "constant")
    return np.pad(np.moveaxis(whole, 0, -1), ((above, below), (before, after), (0, 0)))


def check_into(layout, dtype, sizes, borders, random, more=0):
    """Copy out of an array full of junk, into one of which nothing else may change; `more` pixels follow each row."""
    lanes = targets.current().lanes(dtype)
    values = random.random(sizes).astype(dtype)
    _, inside = inside_of(as_layout(layout, values), random, JUNK)
    expected = blocks_of(layout, values, lanes, borders)
    height, width, _ = expected.shape
    pitch = (width + more) * lanes
    room = np.full(lanes + height * pitch + lanes * lanes + lanes, UNTOUCHED, dtype)
    to = room[lanes:]
    copy_into(layout, inside, to, borders, pitch * to.itemsize)
    copied = to[: height * pitch].reshape(height, width + more, lanes)
    np.testing.assert_array_equal(copied[:, :width], expected)
    assert (room[:lanes] == UNTOUCHED).all()
    assert (room[-lanes:] == UNTOUCHED).all()


@every_width
@layouts
def test_into_by_hand(layout):
    """Two channels of 1 x 3 pixels, a column of zeros before them and two behind, a row above and one below."""
    lanes = targets.current().lanes("float32")
    x = np.float32([[[1, 2, 3]], [[10, 20, 30]]])
    to = np.full((3, 6, lanes), UNTOUCHED, "f4")
    room = np.concatenate([to.ravel(), np.full(lanes * lanes, UNTOUCHED, "f4")])
    copy_into(layout, np.ascontiguousarray(as_layout(layout, x)), room, (1, 1, 1, 2), 6 * lanes * 4)
    copied = room[: to.size].reshape(to.shape)
    assert copied[:, :, 0].tolist() == [[0] * 6, [0, 1, 2, 3, 0, 0], [0] * 6]
    assert copied[:, :, 1].tolist() == [[0] * 6, [0, 10, 20, 30, 0, 0], [0] * 6]


@every_width
@layouts
@dtypes
def test_every_size_into(layout, dtype):
    """As many columns as three vectors have, any channels of a block, zeros on any side."""
    random = np.random.default_rng(0)
    lanes = targets.current().lanes(dtype)
    for columns, channels in itertools.product(range(1, 3 * lanes + 1), range(1, lanes + 1)):
        borders = random.integers(0, 4, 4).tolist()
        check_into(layout, dtype, (channels, int(random.integers(1, 4)), columns), borders, random)


@every_width
@layouts
@dtypes
def test_rows_of_zeros_are_as_long_as_the_pitch(layout, dtype):
    """Rows may be further apart than they are long; all of those above and below are zeros, and no rows are enough."""
    random = np.random.default_rng(0)
    lanes = targets.current().lanes(dtype)
    for rows, columns, more in itertools.product((0, 1, 2), (0, 1, lanes - 1, lanes + 1), (0, 1, 2 * lanes)):
        check_into(layout, dtype, (lanes, rows, columns), (2, 1, 1, 2), random, more)
        check_into(layout, dtype, (1, rows, columns), (0, 3, 0, 0), random, more)
    source = as_layout(layout, np.ones((lanes, 0, 5), dtype))
    room = np.full(4 * 7 * lanes, UNTOUCHED, dtype)
    copy_into(layout, source, room, (2, 1, 0, 0), 7 * lanes * room.itemsize)
    assert (room[: 3 * 7 * lanes] == 0).all()
    assert (room[3 * 7 * lanes :] == UNTOUCHED).all()


# ------------------------------------------------------------------------------------- out of


class Rows:
    """Blocked rows, an array for them, and what may stand beside both: junk, and elements that nobody may change."""

    def __init__(self, layout, dtype, sizes, random, bias=True, residual=True, more=0):
        self.layout, self.sizes = layout, sizes
        channels, rows, columns = sizes
        lanes = targets.current().lanes(dtype)
        values = random.uniform(-4, 4, sizes).astype(dtype)
        missing = (0, lanes - channels), (0, 0), (0, 0)
        self.blocks = np.full((rows + lanes, columns + more, lanes), JUNK, dtype)  # short rows are read beyond
        self.blocks[:rows, :columns] = np.moveaxis(np.pad(values, missing, mode="edge"), 0, -1)
        self.values = values
        self.bias = random.uniform(-1, 1, channels).astype(dtype) if bias else None
        self.residual = None
        if residual:
            _, self.residual = inside_of(as_layout(layout, random.uniform(-1, 1, sizes).astype(dtype)), random, JUNK)
        self.around, self.out = inside_of(as_layout(layout, values), random, UNTOUCHED)
        self.out[...] = UNTOUCHED

    def run(self, activation=None, broken=0):
        """Write the array; returns the slot."""
        slot = np.array([5, broken, 5])
        channel, pixel, row = channel_and_pixel(self.layout, self.out)
        operands = {}
        if self.residual is not None:
            names = "CHANNEL_RESIDUAL", "PIXEL_RESIDUAL", "ROW_RESIDUAL"
            operands = dict(zip(names, channel_and_pixel(self.layout, self.residual), strict=True))
            operands["RESIDUAL"] = self.residual.ctypes.data
        if self.bias is not None:
            operands["BIAS"] = self.bias.ctypes.data
        channels, rows, columns = self.sizes
        call(
            blocked.out_of(self.out.dtype.name, self.layout == "channels_first", activation),
            FROM=self.blocks.ctypes.data, TO=self.out.ctypes.data, ROW_FROM=self.blocks.strides[0], ROW_TO=row,
            CHANNEL=channel, PIXEL=pixel, CHANNELS=channels, ROWS=rows, COLUMNS=columns,
            BROKEN=slot[1:].ctypes.data, **operands,
        )  # fmt: skip
        assert slot[[0, 2]].tolist() == [5, 5]
        return int(slot[1])

    def expected(self, activation=None):
        """activation(value + bias + residual), (channels, rows, columns)"""
        total = self.values.copy()
        if self.bias is not None:
            total += self.bias[:, np.newaxis, np.newaxis]
        total = as_layout(self.layout, total)
        if self.residual is not None:
            total = total + self.residual
        return total if activation is None else reference.ACTIVATIONS[activation](total.astype("f8"))

    def check(self, activation=None):
        """Run; the result is as expected, nothing beside it was written, and no value is said to be infinite."""
        assert self.run(activation) == 0
        if activation is None:
            np.testing.assert_array_equal(self.out, self.expected())
        else:
            close = 8 * np.finfo(self.out.dtype).eps
            np.testing.assert_allclose(self.out, self.expected(activation), rtol=close, atol=close)
        self.out[...] = UNTOUCHED
        assert (self.around == UNTOUCHED).all()


@every_width
@layouts
def test_out_of_by_hand(layout):
    """Two filters of 1 x 3 pixels and the epilogue."""
    rows = Rows(layout, "float32", (2, 1, 3), np.random.default_rng(0))
    lanes = targets.current().lanes("float32")
    rows.blocks[0] = np.float32([[1], [2], [-300]]) * np.float32([1] + [10] * (lanes - 1))
    rows.bias[:] = 0.5, 100
    rows.residual[...] = as_layout(layout, np.float32([[[0, 1, 0]], [[1000, 1000, 1000]]]))
    assert rows.run("relu") == 0
    expected = np.float32([[[1.5, 3.5, 0]], [[1110, 1120, 0]]])
    np.testing.assert_array_equal(rows.out, as_layout(layout, expected))


@every_width
@layouts
@dtypes
def test_every_size_out_of(layout, dtype):
    random = np.random.default_rng(0)
    lanes = targets.current().lanes(dtype)
    for columns, channels in itertools.product(range(1, 3 * lanes + 1), range(1, lanes + 1)):
        bias, residual, more = (int(number) for number in random.integers(0, 2, 3))
        sizes = channels, int(random.integers(1, 4)), columns
        Rows(layout, dtype, sizes, random, bias, residual, more * int(random.integers(1, lanes))).check()


@every_width
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    random, number = np.random.default_rng(0), ACTIVATIONS.index(activation)
    layout, dtype = LAYOUTS[number % 2], DTYPES[number // 2 % 2]  # each is compiled: one kind for each
    lanes = targets.current().lanes(dtype)
    for channels, columns in itertools.product((1, lanes - 1, lanes), (1, lanes - 1, lanes, 2 * lanes + 1)):
        for bias, residual in itertools.product((False, True), repeat=2):
            Rows(layout, dtype, (channels, 2, columns), random, bias, residual).check(activation)


@every_width
@layouts
@dtypes
def test_any_value_that_is_not_finite_sets_the_slot(layout, dtype):
    """Whichever of a block it is: one and two of the last columns are seen in a block that overlaps another."""
    random = np.random.default_rng(0)
    lanes = targets.current().lanes(dtype)
    for columns in (1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3):
        for channels in (1, lanes - 1, lanes):
            rows = Rows(layout, dtype, (channels, 2, columns), random)
            for row, column, channel in np.ndindex(2, columns, channels):
                place, special = (row, column, channel), (np.nan, np.inf, -np.inf)[(row + column + channel) % 3]
                before, rows.blocks[place] = rows.blocks[place], special
                assert rows.run() == 1, place
                rows.blocks[place] = before
            assert rows.run() == 0


@every_width
@layouts
@dtypes
def test_infinities_of_both_signs_do_not_cancel(layout, dtype):
    lanes = targets.current().lanes(dtype)
    rows = Rows(layout, dtype, (lanes, 1, 2 * lanes), np.random.default_rng(0))
    rows.blocks[0, ::2], rows.blocks[0, 1::2] = np.inf, -np.inf
    assert rows.run() == 1


@every_width
@layouts
@dtypes
def test_the_slot_is_of_values_before_the_epilogue(layout, dtype):
    """Bias and residual may be infinite, or make a sum so; and the largest numbers are numbers."""
    lanes, largest = targets.current().lanes(dtype), np.finfo(dtype).max
    for columns in (lanes - 1, 2 * lanes + 1):
        rows = Rows(layout, dtype, (lanes - 1, 2, columns), np.random.default_rng(0))
        rows.bias[0], rows.residual[...] = -np.inf, np.nan
        assert rows.run() == 0
        assert np.isnan(rows.out).all()
        rows.bias[:] = rows.residual[...] = largest
        rows.blocks[:2, :columns] = largest
        assert rows.run() == 0
        assert (rows.out == np.inf).all()
        rows.blocks[:2, :columns] = np.finfo(dtype).smallest_subnormal
        assert rows.run() == 0


@every_width
@layouts
def test_the_slot_is_never_cleared(layout):
    """It is one for a whole image, of which many calls see a part."""
    rows = Rows(layout, "float32", (3, 2, 5), np.random.default_rng(0))
    assert rows.run(broken=1) == 1


# ------------------------------------------------------------------------------------- guards


def guarded(bits):
    """Every array in turn against unreadable pages: a copy that goes too far is a segmentation fault."""
    guards = runpy.run_path(str(Path(__file__).parents[1] / "cpu" / "test_guard_pages.py"))
    config.set_vector_bits(bits)
    for layout, dtype, side in itertools.product(LAYOUTS, DTYPES, guards["SIDES"]):
        lanes = targets.current().lanes(dtype)
        random = np.random.default_rng(0)
        widths = 1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3
        for channels, columns in itertools.product({1, lanes - 1, lanes}, widths):
            sizes = channels, 2, columns
            source = guards["guarded_input"](as_layout(layout, np.ones(sizes, dtype)), side)
            room = guards["Guarded"]((2 * (columns + 1) * lanes + lanes * lanes,), dtype, side).array
            copy_into(layout, source, room, (0, 0, 1, 0), (columns + 1) * lanes * room.itemsize)

            rows = Rows(layout, dtype, sizes, random)
            out = guards["Guarded"](rows.out.shape, dtype, side)
            rows.out = rows.around = out.array
            rows.bias, rows.residual = (guards["guarded_input"](each, side) for each in (rows.bias, rows.residual))
            rows.blocks = guards["guarded_input"](rows.blocks, side)
            rows.check()
            assert out.untouched()


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect is called by its name")
@pytest.mark.parametrize("bits", config.VECTOR_BITS)
def test_copies_stay_inside_their_arrays(bits):
    command = [sys.executable, "-W", "error", __file__, str(bits)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


# ---------------------------------------------------------------------------------- the code


@every_width
@layouts
def test_the_code_can_be_read_and_parsed(layout):
    first, target = layout == "channels_first", targets.current()
    into = str(blocked.emit_into("into", "float32", first, target))
    out_of = str(blocked.emit_out_of("out_of", "float32", first, "relu", target))
    for text in (into, out_of):
        llvm.parse_assembly(text).verify()
        assert "rows" in text


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is an answer, not a core dump
    guarded(int(sys.argv[1]))
    sys.stdout.write("end\n")
