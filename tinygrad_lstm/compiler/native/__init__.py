"""Loops as native code: LLVM text is written for a program, compiled, and kept on disk.

The compiler is llvmlite's, which comes with Numba; Numba itself need not be imported. `layout`
decides where each value lies, `schedule` what is one pass over the rows, `emit` writes the code.
"""
