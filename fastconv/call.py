"""From arguments as a user gives them to a run of an algorithm: what functions and layers share."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from fastconv import config, memory, verbose
from fastconv.arguments import Padding, PerAxis, dtype_name, is_floating, native_dtype, numpys, one_of
from fastconv.devices import all_on_device, is_on_device
from fastconv.errors import UnsupportedError
from fastconv.problem import ACTIVATIONS, ConvProblem

if TYPE_CHECKING:
    from fastconv.algorithm import Algorithm, Bound, BoundRun, Limits, P, Run
    from fastconv.selection.place import Place

Array: TypeAlias = npt.NDArray[np.generic]
B = TypeVar("B")
C = TypeVar("C")


def convolve(
    rank: int,
    x: object,
    weight: object,
    bias: object,
    residual: object,
    arguments: tuple[object, ...],
    out: object,
) -> Array:
    """Validate, make the problem, choose the algorithm (unless an earlier call did all that), run it.

    Arguments are those of a problem, activation, algorithm and tolerance.
    """
    plain = type(x) is type(weight) is np.ndarray
    if not plain and all_on_device(x=x, weight=weight, bias=bias, residual=residual, out=out):
        from fastconv.cuda import call as device  # not before such an array arrives

        return cast("Array", device.convolve(rank, x, weight, bias, residual, arguments, out))  # of x's library
    images, filters = array(x, "x"), array(weight, "weight")
    call = _prepared(rank, images, filters, arguments, as_key(arguments), config.settings())
    filters = dense(filters, call.operand)
    term = None if bias is None else as_addend(bias, call.bias_shape, call.result, "bias")
    return _result(call, call.run, images, (filters, term), residual, out)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What a call needs that its shapes, types and arguments decide."""

    operand: np.dtype[np.generic]  # of x and weight
    result: np.dtype[np.generic]
    shape: tuple[int, ...]  # of the result
    empty: Callable[[Array], Array]  # makes one, beside the images
    bias_shape: tuple[int, ...]
    run: Run | None  # None: there are no images
    bind: Callable[[Array], Bound | None]  # `run` with a weight, see `Algorithm.bind`; None: there are no images


def _result(
    call: _Call,
    run: Callable[..., None] | None,
    images: Array,
    constants: tuple[Array | None, ...],
    residual: object,
    out: object,
) -> Array:
    """Run on images, constants, residual and what receives the result."""
    shape, result = call.shape, call.result
    addend = None if residual is None else as_addend(residual, shape, result, "residual")
    images = dense(images, call.operand)
    if out is None:
        target = written = call.empty(images)
    else:
        target = written = checked_out(out, shape, result)
        if needs_a_copy(target, (images, *constants, addend)):
            written = call.empty(images)
    if run is not None:
        run(images, *constants, addend, written)
    if written is not target:
        target[...] = written
    return target


#: Kinds of calls (shapes, types, settings) that a layer keeps packed weights for; with one more it begins anew.
MOST_BINDINGS = 4

#: What to run, of which call, with which bias, and how many bytes are there for it alone.
_Binding = tuple["BoundRun | None", _Call, tuple["Array | None"], Callable[[], int]]


class AnyBindings(ABC, Generic[B]):
    """A layer's weight and bias, which nobody changes, made ready for calls."""

    shape: tuple[int, ...]  # of the weight
    dtype: str  # of the weight
    has_bias: bool  # to get it may take a copy

    def __init__(self) -> None:
        self.kept: dict[Hashable, B] = {}
        _bindings[id(self)] = self

    @property
    @abstractmethod
    def weight(self) -> Array:
        """The layer's own weights; what is done with them does not change the layer."""

    @property
    @abstractmethod
    def bias(self) -> Array | None:
        """The layer's own bias, likewise."""

    @abstractmethod
    def convolve(self, x: object, residual: object, out: object) -> Array:
        """Do what the function of the same arguments does."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of weight and bias, and of what is kept of them for calls: of another type, packed or transformed."""


def keep_few(kept: dict[Hashable, B], place: Hashable, binding: B) -> B:
    """Keep a binding for a place, and return it; `kept` is that of a layer before it was made."""
    if len(kept) >= MOST_BINDINGS:
        kept.clear()
    kept[place] = binding
    return binding


class Bindings(AnyBindings[_Binding]):
    """Those of arrays in the computer's memory."""

    def __init__(self, rank: int, weight: Array, bias: Array | None, arguments: tuple[object, ...]) -> None:
        super().__init__()
        self._rank, self._weight, self._bias, self._arguments = rank, weight, bias, arguments
        self._key = as_key(arguments)
        self.shape, self.dtype, self.has_bias = weight.shape, weight.dtype.name, bias is not None

    @property
    def weight(self) -> Array:
        """A view that cannot be written."""
        return self._weight.view()

    @property
    def bias(self) -> Array | None:
        """A view that cannot be written."""
        return None if self._bias is None else self._bias.view()

    def convolve(self, x: object, residual: object, out: object) -> Array:
        """Do what the function of the same arguments does."""
        if type(x) is not np.ndarray:
            all_on_device(weight=self._weight, x=x, residual=residual, out=out)
        images, settings = array(x, "x"), config.settings()
        run, call, constants, _ = self.kept.get((images.shape, images.dtype, settings)) or self._bind(images, settings)
        return _result(call, run, images, constants, residual, out)

    def _bind(self, images: Array, settings: config.Settings) -> _Binding:
        """Pack for a call; threads that do it together do it twice, which is no harm."""
        kept = self.kept  # what is cleared meanwhile is kept by nobody
        call = _prepared(self._rank, images, self._weight, self._arguments, self._key, settings)
        bias = None if self._bias is None else as_addend(self._bias, call.bias_shape, call.result, "bias")
        weight = dense(self._weight, call.operand)
        bound = call.bind(weight)
        run, packed = (None, int) if bound is None else bound
        cast_weight = 0 if bound is None or weight is self._weight else weight.nbytes
        cast_bias = 0 if bias is None or bias is self._bias else bias.nbytes
        binding = run, call, (bias,), lambda: cast_weight + cast_bias + packed()
        return keep_few(kept, (images.shape, images.dtype, settings), binding)

    @property
    def nbytes(self) -> int:
        """Bytes of weight and bias, and of what is kept of them for calls: of another type, packed or transformed."""
        own = self._weight.nbytes + (0 if self._bias is None else self._bias.nbytes)
        return own + sum(size() for _, _, _, size in tuple(self.kept.values()))


_bindings: WeakValueDictionary[int, AnyBindings] = WeakValueDictionary()  # type: ignore[type-arg]  # of all layers


# Making a problem takes tens of microseconds, and all that follows hundreds: those of earlier calls are kept. A small
# call that finds its own here takes less than ten.
_calls: dict[Hashable, _Call] = {}
_MOST_CALLS = 256  # as many as an algorithm keeps plans: they may hold one each
_PLAIN = frozenset({int, str, type(None), float, bool})


def as_key(arguments: tuple[object, ...]) -> Hashable:
    """Return arguments as a key, in which 1, 1.0 and True differ, and (1, 1) and [1, 1].

    Those of a few plain types are their own key, with the types. Others are written out, which takes less time than a
    key of nested tuples and their types: 2.7 microseconds where windows are given by four tuples, and not 4.4.
    """
    kinds = tuple(map(type, arguments))
    return (arguments, kinds) if _PLAIN.issuperset(kinds) else repr(arguments)


def _prepared(
    rank: int, x: Array, weight: Array, arguments: tuple[object, ...], key: Hashable, settings: config.Settings
) -> _Call:
    """Return the call for these arrays; `key` is what `as_key` makes of the arguments."""
    place = (rank, x.shape, weight.shape, x.dtype, weight.dtype, key, settings)
    return _calls.get(place) or keep(_calls, place, _prepare(rank, x, weight, arguments))


def keep(calls: dict[Hashable, C], place: Hashable, call: C) -> C:
    """Keep a call for a place, and return it."""
    if len(calls) >= _MOST_CALLS:
        calls.clear()
    calls[place] = call
    return call


class Called(NamedTuple):
    """What a call asks for, wherever its arrays are."""

    problem: ConvProblem
    batched: bool  # whether x has a batch axis
    activation: str | None
    algorithm: object
    tolerance: float  # in force


def called(rank: int, x: Shaped, weight: Shaped, arguments: tuple[object, ...]) -> Called:
    """Validate the arguments of a call and return what it asks for."""
    *of_problem, activation, algorithm, tolerance = arguments
    check_weight_axes(weight, rank)
    batched = has_batch_axis(x, rank)
    problem = problem_of(x.shape if batched else (1, *x.shape), weight.shape, x.dtype, weight.dtype, of_problem)
    if activation is not None:
        check_activation(activation, problem)
    limit = config.tolerance_in_force(problem, tolerance)
    return Called(problem, batched, cast("str | None", activation), algorithm, limit)


def _prepare(rank: int, x: Array, weight: Array, arguments: tuple[object, ...]) -> _Call:
    problem, batched, named, algorithm, limit = called(rank, x, weight, arguments)
    result = result_type(problem)
    entries = cast("tuple[Algorithm, ...]", options(problem, algorithm, limit))

    def bind(weight: Array) -> Bound | None:
        if not problem.batch:
            return None
        entry = _fitting(entries, problem, weight)
        bound = entry.bind(problem, named, weight)
        run = verbose.told(bound.run, problem, entry.name)
        return bound._replace(run=run if batched else _with_batch_axis(run))

    run = _prepared_run(entries, problem, named) if problem.batch else None
    shape = problem.output_shape
    if run is not None and not batched:
        run, shape = _with_batch_axis(run), shape[1:]
    empty = memory.maker(shape, result)
    return _Call(native_dtype(problem.dtype), result, shape, empty, (problem.filters,), run, bind)


def _with_batch_axis(run: Callable[..., None]) -> Callable[..., None]:
    """`run`, of x, constants, residual and result, for one image without a batch axis."""

    def run_one(x: Array, *others: Array | None) -> None:
        *constants, residual, out = others
        term = None if residual is None else residual[np.newaxis]
        run(x[np.newaxis], *constants, term, cast("Array", out)[np.newaxis])

    return run_one


_ACTIVATIONS_OF_INTEGERS = ("relu", "relu6")


def check_activation(activation: object, problem: ConvProblem) -> None:
    """Raise TypeError or ValueError unless the activation is one for the problem's type."""
    one_of(activation, ACTIVATIONS, "activation")
    if not is_floating(problem.dtype) and activation not in _ACTIVATIONS_OF_INTEGERS:
        options = ", ".join(_ACTIVATIONS_OF_INTEGERS)
        raise TypeError(f"activation must be one of {options} for integers, got {activation!r}")


_SPECIAL_ARRAYS = (np.ma.MaskedArray, np.matrix)  # whose operations mean something else


def array(value: object, name: str) -> Array:
    """Return what is or can show itself as an array, without a copy."""
    if type(value) is np.ndarray:
        return value
    if is_on_device(value):
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


class Shaped(Protocol):
    """An array, wherever it is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements an axis."""

    @property
    def ndim(self) -> int:
        """Axes."""

    @property
    def dtype(self) -> np.dtype[np.generic] | str:
        """Type of an element; on a device its name, as NumPy does not have all."""


def check_weight_axes(weight: Shaped, rank: int) -> None:
    """Raise ValueError unless there is one for filters, one for channels, and `rank` of the kernel."""
    if weight.ndim != rank + 2:
        raise ValueError(
            f"weight must have {rank + 2} axes, (filters, channels / groups, *kernel), "
            f"got shape {weight.shape}"
        )


def has_batch_axis(x: Shaped, rank: int) -> bool:
    """Return whether `x` has a batch axis; raise ValueError unless that is all it may lack."""
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"x must have {rank + 2} axes, or {rank + 1} for one image, got shape {x.shape}"
        )
    return x.ndim == rank + 2


def problem_of(
    shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    dtype: np.dtype[np.generic] | str,
    weight_dtype: np.dtype[np.generic] | str,
    arguments: Sequence[object],
) -> ConvProblem:
    """Return the problem of two shapes and types, and the arguments from stride to precision."""
    common = dtype if dtype == weight_dtype else _common_type(dtype, weight_dtype)
    stride, padding, dilation, groups, padding_mode, flip, layout, precision = arguments
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
        precision=cast(str, config.precision_in_force(precision)),
    )


def _common_type(x: np.dtype[np.generic] | str, weight: np.dtype[np.generic] | str) -> npt.DTypeLike:
    """That of NumPy; beside another type, bfloat16 counts as float32, which holds it."""
    name, other = dtype_name(x, "x"), dtype_name(weight, "weight")
    return name if name == other else np.result_type(numpys(name), numpys(other))


def result_type(problem: ConvProblem) -> np.dtype[np.generic]:
    """Return the problem's type, int64 for integers: their sums are exact."""
    return native_dtype(problem.dtype if is_floating(problem.dtype) else "int64")


def as_addend(value: object, shape: tuple[int, ...], dtype: np.dtype[np.generic], name: str) -> Array:
    """Return a bias or residual in `dtype`, dense."""
    found = array(value, name)
    if found.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {found.shape}")
    if found.dtype != dtype:
        dtype_name(found.dtype, name)
        if not np.can_cast(numpys(found.dtype), numpys(dtype), "same_kind"):
            raise TypeError(f"{name} must have a type that casts to {dtype}, got {found.dtype}")
    return dense(found, dtype)


def dense(array: Array, dtype: np.dtype[np.generic]) -> Array:
    """`array` C-contiguous, aligned and of type `dtype`, a native one; itself if it is."""
    if array.dtype == dtype:  # another byte order is another type
        flags = array.flags
        if flags.carray or (flags.c_contiguous and flags.aligned):  # the first is both, and writeable
            return array
    return np.require(array, dtype, ["C", "A"])


def checked_out(out: object, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """Return `out`, an array that can receive a result of this shape and type, or refuse it."""
    if not isinstance(out, np.ndarray) or isinstance(out, _SPECIAL_ARRAYS):
        raise TypeError(f"out must be an array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if out.dtype != dtype:
        raise TypeError(f"out must have type {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    return out


def needs_a_copy(out: Array, operands: tuple[Array | None, ...]) -> bool:
    """Whether `out` cannot be written while the operands are read, or not by plain stores."""
    if not (out.flags.aligned and out.dtype.isnative):
        return True
    return any(array is not None and np.may_share_memory(out, array) for array in operands)


def options(problem: P, name: object, tolerance: float, place: Place | None = None) -> tuple[Limits[P], ...]:
    """The algorithms whose turn it is, the first that fits the weights: one that was named, or for auto.

    They are those of a place; None is the processor.
    """
    from fastconv import selection  # LLVM comes with it: not before the first call

    where = place or selection.HOST
    if name == "auto":
        if config.get_mode() == "measure":
            from fastconv.selection import tuning  # only who measures needs it

            tuning.ensure_measured(problem, tolerance, where)
        return selection.ranked(problem, tolerance, where)
    return (selection.named(problem, name, where),)  # type: ignore[arg-type]  # refuses what is no name


def _prepared_run(entries: tuple[Algorithm, ...], problem: ConvProblem, activation: str | None) -> Run:
    """`Algorithm.prepared` of whichever fits the weights of a call."""

    def ready(entry: Algorithm) -> Run:
        return verbose.told(entry.prepared(problem, activation), problem, entry.name)

    if entries[0].any_weights:
        return ready(entries[0])
    runs: dict[Algorithm, Run] = {}

    def run(x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array) -> None:
        entry = _fitting(entries, problem, weight)
        prepared = runs.get(entry)
        if prepared is None:
            prepared = runs[entry] = ready(entry)
        prepared(x, weight, bias, residual, out)

    return run


def _fitting(entries: tuple[Algorithm, ...], problem: ConvProblem, weight: Array) -> Algorithm:
    """The first that fits the weights; where none does, the last says why not."""
    for entry in entries:
        reason = None if entry.any_weights else entry.fits(problem, weight)
        if reason is None:
            return entry
    raise UnsupportedError(f"algorithm {entry.name!r} does not compute {problem}: {reason}")


def clear_calls() -> None:
    """Forget calls, and all that they hold on to."""
    from fastconv import gradient_call, selection
    from fastconv.pooling import call as pooling

    _calls.clear()
    gradient_call.clear()
    for name in ("call", "gradient_call", "pooling_call"):  # whose plans hold parameters, and no memory of a device
        device = sys.modules.get(f"fastconv.cuda.{name}")
        if device is not None:
            device.clear()
    for reference in _bindings.valuerefs():  # a list: layers may come and go meanwhile
        bindings = reference()
        if bindings is not None:
            bindings.kept = {}
    pooling.clear()
    memory.clear()
    selection.clear_cache()
