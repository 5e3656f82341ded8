"""Winograd convolution: fewer products, for transforms of input, weights and output."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fastconv.algorithm import Array, Machine
from fastconv.codegen import blocked, copying
from fastconv.codegen import operands as operand
from fastconv.codegen import tile as tiles
from fastconv.codegen import transform as codelet
from fastconv.cpu import plan as at
from fastconv.cpu import scratch, threads
from fastconv.cpu import winograd_kernels as own
from fastconv.cpu.algorithm import AnyPlan, Planned
from fastconv.cpu.direct import Direct
from fastconv.cpu.geometry import Geometry, balanced, geometry
from fastconv.cpu.native import address
from fastconv.cpu.plan import Request, common_numbers, tile_slot
from fastconv.problem import ConvProblem

LARGEST = 8  # inputs of a tile along an axis

LINE = 64


class Winograd(Planned):
    """F(m x m, r x s), for kernels of any size that the transforms reach."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.name = f"winograd_{outputs}x{outputs}"

    def axis(self, taps: int) -> tuple[int, int]:
        return (self.outputs, taps) if taps > 1 else codelet.NONE

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what has no transform: strides, dilation, depth, kernels that are too small or too large."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if problem.rank == 3:
            return f"{self.name} computes one and two dimensions, not three"
        if any(stride > 1 for stride in problem.stride):
            return f"{self.name} computes a stride of 1, not {problem.stride}"
        if any(d > 1 and k > 1 for d, k in zip(problem.dilation, problem.kernel, strict=True)):
            return f"{self.name} computes a dilation of 1, not {problem.dilation}"
        if math.prod(problem.kernel) == 1:
            return f"{self.name} needs a kernel of more than one element"
        most = LARGEST + 1 - self.outputs
        if max(problem.kernel) > most:
            return f"{self.name} computes kernels of up to {most} elements along an axis, not {max(problem.kernel)}"
        return None

    def cost(self, problem: ConvProblem, machine: Machine) -> float:
        return 1.0

    def make_plan(self, request: Request) -> AnyPlan:
        """Return the plan of a request."""
        shape = geometry(request.problem)
        return make(request, shape, self.axis(shape.kernel[1]), self.axis(shape.kernel[2]))


@dataclass(frozen=True)
class WinogradPlan:
    request: Request
    numbers: dict[int, int]
    codelets: dict[int, codelet.Codelet]
    shapes: set[tuple[int, int]]  # (rows, vectors) of tiles
    stages: tuple[tuple[int, int, dict[int, int]], tuple[int, int, dict[int, int]]]  # stage, tasks, own numbers
    tiles_first: bool
    shared_elements: int
    scratch_elements: int
    keep: tuple[npt.NDArray[np.int64], ...]

    @property
    def pitch(self) -> int:
        size = self.scratch_elements * self.numbers[at.ITEM]
        return -(-size // scratch.ALIGNMENT) * scratch.ALIGNMENT

    @property
    def workspace(self) -> int:
        return 0

    @cached_property
    def _launches(self) -> list[tuple[threads.Launch, npt.NDArray[np.int64]]]:
        request = self.request
        base = np.zeros(own.PLAN_SLOTS, np.int64)
        for place, value in self.numbers.items():
            base[place] = value
        dtype = request.problem.dtype
        for slot, code in self.codelets.items():
            base[slot] = codelet.address(code)
        channels_first = request.problem.layout == "channels_first"
        base[own.INTO] = blocked.into(dtype, channels_first)
        base[own.OUT_OF] = blocked.out_of(dtype, channels_first, request.activation)
        base[at.PANELS] = copying.panels(dtype, self.numbers[own.PANEL])
        for rows, vectors in self.shapes:
            tile = tiles.Tile(dtype, rows, vectors, tiles.WHOLE, False, None)
            base[tile_slot(rows, vectors, tiles.WHOLE)] = tiles.address(tile)
        function = own.winograd.address(dtype)
        launches = []
        for stage, tasks, more in self.stages:
            array = base.copy()
            array[own.STAGE] = stage
            for place, value in more.items():
                array[place] = value
            launches.append((threads.Launch(function, operand.OPERANDS, tasks, request.threads), array))
        return launches

    def run(self, x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        """Compute; all arrays but the result are contiguous, and the result has the plan's strides."""
        workspace = scratch.take()
        dtype = self.request.problem.dtype
        shared = workspace.scratch(self.shared_elements * self.numbers[at.ITEM], f"{dtype} winograd")
        images = self.request.problem.batch
        broken = workspace.scratch(8 * images, "broken")
        ctypes.memset(broken, 0, 8 * images)
        (first, first_plan), (second, second_plan) = self._launches
        workers = max(first.threads, second.threads)
        memory = workspace.scratch(self.pitch * workers, dtype)
        b = 0 if bias is None else address(bias)
        r = 0 if residual is None else address(residual)
        x_, w_, y_ = address(x), address(weight), address(out)
        first(workspace.job, (address(first_plan), x_, w_, 0, 0, shared, broken), memory, self.pitch)
        if self.tiles_first:
            x_ = shared
        else:
            w_ = shared
        second(workspace.job, (address(second_plan), x_, w_, b, r, y_, broken), memory, self.pitch)
        if ctypes.string_at(broken, 8 * images).strip(b"\0"):
            self.repair(np.frombuffer(ctypes.string_at(broken, 8 * images), np.int64), x, weight, bias, residual, out)
        scratch.give(workspace)

    def repair(self, broken, x, weight, bias, residual, out) -> None:
        for image in np.flatnonzero(broken):
            one = slice(image, image + 1)
            self._exact.run(x[one], weight, bias, None if residual is None else residual[one], out[one])

    @cached_property
    def _exact(self) -> AnyPlan:
        problem = dataclasses.replace(self.request.problem, batch=1)
        return Direct().make_plan(dataclasses.replace(self.request, problem=problem))


def make(request: Request, shape: Geometry, axis_h: tuple[int, int], axis_w: tuple[int, int]) -> WinogradPlan:
    problem = request.problem
    dtype = problem.dtype
    item = np.dtype(dtype).itemsize
    lanes = request.target.lanes(dtype)
    numbers, tables = common_numbers(request, shape)
    n = numbers
    channels_first = problem.layout == "channels_first"
    (tile_h, taps_h), (tile_w, taps_w) = axis_h, axis_w
    size_h, size_w = tile_h + taps_h - 1, tile_w + taps_w - 1
    frequencies = size_h * size_w
    _, out_h, out_w = shape.output
    tiles_h, tiles_w = -(-out_h // tile_h), -(-out_w // tile_w)
    all_rows = problem.batch * tiles_h
    rows, vectors = 6 if request.target.vector_registers == 16 else 8, 2
    vectors = min(vectors, -(-shape.filters // lanes))
    panel = vectors * lanes
    panels = -(-shape.filters // panel)
    all_tiles = all_rows * tiles_w
    T = int(os.environ.get("WG_T", 48))
    tiles_first = all_tiles <= int(os.environ.get("WG_FEW", 64))
    chunk = min(-(-shape.channels // lanes) * lanes, int(os.environ.get("WG_CHUNK", 128)))
    chunk = -(-shape.channels // -(-shape.channels // chunk))
    chunk = -(-chunk // lanes) * lanes
    if tiles_first:
        block_w, block_h = tiles_w, all_rows
    else:
        block_w = -(-tiles_w // -(-tiles_w // T))
        block_h = min(all_rows, max(1, T // block_w))
    blocks_w, blocks_h = -(-tiles_w // block_w), -(-all_rows // block_h)
    block = block_h * block_w
    line = LINE // item
    padded_channels = -(-shape.channels // lanes) * lanes
    images = problem.batch
    n |= {
        own.TILE_H: tile_h, own.TILE_W: tile_w, own.SIZE_H: size_h, own.SIZE_W: size_w, own.FREQUENCIES: frequencies,
        own.TILES_H: tiles_h, own.TILES_W: tiles_w, own.BLOCK_H: block_h, own.BLOCK_W: block_w,
        own.BLOCKS_H: blocks_h, own.BLOCKS_W: blocks_w, own.ALL_ROWS: all_rows, own.TILES: block,
        own.PANEL: panel, own.PANELS: panels, own.CHUNK: chunk, own.REVERSED: int(shape.flip),
        own.BY_MAPS: int(shape.padding_mode != "zeros" and shape.padded),
        at.TILE_ROWS: rows, own.LAST_ROWS: size_h,
    }
    _, in_h, in_w = shape.size
    if channels_first:
        strides = problem.channels * in_h * in_w, in_h * in_w, in_w, 1
    else:
        strides = in_h * in_w * problem.channels, 1, in_w * problem.channels, problem.channels
    n |= dict(zip((own.IMAGE, own.CHANNEL, own.ROW, own.PIXEL), strides, strict=True))
    task_panels = min(panels, int(os.environ.get("WG_KP", 1))) if tiles_first else panels
    n[own.TASK_PANELS] = task_panels
    n[own.PANEL_TASKS] = -(-panels // task_panels)
    n[own.V_FREQUENCY] = padded_channels * block + line
    n[own.V_GROUP] = frequencies * n[own.V_FREQUENCY]
    n[own.M_FREQUENCY] = task_panels * panel * block + line
    if tiles_first:
        n[own.U_PANEL] = chunk * panel
        n[own.U_FREQUENCY] = task_panels * chunk * panel + line
    else:
        n[own.U_PANEL] = shape.channels * panel
        n[own.U_FREQUENCY] = panels * shape.channels * panel + line
    n[own.U_GROUP] = frequencies * n[own.U_FREQUENCY]
    # buffers of a worker
    n[own.STAGED_ROW] = (block_w * tile_w + size_w - tile_w) * lanes
    n[own.Y_ROW] = (block_w * tile_w) * lanes
    staged_rows = min(block_h, tiles_h) * tile_h + size_h - tile_h
    sizes = {
        own.STAGED: staged_rows * n[own.STAGED_ROW] + lanes * lanes,
        own.COLUMNS_DONE: size_h * n[own.STAGED_ROW],
        own.V: 0 if tiles_first else n[own.V_GROUP],
        own.U: n[own.U_GROUP] if tiles_first else 0,
        own.TAPS: chunk * shape.taps * panel,
        own.M: frequencies * n[own.M_FREQUENCY],
        own.Y: tile_h * n[own.Y_ROW] + lanes * lanes,
    }
    at_ = 0
    for slot, size in sizes.items():
        n[slot] = at_
        at_ += -(-size // line) * line + line
    steps = np.arange(chunk)
    table = (steps // lanes * block * lanes + steps % lanes) * item
    n[at.TABLE_AT] = address(table)
    keep = (*tables, table)
    codelets = {
        own.INPUT_LAST: codelet.Codelet(dtype, codelet.INPUT, codelet.NONE, axis_w),
        own.WEIGHTS: codelet.Codelet(dtype, codelet.WEIGHT, axis_h, axis_w),
        own.OUTPUT: codelet.Codelet(dtype, codelet.OUTPUT, axis_h, axis_w),
    }
    if axis_w == codelet.NONE or os.environ.get("WG_FUSED"):
        codelets[own.INPUT_LAST] = codelet.Codelet(dtype, codelet.INPUT, axis_h, axis_w)
        n[own.LAST_ROWS] = 1
    elif axis_h != codelet.NONE:
        codelets[own.INPUT_FIRST] = codelet.Codelet(dtype, codelet.INPUT, axis_h, codelet.NONE)
    found = set()
    for h in {block_h, all_rows - (blocks_h - 1) * block_h}:
        for w in {block_w, tiles_w - (blocks_w - 1) * block_w}:
            _, size, larger = balanced(h * w, rows)
            for r in {size, size + (larger > 0)}:
                found.add((r, vectors))
                found.add((r, -(-(shape.filters - (panels - 1) * panel) // lanes)))
    groups = problem.groups
    if tiles_first:
        stages = (
            (own.TILES_FIRST, groups * -(-shape.channels // lanes), {}),
            (own.WEIGHTS_THEN, groups * n[own.PANEL_TASKS], {}),
        )
        shared = groups * n[own.V_GROUP]
    else:
        stages = (
            (own.WEIGHTS_FIRST, groups * panels, {}),
            (own.TILES_THEN, blocks_h * blocks_w * groups * n[own.PANEL_TASKS], {}),
        )
        shared = groups * n[own.U_GROUP]
    return WinogradPlan(request, n, codelets, found, stages, tiles_first, shared, at_, keep)


_ = Array
