"""Rounding results of float64 once, to the type that a caller has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastconv.arguments import BFLOAT16, dtype_name

Array = npt.NDArray[np.generic]


def rounded(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return what casts to `dtype` as values of float64 are rounded to it; values of other types as they are.

    Of NumPy's types that is all types but bfloat16, to which ml_dtypes casts float64 by way of float32: what lies just
    beyond the middle of two numbers would be rounded into the middle, and then to the even one. Rounded to odd on the
    way, to whichever neighbour has an odd last bit where it is no float32, it stays beyond (Boldo, Melquiond: Emulation
    of FMA and correctly rounded sums: proved algorithms using rounding to odd, 2008).
    """
    if values.dtype != np.float64 or dtype_name(dtype) != BFLOAT16:
        return values
    infinity, exact = np.float32(np.inf), np.asarray(values, np.float64)
    nearest = exact.astype(np.float32)
    beyond = np.nextafter(nearest, np.where(exact > nearest, infinity, -infinity))  # on the side of the value
    is_even = nearest.view(np.uint32) & 1 == 0
    return np.where(is_even & (nearest != exact), beyond, nearest)
