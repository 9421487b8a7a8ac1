"""Kernels for the processor, written with llvmlite and called from XLA's programs: matrix products and the LSTM's recurrence."""
