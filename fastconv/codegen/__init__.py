"""Machine code made to measure: LLVM IR written by small Python generators and compiled by llvmlite.

`target` says what the processor has, `vector` is the vocabulary (loads, stores, fused multiply-adds), `activation`
and `tile` are the generators, `jit` turns what they emit into an address and keeps the machine code on disk.
`cook_toom` has the matrices of Winograd's convolution, `straight_line` their programs, `winograd_error` their accuracy;
`transform` makes code of them, and `blocked` the layout that it works on.
Print ``fastconv.codegen.tile.emit(tile)`` to read the code of a register tile.
"""
