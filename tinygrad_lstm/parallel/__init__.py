"""Who works on which core: BLAS, until loops have threads of their own, and then these."""
