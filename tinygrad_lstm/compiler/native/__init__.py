"""Loops as native code: LLVM text is written for a program, compiled, and kept on disk.

The compiler is llvmlite's, which comes with Numba; Numba itself need not be imported. `layout`
decides where each value lies within a row, `schedule` what is one pass over the rows, `scratch` and
`places` where rows lie in memory. `kernel` writes the loop over time, out of `products`, `fused`
passes, `reductions`, and the `factors` of gradients; `loop` holds what is compiled, and `call`,
`forward` and `backward` write the Python around it.
"""
