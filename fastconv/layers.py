"""Layers: convolutions whose weights are packed once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar, cast

import numpy as np
import numpy.typing as npt

from fastconv import config
from fastconv.arguments import MAX_ELEMENTS, Padding, PerAxis, dtype_name, integer, one_of, padding_pairs, per_axis
from fastconv.arguments import receptive_fields as fields_of
from fastconv.call import Array, Bindings, Shaped, array, as_addend, check_weight_axes, problem_of
from fastconv.devices import all_on_device
from fastconv.problem import ACTIVATIONS

# In the order in which `fastconv.call` takes them
_NAMES = (
    *("stride", "padding", "dilation", "groups", "padding_mode", "flip", "layout", "precision"),
    *("activation", "algorithm", "tolerance"),
)

_CONSTRUCTOR = """
    The arguments have the meaning, the order and the defaults that they have in :func:`fastconv.%(function)s`;
    the result is the same, bit by bit. What does not depend on the input is validated when the layer is made.

    Weights are packed in the first call for an input's shape and type and the settings in force, and kept for
    the last few of these, until :func:`fastconv.clear_cache`; then the next call packs them again. A layer may
    be called by several threads at once, and can be pickled.

    Of weights on a CUDA device the layer computes inputs on that device, of the weights' type. They are packed for
    each stream that it is called on. It is pickled as the weights' library pickles its arrays.

    Parameters
    ----------
    weight : array
        Shape ``(K, C / groups, *kernel)`` in either layout. Copied: what happens to it later does not matter.
    bias : array, optional
        Shape ``(K,)``. Copied, too.
    stride, padding, dilation, groups, padding_mode, flip, activation, layout, algorithm, tolerance, precision: optional
        As in :func:`fastconv.%(function)s`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind or an array of an unsupported type.
    ValueError
        If a value or shape is not possible; the message has the numbers.
"""


class Layer:
    """A convolution with its weights; see the classes for one, two and three axes."""

    rank: ClassVar[int]

    def __init__(
        self,
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
        layout: str = "channels_first",
        algorithm: str = "auto",
        tolerance: float | None = None,
        precision: str | None = None,
    ) -> None:
        of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
        given = (*of_problem, activation, algorithm, tolerance)
        self._arguments = arguments = copy.deepcopy(given)  # there may be lists among them
        if all_on_device(weight=weight, bias=bias):
            from fastconv.cuda import layer as device  # not before such an array arrives

            self._bindings: device.Bindings | Bindings = device.Bindings(self.rank, weight, bias, arguments)
        else:
            self._bindings = _bound(self.rank, weight, bias, arguments)

    @property
    def weight(self) -> Array:
        """The layer's own weights, which cannot be written; of weights on a device a copy."""
        return self._bindings.weight

    @property
    def bias(self) -> Array | None:
        """The layer's own bias, likewise."""
        return self._bindings.bias

    @property
    def nbytes(self) -> int:
        """Bytes that the layer holds now: weight and bias, and what it keeps of them for calls.

        That is what was packed or transformed, and what had to be cast to the type of an input. It grows with the
        first call for an input's shape and type, and :func:`fastconv.clear_cache` takes it back.
        """
        return self._bindings.nbytes

    def __call__(self, x: npt.ArrayLike, residual: npt.ArrayLike | None = None, out: Array | None = None) -> Array:
        """Convolve.

        Parameters
        ----------
        x : array
            Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``;
            without N, one image, whose result lacks it too.
        residual : array, optional
            Added before the activation; the result's shape.
        out : array, optional
            Receives the result and is returned.

        Returns
        -------
        array
            What the function of the same arguments returns.

        Raises
        ------
        TypeError, ValueError, UnsupportedError, OverflowError
            As the function does, where it depends on these arguments.
        """
        return self._bindings.convolve(x, residual, out)

    def _named_arguments(self) -> dict[str, object]:
        """The arguments behind weight and bias."""
        return dict(zip(_NAMES, self._arguments, strict=True))

    def __reduce__(self) -> tuple[Callable[[], Layer], tuple[()]]:
        return partial(type(self), self.weight, self.bias, **self._named_arguments()), ()  # type: ignore[arg-type]

    def __repr__(self) -> str:
        filters, *others = self._bindings.shape
        words = [f"{filters} filter{'s' * (filters != 1)} of {'x'.join(map(str, others))}", self._bindings.dtype]
        if self._bindings.has_bias:
            words.append("bias")
        parameters, given = inspect.signature(Layer).parameters, self._named_arguments()
        words += [f"{name}={value!r}" for name, value in given.items() if value != parameters[name].default]
        return f"<{type(self).__name__}: {', '.join(words)}>"


C = TypeVar("C", bound=type[Layer])


def _documented(layer: C) -> C:
    """Put what is alike for every rank where the docstring has its mark."""
    text = _CONSTRUCTOR.strip() % {"function": layer.__name__.lower()}
    layer.__doc__ = (layer.__doc__ or "").replace("%(constructor)s", text)
    return layer


@_documented
class Conv1d(Layer):
    """A convolution along one spatial axis, whose weights are packed once.

    %(constructor)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> difference = fastconv.Conv1d([[[-1.0, 0.0, 1.0]]], padding="same", padding_mode="replicate")
    >>> difference(np.arange(5.0).reshape(1, 1, 5))
    array([[[1., 2., 2., 2., 1.]]])
    """

    rank = 1


@_documented
class Conv2d(Layer):
    """A convolution along two spatial axes, whose weights are packed once.

    %(constructor)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> layer = fastconv.Conv2d(np.ones((1, 1, 2, 2)), bias=[0.5])
    >>> layer
    <Conv2d: 1 filter of 1x2x2, float64, bias>
    >>> layer(np.arange(9.0).reshape(1, 1, 3, 3))
    array([[[[ 8.5, 12.5],
             [20.5, 24.5]]]])
    """

    rank = 2


@_documented
class Conv3d(Layer):
    """A convolution along three spatial axes, whose weights are packed once.

    %(constructor)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> layer = fastconv.Conv3d(np.ones((1, 2, 3, 3, 3)), activation="relu")
    >>> layer(np.ones((2, 4, 4, 4))).shape  # one volume of two channels, without a batch axis
    (1, 2, 2, 2)
    """

    rank = 3


def _bound(rank: int, weight: npt.ArrayLike, bias: npt.ArrayLike | None, arguments: tuple[object, ...]) -> Bindings:
    """Return copies of arrays in the computer's memory, ready for calls."""
    filters = array(weight, "weight")
    check(rank, filters, arguments)
    *_, algorithm, _ = arguments
    if algorithm != "auto":
        from fastconv import selection  # LLVM comes with it

        selection.algorithm(cast("str", algorithm))
    term = None if bias is None else _own(_checked_bias(bias, len(filters)))
    return Bindings(rank, _own(filters), term, arguments)


def check(rank: int, weight: Shaped, arguments: tuple[object, ...]) -> None:
    """Refuse what no input could make right: make the problem of one on which every window and padding fits.

    The algorithm is not looked at: which ones there are depends on where the weights are.
    """
    *of_problem, activation, _, tolerance = arguments
    stride, padding, dilation, groups, _, _, layout, _ = of_problem
    check_weight_axes(weight, rank)
    dtype = dtype_name(weight.dtype, "weight")
    kernel = weight.shape[2:]
    strides, dilations = per_axis(stride, rank, "stride", 1), per_axis(dilation, rank, "dilation", 1)
    fields = fields_of(kernel, dilations)
    pads = padding_pairs(padding, rank, fields, kernel, strides, dilations)
    wanted = [max(1, field, 1 + max(pair)) for field, pair in zip(fields, pads, strict=True)]
    size = [min(MAX_ELEMENTS, extent) for extent in wanted]  # beyond, the problem says so
    channels = weight.shape[1] * integer(groups, "groups", 1)
    shape = (1, *size, channels) if layout == "channels_last" else (1, channels, *size)
    problem_of(shape, weight.shape, weight.dtype, weight.dtype, of_problem)
    if activation is not None:
        one_of(activation, ACTIVATIONS, "activation")
    config.tolerance_of(dtype, tolerance)


def _checked_bias(bias: npt.ArrayLike, filters: int) -> Array:
    """Return a bias as an array; whether it casts to the result's type depends on the input."""
    found = array(bias, "bias")
    dtype_name(found.dtype, "bias")
    return as_addend(found, (filters,), found.dtype, "bias")


def _own(value: Array) -> Array:
    """Return a copy in the machine's byte order that cannot be written."""
    owned = np.array(value, value.dtype.newbyteorder("="), order="C", copy=True)
    owned.flags.writeable = False
    return owned
