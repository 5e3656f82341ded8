"""What drivers are told: a plan, one array of int64 numbers made once for a problem and read by every call.

The names number its slots. Sizes, pitches and strides count elements, frames (see `fastconv.codegen.tile`) bytes.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Array, BoundRun
from fastconv.codegen import copying, launch
from fastconv.codegen import operands as operand
from fastconv.codegen import target as targets
from fastconv.codegen import tile as tiles
from fastconv.cpu import scratch, threads
from fastconv.cpu.geometry import Geometry
from fastconv.cpu.kernel import Driver
from fastconv.cpu.native import Slots, address
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
    BEFORE_H, BEFORE_W,                       # padding before the rows and the columns
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
    EVERY_OTHER, PANELS, PLANES,              # addresses of copies: of a stride of 2, of weights into panels, of planes
    COMMON_SLOTS,
) = range(49)
# fmt: on
TILE_ADDRESSES = COMMON_SLOTS  # by rows (1 to 8), vectors (1 to MAX_VECTORS) and fill
FIRST_OWN_SLOT = TILE_ADDRESSES + 8 * tiles.MAX_VECTORS * tiles.FILLS  # an algorithm's own slots follow

#: The slot of a job that its function sets where it left out what counts.
LEFT_OUT = launch.OPERANDS + operand.LEFT_OUT

#: Seconds that copying one weight into a panel takes.
COPY_SECONDS = 1e-9


@dataclass(frozen=True)
class Request:
    """Everything that a plan depends on; strides of the result in elements (image, filter, pixel)."""

    problem: ConvProblem
    activation: str | None
    out_strides: tuple[int, ...]
    threads: int
    target: targets.Target


class TaskPlan(ABC):
    """How a request is computed: by tasks of one machine code function, which is compiled when the plan first runs."""

    tasks: int
    request: Request
    scratch_bytes: int = 0  # of one worker
    weight_bytes: int = 0  # of packed weights; 0: they are read as they lie
    repairs: ClassVar[bool] = False  # whether the function may say that it got something wrong

    @abstractmethod
    def addresses(self, residual: bool, careful: bool) -> tuple[int, int]:
        """The addresses of the function (see `threads.Launch`), and of the plan's numbers.

        There may be one for calls with a residual, and one that leaves out nothing, not even what zeros of the padding
        are multiplied by.
        """

    def pack(self, job: Slots, to: int, weight: int) -> bool:
        """Write weights as the function takes them, and return whether it must leave out nothing."""
        raise NotImplementedError

    def repair(self, workspace: scratch.Workspace, operands: tuple[int, ...], memory: int) -> None:
        """Compute again what the function says it got wrong, by leaving out what counts."""
        raise NotImplementedError

    @property
    def pitch(self) -> int:
        """Bytes from one worker's scratch to the next's."""
        return scratch.pitch(self.scratch_bytes)

    @property
    def working(self) -> int:
        """Threads that work on it."""
        return threads.workers(self.tasks, self.request.threads)

    @cached_property
    def weight_room(self) -> int:
        """Bytes that a call takes to pack weights into."""
        return self.weight_bytes

    @cached_property
    def _weights_purpose(self) -> str:
        return f"{self.request.problem.dtype} weights"

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates: scratch of all workers, and packed weights."""
        sizes = self.pitch * self.working, self.weight_room
        return sum(scratch.allocated(size) for size in sizes if size)

    @cached_property
    def _ready(self) -> dict[tuple[bool, bool], tuple[threads.Launch, int, int]]:
        """What is made when the plan first runs: launch, address of the numbers, bytes of scratch."""
        return {}

    def launch(self, residual: bool, careful: bool) -> tuple[threads.Launch, int, int]:
        """Make what a call needs, or return it; see `addresses`."""
        return self._ready.get((residual, careful)) or self._make_ready(residual, careful)

    def _make_ready(self, residual: bool, careful: bool) -> tuple[threads.Launch, int, int]:
        function, numbers = self.addresses(residual, careful)
        made = threads.Launch(function, operand.OPERANDS, self.tasks, self.request.threads)
        ready = self._ready[residual, careful] = made, numbers, self.pitch * self.working
        return ready

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; all arrays but the result are contiguous, and the result has the plan's strides."""
        workspace = scratch.take()
        weights, careful = address(weight), False
        if room := self.weight_room:
            to = workspace.scratch(room, self._weights_purpose)
            weights, careful = to, self.pack(workspace.job, to, weights)
        self.compute(workspace, weights, careful, x, bias, residual, out)
        scratch.give(workspace)

    def bind(self, weight: Array) -> tuple[BoundRun, int]:
        """Return `run` for these weights, which nobody changes from now on: packed once, in so many bytes."""
        if not self.weight_bytes:
            return self._bound(address(weight), False, weight), 0
        to, block = scratch.aligned(self.weight_bytes)
        workspace = scratch.take()
        careful = self.pack(workspace.job, to, address(weight))
        scratch.give(workspace)
        return self._bound(to, careful, block), block.nbytes

    def _bound(self, weights: int, careful: bool, memory: Array) -> BoundRun:
        """`compute` with weights at an address in memory that is held on to."""

        def run(x: Array, bias: Array | None, residual: Array | None, out: Array, *, _memory: Array = memory) -> None:
            workspace = scratch.take()
            self.compute(workspace, weights, careful, x, bias, residual, out)
            scratch.give(workspace)

        return run

    def compute(
        self,
        workspace: scratch.Workspace,
        weights: int,
        careful: bool,
        x: Array,
        bias: Array | None,
        residual: Array | None,
        out: Array,
    ) -> None:
        """Launch the tasks; `weights` is the address of weights as the function takes them."""
        launch, numbers, size = self.launch(residual is not None, careful)
        memory = workspace.scratch(size, self.request.problem.dtype) if size else 0
        b = 0 if bias is None else address(bias)
        r = 0 if residual is None else address(residual)
        job, operands = workspace.job, (numbers, address(x), weights, b, r, address(out), 0)
        launch.run(job, operands, memory, size // launch.threads)
        if self.repairs and job[LEFT_OUT]:
            self.repair(workspace, operands, memory)


@dataclass(frozen=True)
class Packing:
    """How weights are copied into panels."""

    dtype: str
    elements: int
    pitch: int  # from one step of a panel to the next
    tail: tuple[int, ...]  # the operands behind the two addresses, see `fastconv.codegen.copying`
    panels: int
    most_threads: int
    places: npt.NDArray[np.int64] | None = None  # of the steps, where some are left out; `tail` points to it

    @cached_property
    def bytes(self) -> int:
        """Of all panels."""
        return self.elements * np.dtype(self.dtype).itemsize

    @cached_property
    def _launch(self) -> threads.Launch:
        count = threads.worth(self.elements * COPY_SECONDS, self.most_threads)
        function = copying.panels(self.dtype, self.pitch, some=self.places is not None)
        return threads.Launch(function, copying.PANEL_OPERANDS, self.panels, count)

    def __call__(self, job: Slots, to: int, weight: int) -> None:
        """Copy."""
        self._launch.run(job, (to, weight, *self.tail))


@dataclass(frozen=True)
class Plan(TaskPlan):
    """A plan of loops around register tiles."""

    numbers: dict[int, int]
    length: int
    driver: Driver
    shapes: set[tuple[int, int, int]]  # (rows, vectors, fill) of the tiles it calls
    tasks: int
    request: Request
    scratch_elements: int  # of one worker
    keep: tuple[npt.NDArray[np.int64], ...]  # tables that the numbers point to
    functions: Mapping[int, Callable[[], int]]  # emitted copies that the driver calls: slot -> how to get its address
    packing: Packing | None = None  # of weights, before the first task; None: they are read as they lie
    least_weight_room: int = 0  # bytes; several plans share the room that the largest of them needs

    @property
    def scratch_bytes(self) -> int:  # type: ignore[override]
        """Bytes of scratch of one worker."""
        return self.scratch_elements * self.numbers[ITEM]

    @property
    def weight_bytes(self) -> int:  # type: ignore[override]
        """Bytes of packed weights."""
        return self.packing.bytes if self.packing else 0

    @cached_property
    def weight_room(self) -> int:
        """Bytes that a call takes to pack weights into."""
        return max(self.weight_bytes, self.least_weight_room)

    def pack(self, job: Slots, to: int, weight: int) -> bool:
        """Copy weights into panels; what the function leaves out was decided before (see `Plans`)."""
        if self.packing is not None:
            self.packing(job, to, weight)
        return False

    @cached_property
    def array(self) -> npt.NDArray[np.int64]:
        """The numbers as drivers read them, the tiles' addresses among them."""
        request, dtype = self.request, self.request.problem.dtype
        array = np.zeros(self.length, np.int64)
        for place, value in self.numbers.items():
            array[place] = value
        rows_are_filters = request.problem.layout == "channels_first"
        for rows, vectors, fill in self.shapes:
            joints = 0 if fill == tiles.WHOLE else self.numbers.get(JOINTS, 0)
            tile = tiles.Tile(
                dtype, rows, vectors, fill, rows_are_filters, request.activation, self.numbers[WEIGHT_STEP], joints
            )
            array[tile_slot(rows, vectors, fill)] = tiles.address(tile)
        for slot, function in self.functions.items():
            array[slot] = function()
        return array

    def addresses(self, residual: bool, careful: bool) -> tuple[int, int]:
        """The addresses of the driver and of the numbers."""
        return self.driver.address(self.request.problem.dtype), address(self.array)


@dataclass(frozen=True)
class Plans:
    """Plans of areas of one output, computed one after the other, which leave out taps that see only padding."""

    plans: tuple[Plan, ...]
    whole: Plan  # that leaves out none

    @classmethod
    def sharing(cls, plans: Sequence[Plan], whole: Plan) -> Plans:
        """Plans that each take as much scratch as the one that needs most, so that it is allocated once."""
        scratch_elements = max(plan.scratch_elements for plan in (*plans, whole))
        room = max(plan.weight_bytes for plan in (*plans, whole))

        def alike(plan: Plan) -> Plan:
            return dataclasses.replace(plan, scratch_elements=scratch_elements, least_weight_room=room)

        ordered = sorted(plans, key=lambda plan: plan.tasks, reverse=True)  # most workers first, who need most scratch
        return cls(tuple(map(alike, ordered)), alike(whole))

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates: as much as the area that takes most."""
        return max(plan.workspace for plan in self.plans)

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; all arrays but the result are contiguous, and the result has the plan's strides."""
        for plan in self._for(weight):
            plan.run(x, weight, bias, residual, out)

    def bind(self, weight: Array) -> tuple[BoundRun, int]:
        """Return `run` for these weights, which nobody changes from now on: each area has its own in panels."""
        areas, sizes = zip(*(plan.bind(weight) for plan in self._for(weight)), strict=True)

        def run(x: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
            for area in areas:
                area(x, bias, residual, out)

        return run, sum(sizes)

    def _for(self, weight: Array) -> tuple[Plan, ...]:
        """The plans to run: an infinite weight times a zero of the padding is no zero, and nothing may be left out."""
        with np.errstate(all="ignore"):
            finite = np.isfinite(np.sum(weight))
        return self.plans if finite else (self.whole,)


def packing(request: Request, numbers: dict[int, int], places: npt.NDArray[np.int64] | None = None) -> Packing:
    """The packing of weights into panels: of all their steps, or of some that go to `places`."""
    n = numbers
    steps = n[CHANNELS] * n[ALL_TAPS]
    tail = [n[PARTS], n[PART_SIZE], n[PART_LARGER], n[FILTERS], steps, steps, n[WEIGHT_PART]]
    return Packing(
        dtype=request.problem.dtype,
        elements=n[GROUPS] * n[WEIGHT_GROUP],
        pitch=n[WEIGHT_STEP],
        tail=(*tail, 0 if places is None else address(places)),
        panels=n[GROUPS] * n[PARTS],
        most_threads=request.threads,
        places=places,
    )


def natural_strides(problem: ConvProblem) -> tuple[int, int, int]:
    """(image, filter, pixel) strides of a contiguous result."""
    pixels = math.prod(problem.output_size)
    if problem.layout == "channels_first":
        return problem.filters * pixels, pixels, 1
    return problem.filters * pixels, 1, problem.filters


def pixels_lie_apart(problem: ConvProblem) -> bool:
    """Whether the pixels of a plane lie apart: those of a single channel are a plane in either layout."""
    return problem.layout == "channels_last" and max(problem.channels, problem.filters) > 1


def input_strides(problem: ConvProblem) -> tuple[int, int, int, int]:
    """(image, channel, row, pixel) strides of the input; a row is one of its last axis."""
    pixels, width = math.prod(problem.size), problem.size[-1]
    pixel, channel = (1, pixels) if problem.layout == "channels_first" else (problem.channels, 1)
    return problem.channels * pixels, channel, width * pixel, pixel


def placed(sizes: Mapping[int, int], line: int) -> tuple[dict[int, int], int]:
    """The place of each buffer, one behind the other at multiples of `line`, and where the last one ends."""
    places, place = {}, 0
    for slot, size in sizes.items():
        places[slot] = place
        place += -(-size // line) * line
    return places, place


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
        BEFORE_H: geometry.padding[1][0] - geometry.corner[1],
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
