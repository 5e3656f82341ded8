"""The matrices of Winograd's minimal filtering, built exactly from interpolation points (Cook and Toom's way).

F(m, r) computes m outputs of a correlation with r taps by n = m + r - 1 products instead of m r:

    y = AT [(G g) * (BT d)]      y[i] = sum over j of g[j] d[i + j]

Read backwards (transposed), it multiplies two polynomials, of m and of r coefficients: evaluate both at n points,
multiply value by value, interpolate the product. One of the points is infinity, where a polynomial's value is its
leading coefficient. Everything here is a fraction; nothing is rounded before code is emitted.

With a stride S, every S-th input meets every S-th tap: y is the sum of S correlations of stride 1, of inputs and taps
d[S k + p] and g[S k + p] for p < S, each with its own F(m, taps of p). Put together they are matrices of the same
kind, for S m + r - S products: F(4, 3) with a stride of 2 has 9 where 12 are multiplied directly.

S. Winograd, Arithmetic Complexity of Computations (1980), chapter IV; A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks (2016), for what it is used for here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

Matrix = tuple[tuple[Fraction, ...], ...]


def _pairs(*points: str) -> tuple[Fraction, ...]:
    """Return the points given, each with both signs."""
    return tuple(sign * Fraction(point) for point in points for sign in (1, -1))


ZERO = Fraction(0)

#: The finite points in use for n products. On random data the error is in proportion to `winograd_error.amplification`,
#: and that of these points is within two percent of the least that any points have, symmetric or not. n = 6: 2.19
#: along an axis (4.8 nested), where 0, 1, -1, 2, -2 has 3.28 (10.8): they save two of 12 operations in AT and err twice
#: as much. n = 8: 4.54 (20.6) for the usual points, of which nothing better was found. n = 9
#: and 10 (7.1 and 10.4) are for a single axis: nested they would err as 50 and 108. Odd n do better without zero, in
#: error (n = 5: 1.62, with 0, 1, -1, 2 it is 2.45) and in operations. n = 3 is the exception: 1, -1 has 1.22, and
#: 0, 1 has 1.41 but multiplies by nothing. Scaling rows and columns moved no error. Where the least lies flat, the
#: points are those of few bits, though 2/3 in place of 5/8 measured the same.
POINTS: dict[int, tuple[Fraction, ...]] = {
    1: (),
    2: (ZERO,),
    3: (ZERO, Fraction(1)),
    4: (ZERO, *_pairs("1")),
    5: _pairs("3/8", "5/4"),
    6: (ZERO, *_pairs("5/8", "3/2")),
    7: _pairs("1/4", "7/8", "7/4"),
    8: (ZERO, *_pairs("1", "1/2", "2")),
    9: _pairs("1/4", "5/8", "9/8", "2"),
    10: (ZERO, *_pairs("3/8", "7/8", "5/4", "5/2")),
}


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(outputs, taps).

    Attributes
    ----------
    outputs, taps
        m and r.
    output, weight, input
        AT (m x n), G (n x r) and BT (n x n). Infinity is the last row of `weight` and `input`, the last column of
        `output`.
    """

    outputs: int
    taps: int
    output: Matrix
    weight: Matrix
    input: Matrix

    @property
    def size(self) -> int:
        """n, the number of products and of input elements."""
        return len(self.input)


@cache
def transforms(outputs: int, taps: int, stride: int = 1) -> Transforms:
    """Return F(outputs, taps) with the points in use for its size.

    Parameters
    ----------
    outputs, taps
        m and r.
    stride
        Inputs from one output's first to the next one's, at most as many as there are taps.

    Examples
    --------
    >>> [[str(value) for value in row] for row in transforms(2, 3).input]
    [['1', '0', '-1', '0'], ['0', '1', '1', '0'], ['0', '-1', '1', '0'], ['0', '-1', '0', '1']]
    """
    if taps == 1:
        return _products(outputs)
    if stride > 1:
        return _strided(outputs, taps, stride)
    return cook_toom(outputs, taps, POINTS[outputs + taps - 1])


def _products(outputs: int) -> Transforms:
    """F(outputs, 1): each input is multiplied by the one tap."""
    one = tuple(tuple(Fraction(i == j) for j in range(outputs)) for i in range(outputs))
    return Transforms(outputs, 1, one, ((Fraction(1),),) * outputs, one)


def _strided(outputs: int, taps: int, stride: int) -> Transforms:
    """Return the sum over phases p of F(outputs, taps of p), whose inputs and taps are every `stride`-th from p on."""
    phases = [transforms(outputs, len(range(phase, taps, stride))) for phase in range(stride)]
    inputs = sum(phase.size for phase in phases)
    weight = [_apart(row, p, stride, taps) for p, phase in enumerate(phases) for row in phase.weight]
    interpolation = [_apart(row, p, stride, inputs) for p, phase in enumerate(phases) for row in phase.input]
    output = [sum((phase.output[i] for phase in phases), ()) for i in range(outputs)]
    return Transforms(outputs, taps, tuple(output), tuple(weight), tuple(interpolation))


def _apart(values: tuple[Fraction, ...], first: int, step: int, size: int) -> tuple[Fraction, ...]:
    """A row of `size`: the values from `first` on, `step` apart, and zeros between them."""
    row = [Fraction(0)] * size
    row[first : first + step * len(values) : step] = values
    return tuple(row)


def cook_toom(outputs: int, taps: int, points: tuple[Fraction, ...]) -> Transforms:
    """Return F(outputs, taps) from outputs + taps - 2 distinct finite points and infinity.

    AT and G evaluate polynomials at the points; BT is the transposed interpolation, whose row for the point p is the
    Lagrange polynomial of p:

        AT[i, p] = p^i      G[p, j] = p^j      BT[p] = product of (x - q) / (p - q)      over the points q != p

    The divisor may stand in any of the three, and stands where it costs least.
    """
    size = outputs + taps - 1
    if len(points) != size - 1 or len(set(points)) != size - 1:
        raise ValueError(f"points: F({outputs}, {taps}) takes {size - 1} distinct ones, got {points}")
    columns, weight, interpolation = [], [], []
    for point in points:
        others = tuple(other for other in points if other != point)
        column, row, polynomial = _powers(point, outputs), _powers(point, taps), (*_coefficients(others), ZERO)
        divisor = prod((point - other for other in others), start=Fraction(1))
        # A coefficient of one costs no multiplication. Every row has one but for the divisor, so it goes where there
        # is another: for zero to BT, whose first coefficient becomes one instead of the last; else to AT, whose rows
        # begin with another product, if not with the one at 1 or -1, which leaves G. F(4, 3) then takes 12, 12 and 6
        # operations (BT, AT, G), and 12, 12 and 9 with all divisors in G.
        if point == 0:
            polynomial = _divided(polynomial, divisor)
        elif abs(point) == 1 and outputs > 2:
            row = _divided(row, divisor)
        else:
            column = _divided(column, divisor)
        columns.append(column)
        weight.append(row)
        interpolation.append(polynomial)
    columns.append(_at_infinity(outputs))
    weight.append(_at_infinity(taps))
    interpolation.append(_coefficients(points))
    output = tuple(zip(*columns, strict=True))
    return Transforms(outputs, taps, output, tuple(weight), tuple(interpolation))


def _powers(point: Fraction, count: int) -> tuple[Fraction, ...]:
    """1, p, p^2, ..., which evaluate a polynomial of `count` coefficients at p."""
    return tuple(point**power for power in range(count))


def _at_infinity(count: int) -> tuple[Fraction, ...]:
    """0, ..., 0, 1: the leading coefficient."""
    return tuple(Fraction(power == count - 1) for power in range(count))


def _coefficients(roots: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The coefficients of the product of (x - root), the constant one first."""
    product = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *product]
        product = [high - root * low for high, low in zip(shifted, [*product, Fraction(0)], strict=True)]
    return tuple(product)


def _divided(values: tuple[Fraction, ...], divisor: Fraction) -> tuple[Fraction, ...]:
    """Every value / divisor."""
    return tuple(value / divisor for value in values)
