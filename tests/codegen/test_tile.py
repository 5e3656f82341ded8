"""Register tiles against the formula, called as drivers call them: one frame of int64 slots."""

from __future__ import annotations

import ctypes
import itertools

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastconv.codegen import target as targets
from fastconv.codegen import tile as tiles
from fastconv.problem import ACTIVATIONS

UNTOUCHED = 77
STEPS = 5
PLACES = 11  # of the input, that the steps' offsets lead to
GAP = 3  # elements between what a tile reads or writes
MOST_ROWS = 8
SHAPES = list(itertools.product(range(1, MOST_ROWS + 1), range(1, tiles.MAX_VECTORS + 1)))

# (fill, joints of a joined vector, whether rows are filters)
KINDS = [
    *itertools.product([tiles.WHOLE, tiles.PARTIAL], [0], [False, True]),
    (1, 1, True),
    (2, 1, True),
    (2, 3, True),
    (tiles.PARTIAL, 1, True),
]
kinds = pytest.mark.parametrize(("fill", "joints", "rows_are_filters"), KINDS)


def make(dtype, rows, vectors, fill, rows_are_filters, activation, joints=0, packed=True):
    """Return a tile whose weights are packed as tightly as can be, or, of filters in rows, lie as they came."""
    pitch = rows if rows_are_filters else vectors * targets.current().lanes(dtype)
    return tiles.Tile(dtype, rows, vectors, fill, rows_are_filters, activation, pitch if packed else 1, joints)


def run(tile, frame):
    """Call a tile with a frame, given as slot -> value."""
    slots = np.zeros(tiles.FRAME_SLOTS, np.int64)
    for slot, value in frame.items():
        slots[slot] = value
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(tiles.address(tile))(slots.ctypes.data)


class Setting:
    """Operands of small integers, whose sums are exact, and a frame that points to them.

    The vectors of a tile lie apart in the result, as those in different rows of an image do. Of the operand the lanes
    behind a joint lie a gap further.
    """

    def __init__(self, tile, repeats=1, seed=0):
        self.tile, self.random = tile, np.random.default_rng(seed)
        self.lanes = lanes = targets.current().lanes(tile.dtype)
        rows, width = tile.rows * repeats, tile.vectors * lanes
        item = np.dtype(tile.dtype).itemsize
        run = max(1, lanes // 3)  # so short that three joints fit into a vector
        joint = self.random.integers(1, run + 1, tile.vectors)
        columns = np.arange(width).reshape(tile.vectors, lanes)
        for v in range(tile.vectors - tile.joined, tile.vectors):
            passed = (np.arange(lanes) - joint[v]) // run + 1  # joints in front of a lane
            columns[v] += GAP * np.clip(passed, 0, tile.joints)
        columns = columns.ravel()
        table = self.random.permutation(PLACES)[:STEPS]
        if tile.rows_are_filters:
            weights = self.numbers(repeats, tile.rows, STEPS)  # [tile][filter][step], or [tile][step][filter]
            self.a = weights.transpose(0, 2, 1).copy() if tile.pitch > 1 else weights
            self.b = self.numbers(PLACES + width + GAP * (1 + tile.joints))  # input, from the first pixel on
            self.products = weights.reshape(rows, STEPS) @ self.b[table[:, np.newaxis] + columns]
            self.bias = self.numbers(rows)
        else:
            self.a = self.numbers(rows, PLACES)  # input [pixel][place]
            self.b = self.numbers(STEPS, width)  # weights [step][filter]
            self.products = self.a[:, table] @ self.b
            self.bias = self.numbers(width)
        shape = (rows, tile.vectors, lanes + 2 * GAP)
        self.before, self.residual = self.numbers(*shape), self.numbers(*shape)
        valid = self.random.integers(1, lanes + 1, tile.vectors)
        self.valid = valid if tile.fill == tiles.PARTIAL else np.full(tile.vectors, lanes)
        self.table = table * item
        first, apart = np.arange(tile.vectors), self.before.strides[1]
        self.frame = {
            tiles.STEPS: STEPS,
            tiles.TABLE: self.table.ctypes.data,
            tiles.A: self.a.ctypes.data,
            tiles.A_ROW: self.a.strides[0] if self.a.ndim == 2 else STEPS * item,
            tiles.Y_ROW: self.before.strides[0],
            tiles.RESIDUAL_ROW: self.residual.strides[0],
            **self.each(tiles.B, self.b.ctypes.data + first[: None if tile.rows_are_filters else 1] * lanes * item),
            **self.each(tiles.RESIDUAL, self.residual.ctypes.data + first * apart),
            **self.each(tiles.LANES, self.valid),
            tiles.BIAS: self.bias.ctypes.data,
            tiles.REPEATS: repeats,
            tiles.A_NEXT: (tile.rows if self.a.ndim == 2 else 1) * self.a.strides[0],
            tiles.Y_NEXT: tile.rows * self.before.strides[0],
            tiles.RESIDUAL_NEXT: tile.rows * self.residual.strides[0],
            tiles.BIAS_NEXT: tile.rows * item if tile.rows_are_filters else 0,
            **self.each(tiles.JOINT, joint),
            tiles.RUN: run,
            tiles.GAP: GAP * item,
        }

    def numbers(self, *shape):
        return self.random.integers(-4, 5, shape).astype(self.tile.dtype)

    @staticmethod
    def each(slot, values):
        """Return consecutive slots, one a vector."""
        return {slot + v: int(value) for v, value in enumerate(values)}

    def result(self, *, accumulate=False, finish=False, bias=True, residual=True):
        """Call the tile and return the memory it wrote to."""
        y = self.before if accumulate else np.full_like(self.before, UNTOUCHED)
        y = y.copy()
        first, apart = np.arange(self.tile.vectors), y.strides[1]
        frame = self.frame | self.each(tiles.Y, y.ctypes.data + first * apart)
        frame |= {tiles.ACCUMULATE: int(accumulate), tiles.FINISH: int(finish)}
        frame |= {} if bias else {tiles.BIAS: 0}
        frame |= {} if residual else {tiles.RESIDUAL: 0}
        run(self.tile, frame)
        return y

    def expected(self, *, accumulate=False, finish=False, bias=True, residual=True):
        """Return what that memory should hold."""
        y = self.before if accumulate else np.full_like(self.before, UNTOUCHED)
        y = y.copy()
        for v, count in enumerate(self.valid):
            columns, places = slice(v * self.lanes, v * self.lanes + count), slice(count)
            total = self.products[:, columns].copy()
            if accumulate:
                total += self.before[:, v, places]
            if finish and bias and self.tile.rows_are_filters:
                total += self.bias[:, np.newaxis]
            elif finish and bias:
                total += self.bias[columns]
            if finish and residual:
                total += self.residual[:, v, places]
            y[:, v, places] = np.maximum(total, 0) if finish and self.tile.activation else total
        return y


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_shape(vector_bits, dtype, packed):
    for rows, vectors in SHAPES:
        for fill, joints, rows_are_filters in KINDS[(rows + vectors) % 3 :: 3]:
            fill = fill if fill == tiles.PARTIAL else min(fill, vectors)
            tile = make(dtype, rows, vectors, fill, rows_are_filters, None, joints, packed or not rows_are_filters)
            setting = Setting(tile, seed=rows)
            for passes in ({}, {"accumulate": True, "finish": True}):
                np.testing.assert_array_equal(setting.result(**passes), setting.expected(**passes), str(tile))


@kinds
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("terms", list(itertools.product([False, True], repeat=4)))
def test_every_epilogue(fill, joints, rows_are_filters, activation, terms):
    names = ("accumulate", "finish", "bias", "residual")
    chosen = dict(zip(names, terms, strict=True))
    tile = make("float32", 4, 2, fill, rows_are_filters, activation, joints)
    setting = Setting(tile)
    np.testing.assert_array_equal(setting.result(**chosen), setting.expected(**chosen))


@kinds
def test_tiles_one_after_the_other(fill, joints, rows_are_filters):
    tile = make("float32", 3, 2, fill, rows_are_filters, "relu", joints)
    setting = Setting(tile, repeats=4)
    for chosen in ({}, {"finish": True, "accumulate": True}):
        np.testing.assert_array_equal(setting.result(**chosen), setting.expected(**chosen))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows_are_filters", [False, True])
def test_every_number_of_valid_lanes(vector_bits, dtype, rows_are_filters):
    tile = make(dtype, 2, 1, tiles.PARTIAL, rows_are_filters, None)
    setting = Setting(tile)
    for count in range(1, setting.lanes + 1):
        setting.valid[0] = setting.frame[tiles.LANES] = count
        np.testing.assert_array_equal(setting.result(finish=True), setting.expected(finish=True))


@kinds
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_the_code_can_be_read_and_parsed(vector_bits, activation, fill, joints, rows_are_filters):
    tile = make("float32", 2, 2, fill, rows_are_filters, activation, joints)
    text = str(tiles.emit(tile, targets.current()))
    module = llvm.parse_assembly(text)
    module.verify()
    functions = [function.name for function in module.functions if not function.is_declaration]
    assert tile.name in functions
    assert f"<{vector_bits // 32} x float>" in text
    for name in ("frame", "table", "steps", "residual"):  # what the slots are called
        assert name in text


def test_names_tell_tiles_apart():
    found = [
        tiles.Tile(dtype, rows, vectors, fill, filters, activation, pitch, joints).name
        for dtype in ("float32", "float64")
        for rows, vectors in SHAPES
        for fill, joints, filters in KINDS
        if fill == tiles.PARTIAL or fill <= vectors
        for activation in (None, *ACTIVATIONS)
        for pitch in (1, 6)
    ]
    assert len(set(found)) == len(found)


def test_full_tiles_fit_in_the_registers(vector_bits):
    target = targets.current()
    for rows_of_product in range(1, 100):
        rows, vectors = tiles.shape(target, rows_of_product)
        assert 1 <= rows <= min(rows_of_product, MOST_ROWS)
        assert 1 <= vectors <= tiles.MAX_VECTORS
        # sums, one step's vectors, one broadcast
        assert rows * vectors + vectors + 1 <= target.vector_registers + (rows <= 3)
