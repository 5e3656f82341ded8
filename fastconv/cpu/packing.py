"""Copies into scratch: the padded input of a box, the panel of an im2col block, panels of weights.

Padding of every mode is resolved here, by maps from places in the padded input to places in the input (-1: a zero), so
that nothing behind these functions knows of borders.
"""

from __future__ import annotations

from fastconv.codegen import copying, planes
from fastconv.cpu import plan as at
from fastconv.cpu.kernel import (
    FRAME_SLOTS,
    Ints,
    Reals,
    address_of,
    call_copies,
    call_copy,
    copy_run,
    kernel,
)

#: Where in the frame the operands of a copy begin: behind all that tiles read.
PANEL_OPERANDS = FRAME_SLOTS - copying.PANEL_OPERANDS
PLANE_OPERANDS = FRAME_SLOTS - planes.OPERANDS


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
        copy_run(target, to + inside, x, source + inside, beyond - inside)
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
def inside(first: int, step: int, count: int, size: int) -> tuple[int, int]:
    """Of the places first, first + step, ...: how many lie before 0, and how many of the others below `size`."""
    before = min(count, max(0, -(first // step)))
    return before, min(count, max(before, -((first - size) // step))) - before


@kernel
def filters_of(plan: Ints, part: int) -> tuple[int, int]:
    """(first filter within the group, filters) of a filter tile."""
    first = part * plan[at.PART_SIZE] + min(part, plan[at.PART_LARGER])
    most = plan[at.PART_SIZE] + (1 if part < plan[at.PART_LARGER] else 0)
    return first, min(most, plan[at.FILTERS] - first)


@kernel
def pack_panels(
    plan: Ints, frame: Ints, to: int, weights: int, first_part: int, last_part: int, steps: int, filter_stride: int
) -> None:
    """Copy `steps` steps of the filter tiles [first_part, last_part) of a group into panels."""
    frame[PANEL_OPERANDS + copying.TO] = to
    frame[PANEL_OPERANDS + copying.FROM] = weights
    frame[PANEL_OPERANDS + copying.PARTS] = plan[at.PARTS]
    frame[PANEL_OPERANDS + copying.SIZE] = plan[at.PART_SIZE]
    frame[PANEL_OPERANDS + copying.LARGER] = plan[at.PART_LARGER]
    frame[PANEL_OPERANDS + copying.FILTERS] = plan[at.FILTERS]
    frame[PANEL_OPERANDS + copying.STEPS] = steps
    frame[PANEL_OPERANDS + copying.FILTER_STRIDE] = filter_stride
    frame[PANEL_OPERANDS + copying.PANEL_STRIDE] = plan[at.WEIGHT_PART]
    call_copies(plan[at.PANELS], address_of(frame) + 8 * PANEL_OPERANDS, first_part, last_part)
