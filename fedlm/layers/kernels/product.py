"""Products of large matrices, and the squared distance of two arrays.

  out (rows, columns) = a (rows, depth) @ b (depth, columns)

After Goto and van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication,
https://doi.org/10.1145/1356052.1356053. The depth is cut into blocks of at most 256:

  out  = a[:, 0:256] @ b[0:256, :]
  out += a[:, 256:512] @ b[256:512, :]     and so on

In each block b is copied into panels first (`tiles.py`), which then lie in the second cache in the
order of their use, while the 14 rows of a that a tile reads, 14 kB, stay in the first one.
"""

from dataclasses import dataclass

from llvmlite.ir import Value

from fedlm.layers.kernels.emit import INT64, kernel
from fedlm.layers.kernels.machine import Machine, address_of
from fedlm.layers.kernels.tiles import Shape, Tiles

DEPTH = 256  # of a block, at most


@dataclass(frozen=True)
class Product:
    """out (rows, columns) = a @ b.

    Attributes:
      rows, columns, depth: each above 0.
      a_transposed: a is stored as (depth, rows).
      b_transposed: b is stored as (columns, depth).
    """

    rows: int
    columns: int
    depth: int
    a_transposed: bool = False
    b_transposed: bool = False

    @property
    def block(self) -> int:
        """Depth of a block; the blocks are of almost the same size."""
        blocks = -(-self.depth // DEPTH)
        return -(-self.depth // blocks)

    def scratch(self, machine: Machine) -> int:
        """Returns the floats of the scratch array: packed b, and packed a where a is transposed."""
        shape = self.shape(machine, self.block)
        return shape.size + self.a_transposed * shape.left_size

    def shape(self, machine: Machine, depth: int) -> Shape:
        """Returns the shape of one block's product."""
        return Shape(machine, self.rows, self.columns, depth, None if self.a_transposed else self.depth, self.columns)


def compile_product(spec: Product, machine: Machine) -> int:
    """Returns the address of a kernel with inputs a and b, outputs out and scratch."""
    emit, (out, scratch, a, b) = kernel(machine.width, outputs=2, inputs=2)
    a_step = spec.rows if spec.a_transposed else 1  # floats from one depth of a to the next
    b_strides = (1, spec.depth) if spec.b_transposed else (spec.columns, 1)  # of b's depth and columns

    def block(begin: Value, depth: int, *, is_first: bool = False) -> None:
        """Adds the part of the product that `depth` from `begin` on gives."""
        shape = spec.shape(machine, depth)
        tiles, left = Tiles(emit, shape), emit.at(a, (begin, a_step))
        tiles.pack(emit.at(b, (begin, b_strides[0])), b_strides, scratch)
        if spec.a_transposed:
            packed = emit.at(scratch, shape.size)
            tiles.pack_left(left, packed)
            left = packed
        tiles.multiply(left, scratch, out, None if is_first else out)

    block(INT64(0), spec.block, is_first=True)
    for n in emit.times(spec.depth // spec.block - 1):
        block(emit.build.mul(emit.build.add(n, INT64(1)), INT64(spec.block)), spec.block)
    if rest := spec.depth % spec.block:
        block(INT64(spec.depth - rest), rest)
    return address_of(emit)


PARTS = 64  # partial sums side by side, whatever the width of a vector, so that the bits do not depend on it


@dataclass(frozen=True)
class Distance:
    """The sum of squares of a - b, in PARTS partial sums: part p has the floats p, p + PARTS, p + 2 PARTS, ...

    Attributes:
      size: floats of a and of b, above 0.
    """

    size: int


def compile_distance(spec: Distance, machine: Machine) -> int:
    """Returns the address of a kernel with inputs a and b, (size,), and the output partial sums, (PARTS,)."""
    width = machine.width
    emit, (out, a, b) = kernel(width, outputs=1, inputs=2)
    sums = [emit.number(0)] * (PARTS // width)

    def added(place: Value, part: int, count: int, total: Value) -> Value:
        """Returns `total` with the squares of one vector added."""
        left, right = (emit.load(emit.at(array, part * width, (place, 1)), count) for array in (a, b))
        difference = emit.build.fsub(left, right)
        return emit.fma(difference, difference, total)

    whole = spec.size - spec.size % PARTS
    if whole:
        with emit.reduced(whole, sums, PARTS) as (place, before, after):
            after += [added(place, n, width, s) for n, s in enumerate(before)]
        sums = after
    for part in range(PARTS // width):  # the last floats, fewer than PARTS
        count = max(0, min(width, spec.size - whole - part * width))
        value = added(INT64(whole), part, count, sums[part]) if count else sums[part]
        emit.store(value, emit.at(out, part * width))
    return address_of(emit)
