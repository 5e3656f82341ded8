"""The pooling problem: shapes and arguments, validated once, and one string form.

As :class:`~fastconv.problem.ConvProblem` is of a convolution, a :class:`PoolProblem` is made once
for a call and is from then on the key of everything. In its messages ``x`` is the array of a call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

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
from fastconv.problem.pieces import largest_pieces, norm, resolved_outputs
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

POOLINGS = ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool")
_OF_MAXIMA = ("max_pool", "adaptive_max_pool")

Argument: TypeAlias = bool | float | str | tuple[int, ...] | Pairs

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
    "divisor_override": f"divisor({INTEGER})",
    "norm_type": "norm(inf|[0-9.e+-]{1,30})",
    "outputs": f"o({INTEGERS})",
    "indices": "(indices)",
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
        The NumPy name of the elements' type, one of `DTYPES`; floating unless maxima are taken.
    batch : int
        Images N, may be 0.
    channels : int
        Channels C, may be 0. Each is pooled by itself.
    size : tuple of int
        Input sizes without padding, one an axis, 1 to 3 axes.
    kernel : tuple of int
        The windows' sizes F; of adaptive poolings those of the largest piece.
    stride, dilation : tuple of int
        Steps S between windows, and D between the elements of one.
    padding : tuple of tuple of int
        Elements (before, after) each axis.
    ceil_mode : bool
        Whether the last window may hang over the end; see `output_size`.
    count_include_pad : bool
        Whether padding counts in an average. True for all others.
    layout : str
        Where the channel axis of input and output is, one of `LAYOUTS`.
    divisor_override : int, optional
        Divides every sum of ``"avg_pool"`` in place of the count.
    norm_type : float, optional
        The p of ``"lp_pool"``, which must have one.
    outputs : tuple of int, optional
        Outputs an axis of an adaptive pooling, which must have them: output o pools the elements from
        ``floor(o * W / O)`` to before ``ceil((o + 1) * W / O)``.
    indices : bool
        Whether the positions of maxima are a result as well.

    Attributes
    ----------
    output_size : tuple of int
        Output sizes, ``floor((W + before + after - D * (F - 1) - 1) / S) + 1`` an axis. With
        `ceil_mode` the fraction is rounded up, but the last window must begin inside the input or
        the padding before it.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if an average or a norm is of integers.
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
    divisor_override: int | None = None
    norm_type: float | None = None
    outputs: tuple[int, ...] | None = None
    indices: bool = False
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
            None if self.divisor_override is None else integer(self.divisor_override, "divisor_override", 1),
            None if self.norm_type is None else norm(self.norm_type),
            None if self.outputs is None else per_axis(self.outputs, rank, "output_size", 1),
            truth(self.indices, "return_indices"),
        )
        if self.operation not in _OF_MAXIMA:
            check_same_kind(self.dtype, "float64", "x")
        self._check_own_arguments()
        output_size = self.outputs or pooled_size(
            size, self.receptive_field, stride, self.padding, ceil_mode=self.ceil_mode
        )
        object.__setattr__(self, "output_size", output_size)
        check_elements("x", self.input_shape)
        check_elements("padding", self._padded_shape())  # which no output is larger than

    def _check_own_arguments(self) -> None:
        """Raise ValueError where an argument is of another operation: a problem has one key."""
        if not self.count_include_pad and (self.operation != "avg_pool" or self.divisor_override is not None):
            raise ValueError("count_include_pad must be True unless elements are counted for averages, got False")
        expected = {
            "divisor_override": self.operation == "avg_pool" and self.divisor_override is not None,
            "norm_type": self.operation == "lp_pool",
            "outputs": self.adaptive,
        }
        for name, wanted in expected.items():
            if (getattr(self, name) is not None) != wanted:
                raise ValueError(f"{name} must {'' if wanted else 'not '}be given for {self.operation}")
        if self.indices and self.operation not in _OF_MAXIMA:
            raise ValueError(f"return_indices must be False for {self.operation}, got True")
        if self.outputs is None:
            return
        windows = (self.kernel, self.stride, self.dilation, self.padding, self.ceil_mode)
        ones = (1,) * self.rank
        if windows != (largest_pieces(self.size, self.outputs), ones, ones, ((0, 0),) * self.rank, False):
            raise ValueError(f"kernel must be the largest piece and all else the default for {self.operation}")

    def __hash__(self) -> int:
        """Return the hash, computed once."""
        return self._hash

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output in `layout`, with its batch axis."""
        return self._arranged(self.channels, self.output_size)

    @property
    def adaptive(self) -> bool:
        """Whether the windows are said by the size of the output."""
        return self.operation.startswith("adaptive")

    @property
    def maxima(self) -> bool:
        """Whether the largest elements are taken."""
        return self.operation in _OF_MAXIMA

    @property
    def operations(self) -> int:
        """Window elements that the definition reads: each output element takes prod(kernel).

        Those that fall on padding, or hang over the end, count too.
        """
        return math.prod((self.batch, self.channels, *self.output_size, *self.kernel))

    def arguments(self) -> dict[str, Argument]:
        """Return the keyword arguments of the function that `operation` names, for this problem.

        Returns
        -------
        dict
            `kernel_size`, `stride`, `padding`, `dilation`, `ceil_mode` and `layout`; with ``"avg_pool"``
            also `count_include_pad`; and whatever else is not the default. For adaptive poolings
            `output_size` and `layout`.
        """
        found: dict[str, Argument] = {"layout": self.layout}
        if self.outputs is not None:
            found["output_size"] = self.outputs
        else:
            found["kernel_size"] = self.kernel
            found |= {name: getattr(self, name) for name in ("stride", "padding", "dilation", "ceil_mode")}
        if self.operation == "avg_pool":
            found["count_include_pad"] = self.count_include_pad
        if self.divisor_override is not None:
            found["divisor_override"] = self.divisor_override
        if self.norm_type is not None:
            found["norm_type"] = self.norm_type
        if self.indices:
            found["return_indices"] = True
        return found

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
        divisor_override: int | None = None,
        norm_type: float | None = None,
        indices: bool = False,
    ) -> PoolProblem:
        """Make a problem of a shape and the arguments of a pooling as a user gives them.

        Parameters
        ----------
        operation : str
            One of `POOLINGS` that is not adaptive.
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
        dilation, ceil_mode, count_include_pad, layout, divisor_override, norm_type, indices : optional
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
            divisor_override=divisor_override,
            norm_type=norm_type,
            indices=indices,
        )

    @classmethod
    def from_output_size(
        cls,
        operation: str,
        input_shape: Sequence[int],
        output_size: int | Sequence[int | None] | None,
        dtype: npt.DTypeLike = "float32",
        *,
        layout: str = "channels_first",
        indices: bool = False,
    ) -> PoolProblem:
        """Make a problem of a shape and the output size of an adaptive pooling.

        Where the output divides the input on every axis, that is a pooling of equal windows.

        Parameters
        ----------
        operation : str
            ``"adaptive_max_pool"`` or ``"adaptive_avg_pool"``.
        input_shape : sequence of int
            (N, C, *size), or (N, *size, C) with ``layout="channels_last"``.
        output_size : int, sequence of int or None, or None
            One for all axes or one an axis; None keeps the size of an axis.
        dtype, layout, indices : optional
            As in the class.

        Raises
        ------
        TypeError
            If an argument is of a wrong kind; if an average is of integers.
        ValueError
            If its value is not possible.

        Examples
        --------
        >>> str(PoolProblem.from_output_size("adaptive_avg_pool", (1, 8, 9, 9), (4, None)))
        'adaptive_avg_pool2d,n1,c8,9x9,3x1,o4x9,float32'
        >>> str(PoolProblem.from_output_size("adaptive_avg_pool", (1, 8, 9, 9), (3, 1)))
        'avg_pool2d,n1,c8,9x9,3x9,s3x1,float32'
        """
        batch, channels, *size = image_shape(shape(input_shape, "input_shape"), "x", layout)
        outputs = resolved_outputs(output_size, size)
        kernel, ones = largest_pieces(size, outputs), (1,) * len(size)
        even = all(w % o == 0 for w, o in zip(size, outputs, strict=True))
        return cls(
            operation=one_of(operation, POOLINGS, "operation").removeprefix("adaptive_" if even else ""),
            dtype=cast("str", dtype),
            batch=batch,
            channels=channels,
            size=tuple(size),
            kernel=kernel,
            stride=tuple([1 if o == 1 else k for o, k in zip(outputs, kernel, strict=True)]) if even else ones,
            padding=((0, 0),) * len(size),
            dilation=ones,
            layout=layout,
            outputs=None if even else outputs,
            indices=indices,
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
            "" if self.divisor_override is None else f"divisor{self.divisor_override}",
            "" if self.norm_type is None else f"norm{self.norm_type:.17g}",
            "" if self.outputs is None else f"o{integers(self.outputs)}",
            "indices" if self.indices else "",
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
            divisor_override=int(found["divisor_override"]) if "divisor_override" in found else None,
            norm_type=float(found["norm_type"]) if "norm_type" in found else None,
            outputs=read_integers(found["outputs"], rank) if "outputs" in found else None,
            indices="indices" in found,
        )
