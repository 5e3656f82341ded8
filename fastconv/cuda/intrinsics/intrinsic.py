"""What makes a function that kernels call: its types and its code are said in Python.

Numba's own decorator of this name wants as many arguments as a function says, tries a call that needs a literal without
it first, and looks for new declarations at each call that it types, which took more time than all else.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from functools import update_wrapper

from numba.cuda import types
from numba.cuda.extending import lower_builtin
from numba.cuda.typing.templates import AbstractTemplate

__all__ = ["intrinsic"]


class intrinsic:  # a decorator
    """Let kernels call what a function defines.

    ``define(typing_context, *arguments)`` gets the arguments' types, of literals as literals, and returns the signature
    and what emits code, ``generate(context, builder, signature, values)``; or None, if it is of no such arguments.
    """

    def __init__(self, define) -> None:
        update_wrapper(self, define)
        names = {"key": self, "define": staticmethod(define), "signatures": {}}
        self._numba_type_ = types.Function(type(define.__name__, (_Template,), names))  # which Numba asks for

    def __call__(self, *arguments):
        """Refuse: there is no code outside of kernels."""
        raise NotImplementedError("only kernels call intrinsics")


class _Template(AbstractTemplate):
    """How calls of one intrinsic are typed, each once in a process."""

    prefer_literal = True

    def generic(self, arguments, keywords):
        if arguments not in self.signatures:
            found = self.define(self.context, *arguments)
            if found is None:
                return None
            signature, generate = found
            lower_builtin(self.key, *signature.args)(generate)
            self.signatures[arguments] = signature
        return self.signatures[arguments]
