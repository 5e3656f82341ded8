"""The matrices of Winograd's minimal filtering, built exactly from interpolation points (Cook and Toom's way).

F(m, r) computes m outputs of a correlation with r taps by n = m + r - 1 products instead of m r:

    y = AT [(G g) * (BT d)]      y[i] = sum over j of g[j] d[i + j]

Read backwards (transposed), it multiplies two polynomials, of m and of r coefficients: evaluate both at n points,
multiply value by value, interpolate the product. One of the points is infinity, where a polynomial's value is its
leading coefficient. Everything here is a fraction; nothing is rounded before code is emitted.

S. Winograd, Arithmetic Complexity of Computations (1980), chapter IV; A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks (2016), for what it is used for here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

Matrix = tuple[tuple[Fraction, ...], ...]


def _symmetric(*positive: str) -> tuple[Fraction, ...]:
    """Return zero and the points given, each with both signs."""
    return (Fraction(0), *(sign * Fraction(point) for point in positive for sign in (1, -1)))


#: The finite points in use for n products.
POINTS: dict[int, tuple[Fraction, ...]] = {
    1: (),
    2: _symmetric(),
    3: (Fraction(0), Fraction(1)),
    4: _symmetric("1"),
    5: (*_symmetric("1"), Fraction(1, 2)),
    6: _symmetric("5/8", "3/2"),
    7: (*_symmetric("5/8", "3/2"), Fraction(1)),
    8: _symmetric("1", "2", "1/2"),
}


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(outputs, taps).

    Attributes
    ----------
    outputs, taps
        m and r.
    points
        The finite points; infinity is always the last row of `weight` and `input`, the last column of `output`.
    output, weight, input
        AT (m x n), G (n x r) and BT (n x n).
    """

    outputs: int
    taps: int
    points: tuple[Fraction, ...]
    output: Matrix
    weight: Matrix
    input: Matrix

    @property
    def size(self) -> int:
        """n, the number of products and of input elements."""
        return self.outputs + self.taps - 1


@cache
def transforms(outputs: int, taps: int) -> Transforms:
    """Return F(outputs, taps) with the points in use for its size.

    Examples
    --------
    >>> [[str(value) for value in row] for row in transforms(2, 3).input]
    [['1', '0', '-1', '0'], ['0', '1', '1', '0'], ['0', '-1', '1', '0'], ['0', '-1', '0', '1']]
    """
    return cook_toom(outputs, taps, POINTS[outputs + taps - 1])


def cook_toom(outputs: int, taps: int, points: tuple[Fraction, ...]) -> Transforms:
    """Return F(outputs, taps) from outputs + taps - 2 distinct finite points and infinity.

    AT and G evaluate polynomials at the points; BT is the transposed interpolation, whose row for the point p is the
    Lagrange polynomial of p:

        AT[i, p] = p^i      G[p, j] = p^j / product of (p - q)      BT[p] = product of (x - q)       over q != p

    The divisor could stand in any of the three. It stands in G, as weights are transformed least often; so the rows
    of BT have leading coefficient 1 and are exact in binary where the points have few bits.
    """
    size = outputs + taps - 1
    if len(points) != size - 1 or len(set(points)) != size - 1:
        raise ValueError(f"points: F({outputs}, {taps}) takes {size - 1} distinct ones, got {points}")
    weight, interpolation = [], []
    for point in points:
        others = [other for other in points if other != point]
        divisor = _polynomial(others, point)
        sign = -1 if divisor == -1 else 1  # G's row (-1, 0, ...) would cost a negation
        weight.append(tuple(sign * value / divisor for value in _powers(point, taps)))
        interpolation.append(tuple(sign * value for value in (*_coefficients(others), Fraction(0))))
    weight.append(_at_infinity(taps))
    interpolation.append(_coefficients(points))
    evaluation = [_powers(point, outputs) for point in points] + [_at_infinity(outputs)]
    output = tuple(zip(*evaluation, strict=True))
    return Transforms(outputs, taps, points, output, tuple(weight), tuple(interpolation))


def _powers(point: Fraction, count: int) -> tuple[Fraction, ...]:
    """1, p, p^2, ..., which evaluate a polynomial of `count` coefficients at p."""
    return tuple(point**power for power in range(count))


def _at_infinity(count: int) -> tuple[Fraction, ...]:
    """0, ..., 0, 1: the leading coefficient."""
    return tuple(Fraction(power == count - 1) for power in range(count))


def _coefficients(roots: tuple[Fraction, ...] | list[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients of the product of (x - root), the constant one first."""
    product = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *product]
        product = [high - root * low for high, low in zip(shifted, [*product, Fraction(0)], strict=True)]
    return tuple(product)


def _polynomial(roots: list[Fraction], x: Fraction) -> Fraction:
    """The product of (x - root)."""
    product = Fraction(1)
    for root in roots:
        product *= x - root
    return product
