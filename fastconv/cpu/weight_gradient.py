"""The gradient by the weight on the processor: a matrix product of patches, as convolutions by kernels of one element.

Of a group, with the pixels (n, o) of all images one behind the other::

    dw[k, (c, t)] = sum over (n, o) of  g[k, (n, o)] * X[(c, t), (n, o)],   X[(c, t), (n, o)] = P[n, c, o S + t D]

M is the filters, N the channels times the taps, K the pixels. With pixels for channels it is a forward convolution by a
kernel of one element, so what sums it, and how fast, is what computes those. X is never there as a whole: some channels
and some pixels of it at a time, as many as the second level cache holds. Blocks of pixels are summed one after the
other, each on top of the sums before it: in an order that depends on the sizes alone.

Patches are copied by runs of elements that lie side by side: pixels, channels first, or channels of some taps, channels
last. What such runs are of becomes an axis of one image: of its channels where they are pixels (the convolution is
channels last, and g its weights as it lies), of its pixels where they are channels (the convolution is channels first).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.algorithm import Algorithm, Array, BoundRun, Run
from fastconv.codegen import target as targets
from fastconv.cpu.gradient import Gradient
from fastconv.derivation import without_border
from fastconv.problem import ConvProblem
from fastconv.reference.padding import pad_planes

#: Pixels that are summed at once, about: with fewer, sums are read and written more often than they are worth.
PIXELS = 2048

#: Share of the second level cache that patches take; the sums and a panel of weights are there, too.
SHARE = 0.5


class Pixels(NamedTuple):
    """Some pixels of the output: of some images some places along the first axis, and all along the others."""

    images: range
    rows: range
    count: int


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
        return Counter(_convolution(problem, one, other) for one in divided.pixels for other in divided.channels)

    def copied(self, problem: ConvProblem) -> int:
        """Return the elements of patches, of the padded input, of the output's gradient and of the sums."""
        shape, gradient = prod(without_border(problem).input_shape), prod(problem.output_shape)
        patches = problem.batch * prod(problem.output_size) * problem.channels * prod(problem.kernel)
        return patches + shape + gradient + problem.parameters

    def most_copied(self, problem: ConvProblem) -> int:
        """Return those of the padded input, of one block of patches and pixels, and of sums, those before included."""
        divided = divide(problem)
        padded = [size + sum(pair) for size, pair in zip(problem.size, problem.padding, strict=True)]
        most = max((each.count for each in divided.pixels), default=0)
        patches = max(_patches(problem, each) for each in divided.channels)
        whole = problem.batch * problem.channels * prod(padded)
        return whole + most * (patches + problem.filters) + 2 * problem.parameters

    def prepared(self, problem: ConvProblem, activation: str | None) -> Run:
        """Return what runs block by block of pixels, and of these by channels."""
        assert activation is None
        product = _Product(problem, self.inside)

        def run(x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
            assert bias is None
            assert residual is None
            product(x, weight, out)

        return run


@lru_cache(maxsize=256)
def divide(problem: ConvProblem) -> Division:
    """Return the blocks: whole images, or some rows of one, and as many channels as the cache then holds patches of."""
    first, *others = problem.output_size
    row, image = prod(others), prod(problem.output_size)
    pixels: list[Pixels] = []
    if not problem.batch:
        pass  # there are none
    elif image > PIXELS:
        rows = _even(first, max(1, PIXELS // row))
        pixels += [Pixels(range(n, n + 1), each, len(each) * row) for n in range(problem.batch) for each in rows]
    else:
        images = _even(problem.batch, max(1, PIXELS // image))
        pixels += [Pixels(each, range(first), len(each) * image) for each in images]
    room = SHARE * targets.caches().level2 / (problem.itemsize * prod(problem.kernel))
    most = max(1, int(room / max((each.count for each in pixels), default=1)))  # channels
    group = problem.channels // problem.groups
    if most >= group:
        return Division(
            tuple(pixels), tuple(Channels(each, range(group)) for each in _even(problem.groups, most // group))
        )
    alone = [range(g, g + 1) for g in range(problem.groups)]
    return Division(tuple(pixels), tuple(Channels(each, some) for each in alone for some in _even(group, most)))


def _even(count: int, most: int) -> list[range]:
    """Cut a range into parts of at most so many, as alike as can be."""
    parts = -(-count // most)
    ends = [count * part // parts for part in range(parts + 1)]
    return [range(*ends[part : part + 2]) for part in range(parts)]


def _patches(problem: ConvProblem, block: Channels) -> int:
    """Elements of the patches of a pixel."""
    return len(block.groups) * len(block.channels) * prod(problem.kernel)


def _convolution(problem: ConvProblem, pixels: Pixels, block: Channels) -> ConvProblem:
    """Return the convolution of a block: its channels are pixels, and its pixels are channels and taps."""
    groups, taps = len(block.groups), len(block.channels) * prod(problem.kernel)
    return ConvProblem(
        dtype=problem.dtype,
        batch=1,
        channels=groups * pixels.count,
        size=(taps,),
        filters=problem.filters // problem.groups * groups,
        kernel=(1,),
        stride=(1,),
        padding=((0, 0),),
        dilation=(1,),
        groups=groups,
        layout="channels_last" if problem.layout == "channels_first" else "channels_first",
    )


class _Product:
    """The gradient by the weight of one problem."""

    def __init__(self, problem: ConvProblem, inside: Algorithm) -> None:
        self._problem, self._inside, self._divided = problem, inside, divide(problem)
        self._last = problem.layout == "channels_last"

    def __call__(self, x: Array, gradient: Array, out: Array) -> None:
        """Compute from the input and the gradient by the output."""
        windows, pixels = self._windows(x), self._pixels(gradient)
        sums: dict[Channels, Array] = {}
        spare: dict[Channels, Array] = {}
        for block in self._divided.pixels:
            bound: dict[tuple[ConvProblem, int], BoundRun] = {}  # by the first group
            for some in self._divided.channels:
                convolution = _convolution(self._problem, block, some)
                run = bound.get((convolution, some.groups.start))
                if run is None:
                    factors = np.ascontiguousarray(pixels[_at(some.groups), :, _at(block.images), _at(block.rows)])
                    run = self._inside.bind(convolution, None, factors.reshape(convolution.weight_shape)).run
                    bound[convolution, some.groups.start] = run
                patches = self._patches(windows, block, some).reshape(convolution.input_shape)
                before, target = sums.get(some), spare.get(some)
                if target is None:
                    target = np.empty(convolution.output_shape, out.dtype)
                run(patches, None, before, target)
                sums[some] = target
                if before is not None:
                    spare[some] = before
        self._store(sums, out)

    def _windows(self, x: Array) -> Array:
        """Return what windows see, as a view (G, C / G, *kernel, N, *output) of the padded input."""
        problem = self._problem
        padded = self._padded(x)
        image, *spatial, channel = np.moveaxis(padded, 1, -1).strides
        taps = [step * stride for step, stride in zip(problem.dilation, spatial, strict=True)]
        places = [step * stride for step, stride in zip(problem.stride, spatial, strict=True)]
        group = problem.channels // problem.groups
        return np.lib.stride_tricks.as_strided(
            padded,
            (problem.groups, group, *problem.kernel, problem.batch, *problem.output_size),
            (group * channel, channel, *taps, image, *places),
            writeable=False,
        )

    def _padded(self, x: Array) -> Array:
        """Return the padded input (N, C, *padded), which lies as x does."""
        problem = self._problem
        first = np.moveaxis(x, -1, 1) if self._last else x
        if not any(map(any, problem.padding)):
            return first
        if problem.padding_mode != "zeros":
            padded = pad_planes(first, problem.padding, problem.padding_mode)
            return np.moveaxis(np.ascontiguousarray(np.moveaxis(padded, 1, -1)), -1, 1) if self._last else padded
        axes = tuple(zip(problem.size, problem.padding, strict=True))
        size, inside = [w + sum(pair) for w, pair in axes], [slice(before, before + w) for w, (before, _) in axes]
        shape = (len(x), *size, problem.channels) if self._last else (len(x), problem.channels, *size)
        zeros = np.zeros(shape, x.dtype)
        padded = np.moveaxis(zeros, -1, 1) if self._last else zeros
        padded[(..., *inside)] = first
        return padded

    def _pixels(self, gradient: Array) -> Array:
        """Return a view (G, K / G, N, *output) of the gradient by the output."""
        first = np.moveaxis(gradient, -1, 0) if self._last else np.moveaxis(gradient, 1, 0)
        return _split(first, self._problem.groups)

    def _patches(self, windows: Array, block: Pixels, some: Channels) -> Array:
        """Copy what a block sees: pixels side by side, or channels."""
        rank = self._problem.rank
        taps = range(2, 2 + rank)
        seen = windows[(*map(_at, some), *(slice(None),) * rank, _at(block.images), _at(block.rows))]
        pixels = 0, *range(2 + rank, 3 + 2 * rank)  # group, image, places
        return np.ascontiguousarray(seen.transpose((*pixels, *taps, 1) if self._last else (1, *taps, *pixels)))

    def _store(self, sums: Mapping[Channels, Array], out: Array) -> None:
        """Write the sums, which are as the convolutions have them, where the gradient has them."""
        problem, kernel = self._problem, self._problem.kernel
        filters = problem.filters // problem.groups
        split = _split(out, problem.groups)  # G, K / G, C / G, *kernel
        if problem.flip:
            split = np.flip(split, tuple(range(3, split.ndim)))
        if not sums:
            split[...] = 0
        for some, found in sums.items():
            groups, channels = len(some.groups), len(some.channels)
            if self._last:
                part = np.moveaxis(found.reshape(groups, filters, *kernel, channels), -1, 2)
            else:
                part = np.moveaxis(found.reshape(channels, *kernel, groups, filters), (-2, -1), (0, 1))
            split[_at(some.groups), :, _at(some.channels)] = part


def _at(part: range) -> slice:
    return slice(part.start, part.stop)


def _split(array: Array, groups: int) -> Array:
    """Return a view with the first axis as two, of groups and of what one has."""
    return array.reshape(groups, len(array) // groups, *array.shape[1:])
