"""The memory-bound parts of objmae's training step, each one function of tensors with two forms.

The plain form, here, states what is computed. The fused form (package `fused`, kernels in Triton) computes the same
on CUDA with one pass over memory; Triton is imported only when the first one runs, and need not be installed.
"""
