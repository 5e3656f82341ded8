"""What the intrinsics of several files emit."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

__all__ = ["INT32", "INT64", "QUAD", "as_quad", "fused_multiply_add", "literal"]

INT32, INT64 = ir.IntType(32), ir.IntType(64)
QUAD = 4  # elements of load4, quads and set_quad: 16 bytes of float32, two times 16 bytes of float64


def as_quad(builder, address):
    """`address`, as one of a vector."""
    return builder.bitcast(address, ir.PointerType(ir.VectorType(address.type.pointee, QUAD), address.type.addrspace))


def fused_multiply_add(builder, element):
    """The function of LLVM that computes a * b + c of a type of floats, rounded once."""
    name = "llvm.fma.f32" if isinstance(element, ir.FloatType) else "llvm.fma.f64"
    kind = ir.FunctionType(element, [element] * 3)
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def literal(*kinds) -> bool:
    """Whether arguments are constants in the kernel; the compiler asks without that, too, and None says no.

    They must be part of the signature: calls of one signature share one piece of code.
    """
    return all(isinstance(kind, types.IntegerLiteral) for kind in kinds)
