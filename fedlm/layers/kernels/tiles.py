"""A matrix product tile by tile: out (rows, columns) = start + a (rows, depth) @ b (depth, columns).

A tile is what the registers hold: 14 rows and 32 columns with AVX-512, 6 and 16 with AVX2
(`machine.py`). For each depth k it loads the 32 numbers b[k, :] as two vectors, and for each of its
rows the one number a[row, k], spread over a vector:

                    b[k, c ... c+15]   b[k, c+16 ... c+31]
  a[r, k]        ->   sum += a b         sum += a b             two fused multiply-adds a row
  ...                     ...                ...
  a[r+13, k]     ->   sum += a b         sum += a b             28 sums stay in registers over the whole depth

b is read once for every tile of rows, so it is first copied ("packed") into panels of a tile's columns:

  b (depth, columns)  ->  panels (columns / 32, depth, 32)     filled up with zeros

A panel is one stretch of memory that a tile reads from front to back, whatever b's strides: no
cache line is read for a few of its floats, and large strides, which fall into few lines of the
cache, do not occur. A transposed a is packed likewise, (rows / 14, depth, width). All strides are
in floats.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llvmlite.ir import Function, Value

from fedlm.layers.kernels.emit import FLOAT, INT32, INT64, POINTER, Emitter
from fedlm.layers.kernels.machine import Machine

LINE = 16  # floats of a cache line
AHEAD = 32  # rows of a panel that are asked for ahead of their use; 5 % of the recurrence (docs/performance.md)
SMALL = 2**18  # floats (1 MB) of a packed b that stays in a core's second cache


@dataclass(frozen=True)
class Shape:
    """Shape of a product out (rows, columns) = start + a (rows, depth) @ b (depth, columns).

    Attributes:
      machine: whose tile.
      rows, columns, depth: each above 0.
      a_stride: floats from one row of a to the next; None if a is packed, (tiles, depth, width).
      out_stride: floats from one row of the output to the next.
    """

    machine: Machine
    rows: int
    columns: int
    depth: int
    a_stride: int | None
    out_stride: int

    @property
    def panel(self) -> int:
        """Columns of a panel of b: those of a tile."""
        return self.machine.vectors * self.machine.width

    @property
    def size(self) -> int:
        """Floats of b, packed: (panels, depth, columns of a panel), the last panel filled up with zeros."""
        return -(-self.columns // self.panel) * self.panel * self.depth

    @property
    def left_size(self) -> int:
        """Floats of a, packed: (tiles, depth, width)."""
        return -(-self.rows // self.machine.rows) * self.machine.width * self.depth


@dataclass(frozen=True)
class _Rows:
    """One tile's rows: its number, its first row, and how many they are."""

    tile: Value
    first: Value
    height: int


@dataclass(frozen=True)
class _Panel:
    """One panel: its number, and how many of its columns b really has."""

    number: Value
    columns: int


class Tiles:
    """Writes a product whose right matrix is packed.

    A sum goes over the depth in order, by fused multiply-add: its bits depend on no size of a tile.

    Args:
      emit: writes the code.
      shape: of the product.
    """

    def __init__(self, emit: Emitter, shape: Shape) -> None:
        self._emit, self._shape = emit, shape

    def multiply(self, a: Value, packed: Value, out: Value, start: Value | None = None) -> None:
        """Writes the product.

        Where the packed b stays in the second cache, all its panels pass a tile's rows of a, which
        stay in the first one. A larger b would come from memory once for every tile; there all rows
        pass each panel, so that it comes once.

        Args:
          a, packed, out: addresses of a, the packed b and the output.
          start: address of what the sums start with, strides as `out`; None is zero.
        """
        if self._shape.size > SMALL:
            for panel in self._panels():
                for rows in self._rows():
                    self._one(rows, panel, a, packed, out, start)
        else:
            for rows in self._rows():
                for panel in self._panels():
                    self._one(rows, panel, a, packed, out, start)

    def pack(self, b: Value, strides: tuple[int, int], packed: Value) -> None:
        """Writes the copy of b into panels.

        Args:
          b: address of b.
          strides: of its depth and its columns.
          packed: address of the panels.
        """
        for panel in self._panels():
            source = self._emit.at(b, (panel.number, self._shape.panel * strides[1]))
            target = self._emit.at(packed, (panel.number, self._shape.panel * self._shape.depth))
            for k in self._emit.times(self._shape.depth):
                self._pack_row(
                    self._emit.at(source, (k, strides[0])),
                    strides[1],
                    self._emit.at(target, (k, self._shape.panel)),
                    panel.columns,
                )

    def pack_left(self, a: Value, packed: Value) -> None:
        """Writes the copy of an a that is stored transposed, (depth, rows), as (tiles, depth, width)."""
        for rows in self._rows():
            target = self._emit.at(packed, (rows.tile, self._shape.depth * self._shape.machine.width))
            for k in self._emit.times(self._shape.depth):
                value = self._emit.load(self._emit.at(a, (k, self._shape.rows), (rows.first, 1)), rows.height)
                self._emit.store(value, self._emit.at(target, (k, self._shape.machine.width)))

    def _panels(self) -> Iterator[_Panel]:
        """Loops over the panels."""
        whole, rest = divmod(self._shape.columns, self._shape.panel)
        for n in self._emit.times(whole):
            yield _Panel(n, self._shape.panel)
        if rest:
            yield _Panel(INT64(whole), rest)

    def _rows(self) -> Iterator[_Rows]:
        """Loops over tiles of almost the same height: 15 rows are 8 and 7, not 14 and 1, which would load b for one row."""
        tiles = -(-self._shape.rows // self._shape.machine.rows)
        low, more = divmod(self._shape.rows, tiles)
        for n in self._emit.times(more):
            yield _Rows(n, self._emit.build.mul(n, INT64(low + 1)), low + 1)
        for n in self._emit.times(tiles - more):
            first = self._emit.build.add(self._emit.build.mul(n, INT64(low)), INT64(more * (low + 1)))
            yield _Rows(self._emit.build.add(n, INT64(more)), first, low)

    def _one(self, rows: _Rows, panel: _Panel, a: Value, packed: Value, out: Value, start: Value | None) -> None:
        """Writes the call of one tile."""
        emit, shape = self._emit, self._shape
        place = (
            (rows.tile, shape.depth * shape.machine.width) if shape.a_stride is None else (rows.first, shape.a_stride)
        )
        left = emit.at(a, place)
        right = emit.at(packed, (panel.number, shape.depth * shape.panel))
        corner = (rows.first, shape.out_stride), (panel.number, shape.panel)
        to = emit.at(out, *corner)
        begin = to if start is None else emit.at(start, *corner)
        emit.build.call(self._tile(rows.height, panel.columns, zero=start is None), [left, right, to, begin])

    def _tile(self, height: int, columns: int, *, zero: bool) -> Function:
        """Returns the function (a, panel, out, start) of a tile; written once a module for each size."""
        module, width, shape = self._emit.function.module, self._shape.machine.width, self._shape
        name = f"tile_{height}_{columns}_{shape.depth}_{int(zero)}"
        if name in module.globals:
            return module.globals[name]
        emit = Emitter(module, name, [POINTER] * 4, width)
        emit.function.linkage = "internal"
        a, panel, out, start = emit.arguments
        row_stride, depth_stride = (1, width) if shape.a_stride is None else (shape.a_stride, 1)
        vectors = [(v * width, min(width, columns - v * width)) for v in range(-(-columns // width))]
        places = [(row, *vector) for row in range(height) for vector in vectors]  # (row, column, floats) of each sum
        for row, column, _ in places:  # where the next panel's tile will write
            emit.prefetch(emit.at(out, row * shape.out_stride + column + shape.panel), write=True)
        zeros = [emit.number(0)] * len(places)
        begin = zeros if zero else [emit.load(emit.at(start, r * shape.out_stride + c), n) for r, c, n in places]
        with emit.reduced(shape.depth, begin) as (k, sums, after):
            right = [emit.load(emit.at(panel, c, (k, shape.panel))) for c, _ in vectors]  # b[k, :]
            for c in range(0, shape.panel, LINE):
                emit.prefetch(emit.at(panel, c + AHEAD * shape.panel, (k, shape.panel)))
            left = emit.at(a, (k, depth_stride))
            for row in range(height):
                one = emit.spread(emit.at(left, row * row_stride))  # a[row, k]
                for v, b in enumerate(right):
                    after.append(emit.fma(one, b, sums[row * len(vectors) + v]))
        for (row, column, count), value in zip(places, after, strict=True):
            emit.store(value, emit.at(out, row * shape.out_stride + column), count)
        emit.build.ret_void()
        return emit.function

    def _pack_row(self, row: Value, stride: int, target: Value, columns: int) -> None:
        """Copies `columns` floats of b, `stride` apart, into a panel's row, and fills it up with zeros."""
        emit, width = self._emit, self._shape.machine.width
        for c in range(0, self._shape.panel, width):
            count = max(min(width, columns - c), 0)
            if not count:
                value = emit.number(0)
            elif stride == 1:
                value = emit.load(emit.at(row, c), count)
            else:
                value = emit.number(0)
                for n in range(count):  # one float after the other
                    one = emit.build.load(emit.at(row, (c + n) * stride), typ=FLOAT)
                    value = emit.build.insert_element(value, one, INT32(n))
            emit.store(value, emit.at(target, c))
