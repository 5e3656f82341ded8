"""Sums of products of what is in shared memory: the inside of every matrix product."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from fastconv.cuda.intrinsics.emitting import QUAD, fused_multiply_add, literal
from fastconv.cuda.intrinsics.intrinsic import intrinsic
from fastconv.cuda.intrinsics.shared import element, emit_quads

__all__ = ["add_products"]


@intrinsic
def add_products(typing_context, sums, array, a, a_step, a_gap, a_quads, b, b_step, b_gap, b_quads, depth):
    """Tuple of sums[i, j] + the sum over k < depth of A[k, i] * B[k, j], each term one fused operation

    A[k, i] is array[a + k * a_step + i // 4 * a_gap + i % 4], of 4 * a_quads columns, B likewise. One intrinsic for all
    of it: as a part of the kernel's code, compiled like its others, it took registers that the 128 of some tiles lack.
    """
    if not literal(a_step, a_gap, a_quads, b_step, b_gap, b_quads, depth):
        return None
    numbers = [each.literal_value for each in (a_step, a_gap, a_quads, b_step, b_gap, b_quads, depth)]

    def generate(context, builder, signature, arguments):
        a_step, a_gap, a_quads, b_step, b_gap, b_quads, depth = numbers
        sums, shared, a, b = arguments[0], arguments[1], arguments[2], arguments[6]
        fma = fused_multiply_add(builder, sums.type.element)
        first_a, first_b = (element(context, builder, signature.args[1], shared, place) for place in (a, b))
        for k in range(depth):
            of_a = emit_quads(builder, first_a, range(k * a_step, k * a_step + a_quads * a_gap, a_gap))
            of_b = emit_quads(builder, first_b, range(k * b_step, k * b_step + b_quads * b_gap, b_gap))
            for i in range(QUAD * a_quads):
                for j in range(QUAD * b_quads):
                    place = QUAD * b_quads * i + j
                    factors = builder.extract_value(of_a, i), builder.extract_value(of_b, j)
                    found = builder.call(fma, [*factors, builder.extract_value(sums, place)])
                    sums = builder.insert_value(sums, found, place)
        return sums

    return sums(sums, array, a, a_step, a_gap, a_quads, b, b_step, b_gap, b_quads, depth), generate
