"""The kernels in Triton, each with its gradient; importing a module of this package imports Triton."""
