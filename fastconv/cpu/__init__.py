"""Algorithms for the processor: one file each, on the kernels that `fastconv.codegen` makes.

`direct`, `depthwise`, `im2col` and `winograd` are algorithms; `geometry` puts every problem into one form, `packing`
copies inputs and weights into scratch, `kernel` compiles drivers, `threads` and `scratch` give them processors and
memory.
"""
