"""Machine code that a plan has in several variants, each compiled when it is first asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

Function = Callable[..., int]


class Variants(dict[tuple[bool, bool], Function]):
    """Functions of int64 arguments, which return one, by whether there is a residual and whether nothing is left out.

    `address` compiles a variant; there is no compiling for a look at one that is known.
    """

    def __init__(self, address: Callable[[bool, bool], int], arguments: int) -> None:
        super().__init__()
        self._address = address
        self._kind = ctypes.CFUNCTYPE(*[ctypes.c_int64] * (1 + arguments))

    def __missing__(self, variant: tuple[bool, bool]) -> Function:
        """Compile a variant."""
        function: Function = self._kind(self._address(*variant))
        self[variant] = function
        return function
