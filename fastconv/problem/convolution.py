"""The convolution problem: shapes and arguments, validated once, and one string form.

A :class:`ConvProblem` is made once for a call and is from then on the key of everything: the choice
of an algorithm, stored answers, log lines and benchmark ids. Nothing after it checks a size again.
In its messages ``x``, ``weight`` and ``out`` are the arrays of a call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import SupportsIndex, cast

import numpy.typing as npt

from fastconv.arguments import (
    DTYPES,
    PRECISIONS,
    Padding,
    Pairs,
    PerAxis,
    check_elements,
    check_padding_mode,
    dtype_name,
    integer,
    one_of,
    padding_pairs,
    per_axis,
    shape,
    truth,
)
from fastconv.problem.base import LAYOUTS, MAX_RANK, WindowedProblem, checked_size
from fastconv.problem.text import (
    INTEGER,
    INTEGERS,
    PAIRS,
    each_axis,
    integers,
    join_tokens,
    read_integers,
    read_pairs,
    read_tokens,
    unless,
)

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
DIRECTIONS = ("forward", "input_gradient", "weight_gradient")

# The string form: six tokens in this order, then any of the others, each at most once.
_HEAD = {
    "rank": "conv([1-3])d",
    "batch": f"n({INTEGER})",
    "channels": f"c({INTEGER})",
    "size": f"({INTEGERS})",
    "filters": f"k({INTEGER})",
    "kernel": f"({INTEGERS})",
}
_TAIL = {
    "stride": f"s({INTEGERS})",
    "padding": f"p({PAIRS})",
    "dilation": f"d({INTEGERS})",
    "groups": f"g({INTEGER})",
    "padding_mode": f"({'|'.join(PADDING_MODES)})",
    "flip": "(flip)",
    "layout": f"({'|'.join(LAYOUTS)})",
    "direction": f"({'|'.join(DIRECTIONS)})",
    "precision": f"({'|'.join(PRECISIONS)})",
    "dtype": f"({'|'.join(DTYPES)})",
}


def _checked_input_shape(shape: tuple[int, ...], axes: int, layout: str) -> tuple[int, ...]:
    """Return (N, C, *size) of an input shape in `layout`."""
    if len(shape) != axes:
        raise ValueError(f"x must have {axes} axes, batch axis included, got shape {shape}")
    if 0 in shape[1:]:
        raise ValueError(f"x must have no empty axis but the batch axis, got shape {shape}")
    return shape if layout == "channels_first" else (shape[0], shape[-1], *shape[1:-1])


def _checked_weight_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (K, C / groups, *kernel)."""
    if not 3 <= len(shape) <= MAX_RANK + 2:
        raise ValueError(
            f"weight must have 3 to {MAX_RANK + 2} axes, (filters, channels / groups, *kernel), "
            f"got shape {shape}"
        )
    if 0 in shape:
        raise ValueError(f"weight must have no empty axis, got shape {shape}")
    return shape


@dataclass(frozen=True, slots=True)
class ConvProblem(WindowedProblem):
    """A convolution without its numbers: sizes, data type and arguments.

    Immutable, hashable, and validated when made. An int an axis is enough for `stride` and
    `dilation`, and every form of :func:`padding_pairs` for `padding`: the fields hold the result.

    Parameters
    ----------
    dtype : str
        The NumPy name of the elements' type, one of `DTYPES`.
    batch : int
        Images N, may be 0.
    channels : int
        Input channels C.
    size : tuple of int
        Input sizes without padding, one an axis, 1 to 3 axes.
    filters : int
        Output channels K.
    kernel : tuple of int
        Kernel sizes F.
    stride, dilation : tuple of int
        Steps S between windows, and D between the elements of one.
    padding : tuple of tuple of int
        Elements (before, after) each axis.
    groups : int
        Divides `channels` and `filters`.
    padding_mode : str
        What the padding is filled with, one of `PADDING_MODES`.
    flip : bool
        Whether the kernel is reversed along each spatial axis (the mathematical convolution).
    layout : str
        Where the channel axis of input and output is, one of `LAYOUTS`.
    direction : str
        One of `DIRECTIONS`. The shapes are the forward convolution's in each.
    precision : str
        What the factors of products may be rounded to, see :func:`fastconv.set_precision`: one of `PRECISIONS` for
        float32. For other types it is ``"ieee"``, whatever is given.

    Attributes
    ----------
    output_size : tuple of int
        Output sizes, ``floor((W + before + after - D * (F - 1) - 1) / S) + 1`` an axis.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or an array would not fit in 64-bit addresses.

    Examples
    --------
    >>> problem = ConvProblem.from_shapes((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    >>> str(problem)
    'conv2d,n1,c3,224x224,k64,7x7,s2,p3,float32'
    >>> problem.output_shape, problem.multiply_adds
    ((1, 64, 112, 112), 118013952)
    >>> ConvProblem.parse(str(problem)) == problem
    True
    """

    dtype: str
    batch: int
    channels: int
    size: tuple[int, ...]
    filters: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str = "zeros"
    flip: bool = False
    layout: str = "channels_first"
    direction: str = "forward"
    precision: str = "ieee"
    output_size: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Validate, normalise, and compute what every later step asks for."""
        size = checked_size(self.size)
        rank = len(size)
        kernel = per_axis(self.kernel, rank, "kernel", 1)
        stride = per_axis(self.stride, rank, "stride", 1)
        dilation = per_axis(self.dilation, rank, "dilation", 1)
        self._keep(  # in the order of the fields
            dtype_name(self.dtype),
            integer(self.batch, "batch", 0),
            integer(self.channels, "channels", 1),
            size,
            integer(self.filters, "filters", 1),
            kernel,
            stride,
            padding_pairs(self.padding, rank, size, kernel, stride, dilation),
            dilation,
            integer(self.groups, "groups", 1),
            one_of(self.padding_mode, PADDING_MODES, "padding_mode"),
            truth(self.flip, "flip"),
            one_of(self.layout, LAYOUTS, "layout"),
            one_of(self.direction, DIRECTIONS, "direction"),
            self._checked_precision(),
        )
        if self.channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"groups must divide the {self.channels} channels and the {self.filters} filters, "
                f"got {self.groups}"
            )
        check_padding_mode(self.padding_mode, self.padding, size)
        object.__setattr__(self, "output_size", self._checked_output_size())
        self._check_addressable()

    def _checked_precision(self) -> str:
        """Return what a permission to round comes to: of other types than float32 nothing is rounded."""
        precision = one_of(self.precision, PRECISIONS, "precision")
        return precision if dtype_name(self.dtype) == "float32" else PRECISIONS[0]

    def _checked_output_size(self) -> tuple[int, ...]:
        """Return floor((W + before + after - D * (F - 1) - 1) / S) + 1, at least 1 an axis."""
        output = []
        for axis, field_extent in enumerate(self.receptive_field):
            (before, after), stride = self.padding[axis], self.stride[axis]
            extent = (self.size[axis] + before + after - field_extent) // stride + 1
            if extent < 1:
                raise ValueError(
                    f"x must hold one window on axis {axis}, got output size "
                    f"floor(({self.size[axis]} + {before} + {after} - {self.dilation[axis]} * "
                    f"({self.kernel[axis]} - 1) - 1) / {stride}) + 1 = {extent}"
                )
            output.append(extent)
        return tuple(output)

    def _check_addressable(self) -> None:
        check_elements("x", self.input_shape)
        check_elements("weight", self.weight_shape)
        check_elements("padding", self._padded_shape())
        check_elements("out", self.output_shape)

    def __hash__(self) -> int:
        """Return the hash, computed once."""
        return self._hash

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(K, C / groups, *kernel), in either layout."""
        return (self.filters, self.channels // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output in `layout`, with its batch axis."""
        return self._arranged(self.filters, self.output_size)

    @property
    def operand_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of the two arrays that are multiplied, in the order of what algorithms run on.

        Forward these are input and weight, for the gradient by the input that of the output and the weight, and for the
        one by the weight the input and the gradient of the output.
        """
        first = self.output_shape if self.direction == "input_gradient" else self.input_shape
        return first, self.output_shape if self.direction == "weight_gradient" else self.weight_shape

    @property
    def result_shape(self) -> tuple[int, ...]:
        """The shape of what is computed: that of the output, or of what the gradient is by."""
        shapes = {"input_gradient": self.input_shape, "weight_gradient": self.weight_shape}
        return shapes.get(self.direction, self.output_shape)

    @property
    def parameters(self) -> int:
        """The number of weights, without a bias."""
        return math.prod(self.weight_shape)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the definition: each output element takes C / groups * prod(kernel).

        Those that fall on padding count too.
        """
        return self.batch * math.prod(self.output_size) * self.parameters

    def arguments(self) -> dict[str, int | bool | str | tuple[int, ...] | Pairs]:
        """Return the keyword arguments of ``conv1d``, ``conv2d`` or ``conv3d`` for this problem.

        Returns
        -------
        dict
            `stride`, `padding`, `dilation`, `groups`, `padding_mode`, `flip`, `layout` and `precision`.
        """
        names = ("stride", "padding", "dilation", "groups", "padding_mode", "flip", "layout", "precision")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_shapes(
        cls,
        input_shape: Sequence[int],
        weight_shape: Sequence[int],
        dtype: npt.DTypeLike = "float32",
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: SupportsIndex = 1,
        padding_mode: str = "zeros",
        flip: bool = False,
        layout: str = "channels_first",
        precision: str = "ieee",
    ) -> ConvProblem:
        """Make a problem of two shapes and the arguments of a convolution as a user gives them.

        Parameters
        ----------
        input_shape : sequence of int
            (N, C, *size), or (N, *size, C) with ``layout="channels_last"``.
        weight_shape : sequence of int
            (K, C / groups, *kernel).
        dtype : data type, optional
            Any byte order.
        stride, dilation : int or sequence of int, optional
            One for all axes, or one an axis.
        padding : int, sequence or str, optional
            See :func:`padding_pairs`.
        groups, padding_mode, flip, layout, precision : optional
            As in the class.

        Raises
        ------
        TypeError
            If an argument is of a wrong kind.
        ValueError
            If its value is not possible, or the shapes do not fit each other.

        Examples
        --------
        >>> depthwise = ConvProblem.from_shapes(
        ...     (8, 56, 56, 32), (32, 1, 3, 3), padding="same", groups=32, layout="channels_last"
        ... )
        >>> str(depthwise)
        'conv2d,n8,c32,56x56,k32,3x3,p1,g32,channels_last,float32'
        """
        input_shape = shape(input_shape, "input_shape")
        weight_shape = shape(weight_shape, "weight_shape")
        layout, groups = one_of(layout, LAYOUTS, "layout"), integer(groups, "groups", 1)
        filters, group_channels, *kernel = _checked_weight_shape(weight_shape)
        batch, channels, *size = _checked_input_shape(input_shape, len(weight_shape), layout)
        if channels != group_channels * groups:
            raise ValueError(
                f"x must have weight.shape[1] * groups = {group_channels} * {groups} channels, "
                f"got {channels}: x of shape {input_shape}, weight of shape {weight_shape}"
            )
        return cls(  # whose fields hold the numbers that any form of an argument comes to
            dtype=cast("str", dtype),
            batch=batch,
            channels=channels,
            size=tuple(size),
            filters=filters,
            kernel=tuple(kernel),
            stride=cast("tuple[int, ...]", stride),
            padding=cast("Pairs", padding),
            dilation=cast("tuple[int, ...]", dilation),
            groups=groups,
            padding_mode=padding_mode,
            flip=flip,
            layout=layout,
            precision=precision,
        )

    def __str__(self) -> str:
        """Return the string form: comma-separated tokens, defaults left out, the dtype last."""
        return join_tokens(
            f"conv{self.rank}d",
            f"n{self.batch}",
            f"c{self.channels}",
            integers(self.size),
            f"k{self.filters}",
            integers(self.kernel),
            each_axis("s", self.stride, 1),
            each_axis("p", self.padding, 0),
            each_axis("d", self.dilation, 1),
            unless("g1", f"g{self.groups}"),
            unless("zeros", self.padding_mode),
            "flip" if self.flip else "",
            unless("channels_first", self.layout),
            unless("forward", self.direction),
            unless("ieee", self.precision),
            self.dtype,
        )

    @classmethod
    def parse(cls, text: str) -> ConvProblem:
        """Read the string form back.

        Parameters
        ----------
        text : str
            As :func:`str` gives it. The tokens after the sizes may come in any order.

        Raises
        ------
        TypeError
            If `text` is no string.
        ValueError
            If a token is unknown, repeated or missing (the message names it), or the problem that
            the tokens describe is not possible.

        Examples
        --------
        >>> ConvProblem.parse("conv2d,n1,c8,32x32,k8,3x3,s2x1,p0:1x2,float64").padding
        ((0, 1), (2, 2))
        """
        found = read_tokens(text, _HEAD, _TAIL)
        rank = int(found["rank"])
        return cls(
            dtype=found["dtype"],
            batch=int(found["batch"]),
            channels=int(found["channels"]),
            size=read_integers(found["size"], rank),
            filters=int(found["filters"]),
            kernel=read_integers(found["kernel"], rank),
            stride=read_integers(found.get("stride", "1"), rank, broadcast=True),
            padding=read_pairs(found.get("padding", "0"), rank),
            dilation=read_integers(found.get("dilation", "1"), rank, broadcast=True),
            groups=int(found.get("groups", "1")),
            padding_mode=found.get("padding_mode", "zeros"),
            flip="flip" in found,
            layout=found.get("layout", "channels_first"),
            direction=found.get("direction", "forward"),
            precision=found.get("precision", "ieee"),
        )
