"""The gradient by the weight on the processor: a matrix product of patches, as convolutions by kernels of one element.

Of a group, with the pixels (n, o) of all images one behind the other::

    dw[k, (c, t)] = sum over (n, o) of  g[k, (n, o)] * X[(c, t), (n, o)],   X[(c, t), (n, o)] = P[n, c, o S + t D]

M is the filters, N the channels times the taps, K the pixels. With pixels for channels it is a forward convolution by a
kernel of one element, so what sums it, and how fast, is what computes those. X is never there as a whole: some channels
and some pixels of it at a time, some times as many as the second level cache holds. Blocks of pixels are summed one
after the other, each on top of the sums before it: in an order that depends on the sizes alone.

Patches are copied by runs of elements that lie side by side: pixels, channels first, or channels of some taps, channels
last. What such runs are of becomes an axis of one image: of its channels where they are pixels (the convolution is
channels last, and g its weights as it lies), of its pixels where they are channels (the convolution is channels first).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.algorithm import Algorithm, Array, BoundRun, Run
from fastconv.codegen import target as targets
from fastconv.cpu.copies import SINGLE_SECONDS, Copy, copy_of, copy_seconds, dense
from fastconv.cpu.gradient import Gradient
from fastconv.problem import ConvProblem
from fastconv.reference.padding import pad_planes
from fastconv.strided import Strided

#: Pixels that are summed at once, about: with fewer, sums are read and written more often than they are worth.
PIXELS = 2048

#: Blocks of pixels, about, at most: of more pixels they are larger.
MOST_BLOCKS = 1024

#: Pixels of an image whose patches are read where they lie, at least: with fewer, several images are worth a copy.
FEWEST_PIXELS = 512

#: Bytes of patches for each of the second level cache: what is read once need not stay there, and with fewer blocks
#: less is begun.
SHARE = 2


class Pixels(NamedTuple):
    """Some pixels of the output: of some images some places along the first axis, and all along the others."""

    images: range
    rows: range
    places: int  # all together


class Channels(NamedTuple):
    """Some groups, and some channels of each of them."""

    groups: range
    channels: range


class Division(NamedTuple):
    """The blocks of a gradient."""

    pixels: tuple[Pixels, ...]
    channels: tuple[Channels, ...]


class WeightGradient(Gradient):
    """Gradients by the weight: convolutions of blocks of patches by blocks of the output's gradient."""

    direction = "weight_gradient"

    def convolutions(self, problem: ConvProblem) -> Counter[ConvProblem]:
        """Return those of all blocks."""
        divided = divide(problem)
        some = {each.places: each for each in divided.pixels}, {_sizes(each): each for each in divided.channels}
        times = Counter(each.places for each in divided.pixels), Counter(map(_sizes, divided.channels))
        return Counter(
            {
                _convolution(problem, some[0][places], some[1][sizes]): times[0][places] * times[1][sizes]
                for places, sizes in product(*times)
            }
        )

    def copying(self, problem: ConvProblem) -> float:
        """Predict that of the padded input, of patches, of the output's gradient, and of the sums."""
        views = _Views(problem)
        copied = copy_seconds(views.inside) * views.copied + copy_seconds(views.pixels)
        divided = divide(problem)
        if divided.pixels and not _lies(views.patches_of(divided.pixels[0], divided.channels[0])):
            copied += copy_seconds(views.patches)
        return copied + 2 * SINGLE_SECONDS * problem.parameters

    def copied(self, problem: ConvProblem) -> int:
        """Return those of the padded input, of one block of patches and pixels, and of sums, those before included."""
        divided = divide(problem)
        most = max((each.places for each in divided.pixels), default=0)
        patches = max(_patches(problem, each) for each in divided.channels)
        views = _Views(problem)
        return prod(views.padded) * views.copied + most * (patches + problem.filters) + 2 * problem.parameters

    def prepared(self, problem: ConvProblem, activation: str | None) -> Run:
        """Return what runs block by block of pixels, and of these by channels."""
        assert activation is None
        compute = _Product(problem, self.inside)

        def run(x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
            assert bias is None
            assert residual is None
            compute(x, weight, out)

        return run


@lru_cache(maxsize=256)
def divide(problem: ConvProblem) -> Division:
    """Return the blocks: whole images, or some rows of one, and as many channels as the cache then holds patches of.

    Patches that are the input itself are all channels of an image.
    """
    first, *others = problem.output_size
    row, image = prod(others), prod(problem.output_size)
    wanted = max(PIXELS, problem.batch * image // MOST_BLOCKS)
    pixels: list[Pixels] = []
    group = problem.channels // problem.groups
    if are_input(problem) and image >= FEWEST_PIXELS:
        each_image = (range(n, n + 1) for n in range(problem.batch))
        return Division(
            tuple(Pixels(each, range(first), image) for each in each_image), (Channels(range(1), range(group)),)
        )
    if not problem.batch:
        pass  # there are none
    elif image > wanted:
        rows = _even(first, max(1, wanted // row))
        pixels += [Pixels(range(n, n + 1), each, len(each) * row) for n in range(problem.batch) for each in rows]
    else:
        images = _even(problem.batch, max(1, wanted // image))
        pixels += [Pixels(each, range(first), len(each) * image) for each in images]
    room = SHARE * targets.caches().level2 / (problem.itemsize * prod(problem.kernel))
    most = max(1, int(room / max((each.places for each in pixels), default=1)))  # channels
    if most >= group:
        return Division(
            tuple(pixels), tuple(Channels(each, range(group)) for each in _even(problem.groups, most // group))
        )
    alone = [range(g, g + 1) for g in range(problem.groups)]
    return Division(tuple(pixels), tuple(Channels(each, some) for each in alone for some in _even(group, most)))


def are_input(problem: ConvProblem) -> bool:
    """Whether patches are the input as it lies."""
    steps = {*problem.kernel, *problem.stride, problem.groups}
    return steps == {1} and not any(map(any, problem.padding))


def _even(count: int, most: int) -> list[range]:
    """Cut a range into parts of at most so many, as alike as can be."""
    parts = -(-count // most)
    ends = [count * part // parts for part in range(parts + 1)]
    return [range(*ends[part : part + 2]) for part in range(parts)]


def _sizes(block: Channels) -> tuple[int, int]:
    return len(block.groups), len(block.channels)


def _patches(problem: ConvProblem, block: Channels) -> int:
    """Elements of the patches of a pixel."""
    return len(block.groups) * len(block.channels) * prod(problem.kernel)


def _convolution(problem: ConvProblem, pixels: Pixels, block: Channels) -> ConvProblem:
    """Return the convolution of a block: its channels are pixels, and its pixels are channels and taps."""
    groups, taps = len(block.groups), len(block.channels) * prod(problem.kernel)
    return ConvProblem(
        dtype=problem.dtype,
        batch=1,
        channels=groups * pixels.places,
        size=(taps,),
        filters=problem.filters // problem.groups * groups,
        kernel=(1,),
        stride=(1,),
        padding=((0, 0),),
        dilation=(1,),
        groups=groups,
        layout="channels_last" if problem.layout == "channels_first" else "channels_first",
        precision=problem.precision,
    )


class _Views:
    """What is copied for a gradient, as views of whole arrays; blocks are some places of their axes.

    Axes of patches are in the order in which a block lies, and those of pixels and of the result as the convolutions
    have their weights, and the gradient its own.
    """

    def __init__(self, problem: ConvProblem) -> None:
        self.last = last = problem.layout == "channels_last"
        groups, rank = problem.groups, problem.rank
        size = tuple([extent + sum(pair) for extent, pair in zip(problem.size, problem.padding, strict=True)])
        images = problem.batch, problem.channels
        self.padded = (images[0], *size, images[1]) if last else (*images, *size)
        self.copied = self.padded != problem.input_shape  # whether there is any padding
        self.inside = Strided.dense(self.padded)
        whole, gradient = self.inside, Strided.dense(problem.output_shape)
        for axis in range(rank):
            self.inside = self.inside.taken(axis + (1 if last else 2), problem.padding[axis][0], 1, problem.size[axis])
        if last:
            whole, gradient = (view.transposed(0, 1 + rank, *range(1, 1 + rank)) for view in (whole, gradient))
        image, channel, *spatial = whole.strides
        taps = [step * stride for step, stride in zip(problem.dilation, spatial, strict=True)]
        places = [step * stride for step, stride in zip(problem.stride, spatial, strict=True)]
        group = problem.channels // groups
        windows = Strided(
            (groups, group, *problem.kernel, problem.batch, *problem.output_size),
            (group * channel, channel, *taps, image, *places),
        )
        of_taps, of_pixels = range(2, 2 + rank), (0, *range(2 + rank, 3 + 2 * rank))
        order = (*of_pixels, *of_taps, 1) if last else (1, *of_taps, *of_pixels)
        self.patches = windows.transposed(*order)
        self._axes = [order.index(axis) for axis in (0, 1, 2 + rank, 3 + rank)]
        self.pixels = gradient.split(1, groups).transposed(1, 2, 0, *range(3, 3 + rank))
        self.result = Strided.dense(problem.weight_shape).split(0, groups)
        for axis in range(3, 3 + rank if problem.flip else 3):
            self.result = self.result.taken(axis, problem.kernel[axis - 3] - 1, -1, problem.kernel[axis - 3])

    def patches_of(self, block: Pixels, some: Channels) -> Strided:
        """Return the patches of a block."""
        view = self.patches
        for axis, part in zip(self._axes, (some.groups, some.channels, block.images, block.rows), strict=True):
            view = view.taken(axis, part.start, 1, len(part))
        return view

    def pixels_of(self, block: Pixels, some: Channels) -> Strided:
        """Return the pixels of a block in the output's gradient: the weights of its convolution."""
        view = self.pixels.taken(0, some.groups.start, 1, len(some.groups))
        return view.taken(2, block.images.start, 1, len(block.images)).taken(3, block.rows.start, 1, len(block.rows))

    def sums_of(self, some: Channels) -> tuple[Strided, Strided]:
        """Return the sums of a block as they lie behind the convolutions, and where they belong."""
        filters, kernel = self.result.shape[1], self.result.shape[3:]
        rank = len(kernel)
        if self.last:
            found = Strided.dense((len(some.groups), filters, *kernel, len(some.channels)))
            found = found.transposed(0, 1, 2 + rank, *range(2, 2 + rank))
        else:
            found = Strided.dense((len(some.channels), *kernel, len(some.groups), filters))
            found = found.transposed(1 + rank, 2 + rank, 0, *range(1, 1 + rank))
        target = self.result.taken(0, some.groups.start, 1, len(some.groups))
        return found, target.taken(2, some.channels.start, 1, len(some.channels))


class _Step(NamedTuple):
    """A block of patches, and what is to do with it; made once for many calls."""

    convolution: ConvProblem
    gather: Copy | None  # None: patches are read where they lie
    seen: Strided
    weights: Strided | None  # of the output's gradient; None: those of the step before
    sums: int  # which


def _lies(view: Strided) -> bool:
    """Whether a view's elements lie one behind the other."""
    return replace(view, offset=0).is_dense


class _Product:
    """The gradient by the weight of one problem."""

    def __init__(self, problem: ConvProblem, inside: Algorithm) -> None:
        self._problem, self._inside = problem, inside
        self._views, self._divided = _Views(problem), divide(problem)
        self._steps = tuple(self._make_steps())

    def _make_steps(self) -> Iterator[_Step]:
        for block in self._divided.pixels:
            before = None
            for number, some in enumerate(self._divided.channels):
                seen = self._views.patches_of(block, some)
                copied = Strided.dense(seen.shape)
                gather = None if _lies(seen) else copy_of(seen, copied, self._problem.dtype)
                convolution = _convolution(self._problem, block, some)
                weights = self._views.pixels_of(block, some)
                anew = before != (convolution, weights)
                yield _Step(convolution, gather, seen, weights if anew else None, number)
                before = convolution, weights

    def __call__(self, x: Array, gradient: Array, out: Array) -> None:
        """Compute from the input and the gradient by the output."""
        if not self._steps:
            out[...] = 0
            return
        whole = out.flags.c_contiguous
        target = out if whole else np.empty(out.shape, out.dtype)
        sums = self._sums(self._padded(x), gradient)
        for some, found in zip(self._divided.channels, sums, strict=True):
            view, place = self._views.sums_of(some)
            copy_of(view, place, out.dtype)(found, view.offset, target, place.offset)
        if not whole:
            out[...] = target

    def _sums(self, padded: Array, gradient: Array) -> list[Array]:
        """Return the sums of each block of channels, as the convolutions leave them."""
        sizes = [prod(step.seen.shape) for step in self._steps if step.gather is not None]
        room = np.empty(max(sizes, default=0), padded.dtype)  # of one block after another
        flat = padded.reshape(-1)
        count = len(self._divided.channels)
        sums: list[Array | None] = [None] * count
        spare = [np.empty(step.convolution.output_shape, room.dtype) for step in self._steps[:count]]
        run: BoundRun | None = None
        factors: Array | None = None
        for step in self._steps:
            if step.weights is not None:
                run = factors = None  # before there are others
                factors = dense(gradient, step.weights).reshape(step.convolution.weight_shape)
                run = self._inside.bind(step.convolution, None, factors).run
            end = prod(step.seen.shape)
            if step.gather is not None:
                step.gather(padded, step.seen.offset, room, 0)
                patches = room[:end]
            else:
                patches = flat[step.seen.offset : step.seen.offset + end]
            patches = patches.reshape(step.convolution.input_shape)
            assert run is not None
            before, target = sums[step.sums], spare[step.sums]
            run(patches, None, before, target)
            sums[step.sums] = target
            spare[step.sums] = np.empty_like(target) if before is None else before
        return [each for each in sums if each is not None]

    def _padded(self, x: Array) -> Array:
        """Return the padded input, which lies as x does."""
        problem, views = self._problem, self._views
        if not views.copied:
            return x
        if problem.padding_mode == "zeros":
            padded = np.zeros(views.padded, x.dtype)
            copy_of(Strided.dense(x.shape), views.inside, x.dtype)(x, 0, padded, views.inside.offset)
            return padded
        first = pad_planes(np.moveaxis(x, -1, 1) if views.last else x, problem.padding, problem.padding_mode)
        return np.ascontiguousarray(np.moveaxis(first, 1, -1) if views.last else first)
