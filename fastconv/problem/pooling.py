"""The pooling problem: shapes and arguments, validated once, and one string form.

As :class:`~fastconv.problem.ConvProblem` is of a convolution, a :class:`PoolProblem` is made once
for a call and is from then on the key of everything. In its messages ``x`` is the array of a call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy.typing as npt

from fastconv.arguments import (
    DTYPES,
    Padding,
    Pairs,
    PerAxis,
    check_elements,
    check_same_kind,
    dtype_name,
    integer,
    one_of,
    padding_pairs,
    per_axis,
    pooled_size,
    shape,
    truth,
)
from fastconv.problem.base import LAYOUTS, WindowedProblem, checked_size, image_shape
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

POOLINGS = ("max_pool", "avg_pool")

# The string form: five tokens in this order, then any of the others, each at most once.
_HEAD = {
    "operation": f"((?:{'|'.join(POOLINGS)})[1-3])d",
    "batch": f"n({INTEGER})",
    "channels": f"c({INTEGER})",
    "size": f"({INTEGERS})",
    "kernel": f"({INTEGERS})",
}
_TAIL = {
    "stride": f"s({INTEGERS})",
    "padding": f"p({PAIRS})",
    "dilation": f"d({INTEGERS})",
    "ceil_mode": "(ceil)",
    "exclude_pad": "(exclude_pad)",
    "layout": f"({'|'.join(LAYOUTS)})",
    "dtype": f"({'|'.join(DTYPES)})",
}


@dataclass(frozen=True, slots=True)
class PoolProblem(WindowedProblem):
    """A pooling without its numbers: sizes, data type and arguments.

    Immutable, hashable, and validated when made. An int an axis is enough for `kernel`, `stride`
    and `dilation`, and every form of :func:`padding_pairs` for `padding`: the fields hold the
    result.

    Parameters
    ----------
    operation : str
        One of `POOLINGS`.
    dtype : str
        The NumPy name of the elements' type, one of `DTYPES`; floating for an average.
    batch : int
        Images N, may be 0.
    channels : int
        Channels C, may be 0. Each is pooled by itself.
    size : tuple of int
        Input sizes without padding, one an axis, 1 to 3 axes.
    kernel : tuple of int
        The windows' sizes F.
    stride, dilation : tuple of int
        Steps S between windows, and D between the elements of one.
    padding : tuple of tuple of int
        Elements (before, after) each axis.
    ceil_mode : bool
        Whether the last window may hang over the end; see `output_size`.
    count_include_pad : bool
        Whether padding counts in an average. True for a maximum.
    layout : str
        Where the channel axis of input and output is, one of `LAYOUTS`.

    Attributes
    ----------
    output_size : tuple of int
        Output sizes, ``floor((W + before + after - D * (F - 1) - 1) / S) + 1`` an axis. With
        `ceil_mode` the fraction is rounded up, but the last window must begin inside the input or
        the padding before it.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if an average is of integers.
    ValueError
        If its value is not possible, or an array would not fit in 64-bit addresses.

    Examples
    --------
    >>> problem = PoolProblem.from_shape(
    ...     "max_pool", (1, 64, 112, 112), 3, stride=2, padding=1, ceil_mode=True
    ... )
    >>> str(problem)
    'max_pool2d,n1,c64,112x112,3x3,s2,p1,ceil,float32'
    >>> problem.output_shape, problem.operations
    ((1, 64, 57, 57), 1871424)
    >>> PoolProblem.parse(str(problem)) == problem
    True
    """

    operation: str
    dtype: str
    batch: int
    channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = True
    layout: str = "channels_first"
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
            one_of(self.operation, POOLINGS, "operation"),
            dtype_name(self.dtype),
            integer(self.batch, "batch", 0),
            integer(self.channels, "channels", 0),
            size,
            kernel,
            stride,
            padding_pairs(self.padding, rank, size, kernel, stride, dilation),
            dilation,
            truth(self.ceil_mode, "ceil_mode"),
            truth(self.count_include_pad, "count_include_pad"),
            one_of(self.layout, LAYOUTS, "layout"),
        )
        if self.operation == "avg_pool":
            check_same_kind(self.dtype, "float64", "x")
        elif not self.count_include_pad:  # a problem has one key
            raise ValueError("count_include_pad must be True unless averages are taken, got False")
        output_size = pooled_size(size, self.receptive_field, stride, self.padding, ceil_mode=self.ceil_mode)
        object.__setattr__(self, "output_size", output_size)
        check_elements("x", self.input_shape)
        check_elements("padding", self._padded_shape())  # which no output is larger than

    def __hash__(self) -> int:
        """Return the hash, computed once."""
        return self._hash

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output in `layout`, with its batch axis."""
        return self._arranged(self.channels, self.output_size)

    @property
    def operations(self) -> int:
        """Window elements that the definition reads: each output element takes prod(kernel).

        Those that fall on padding, or hang over the end, count too.
        """
        return math.prod((self.batch, self.channels, *self.output_size, *self.kernel))

    def arguments(self) -> dict[str, bool | str | tuple[int, ...] | Pairs]:
        """Return the keyword arguments of the function that `operation` names, for this problem.

        Returns
        -------
        dict
            `kernel_size`, `stride`, `padding`, `dilation`, `ceil_mode` and `layout`; with
            ``"avg_pool"`` also `count_include_pad`.
        """
        names = ["stride", "padding", "dilation", "ceil_mode", "layout"]
        if self.operation == "avg_pool":
            names.append("count_include_pad")
        return {"kernel_size": self.kernel, **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_shape(
        cls,
        operation: str,
        input_shape: Sequence[int],
        kernel_size: PerAxis,
        dtype: npt.DTypeLike = "float32",
        *,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        layout: str = "channels_first",
    ) -> PoolProblem:
        """Make a problem of a shape and the arguments of a pooling as a user gives them.

        Parameters
        ----------
        operation : str
            One of `POOLINGS`.
        input_shape : sequence of int
            (N, C, *size), or (N, *size, C) with ``layout="channels_last"``.
        kernel_size : int or sequence of int
            The windows' size, one for all axes or one an axis.
        dtype : data type, optional
            Any byte order.
        stride : int or sequence of int, optional
            One for all axes, or one an axis; `kernel_size` if None.
        padding : int, sequence or str, optional
            See :func:`padding_pairs`.
        dilation, ceil_mode, count_include_pad, layout : optional
            As in the class; for `dilation`, one int may stand for all axes.

        Raises
        ------
        TypeError
            If an argument is of a wrong kind; if an average is of integers.
        ValueError
            If its value is not possible, or no window fits.

        Examples
        --------
        >>> problem = PoolProblem.from_shape(
        ...     "avg_pool", (8, 35, 35, 192), 3, stride=1, padding="same", layout="channels_last"
        ... )
        >>> str(problem)
        'avg_pool2d,n8,c192,35x35,3x3,p1,channels_last,float32'
        """
        batch, channels, *size = image_shape(shape(input_shape, "input_shape"), "x", layout)
        kernel = per_axis(kernel_size, len(size), "kernel_size", 1)
        return cls(  # whose fields hold the numbers that any form of an argument comes to
            operation=operation,
            dtype=cast("str", dtype),
            batch=batch,
            channels=channels,
            size=tuple(size),
            kernel=kernel,
            stride=kernel if stride is None else cast("tuple[int, ...]", stride),
            padding=cast("Pairs", padding),
            dilation=cast("tuple[int, ...]", dilation),
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            layout=layout,
        )

    def __str__(self) -> str:
        """Return the string form: comma-separated tokens, defaults left out, the dtype last."""
        return join_tokens(
            f"{self.operation}{self.rank}d",
            f"n{self.batch}",
            f"c{self.channels}",
            integers(self.size),
            integers(self.kernel),
            each_axis("s", self.stride, 1),
            each_axis("p", self.padding, 0),
            each_axis("d", self.dilation, 1),
            "ceil" if self.ceil_mode else "",
            "" if self.count_include_pad else "exclude_pad",
            unless("channels_first", self.layout),
            self.dtype,
        )

    @classmethod
    def parse(cls, text: str) -> PoolProblem:
        """Read the string form back.

        Parameters
        ----------
        text : str
            As :func:`str` gives it. The tokens after the kernel may come in any order. A stride
            left out is 1.

        Raises
        ------
        TypeError
            If `text` is no string; if an average is of integers.
        ValueError
            If a token is unknown, repeated or missing (the message names it), or the problem that
            the tokens describe is not possible.

        Examples
        --------
        >>> PoolProblem.parse("avg_pool1d,n1,c8,32,3,s2,p0:1,exclude_pad,float64").output_size
        (16,)
        """
        found = read_tokens(text, _HEAD, _TAIL)
        operation, rank = found["operation"][:-1], int(found["operation"][-1])
        return cls(
            operation=operation,
            dtype=found["dtype"],
            batch=int(found["batch"]),
            channels=int(found["channels"]),
            size=read_integers(found["size"], rank),
            kernel=read_integers(found["kernel"], rank),
            stride=read_integers(found.get("stride", "1"), rank, broadcast=True),
            padding=read_pairs(found.get("padding", "0"), rank),
            dilation=read_integers(found.get("dilation", "1"), rank, broadcast=True),
            ceil_mode="ceil_mode" in found,
            count_include_pad="exclude_pad" not in found,
            layout=found.get("layout", "channels_first"),
        )
