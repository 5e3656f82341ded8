"""The convolution functions: validate, make the problem, choose the algorithm, run it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from fastconv import config, memory
from fastconv.arguments import DTYPES, Padding, PerAxis, dtype_name, one_of
from fastconv.errors import UnsupportedError
from fastconv.problem import ACTIVATIONS, ConvProblem

if TYPE_CHECKING:
    from fastconv.algorithm import Algorithm, Run

Array: TypeAlias = npt.NDArray[np.generic]

_ARGUMENTS = """
    Parameters
    ----------
    x : array
        Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``;
        without N, one image, whose result lacks it too. Any strides and byte order.
    weight : array
        Shape ``(K, C / groups, *kernel)`` in either layout.
    bias : array, optional
        Shape ``(K,)``, added to each output channel.
    stride : int or sequence of int
        Step between windows.
    padding : int, sequence or str
        An int; one int an axis; one (before, after) pair an axis; ``"valid"``; ``"same"``, an
        output of ``ceil(size / stride)`` with the odd element at the end; ``"same_lower"``, at
        the beginning.
    dilation : int or sequence of int
        Step between the elements of one window.
    groups : int
        Channels are cut into that many groups, convolved apart.
    padding_mode : str
        ``"zeros"``, ``"reflect"`` (edge not repeated), ``"symmetric"`` (edge repeated),
        ``"replicate"`` or ``"circular"``.
    flip : bool
        Reverse the kernel along each spatial axis: the convolution of mathematics. By default
        it is not reversed (cross-correlation), as in every network library.
    activation : str, optional
        Applied last: ``"relu"``, ``"relu6"``, ``"leaky_relu"`` (slope 0.01), ``"sigmoid"``,
        ``"tanh"``, ``"silu"``, ``"gelu"`` (by erf) or ``"hardswish"``.
    residual : array, optional
        Added before the activation; the result's shape.
    layout : str
        ``"channels_first"`` or ``"channels_last"``, of `x`, `residual` and the result.
    algorithm : str
        ``"auto"``, or a name of :func:`fastconv.algorithms`, which runs or raises.
    tolerance : float, optional
        The largest error bound, relative and in the 2-norm, of an algorithm that ``"auto"`` may
        choose; None takes that of :func:`fastconv.get_tolerance`. Where no algorithm is so accurate,
        the most accurate one runs. One that is asked for by name runs whatever its bound.
    out : array, optional
        Receives the result and is returned; its shape and type must be the result's, its strides
        may be any (a slice of channels of a larger array). It may overlap an input.

    Returns
    -------
    array
        Of the common type of `x` and `weight`; of int64, exact, if that is an integer type.
        Output size ``floor((W + before + after - D * (F - 1) - 1) / S) + 1`` an axis.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind or an array of an unsupported type.
    ValueError
        If a value or shape is not possible; the message has the numbers.
    UnsupportedError
        If the algorithm asked for by name does not compute this problem.
    OverflowError
        If an exact integer result might not fit in int64.
"""

F = TypeVar("F", bound=Callable[..., object])


def _documented(function: F) -> F:
    """Put the description of the arguments, alike for every rank, where the docstring has its mark."""
    function.__doc__ = (function.__doc__ or "").replace("%(arguments)s", _ARGUMENTS.strip())
    return function


@_documented
def conv1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(5.0).reshape(1, 1, 5)
    >>> difference = np.array([[[-1.0, 0.0, 1.0]]])
    >>> fastconv.conv1d(x, difference, padding="same", padding_mode="replicate")
    array([[[1., 2., 2., 2., 1.]]])
    """
    arguments = (stride, padding, dilation, groups, padding_mode, flip, layout, activation, algorithm, tolerance)
    return _convolve(1, x, weight, bias, residual, arguments, out)


@_documented
def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> fastconv.conv2d(x, np.ones((1, 1, 2, 2)), bias=[0.5])
    array([[[[ 8.5, 12.5],
             [20.5, 24.5]]]])
    """
    arguments = (stride, padding, dilation, groups, padding_mode, flip, layout, activation, algorithm, tolerance)
    return _convolve(2, x, weight, bias, residual, arguments, out)


@_documented
def conv3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 4, 4, 4))  # one volume of two channels, without a batch axis
    >>> fastconv.conv3d(x, np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 2, 2)
    """
    arguments = (stride, padding, dilation, groups, padding_mode, flip, layout, activation, algorithm, tolerance)
    return _convolve(3, x, weight, bias, residual, arguments, out)


def _convolve(
    rank: int,
    x: object,
    weight: object,
    bias: object,
    residual: object,
    arguments: tuple[object, ...],
    out: object,
) -> Array:
    """Validate, make the problem, choose the algorithm (unless an earlier call did all that), run it."""
    images, filters = _array(x, "x"), _array(weight, "weight")
    call = _prepared(rank, images, filters, arguments)
    result, shape = call.result, call.shape
    term = None if bias is None else _addend(bias, call.bias_shape, result, "bias")
    addend = None if residual is None else _addend(residual, shape, result, "residual")
    images, filters = _dense(images, call.operand), _dense(filters, call.operand)
    if out is None:
        target = written = memory.empty(shape, result)
    else:
        target = written = _checked_out(out, shape, result)
        if _needs_a_copy(target, (images, filters, term, addend)):
            written = memory.empty(shape, result)
    if call.run is not None:
        call.run(images, filters, term, addend, written)
    if written is not target:
        target[...] = written
    return target


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call needs that its shapes, types and arguments decide."""

    operand: np.dtype[np.generic]  # of x and weight
    result: np.dtype[np.generic]
    shape: tuple[int, ...]  # of the result
    bias_shape: tuple[int, ...]
    run: Run | None  # None: there are no images


# Making a problem takes tens of microseconds, and all that follows hundreds: those of earlier calls are kept. A small
# call that finds its own here takes less than ten.
_calls: dict[Hashable, _Call] = {}
_MOST_CALLS = 256  # as many as an algorithm keeps plans: they may hold one each
_DISTINCT = frozenset({int, str, type(None)})  # values of two of these types are never equal
_PLAIN = _DISTINCT | {float, bool}


def _prepared(rank: int, x: Array, weight: Array, arguments: tuple[object, ...]) -> _Call:
    """Return the call for these arrays; arguments are those of a problem, activation, algorithm and tolerance."""
    kinds = tuple(map(type, arguments))  # 1, 1.0 and True are equal, and not all of them right
    exactly = arguments if _PLAIN.issuperset(kinds) else tuple(map(_exactly, arguments))
    threads, bits, configured = config.get_num_threads(), config.vector_bits(), config.requested_tolerance()
    key = (rank, x.shape, weight.shape, x.dtype, weight.dtype, exactly, kinds, threads, bits, configured)
    try:
        call = _calls.get(key)
    except TypeError:  # an argument that cannot be a key cannot be right either: refused below
        call = None
    if call is None:
        call = _prepare(rank, x, weight, arguments, configured)  # refuses what is wrong, whatever it is
        if len(_calls) >= _MOST_CALLS:
            _calls.clear()
        _calls[key] = call
    return call


def _prepare(rank: int, x: Array, weight: Array, arguments: tuple[object, ...], configured: float | None) -> _Call:
    *of_problem, activation, algorithm, tolerance = arguments
    batched = _check_axes(x, weight, rank)
    problem = _problem(x.shape if batched else (1, *x.shape), weight.shape, x.dtype, weight.dtype, of_problem)
    if activation is not None:
        _check_activation(activation, problem)
    result = _result_type(problem)
    limit = config.tolerance_of(problem.dtype, configured if tolerance is None else tolerance)
    chosen = _chosen(problem, algorithm, limit)
    run = chosen.prepared(problem, cast("str | None", activation)) if problem.batch else None
    shape = problem.output_shape
    if run is not None and not batched:
        run, shape = _with_batch_axis(run), shape[1:]
    return _Call(_NATIVE[problem.dtype], result, shape, (problem.filters,), run)


def _with_batch_axis(run: Run) -> Run:
    """`run` for one image without a batch axis."""

    def run_one(x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        addend = None if residual is None else residual[np.newaxis]
        run(x[np.newaxis], weight, bias, addend, out[np.newaxis])

    return run_one


_ACTIVATIONS_OF_INTEGERS = ("relu", "relu6")


def _check_activation(activation: object, problem: ConvProblem) -> None:
    one_of(activation, ACTIVATIONS, "activation")
    if not problem.dtype.startswith("float") and activation not in _ACTIVATIONS_OF_INTEGERS:
        options = ", ".join(_ACTIVATIONS_OF_INTEGERS)
        raise TypeError(f"activation must be one of {options} for integers, got {activation!r}")


_SPECIAL_ARRAYS = (np.ma.MaskedArray, np.matrix)  # whose operations mean something else


def _array(value: object, name: str) -> Array:
    """Return what is or can show itself as an array, without a copy."""
    if type(value) is np.ndarray:
        return value
    if hasattr(value, "__cuda_array_interface__"):
        raise TypeError(f"{name} must be an array in the computer's memory, got one on a GPU")
    if isinstance(value, _SPECIAL_ARRAYS) or not (
        isinstance(value, np.ndarray | list | tuple)
        or hasattr(value, "__array_interface__")
        or hasattr(value, "__array__")
    ):
        raise TypeError(f"{name} must be an array, got {type(value).__name__}")
    try:
        return np.asarray(value)
    except ValueError as error:  # a ragged list
        raise TypeError(f"{name} must be an array, got {type(value).__name__}: {error}") from None


def _check_axes(x: Array, weight: Array, rank: int) -> bool:
    """Return whether x has a batch axis."""
    if weight.ndim != rank + 2:
        raise ValueError(
            f"weight must have {rank + 2} axes, (filters, channels / groups, *kernel), "
            f"got shape {weight.shape}"
        )
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"x must have {rank + 2} axes, or {rank + 1} for one image, got shape {x.shape}"
        )
    return x.ndim == rank + 2


def _problem(
    shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    weight_dtype: np.dtype[np.generic],
    arguments: Sequence[object],
) -> ConvProblem:
    common = dtype if dtype == weight_dtype else _common_type(dtype, weight_dtype)
    stride, padding, dilation, groups, padding_mode, flip, layout = arguments
    return ConvProblem.from_shapes(
        shape,
        weight_shape,
        dtype_name(common, "x"),
        stride=cast(PerAxis, stride),
        padding=cast(Padding, padding),
        dilation=cast(PerAxis, dilation),
        groups=cast(int, groups),
        padding_mode=cast(str, padding_mode),
        flip=cast(bool, flip),
        layout=cast(str, layout),
    )


def _common_type(x: np.dtype[np.generic], weight: np.dtype[np.generic]) -> np.dtype[np.generic]:
    dtype_name(x, "x")
    dtype_name(weight, "weight")
    return np.result_type(x, weight)


def _exactly(value: object) -> Hashable:
    """`value` as part of a key in which 1, 1.0 and True differ."""
    kind = type(value)
    if kind in _DISTINCT:
        return value
    if kind is tuple or kind is list:
        return (kind, *[_exactly(entry) for entry in cast("Sequence[object]", value)])
    return (kind, value)


_NATIVE = {name: np.dtype(name) for name in DTYPES}
_INT64 = np.dtype(np.int64)


def _result_type(problem: ConvProblem) -> np.dtype[np.generic]:
    """The problem's type, int64 for integers: their sums are exact."""
    native = _NATIVE[problem.dtype]
    return native if native.kind == "f" else _INT64


def _addend(
    value: object, shape: tuple[int, ...], dtype: np.dtype[np.generic], name: str
) -> Array:
    """Return a bias or residual in `dtype`, dense."""
    array = _array(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if array.dtype != dtype:
        dtype_name(array.dtype, name)
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise TypeError(f"{name} must have a type that casts to {dtype}, got {array.dtype}")
    return _dense(array, dtype)


def _dense(array: Array, dtype: np.dtype[np.generic]) -> Array:
    """`array` C-contiguous, aligned and of type `dtype`, a native one; itself if it is."""
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned:  # another byte order is another type
        return array
    return np.require(array, dtype, ["C", "A"])


def _checked_out(out: object, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    if not isinstance(out, np.ndarray) or isinstance(out, _SPECIAL_ARRAYS):
        raise TypeError(f"out must be an array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if out.dtype != dtype:
        raise TypeError(f"out must have type {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    return out


def _needs_a_copy(out: Array, operands: tuple[Array | None, ...]) -> bool:
    """Whether `out` cannot be written while the operands are read, or not by plain stores."""
    if not (out.flags.aligned and out.dtype.isnative):
        return True
    return any(array is not None and np.may_share_memory(out, array) for array in operands)


def _chosen(problem: ConvProblem, name: object, tolerance: float) -> Algorithm:
    from fastconv import selection  # LLVM comes with it: not before the first call

    if name == "auto":
        return selection.chosen(problem, tolerance)
    entry = selection.algorithm(name)  # type: ignore[arg-type]  # refuses what is no name
    reason = entry.supports(problem)
    if reason is not None:
        raise UnsupportedError(f"algorithm {entry.name!r} does not compute {problem}: {reason}")
    return entry


def clear_cache() -> None:
    """Forget problems, choices, plans, scratch memory and memory of released results; stored kernels stay.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.clear_cache()
    """
    from fastconv import selection

    _calls.clear()
    memory.clear()
    selection.clear_cache()
