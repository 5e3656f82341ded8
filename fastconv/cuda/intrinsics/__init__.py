"""All that a kernel says and Python cannot: pointers, loads and stores of vectors, exact division.

A change of CUDA's front end touches this folder alone: all inline PTX is here.
"""

from __future__ import annotations

from fastconv.cuda.intrinsics.division import division, quotient
from fastconv.cuda.intrinsics.emitting import fused_multiply_add as emit_fused_multiply_add
from fastconv.cuda.intrinsics.memory import (
    advance,
    emit_load_if,
    is_given,
    load,
    load4,
    load4_inside,
    load_if,
    load_inside,
    load_quads,
    load_row,
    mark,
    store,
    store_run,
)
from fastconv.cuda.intrinsics.products import add_products
from fastconv.cuda.intrinsics.registers import (
    add_outer,
    block_x_again,
    block_y_again,
    block_z_again,
    slide,
    thread_x_again,
    zeros,
)
from fastconv.cuda.intrinsics.shared import element as emit_element
from fastconv.cuda.intrinsics.shared import get, put, quads, set_quad, set_quads
from fastconv.cuda.intrinsics.tensor_cores import (
    address_of,
    commit_copies,
    copy_async,
    load_matrices,
    put_sums,
    shared_address,
    wait_copies,
)

__all__ = [
    "add_outer",
    "add_products",
    "address_of",
    "advance",
    "block_x_again",
    "block_y_again",
    "block_z_again",
    "commit_copies",
    "copy_async",
    "division",
    "emit_element",
    "emit_fused_multiply_add",
    "emit_load_if",
    "get",
    "is_given",
    "load",
    "load4",
    "load4_inside",
    "load_if",
    "load_inside",
    "load_matrices",
    "load_quads",
    "load_row",
    "mark",
    "put",
    "put_sums",
    "quads",
    "quotient",
    "set_quad",
    "set_quads",
    "shared_address",
    "slide",
    "store",
    "store_run",
    "thread_x_again",
    "wait_copies",
    "zeros",
]
