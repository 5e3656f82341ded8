"""What the docstrings of the pooling functions have in common."""

from __future__ import annotations

_X = """x : array
        Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``;
        without N, one image, whose result lacks it too. Any strides and byte order; %(types)s."""

_WINDOWS = """kernel_size : int or sequence of int
        Size of a window, one for all axes or one an axis.
    stride : int or sequence of int, optional
        Step between windows; `kernel_size` if None.
    padding : int, sequence or str
        An int; one int an axis; one (before, after) pair an axis; ``"valid"``; ``"same"``, an
        output of ``ceil(size / stride)`` with the odd element at the end; ``"same_lower"``, at
        the beginning. %(padding)s.
    dilation : int or sequence of int
        Step between the elements of one window.
    ceil_mode : bool
        Whether the last window may hang over the end of the padding. It must still begin inside the
        input or the padding before it."""

_LAST = """layout : str
        ``"channels_first"`` or ``"channels_last"``, of `x` and the result.
    algorithm : str
        ``"auto"``, or a name of ``fastconv.algorithms("pooling")``, which runs or raises.
    out : array, optional
        Receives the result and is returned; its shape and type must be the result's, its strides
        may be any. It may overlap `x`."""

_RAISES = """Raises
    ------
    TypeError
        If an argument is of a wrong kind or an array of an unsupported type.
    ValueError
        If a value or shape is not possible; the message has the numbers.
    UnsupportedError
        If the algorithm asked for by name does not compute this problem."""

_FLOATS, _ALL = "floating", "floating, or integers"

_INDICES = """return_indices : bool
        Whether to return where the maxima are as well."""

_MAXIMA = """Returns
    -------
    array
        Of the type of `x`. NaN is greater than every number. A window that holds nothing but padding
        gives minus infinity, or the least of an integer type.
    array of int64
        With `return_indices`: the flat position of each maximum, the first of equals, in its plane
        without padding; -1 where a window holds nothing."""


def _of(*parts: str, **values: str) -> str:
    text = "Parameters\n    ----------\n    " + "\n    ".join(parts[:-1]) + "\n\n    " + parts[-1]
    return text.replace("%(types)s", values["types"]).replace("%(padding)s", values.get("padding", ""))


def _returns(text: str) -> str:
    return f"Returns\n    -------\n    array\n        {text}"


MAXIMA = _of(
    *(_X, _WINDOWS, _INDICES, _LAST, f"{_MAXIMA}\n\n    {_RAISES}"),
    types=_ALL,
    padding="It is less than every element",
)
AVERAGES = _of(
    _X,
    _WINDOWS,
    """count_include_pad : bool
        Whether padding, which is 0, counts. What hangs over its end in ceil_mode never does.
    divisor_override : int, optional
        Divides every sum in place of the count.""",
    _LAST,
    f"{_returns('Of the type of `x`. 0 where nothing counts.')}\n\n    {_RAISES}",
    types=_FLOATS,
    padding="It is 0",
)
NORMS = _of(
    _X,
    """norm_type : float
        The p of ``sum(|x| ** p) ** (1 / p)``, more than 0; infinity is the largest magnitude.""",
    _WINDOWS,
    _LAST,
    f"{_returns('Of the type of `x`.')}\n\n    {_RAISES}",
    types=_FLOATS,
    padding="It is 0",
)
_OUTPUTS = """output_size : int, sequence of int or None, or None
        Outputs, one for all axes or one an axis; None keeps the size of an axis. Output o of O along
        an axis of W elements pools those from ``floor(o * W / O)`` to before ``ceil((o + 1) * W / O)``."""
ADAPTIVE_AVERAGES = _of(*(_X, _OUTPUTS, _LAST, f"{_returns('Of the type of `x`.')}\n\n    {_RAISES}"), types=_FLOATS)
ADAPTIVE_MAXIMA = _of(*(_X, _OUTPUTS, _INDICES, _LAST, f"{_MAXIMA}\n\n    {_RAISES}"), types=_ALL)
GLOBAL = _of(
    """x : array
        Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``, of 1 to 3
        spatial axes. Any strides and byte order; floating, or for maxima integers.""",
    """keepdims : bool
        Whether the spatial axes stay, with size 1. If not, the result is (N, C).""",
    _LAST,
    f"{_returns('Of the type of `x`.')}\n\n    {_RAISES}",
    types=_FLOATS,
)
