"""Settings of accuracy: how far a result may be off, and what the factors of its products may be rounded to.

Both are settings as those of `config`, which has their names, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy.typing as npt

from fastconv import environment, scopes
from fastconv.arguments import PRECISIONS, dtype_name, one_of, positive_number

if TYPE_CHECKING:
    from fastconv.problem import Problem

# Room for algorithms that round more than plain sums do: about 10, 80 and 450 units in the last place.
_TOLERANCES = {"bfloat16": 8e-2, "float16": 1e-2, "float32": 3e-5, "float64": 1e-13}
_EXACT = 0.0  # integers
_ROUNDED_TOLERANCES = {"tf32": 1e-3, "fp16": 1e-3, "bf16": 8e-3}  # twice what rounding the factors does to a result
#: What errors of poolings' sums stay below, which are sums of a few elements at a time; maxima are exact.
POOLING_ERRORS = {"bfloat16": 8e-3, "float16": 1e-3, "float32": 1e-6, "float64": 2e-15}
_tolerance: float | None = None


def get_tolerance(dtype: npt.DTypeLike = "float32") -> float:
    """Return the largest error bound of an algorithm that ``"auto"`` may choose.

    The default is ``FASTCONV_TOLERANCE`` if set, else 3e-5 for float32, 1e-13 for float64, 1e-2 for
    float16, 8e-2 for bfloat16, and 0 for integers, whose results are exact. Errors are relative, in the 2-norm. For
    problems of another `precision` than ``"ieee"`` the default is what that allows: 1e-3 for ``"tf32"`` and ``"fp16"``,
    8e-3 for ``"bf16"``.

    Parameters
    ----------
    dtype : data type
        Of the problem: each has a default of its own.

    Raises
    ------
    TypeError
        If `dtype` is no data type that is computed.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_tolerance("float64") <= fastconv.get_tolerance("float32")
    True
    """
    return tolerance_of(dtype_name(dtype), requested_tolerance())


def set_tolerance(tolerance: float | None) -> None:
    """Set the largest error bound of an algorithm that ``"auto"`` may choose; None restores the defaults.

    It is one number for float32 and float64 alike. Error bounds of float64 are far below those of
    float32: a limit that is meant for float32 excludes nothing there.

    Parameters
    ----------
    tolerance : float or None
        Relative error in the 2-norm, positive and finite. Where no algorithm is so accurate, the
        most accurate one runs.

    Raises
    ------
    TypeError
        If `tolerance` is no number.
    ValueError
        If it is not positive and finite.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_tolerance(1e-3)
    >>> fastconv.get_tolerance("float32"), fastconv.get_tolerance("float64")
    (0.001, 0.001)
    >>> fastconv.set_tolerance(None)
    """
    global _tolerance
    _tolerance = None if tolerance is None else positive_number(tolerance, "tolerance")
    scopes.changed()


def requested_tolerance() -> float | None:
    """Return the tolerance that was set in one of the ways, None where each data type has its default."""
    scope = scopes.current()
    if scope is not None and scope.tolerance is not None:
        return scope.tolerance
    return _tolerance if _tolerance is not None else environment.tolerance()


def tolerance_of(dtype: str, requested: object, precision: str = "ieee") -> float:
    """Return the tolerance that was requested, checked; where it is None, the default of data type and precision."""
    if requested is not None:
        return positive_number(requested, "tolerance")
    return _ROUNDED_TOLERANCES.get(precision, _TOLERANCES.get(dtype, _EXACT))


def tolerance_in_force(problem: Problem, argument: object = None) -> float:
    """Return the tolerance of a call for a problem, with this argument; None: it has none."""
    precision = getattr(problem, "precision", "ieee")  # poolings have no products
    return tolerance_of(problem.dtype, requested_tolerance() if argument is None else argument, precision)


_precision: str | None = None


def get_precision() -> str:
    """Return what factors of float32 may be rounded to: ``"ieee"``, unless ``FASTCONV_PRECISION`` says otherwise.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.options(precision="tf32"):
    ...     fastconv.get_precision()
    'tf32'
    """
    scope = scopes.current()
    if scope is not None and scope.precision is not None:
        return scope.precision
    return _precision or environment.precision() or PRECISIONS[0]


def set_precision(precision: str | None) -> None:
    """Set what the factors of products of float32 numbers may be rounded to; None restores the default.

    It is a permission. Products are summed in float32 whatever it says, and an algorithm that rounds no factor serves
    every precision: so do all of them on the processor. What an algorithm makes of it shows in its error bound, see
    :func:`fastconv.explain`. For arrays of other types it says nothing.

    Parameters
    ----------
    precision : {"ieee", "tf32", "bf16", "fp16"} or None
        ``"ieee"``: to nothing. ``"tf32"``: to 11 significant bits, and the exponent of float32. ``"bf16"``: to 8 bits,
        and the same exponent. ``"fp16"``: to float16, which has 11 bits, and no numbers beyond 65504: larger ones
        become infinite; those below 6e-5 lose bits.

    Raises
    ------
    TypeError
        If `precision` is no string.
    ValueError
        If it is another one.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_precision("tf32")
    >>> fastconv.get_precision()
    'tf32'
    >>> fastconv.set_precision(None)
    """
    global _precision
    _precision = None if precision is None else one_of(precision, PRECISIONS, "precision")
    scopes.changed()


def precision_in_force(argument: object = None) -> object:
    """Return the precision of a call with this argument, which a problem checks; None: it has none."""
    return get_precision() if argument is None else argument
