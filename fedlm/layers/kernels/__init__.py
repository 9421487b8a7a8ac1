"""Machine code for the two hot parts of training on a CPU: matrix products and the LSTM's recurrence.

A kernel is a function that llvmlite compiles while TensorFlow traces a model, for exactly the
shapes of that model, and that XLA's program then calls. From bottom to top:

  emit.py         loops, vectors, loads and stores over llvmlite's instruction builder
  machine.py      the processor: vector width, tile size; compiles a kernel
  tiles.py        out = start + a @ b for one tile whose sums stay in registers, and the packed copy of b
  product.py      a @ b of any size, in blocks of the depth; the squared distance of two arrays
  gates.py        sigmoid and tanh on vectors
  recurrence.py   all steps of an LSTM, forward and backward
  custom_call.py  the kernels as TensorFlow operations: `matmul`, `forward`, `backward`, `squared_distance`

Arrays are float32, row-major, without gaps; all sizes are known when a kernel is compiled. "Floats"
counts float32 values. A sum always runs over its depth in order, by fused multiply-add, so a
kernel's bits depend neither on the processor (AVX2 or AVX-512) nor on any size of a tile.
"""
