"""Gradients as forward convolutions: which ones, of which views of the operands, and where their results lie.

With P the input padded by zeros, groups aside, and an axis written for all of them, the convolution is::

    y[n, k, o] = sum over c and t of  w[k, c, t] * P[n, c, o S + t D]

**By the input.** ``dP[n, c, q]`` is the sum of ``w[k, c, t] * g[n, k, o]`` over all k and over the o and t with
``o S + t D = q``. With S = 1 that is ``o = q - t D``: a convolution of g by the kernel reversed, filters and channels
exchanged, dilation D, with a padding of ``D (F - 1) - p``. With a larger stride only those taps reach q whose ``t D``
leaves the same remainder of S: for each remainder of q, a *phase*, they are every ``S / gcd(S, D)``-th, and what they
are summed with is a convolution of stride 1 and dilation ``D / gcd(S, D)``. All phases together have the products of
the convolution, and none more. Where the padding would be negative, what no window sees is cut from g.

**By the weight.** ``dw[k, c, t]`` is the sum of ``g[n, k, o] * P[n, c, t D + o S]`` over n and o: a convolution with
images for channels and channels for images, whose kernel is g, with the stride D and the dilation S.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import gcd, prod
from typing import NamedTuple

from fastconv.problem import ConvProblem
from fastconv.strided import Strided


class Piece(NamedTuple):
    """A forward convolution that some of a gradient's elements are the results of.

    Views are of a gradient's operands in the order of `ConvProblem.operand_shapes`, and of its result. What is taken by
    one has the shape of the forward problem's operand, but for axes that are split in two.
    """

    problem: ConvProblem | None  # None: no product reaches these elements
    images: Strided  # of the first operand
    room: Strided  # of the forward problem's input: where they are; what is around is zero
    weight: Strided  # of the second operand
    result: Strided  # of the gradient


_NOTHING = Strided.dense((0,))


@lru_cache(maxsize=256)
def pieces(problem: ConvProblem) -> tuple[Piece, ...]:
    """Return what a gradient's elements are the results of, each of one piece; all padding must be of zeros."""
    assert problem.padding_mode == "zeros" or not any(map(any, problem.padding))
    if not problem.batch:
        return (Piece(None, _NOTHING, _NOTHING, _NOTHING, Strided.dense(problem.result_shape)),)
    return tuple(_input_pieces(problem)) if problem.direction == "input_gradient" else (_weight_piece(problem),)


#: Phases of strides that one gradient by the input is put together of, at most.
MOST_PHASES = 1024


def refusal(problem: ConvProblem) -> str | None:
    """Return why a gradient is not put together of forward problems; None if it is."""
    axes = zip(problem.stride, problem.size, strict=True)
    phases = prod(min(stride, size) for stride, size in axes) if problem.direction == "input_gradient" else 1
    if phases > MOST_PHASES:
        return f"gradients by the input are put together of {MOST_PHASES} phases of strides at most, not {phases}"
    return None


def smallest(problem: ConvProblem) -> ConvProblem:
    """Return the smallest convolution of a problem's type: what computes others of that type computes it, too."""
    return ConvProblem(problem.dtype, 1, 1, (1,), 1, (1,), (1,), ((0, 0),), (1,), 1, precision=problem.precision)


def without_border(problem: ConvProblem) -> ConvProblem:
    """Return the problem that is left once borders of other things than zeros are there: itself if there are none."""
    if problem.padding_mode == "zeros" or not any(map(any, problem.padding)):
        return problem
    size = tuple([extent + sum(pair) for extent, pair in zip(problem.size, problem.padding, strict=True)])
    return replace(problem, size=size, padding=((0, 0),) * problem.rank, padding_mode="zeros")


class _Phase(NamedTuple):
    """Along one axis, every S-th element of the input, and what reaches them."""

    first: int  # of those elements
    elements: int  # how many
    tap: int  # the first that reaches them
    tap_step: int
    taps: int  # 0: none, or none from inside the output
    dilation: int
    begin: int  # of the output that they see: where it begins, and how much there is
    size: int
    padding: tuple[int, int]  # around that


def _phases(problem: ConvProblem, axis: int) -> Iterator[_Phase]:
    stride, dilation, taps = problem.stride[axis], problem.dilation[axis], problem.kernel[axis]
    before, outputs = problem.padding[axis][0], problem.output_size[axis]
    common = gcd(stride, dilation)
    for first in range(min(stride, problem.size[axis])):
        count = -(-(problem.size[axis] - first) // stride)
        place = first + before  # in the padded input
        reaching = [tap for tap in range(min(taps, stride // common)) if (place - tap * dilation) % stride == 0]
        if not reaching:
            yield _Phase(first, count, 0, 1, 0, 1, 0, 0, (0, 0))
            continue
        (tap,), step = reaching, stride // common
        reach = -(-(taps - tap) // step)  # taps of the phase; the last one comes first, from the earliest output
        last = (place - tap * dilation) // stride  # output under the first tap, of the first element
        earliest = last - (reach - 1) * (dilation // common)
        begin, end = max(0, earliest), min(outputs, last + count)
        padding = max(0, -earliest), max(0, last + count - outputs)
        reach = reach if begin < end else 0
        yield _Phase(first, count, tap, step, reach, dilation // common, begin, end - begin, padding)


def _input_pieces(problem: ConvProblem) -> Iterator[Piece]:
    first_axis = 2 if problem.layout == "channels_first" else 1
    for phases in product(*(_phases(problem, axis) for axis in range(problem.rank))):
        images, result = Strided.dense(problem.output_shape), Strided.dense(problem.input_shape)
        weight = Strided.dense(problem.weight_shape).split(0, problem.groups)
        weight = weight.transposed(0, 2, 1, *range(3, 3 + problem.rank))
        for axis, phase in enumerate(phases):
            result = result.taken(first_axis + axis, phase.first, problem.stride[axis], phase.elements)
            images = images.taken(first_axis + axis, phase.begin, 1, phase.size)
            last, step = phase.tap + (phase.taps - 1) * phase.tap_step, phase.tap_step
            if problem.flip:  # a tap's weight is stored at the other end
                last, step = problem.kernel[axis] - 1 - last, -step
            weight = weight.taken(3 + axis, last, -step, phase.taps)
        if any(phase.taps == 0 for phase in phases):
            yield Piece(None, _NOTHING, _NOTHING, _NOTHING, result)
            continue
        forward = replace(
            problem,
            direction="forward",
            channels=problem.filters,
            filters=problem.channels,
            size=tuple([phase.size for phase in phases]),
            kernel=tuple([phase.taps for phase in phases]),
            stride=(1,) * problem.rank,
            dilation=tuple([phase.dilation for phase in phases]),
            padding=tuple([phase.padding for phase in phases]),
            padding_mode="zeros",
            flip=False,
        )
        yield Piece(forward, images, Strided.dense(forward.input_shape), weight, result)


def _weight_piece(problem: ConvProblem) -> Piece:
    """One convolution of the padded input by the gradient, channels first whatever the layout."""
    rank, groups, last = problem.rank, problem.groups, problem.layout == "channels_last"
    spatial = range(3, 3 + rank)
    images = Strided.dense(problem.input_shape)
    weight = Strided.dense(problem.output_shape)
    if last:
        images, weight = (view.transposed(0, 1 + rank, *range(1, 1 + rank)) for view in (images, weight))
    images = images.split(1, groups).transposed(2, 1, 0, *spatial)  # channel, group, image
    weight = weight.split(1, groups).transposed(1, 2, 0, *spatial)  # group, filter, image
    result = Strided.dense(problem.weight_shape).split(0, groups).transposed(2, 0, 1, *spatial)
    seen = [  # of the padded input, by all windows together
        dilation * (taps - 1) + stride * (outputs - 1) + 1
        for dilation, taps, stride, outputs in zip(
            problem.dilation, problem.kernel, problem.stride, problem.output_size, strict=True
        )
    ]
    forward = replace(
        problem,
        direction="forward",
        layout="channels_first",
        batch=problem.channels // groups,
        channels=groups * problem.batch,
        size=tuple(seen),
        kernel=problem.output_size,
        stride=problem.dilation,
        dilation=problem.stride,
        padding=((0, 0),) * rank,
        padding_mode="zeros",
        flip=False,
    )
    room = Strided.dense(forward.input_shape).split(1, groups)
    for axis in range(rank):
        before, size = problem.padding[axis][0], problem.size[axis]
        inside = max(0, min(size, seen[axis] - before))
        images = images.taken(3 + axis, 0, 1, inside)
        room = room.taken(3 + axis, min(before, seen[axis]), 1, inside)
        if problem.flip:
            result = result.taken(3 + axis, problem.kernel[axis] - 1, -1, problem.kernel[axis])
    return Piece(forward, images, room, weight, result)
