"""Copies between views of arrays: what transposes, cuts and reverses operands, and gathers patches.

Axes that lie alike in both views become one. Of what is left, the last axis is a *run*, and the one before it counts
*rows*; a task copies some rows, and where elements of different rows lie closer together than those of a run, it goes
through the rows first: a transposition, of which some lines of the cache are read and some written at a time.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from fastconv import config
from fastconv.algorithm import Array
from fastconv.cpu import scratch, threads
from fastconv.cpu.kernel import Ints, Reals, copy_run, driver
from fastconv.cpu.native import address
from fastconv.strided import Axis, Strided, merged

ROWS = 16  # of a task: as many lines as the first level cache keeps whatever their distance

MOST_AXES = 9  # outer ones: more than any view has

#: Seconds that copying an element takes: in runs of some length, and one by one.
RUN_SECONDS, SINGLE_SECONDS = 2.5e-10, 1e-9

_LEAST_RUN = 8  # elements

# fmt: off
(
    OUTER,                             # axes besides rows and runs
    ROW_COUNT, ROW_TASKS, RUN_LENGTH,
    SOURCE_ROW, SOURCE_RUN, TARGET_ROW, TARGET_RUN,  # strides, in elements as all
    SIZES,                             # of the outer axes, the last one first; then their strides
) = range(9)
# fmt: on
SOURCE_STRIDES, TARGET_STRIDES = SIZES + MOST_AXES, SIZES + 2 * MOST_AXES


@driver
def copy_views(
    plan: Ints, frame: Ints, memory: Reals, source: Reals, target: Reals, first_task: int, last_task: int
) -> None:
    """target[to + i * TARGET_ROW + j * TARGET_RUN] = source[first + i * SOURCE_ROW + j * SOURCE_RUN], for each task."""
    run, source_row, source_run = plan[RUN_LENGTH], plan[SOURCE_ROW], plan[SOURCE_RUN]
    target_row, target_run = plan[TARGET_ROW], plan[TARGET_RUN]
    for task in range(first_task, last_task):
        rest, block = divmod(task, plan[ROW_TASKS])
        rows = min(ROWS, plan[ROW_COUNT] - block * ROWS)
        first, to = block * ROWS * source_row, block * ROWS * target_row
        for axis in range(plan[OUTER]):
            rest, place = divmod(rest, plan[SIZES + axis])
            first += place * plan[SOURCE_STRIDES + axis]
            to += place * plan[TARGET_STRIDES + axis]
        if source_run == 1 and target_run == 1:
            for i in range(rows):
                copy_run(target, to + i * target_row, source, first + i * source_row, run)
        elif abs(source_row) < abs(source_run):
            for j in range(run):
                for i in range(rows):
                    target[to + i * target_row + j * target_run] = source[first + i * source_row + j * source_run]
        else:
            for i in range(rows):
                for j in range(run):
                    target[to + i * target_row + j * target_run] = source[first + i * source_row + j * source_run]


class Copy:
    """A copy between views of arrays of one type, made ready for many; see `copy_of`."""

    def __init__(self, axes: tuple[Axis, ...], dtype: str, most_threads: int) -> None:
        *outer, rows, run = (Axis(1, 0, 0),) * max(0, 2 - len(axes)) + axes
        assert len(outer) <= MOST_AXES
        self._dtype, self._itemsize = dtype, np.dtype(dtype).itemsize
        self._numbers = numbers = np.zeros(TARGET_STRIDES + MOST_AXES, np.int64)
        blocks = -(-rows.size // ROWS)
        numbers[:SIZES] = len(outer), rows.size, blocks, run.size, rows.source, run.source, rows.target, run.target
        for slots, values in zip(
            (SIZES, SOURCE_STRIDES, TARGET_STRIDES), zip(*outer[::-1], strict=True), strict=False
        ):  # none of either where there are no outer axes
            numbers[slots : slots + len(outer)] = values
        self._tasks = blocks * prod(axis.size for axis in outer)
        self._threads = threads.worth(seconds(axes), most_threads)

    @cached_property
    def _launch(self) -> threads.Launch:
        return threads.Launch(copy_views.address(self._dtype), 3, self._tasks, self._threads)

    def __call__(self, source: Array, source_offset: int, target: Array, target_offset: int) -> None:
        """Copy between contiguous arrays, from and to the views that begin at offsets."""
        workspace = scratch.take()
        begin, end = (
            address(array) + self._itemsize * offset
            for array, offset in ((source, source_offset), (target, target_offset))
        )
        self._launch.run(workspace.job, (address(self._numbers), begin, end))
        scratch.give(workspace)


def seconds(axes: tuple[Axis, ...]) -> float:
    """Return what copying takes."""
    count = prod(axis.size for axis in axes)
    runs = not axes or (axes[-1].source == axes[-1].target == 1 and axes[-1].size >= _LEAST_RUN)
    return count * (RUN_SECONDS if runs else SINGLE_SECONDS)


def copy_seconds(source: Strided, target: Strided | None = None) -> float:
    """Return what copying a view takes, into a dense array where nothing else is said."""
    return seconds(merged(source, target or Strided.dense(source.shape)))


def copy_of(source: Strided, target: Strided, dtype: npt.DTypeLike) -> Copy:
    """Return the copy from one view to another of its shape, whatever their offsets."""
    return _copy(merged(source, target), np.dtype(dtype).name, config.get_num_threads())


_copy = lru_cache(maxsize=1024)(Copy)


def dense(array: Array, view: Strided) -> Array:
    """Return what a view takes of a contiguous array, contiguous: copied unless it is so."""
    if view.is_dense and view.shape == array.shape:
        return array
    if view.is_dense:
        return array.reshape(-1)[: prod(view.shape)].reshape(view.shape)
    target = np.empty(view.shape, array.dtype)
    if target.size:
        copy_of(view, Strided.dense(view.shape), array.dtype)(array, view.offset, target, 0)
    return target
