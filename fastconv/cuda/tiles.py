"""Tiles of all images, in blocks: what Winograd's and Fourier's convolution have in common besides their products.

Tiles of a block are transformed (V), for each frequency and group V is multiplied by the transformed weights (U), and
the products (M) are transformed back. V and M of a block lie where those of the one before lay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from math import prod

from fastconv.arguments import itemsize
from fastconv.cuda.algorithm import Place
from fastconv.cuda.compile import computed
from fastconv.cuda.geometry import Geometry, geometry
from fastconv.cuda.intrinsics import division
from fastconv.cuda.plan import Operand
from fastconv.problem import ConvProblem


class Tiled(ABC):
    """A problem cut into tiles."""

    problem: ConvProblem
    block_tiles: int  # tiles of inputs in a block; in the last one some are missing

    @property
    @abstractmethod
    def image_tiles(self) -> tuple[int, int]:
        """Rows of tiles, and tiles of a row."""

    @property
    @abstractmethod
    def elements(self) -> tuple[int, int, int]:
        """Of U, V and M."""

    @cached_property
    def shape(self) -> Geometry:
        """The problem's numbers."""
        return geometry(self.problem)

    @property
    def tiles(self) -> int:
        """Of all images."""
        return self.problem.batch * prod(self.image_tiles)

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """The first tile of each block, and how many it has."""
        firsts = range(0, self.tiles, self.block_tiles)
        return [(first, min(self.block_tiles, self.tiles - first)) for first in firsts]

    @property
    def item(self) -> int:
        """Bytes of a number of U, V and M; of halves these are float32."""
        return itemsize(computed(self.problem.dtype))

    @property
    def places(self) -> tuple[Operand, Operand, Operand, Operand]:
        """Where U is, and in the workspace V, M and the marks of images."""
        _, v, m = self.elements
        first, second, third = (Operand(Place.WORKSPACE, end * self.item) for end in (0, v, v + m))
        return Operand(Place.PACKED), first, second, third

    @property
    def packed(self) -> int:
        """Bytes of U."""
        return self.elements[0] * self.item

    @property
    def workspace(self) -> int:
        """Bytes that a call needs besides; a mark is an int32, and there is one for all images together."""
        return sum(self.elements[1:]) * self.item + 4 * (1 + self.problem.batch)

    @property
    def tiling(self) -> tuple[int, ...]:
        """Which tile of which image a number means, as `winograd_tiles.tile_place` takes it, before gaps."""
        down, across = self.image_tiles
        return down * across, *division(down * across), across, *division(across)
