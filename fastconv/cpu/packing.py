"""Copies into scratch: the padded input of a box, the panel of an im2col block, panels of weights.

Padding of every mode is resolved here, by maps from places in the padded input to places in the input (-1: a zero), so
that nothing behind these functions knows of borders.
"""

from __future__ import annotations

from fastconv.cpu import plan as at
from fastconv.cpu.kernel import (
    Ints,
    Reals,
    address_of,
    call_copy,
    copy_bytes,
    driver,
    kernel,
    prefetch,
    zero_bytes,
)


@kernel
def fill_zeros(plan: Ints, target: Reals, to: int, count: int) -> None:
    """target[to + j] = 0 for j < count."""
    zero_bytes(address_of(target) + to * plan[at.ITEM], count * plan[at.ITEM])


@kernel
def copy_run(plan: Ints, target: Reals, to: int, x: Reals, source: int, count: int) -> None:
    """target[to + j] = x[source + j] for j < count."""
    item = plan[at.ITEM]
    copy_bytes(address_of(target) + to * item, address_of(x) + source * item, count * item)


@kernel
def copy_row(
    plan: Ints, map_w: Ints, target: Reals, to: int, x: Reals, row: int, first: int, step: int, count: int
) -> None:
    """target[to + j] = padded row at place first + j * step, for j < count; `row` is where the row begins in x."""
    # Places [inside, beyond) lie in the input itself, one after the other; the map is for the others.
    before = plan[at.BEFORE_W] - first
    after = before + plan[at.IN_W]
    if step > 1:  # round up; a division costs as much as copying a short row
        before, after = (before + step - 1) // step, (after + step - 1) // step
    inside = min(count, max(0, before))
    beyond = min(count, max(inside, after))
    for j in range(inside):
        place = map_w[first + j * step]
        target[to + j] = x[row + place] if place >= 0 else 0.0
    source = row + first - plan[at.BEFORE_W]
    if step == 1:
        copy_run(plan, target, to + inside, x, source + inside, beyond - inside)
    elif step == 2:
        item = plan[at.ITEM]
        begin, end = address_of(x) + (source + 2 * inside) * item, address_of(target) + (to + inside) * item
        call_copy(plan[at.EVERY_OTHER], end, begin, beyond - inside)
    else:
        for j in range(inside, beyond):
            target[to + j] = x[source + j * step]
    for j in range(beyond, count):
        place = map_w[first + j * step]
        target[to + j] = x[row + place] if place >= 0 else 0.0


@kernel
def prefetch_run(plan: Ints, x: Reals, source: int, count: int) -> None:
    """Ask for x[source] to x[source + count - 1] to be read into the cache."""
    begin = address_of(x) + source * plan[at.ITEM]
    for line in range(begin, begin + count * plan[at.ITEM], 64):
        prefetch(line)


@kernel
def filters_of(plan: Ints, part: int) -> tuple[int, int]:
    """(first filter within the group, filters) of a filter tile."""
    first = part * plan[at.PART_SIZE] + min(part, plan[at.PART_LARGER])
    most = plan[at.PART_SIZE] + (1 if part < plan[at.PART_LARGER] else 0)
    return first, min(most, plan[at.FILTERS] - first)


@kernel
def pack_panel(
    plan: Ints, weight: Reals, begin: int, steps: int, part: int, panel: Reals, to: int
) -> None:
    """Copy the weights of a filter tile: panel[to + step * pitch + filter].

    The group's first filter has its weight of the first step at `begin`; the others follow in the order of the weights.
    Where the tile has fewer filters than the panel is wide: zeros.
    """
    pitch = plan[at.WEIGHT_STEP]
    filter_stride = plan[at.CHANNELS] * plan[at.TAPS]
    k, rows = filters_of(plan, part)
    chunk = 256  # steps: what is written stays in the first level cache until all rows are there
    for start in range(0, steps, chunk):
        end = min(steps, start + chunk)
        for m in range(rows):
            source = begin + (k + m) * filter_stride
            for step in range(start, end):
                panel[to + step * pitch + m] = weight[source + step]
    for m in range(rows, pitch):
        for step in range(steps):
            panel[to + step * pitch + m] = 0.0


@driver
def pack_weights(
    plan: Ints, frame: Ints, panels: Reals, x: Reals, weight: Reals,
    bias: int, residual: int, out: int, first_task: int, last_task: int,
) -> None:  # fmt: skip
    """Copy all weights, panel after panel: a task is a filter tile of a group."""
    steps = plan[at.CHANNELS] * plan[at.TAPS]
    for task in range(first_task, last_task):
        group, part = divmod(task, plan[at.PARTS])
        begin = group * plan[at.FILTERS] * steps
        to = group * plan[at.WEIGHT_GROUP] + part * plan[at.WEIGHT_PART]
        pack_panel(plan, weight, begin, steps, part, panels, to)
