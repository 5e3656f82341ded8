"""Copies into scratch: the padded input of a box, the panel of an im2col block, panels of weights.

Padding of every mode is resolved here, by maps from places in the padded input to places in the input (-1: a zero), so
that nothing behind these functions knows of borders.
"""

from __future__ import annotations

from fastconv.cpu import plan as at
from fastconv.cpu.kernel import Ints, Reals, kernel


@kernel
def fill_zeros(target: Reals, to: int, count: int) -> None:
    for i in range(count):
        target[to + i] = 0.0


@kernel
def copy_row(
    plan: Ints, map_w: Ints, target: Reals, to: int, x: Reals, row: int, first: int, step: int, count: int
) -> None:
    """target[to + j] = padded row at place first + j * step, for j < count; `row` is where the row begins in x."""
    # Places [inside, beyond) lie in the input itself, one after the other; the map is for the others.
    before = plan[at.BEFORE_W]
    inside = min(count, max(0, (before - first + step - 1) // step))
    beyond = min(count, max(inside, (before + plan[at.IN_W] - first + step - 1) // step))
    for j in range(inside):
        place = map_w[first + j * step]
        target[to + j] = x[row + place] if place >= 0 else 0.0
    source = row + first - before
    if step == 1:
        for j in range(inside, beyond):
            target[to + j] = x[source + j]
    else:
        for j in range(inside, beyond):
            target[to + j] = x[source + j * step]
    for j in range(beyond, count):
        place = map_w[first + j * step]
        target[to + j] = x[row + place] if place >= 0 else 0.0


@kernel
def copy_run(target: Reals, to: int, x: Reals, source: int, count: int) -> None:
    for i in range(count):
        target[to + i] = x[source + i]


@kernel
def filters_of(plan: Ints, part: int) -> tuple[int, int]:
    """(first filter within the group, filters) of a filter tile."""
    first = part * plan[at.PART_SIZE] + min(part, plan[at.PART_LARGER])
    most = plan[at.PART_SIZE] + (1 if part < plan[at.PART_LARGER] else 0)
    return first, min(most, plan[at.FILTERS] - first)


@kernel
def pack_panels(
    plan: Ints, weight: Reals, begin: int, step_stride: int, steps: int, memory: Reals, step: int,
    first_part: int, last_part: int,
) -> None:  # fmt: skip
    """Copy weights of filter tiles first_part to last_part, panel after panel, each [step][filter].

    The group's first filter has the weight of the first step at `begin`, and of the next `step_stride` further; they
    go to the panels' steps `step` to `step` + `steps`. Where a tile has fewer filters than the panel is wide: zeros.
    """
    pitch = plan[at.WEIGHT_PITCH]
    filter_stride = plan[at.CHANNELS] * plan[at.TAPS]
    for part in range(first_part, last_part):
        k, rows = filters_of(plan, part)
        source = begin + k * filter_stride
        to = plan[at.WEIGHTS_AT] + (part - first_part) * plan[at.PANEL_SIZE] + step * pitch
        for i in range(steps):
            for m in range(rows):
                memory[to + i * pitch + m] = weight[source + i * step_stride + m * filter_stride]
            for m in range(rows, pitch):
                memory[to + i * pitch + m] = 0.0
