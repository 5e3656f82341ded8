"""What the code of a pooling of windows depends on, and the numbers that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from llvmlite import ir

from fastconv.codegen.folding import Fold, Folder, FoldModule

# fmt: off
#: int64 slots of a plan. Sizes count elements unless they are said to be bytes.
(
    PLANES, GROUP,                 # planes of all images; of a task
    PARTS, PART_ROWS,              # tasks of a plane, output rows of one
    BAND,                          # output rows of a band
    CHANNELS,                      # planes of an image
    HEIGHT, ROW,                   # rows of a plane, elements of one
    OUT_HEIGHT, OUT_ROW,
    BEFORE_H, BEFORE_W,            # padding
    STRIDE_H, DILATION_H, NEW,     # rows; rows of a band that the one before it has not
    CARRIED,                       # rows that two bands share
    FLAT_STRIDE, FLAT_DILATION,    # along a row
    RUN, RUNS,                     # elements side by side, and how many times, where the stride is none of 1 and 2
    X_PLANE, X_ROW,                # bytes
    Y_IMAGE, Y_CHANNEL, Y_ROW,     # bytes
    TOGETHER,                      # 1 if planes of the output follow each other
    PAD_ROW, PAD_PLANE, PAD_PART,  # bytes in scratch: from row to row, plane to plane, part to part of a state
    ROWS_AT, ROWS_ROW, ROWS_PLANE, ROWS_PART,  # of what "along" gives
    LEVELS_AT, LEVELS_SIZE,        # of windows of 4, 16, ... elements
    MORE_AT,                       # room for a vector, and behind it for the column of blocks
    DIVISORS, LANE_DIVISORS,       # addresses, by output row and by output element of a row
    LAST_AT,                       # room for a plane
    PLACES,                        # address of the position in its row of each element of one
    PLANE_WIDTH,                   # pixels of a row
    SLOTS,
) = range(42)
# fmt: on
X, Y, INDICES, OPERANDS = 1, 2, 3, 4  # operands, behind the address of the plan's slots

MOST_TAPS = 6
AHEAD = 1024  # bytes that are asked for before they are read
_FLAGS = ("single", "fused", "rowwise", "padded", "blocks", "lane_divisors", "unit", "whole", "short", "out_short")
MANY_ROWS = 16  # that a loop goes through
MOST_FUSED = 9  # elements of a window that is combined in one step
COLUMN = 4  # vectors that blocks are combined by


@dataclass(frozen=True)
class Windows:
    """What the code depends on.

    Parameters
    ----------
    fold : Fold
        What is done with elements.
    kernel : tuple of int
        Rows and columns of a window.
    step : {1, 2, 0}
        Stride along a row: 2 is that of single channels, 0 any other.
    single : bool
        Whether there is one channel side by side.
    fused : bool
        Whether small windows are combined in one step, without rows in between.
    rowwise : bool
        Whether windows are combined row by row, as is best for long ones; the stride is 1 or 2 then.
    padded : bool
        Whether rows are copied.
    blocks : bool
        Whether windows are combined by blocks of rows.
    lane_divisors : bool
        Whether divisors differ along a row.
    unit : bool
        Whether a window's elements along a row are neighbours.
    whole : bool
        Whether each band is a whole plane.
    row, out_row : int
        Elements of a row of the input and of the output, where code is written out for so many; else 0.
    shared : int
        The stride of rows, where windows share some of them and are combined in one step two by two; else 0.
    short, out_short : bool
        Whether these rows have fewer elements than a vector.
    """

    fold: Fold
    kernel: tuple[int, int]
    step: int
    single: bool
    fused: bool
    rowwise: bool
    padded: bool
    blocks: bool
    lane_divisors: bool
    unit: bool
    whole: bool
    row: int
    out_row: int
    shared: int
    short: bool
    out_short: bool

    @cached_property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        words = [f"pooling_{self.fold.name}_{self.kernel[0]}x{self.kernel[1]}_s{self.step}"]
        words += [word for word in _FLAGS if getattr(self, word)]
        return "_".join([*words, f"{self.row}_{self.out_row}_{self.shared}"])

    @property
    def levels(self) -> list[int]:
        """Sizes of the windows that are put together of others: 4, 16, ..."""
        found = [4**i for i in range(1, 32) if 4**i <= self.kernel[1]]
        return found if self.kernel[1] > MOST_TAPS else []

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Level (0 are elements) and first tap of each piece that a window is put together of."""
        width, sizes = self.kernel[1], [1, *self.levels]
        if self.fold.kind != "sum":  # may overlap
            size = sizes[-1]
            return [(len(sizes) - 1, min(first, width - size)) for first in range(0, width, size)]
        pieces, first = [], 0
        for level, size in reversed(list(enumerate(sizes))):
            while width - first >= size:
                pieces.append((level, first))
                first += size
        return pieces


@dataclass(frozen=True)
class Context:
    """What the parts of a generator share: the slots' values among them, and the address of the worker's scratch."""

    own: FoldModule
    code: Windows
    b: Folder
    get: list[ir.Value]
    scratch: ir.Value
