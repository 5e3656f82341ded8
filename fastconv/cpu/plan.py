"""What drivers are told: a plan, one array of int64 numbers made once for a problem and read by every call.

The names number its slots. Sizes, pitches and strides count elements, frames (see `fastconv.codegen.tile`) bytes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastconv.codegen import copying
from fastconv.codegen import target as targets
from fastconv.codegen import tile as tiles
from fastconv.cpu import scratch, threads
from fastconv.cpu.geometry import Geometry
from fastconv.cpu.kernel import Driver
from fastconv.problem import ConvProblem

# fmt: off
(
    ITEM,                                     # bytes of an element
    GROUPS, CHANNELS, FILTERS,                # channels and filters of one group
    IN_D, IN_H, IN_W, OUT_D, OUT_H, OUT_W,
    STRIDE_D, STRIDE_H, STRIDE_W,
    TAPS, TAP_D, TAP_H, TAP_W,                # taps; addresses of their positions in the window
    ALL_TAPS,                                 # of a channel's weights, which an area of the output may see some of
    MAP_D, MAP_H, MAP_W,                      # addresses of the maps padded place -> place
    BEFORE_W,                                 # padding before the innermost axis
    OUT_IMAGE, OUT_FILTER, OUT_PIXEL,         # strides of the result and of the residual
    RESIDUAL_IMAGE, RESIDUAL_FILTER, RESIDUAL_PIXEL,
    LANES,                                    # of a whole vector
    TILE_ROWS, TILE_VECTORS,                  # of a full tile
    BLOCK,                                    # channels (direct) or steps (im2col) summed in one pass
    PARTS, PART_SIZE, PART_LARGER,            # filter tiles: how many, filters of one, how many have one more
    BLOCK_PARTS, FILTER_BLOCKS,               # filter tiles of a task, tasks along the filters
    WEIGHT_GROUP, WEIGHT_PART, WEIGHT_FILTER, WEIGHT_STEP,  # strides of the weights that tiles read, as they
    WEIGHT_ROW,                               # lie or packed: group, filter tile, its first filter, step; tile's row
    TABLE_AT,                                 # address of the steps' offsets into the input
    JOINTS,                                   # of a vector of pixels at most, from one run to the next; 0: none joins
    EVERY_OTHER, PANELS,                      # addresses of copies: of a stride of 2, of weights into panels
    COMMON_SLOTS,
) = range(47)
# fmt: on
TILE_ADDRESSES = COMMON_SLOTS  # by rows (1 to 8), vectors (1 to MAX_VECTORS) and fill
FIRST_OWN_SLOT = TILE_ADDRESSES + 8 * tiles.MAX_VECTORS * tiles.FILLS  # an algorithm's own slots follow

#: Seconds that copying one weight into a panel takes.
COPY_SECONDS = 1e-9

#: Bytes at the start of a thread's scratch that hold the frame.
FRAME_BYTES = 512


@dataclass(frozen=True)
class Request:
    """Everything that a plan depends on; strides of the result in elements (image, filter, pixel)."""

    problem: ConvProblem
    activation: str | None
    out_strides: tuple[int, ...]
    threads: int
    target: targets.Target


@dataclass(frozen=True)
class Plan:
    """How a request is computed; compiled when it first runs."""

    numbers: dict[int, int]
    length: int
    driver: Driver
    shapes: set[tuple[int, int, int]]  # (rows, vectors, fill) of the tiles it calls
    tasks: int
    request: Request
    scratch_elements: int  # of one thread
    keep: tuple[npt.NDArray[np.int64], ...]  # tables that the numbers point to
    packed_elements: int = 0  # of weights, copied into panels before the first task; 0: read as they lie
    places: npt.NDArray[np.int64] | None = None  # of the weights' steps in a panel, where some are left out

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch of one thread."""
        return FRAME_BYTES + self.scratch_elements * self.numbers[ITEM]

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates: scratch of all threads, and packed weights."""
        working = max(1, min(self.request.threads, self.tasks))
        packed = self.packed_elements * self.numbers[ITEM]
        blocks = scratch.allocated(self.scratch_bytes) * working
        return blocks + (scratch.allocated(packed) if packed else 0)

    @cached_property
    def array(self) -> npt.NDArray[np.int64]:
        """The numbers as drivers read them, the tiles' addresses among them."""
        request = self.request
        array = np.zeros(self.length, np.int64)
        for place, value in self.numbers.items():
            array[place] = value
        rows_are_filters = request.problem.layout == "channels_first"
        for rows, vectors, fill in self.shapes:
            joints = 0 if fill == tiles.WHOLE else self.numbers.get(JOINTS, 0)
            tile = tiles.Tile(
                request.problem.dtype, rows, vectors, fill, rows_are_filters, request.activation, joints
            )
            array[tile_slot(rows, vectors, fill)] = tiles.address(tile)
        if not rows_are_filters:
            array[PANELS] = copying.panels(request.problem.dtype, self.numbers[WEIGHT_STEP])
        elif self.numbers[STRIDE_W] == 2:
            array[EVERY_OTHER] = copying.every_other(request.problem.dtype)
        return array

    @cached_property
    def calls(self) -> tuple[int, Callable[..., int]]:
        """The address of the numbers, and the machine code of the driver."""
        return address(self.array), self.driver.compiled(self.request.problem.dtype)

    @cached_property
    def pack(self) -> Callable[..., None]:
        """The machine code that copies weights into panels."""
        some = self.places is not None
        integers = [ctypes.c_int64] * (len(copying.PANEL_ARGUMENTS) + some)
        panels = copying.panels(self.request.problem.dtype, self.numbers[WEIGHT_STEP], some=some)
        return ctypes.CFUNCTYPE(None, *integers)(panels)

    def packed(self, weight: int) -> int:
        """The address of the weights in panels, made for this call."""
        n = self.numbers
        to = scratch.address(self.packed_elements * n[ITEM], f"{self.request.problem.dtype} weights")
        steps = n[CHANNELS] * n[ALL_TAPS]
        tail = [n[PARTS], n[PART_SIZE], n[PART_LARGER], n[FILTERS], steps, steps, n[WEIGHT_PART]]
        if self.places is not None:
            tail.append(address(self.places))

        def copy(first: int, last: int) -> None:
            self.pack(to, weight, first, last, *tail)

        worth = self.packed_elements * COPY_SECONDS > 2 * threads.WORTH_A_THREAD
        threads.run(copy, n[GROUPS] * n[PARTS], self.request.threads if worth else 1)
        return to

    def run(self, x: int, weight: int, bias: int, residual: int, out: int) -> None:
        """Compute, given the addresses of contiguous arrays; 0 for no bias, no residual."""
        numbers, driver = self.calls
        dtype = self.request.problem.dtype
        if self.packed_elements:
            weight = self.packed(weight)

        def work(first: int, last: int) -> None:
            frame = scratch.address(self.scratch_bytes, dtype)
            driver(numbers, frame, frame + FRAME_BYTES, x, weight, bias, residual, out, first, last)

        threads.run(work, self.tasks, self.request.threads)


@dataclass(frozen=True)
class Plans:
    """Plans of areas of one output, computed one after the other, which leave out taps that see only padding."""

    plans: tuple[Plan, ...]
    whole: Plan  # that leaves out none

    @classmethod
    def sharing(cls, plans: Sequence[Plan], whole: Plan) -> Plans:
        """Plans that each take as much scratch as the one that needs most, so that it is allocated once."""
        scratch_ = max(plan.scratch_elements for plan in (*plans, whole))
        packed = max(plan.packed_elements for plan in (*plans, whole))
        *same, whole = (
            dataclasses.replace(plan, scratch_elements=scratch_, packed_elements=packed) for plan in (*plans, whole)
        )
        return cls(tuple(same), whole)

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates: as much as the area that takes most."""
        return max(plan.workspace for plan in (*self.plans, self.whole))

    def run(self, x: int, weight: int, bias: int, residual: int, out: int) -> None:
        """Compute, given the addresses of contiguous arrays; 0 for no bias, no residual."""
        # An infinite weight times a zero of the padding is no zero: then nothing may be left out.
        problem = self.whole.request.problem
        with np.errstate(all="ignore"):
            finite = np.isfinite(np.sum(array_at(weight, problem.parameters, problem.dtype)))
        for plan in self.plans if finite else (self.whole,):
            plan.run(x, weight, bias, residual, out)


def address(array: npt.NDArray[np.generic]) -> int:
    """The address of an array's first element."""
    start: int = array.__array_interface__["data"][0]
    return start


def array_at(start: int, count: int, dtype: str) -> npt.NDArray[np.generic]:
    """The `count` elements from an address on."""
    memory = (ctypes.c_ubyte * (count * np.dtype(dtype).itemsize)).from_address(start)
    return np.ctypeslib.as_array(memory).view(dtype)


def natural_strides(problem: ConvProblem) -> tuple[int, int, int]:
    """(image, filter, pixel) strides of a contiguous result."""
    pixels = math.prod(problem.output_size)
    if problem.layout == "channels_first":
        return problem.filters * pixels, pixels, 1
    return problem.filters * pixels, 1, problem.filters


def common_numbers(request: Request, geometry: Geometry) -> tuple[dict[int, int], list[npt.NDArray[np.int64]]]:
    """The slots that depend on the problem alone, and the tables to keep alive."""
    maps = list(geometry.maps)
    taps = [np.ascontiguousarray(axis) for axis in geometry.tap_positions.T]
    numbers: dict[int, int] = {
        ITEM: np.dtype(request.problem.dtype).itemsize,
        GROUPS: request.problem.groups,
        CHANNELS: geometry.channels,
        FILTERS: geometry.filters,
        TAPS: geometry.taps,
        ALL_TAPS: geometry.taps,
        BEFORE_W: geometry.padding[2][0] - geometry.corner[2],
        LANES: request.target.lanes(request.problem.dtype),
    }
    triples: Iterable[tuple[tuple[int, int, int], Iterable[int]]] = [
        ((IN_D, IN_H, IN_W), geometry.size),
        ((OUT_D, OUT_H, OUT_W), geometry.output),
        ((STRIDE_D, STRIDE_H, STRIDE_W), geometry.stride),
        ((OUT_IMAGE, OUT_FILTER, OUT_PIXEL), request.out_strides),
        ((RESIDUAL_IMAGE, RESIDUAL_FILTER, RESIDUAL_PIXEL), natural_strides(request.problem)),
        ((MAP_D, MAP_H, MAP_W), map(address, maps)),
        ((TAP_D, TAP_H, TAP_W), map(address, taps)),
    ]
    for slots, values in triples:
        numbers.update(zip(slots, values, strict=True))
    return numbers, [*maps, *taps]


def tile_slot(rows: int, vectors: int, fill: int) -> int:
    """The slot that holds a tile's address, as `product.call_rows` finds it."""
    return TILE_ADDRESSES + ((rows - 1) * tiles.MAX_VECTORS + vectors - 1) * tiles.FILLS + fill
