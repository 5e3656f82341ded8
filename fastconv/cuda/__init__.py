"""The algorithms on a GPU, by `numba.cuda`; nothing here is imported before an array on a device arrives.

File names are those of `fastconv.cpu`. `driver.py` alone talks to the CUDA driver, `intrinsics.py` alone contains
inline PTX and vector loads, `compile.py` alone calls the compiler.
"""

from __future__ import annotations
