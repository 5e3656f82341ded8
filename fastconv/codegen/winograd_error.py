"""How exact Winograd's convolution is in floating point, from its matrices.

Rounding. Every operation errs by at most u = eps / 2 of its result. The errors are taken to be independent and of mean
zero; then k of them in a row grow as sqrt(k) u, not as k u (N. Higham and T. Mary, A New Approach to Probabilistic
Rounding Error Analysis, 2019). So this is a statistical bound, not the worst case: that is larger by about the root of
the number of operations, and `SAFETY` says which data comes near.

Along one axis. Product p is (G g)_p (BT d)_p. Where g and d are random, of variance one, its variance is
|G_p|^2 |BT_p|^2, the squared 2-norms of the rows. An error of it reaches the outputs through column p of AT, and
times |AT_p|. The outputs of direct convolution have variance r, so relative to the m of them the error is amplified by

    A = sqrt( sum over p of |AT_p|^2 |G_p|^2 |BT_p|^2 / (m r) )

which is 1 for F(1, 1), and which no scaling of the rows changes, as p's three factors cancel. Nested over two axes, the
matrices are Kronecker products, of which the norms are the products: A = A_1 A_2.

Along the channels. A sum over C channels rounds C times, and what is on the way from an input to an output adds the
operations of the transforms: n - 1 additions in BT, r - 1 in G, n - 1 in AT for each axis. Together:

    error / |y| <= SAFETY u sqrt(C + sum over axes of (2 (n - 1) + (r - 1))) A_1 A_2

Direct convolution sums r_1 r_2 C products one by one and has sqrt(r_1 r_2) in place of A_1 A_2: 3 for 3 x 3, beside 1.7
of F(2, 3), 4.8 of F(4, 3) and 20.6 of F(6, 3). In the same ratios measured errors stand.

Relative to what. |y| is the 2-norm of the whole result where x or w is random with mean zero, or where nothing cancels
(both positive). For any data, |y| is the norm of conv(|x|, |w|) with nothing cut off at the edges: terms that cancel,
or that fall off the edge, leave their errors behind. It says nothing of single elements: within a tile, errors
are as large as the tile's largest element makes them.

B. Barabasz, A. Anderson, K. Soodhalter and D. Gregg, Error Analysis and Improving the Accuracy of Winograd Convolution
for Deep Neural Networks (2020), has worst cases and other points.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from math import prod, sqrt

import numpy as np

from fastconv.codegen.cook_toom import Transforms, transforms

#: Measured errors in units of the formula without it: about 0.3 on normal data, 0.2 to 0.5 for every size and from 1 to
#: 512 channels; at most 1.2 where few elements are large and meet the worst place of a tile. Up to 3 for 512 channels
#: of one and the same constant, whose roundings all have one sign: there errors do grow as C, in direct sums as well,
#: and pass the bound beyond some 1000 channels.
SAFETY = 4.0


def amplification(found: Transforms) -> float:
    """Return A: the error of random data along one axis, relative to that of a direct sum of as many products."""
    norms = (
        _square(row[p] for row in found.output) * _square(found.weight[p]) * _square(found.input[p])
        for p in range(found.size)
    )
    return sqrt(sum(norms) / (found.outputs * found.taps))


@cache
def relative_error(axes: tuple[tuple[int, ...], ...], channels: int, dtype: str) -> float:
    """Return the bound of the relative error in the 2-norm that the module derives.

    Parameters
    ----------
    axes
        m and r of each axis, and its stride if it has one; 1 and 1 for an axis that is not transformed.
    channels
        Channels that are summed, one after the other: those of a group.
    dtype
        The type in which everything is computed: "float32" or "float64".

    Examples
    --------
    >>> f"{relative_error(((4, 3), (4, 3)), 64, 'float32'):.1e}"
    '1.1e-05'
    """
    found = [transforms(*axis) for axis in axes]
    operations = channels + sum(2 * (axis.size - 1) + (axis.taps - 1) for axis in found)
    roundoff = float(np.finfo(dtype).eps) / 2
    return SAFETY * roundoff * sqrt(operations) * prod(map(amplification, found))


def _square(values: Iterable[Fraction]) -> float:
    """The squared 2-norm."""
    return sum(float(value) ** 2 for value in values)
