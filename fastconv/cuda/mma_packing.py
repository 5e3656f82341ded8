"""Weights as tensor cores take them: rounded, round by round, as they will lie in shared memory; and a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda.compile import Float, IntPointer, Kernel, Pointer, WidePointer
from fastconv.cuda.geometry import geometry
from fastconv.cuda.inline import inlined
from fastconv.cuda.intrinsics import division, load, quotient, store
from fastconv.cuda.plan import Operand, Step, Target
from fastconv.cuda.window import distance, needed
from fastconv.problem import ConvProblem

_THREADS = 256


def _named(low: float, high: float) -> int:
    """Stand for a name that the kernel has only once it is specialised."""
    raise NotImplementedError


word = _named

# What the kernel is specialised by.
FLIP = False
DEPTH = 64  # of K in a round
WORDS = 32  # of 32 bits, of a filter in a round
PER_WORD = 2  # weights
REORDERED = False  # whether columns are in the order of `packed_column`
STEP = 8  # elements that a copy of columns has, of one tap and channels side by side
ENTRIES = 8  # copies of a pixel in a round


def _packed_column(*types: object) -> Callable[[int], int]:
    def packed_column(place: int) -> int:
        column: int = int32(place // 8 * 8 + place % 8 // 2 + place % 2 * 4)
        return column

    return packed_column


#: ``packed_column(place)``: the column of K, of 16 in a row, whose weight is packed at a place. Products that take
#: float32 columns as pairs of halves have them in this order, see `intrinsics.tensor_cores`: the two of a register are
#: columns t and t + 4 of eight.
packed_column = inlined(_packed_column)


def _pack_fragments(
    weight: Pointer,
    packed: IntPointer,
    table: WidePointer,
    channels: int,
    channels_multiplier: int,
    channels_shift: int,
    filters: int,
    padded_filters: int,
    steps: int,
    rounds: int,
    taps: int,
    height: int,
    width: int,
    kernel_depth: int,
    kernel_height: int,
    kernel_width: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    pixel_step: int,
) -> None:
    """Pack a word of weights a thread; of each round, threads of one block fill the entries of the table.

    An entry has in its lower half how far an element is from a window's first, in its upper half the bits that it
    needs, see `window`; behind the last step, all of them: nothing is there.
    """
    thread = cuda.threadIdx.x
    round_ = cuda.blockIdx.x
    group = int64(cuda.blockIdx.z)
    index = int32(cuda.blockIdx.y * cuda.blockDim.x + thread)
    filter_ = int32(index // WORDS)
    place = int32(index % WORDS)
    if round_ < rounds and filter_ < padded_filters:
        low = Float(0)
        high = Float(0)
        for i in range(int32(PER_WORD)):
            column = int32(place * PER_WORD + i)
            if REORDERED:
                column = packed_column(column)
            step = int32(round_ * DEPTH + column)
            if step < steps and filter_ < filters:
                tap = quotient(step, channels_multiplier, channels_shift)
                channel = step - tap * channels
                shown = taps - 1 - tap if FLIP else tap
                value = load(weight, ((group * filters + filter_) * channels + channel) * taps + shown)
                if i == 0:
                    low = value
                else:
                    high = value
        turn = int32(filter_ % 8 if WORDS == 32 else filter_ // 2 % 4)  # as `mma_product` reads them
        swapped = int32((place // 4 ^ turn) * 4 + place % 4)
        store(packed, ((group * rounds + round_) * padded_filters + filter_) * WORDS + swapped, word(low, high))
    if cuda.blockIdx.y == 0 and group == 0 and thread < ENTRIES:
        step = int32(round_ * DEPTH + thread * STEP)
        entry = int64(-1) << 32
        if step < steps:
            tap = quotient(step, channels_multiplier, channels_shift)
            channel = step - tap * channels
            far = distance(
                tap, kernel_height, kernel_width, dilation_depth, dilation_height, dilation_width, height, width
            )
            far = int32(far * pixel_step + channel)
            entry = int64(needed(tap, kernel_depth, kernel_height, kernel_width)) << 32 | int64(far) & 0xFFFFFFFF
        store(table, int32(round_ * ENTRIES + thread), entry)


@dataclass(frozen=True)
class Packing:
    """What weights are packed into, and what copies of columns there are."""

    word: str  # which word of two weights, or of one, as "module:name"
    per_word: int
    depth: int  # of K in a round
    reordered: bool
    step: int  # elements of a copy
    padded_filters: int
    rounds: int
    ahead: int  # rounds behind the last one, which have entries, too

    @property
    def words(self) -> int:
        """Of a filter in a round."""
        return self.depth // self.per_word

    @property
    def entries(self) -> int:
        """Of the table in a round."""
        return self.depth // self.step

    def nbytes(self, groups: int) -> int:
        """Bytes of packed weights, behind which the table begins."""
        return 4 * groups * self.rounds * self.padded_filters * self.words

    @property
    def table_bytes(self) -> int:
        """Bytes of the table."""
        return 8 * (self.rounds + self.ahead) * self.entries


def pack(
    target: Target, problem: ConvProblem, packing: Packing, pointers: tuple[Operand, ...], pixel_step: int
) -> Step:
    """Return the step that packs weights, given where these are, and the packed ones and the table are to be.

    `pixel_step` is the number of elements from a pixel of x to the next.
    """
    shape = geometry(problem)
    kernel = Kernel(
        _pack_fragments,
        problem.dtype,
        _THREADS,
        constants={
            "FLIP": problem.flip,
            "DEPTH": packing.depth,
            "WORDS": packing.words,
            "PER_WORD": packing.per_word,
            "REORDERED": packing.reordered,
            "STEP": packing.step,
            "ENTRIES": packing.entries,
        },
        names={"word": packing.word},
    )
    numbers = (
        *(shape.group_channels, *division(shape.group_channels), shape.group_filters, packing.padded_filters),
        *(shape.group_channels * shape.taps, packing.rounds, shape.taps),
        *(*shape.size[1:], *shape.kernel, *shape.dilation, pixel_step),
    )
    grid = packing.rounds + packing.ahead, -(-packing.padded_filters * packing.words // _THREADS), problem.groups
    return target.step(kernel, grid, pointers, numbers)
