"""A matrix times a packed one, tile by tile; a tile's sums stay in registers."""

from collections.abc import Iterator
from dataclasses import dataclass

from llvmlite.ir import Function, Value

from fedlm.layers.kernels.emit import FLOAT, INT32, INT64, POINTER, Emitter
from fedlm.layers.kernels.machine import Machine

LINE = 16  # floats of a cache line
AHEAD = 32  # rows of a panel: so far before its use it is asked for
SMALL = 2**18  # floats of a right matrix that stays in a processor's own cache (1 MB)


@dataclass(frozen=True)
class Shape:
    """Of a product out (rows, columns) = start + a (rows, depth) @ b (depth, columns).

    Attributes:
      machine: whose tile.
      rows, columns, depth: each above 0.
      a_stride: from one row of a to the next, in floats; None if a is packed, (tiles, depth, width).
      out_stride: from one row of the output to the next.
    """

    machine: Machine
    rows: int
    columns: int
    depth: int
    a_stride: int | None
    out_stride: int

    @property
    def panel(self) -> int:
        """Columns of a panel of b."""
        return self.machine.vectors * self.machine.width

    @property
    def size(self) -> int:
        """Floats of b, packed: (panels, depth, columns of a panel), the last one filled up with zeros."""
        return -(-self.columns // self.panel) * self.panel * self.depth

    @property
    def left_size(self) -> int:
        """Floats of a, packed."""
        return -(-self.rows // self.machine.rows) * self.machine.width * self.depth


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

        All panels pass each tile's rows where b stays in a cache; else all rows pass each panel.

        Args:
          a, packed, out: where they begin.
          start: what the sums begin with, strides as `out`; None is zero.
        """
        if self._shape.size > SMALL:
            for panel in self._panels():
                for row in self._rows():
                    self._one(row, panel, a, packed, out, start)
        else:
            for row in self._rows():
                for panel in self._panels():
                    self._one(row, panel, a, packed, out, start)

    def pack(self, b: Value, strides: tuple[int, int], packed: Value) -> None:
        """Writes the copy of b.

        Args:
          b: where it begins.
          strides: of its depth and columns, in floats.
          packed: where the panels begin.
        """
        for place, columns in self._panels():
            source = self._emit.at(b, (place, self._shape.panel * strides[1]))
            target = self._emit.at(packed, (place, self._shape.panel * self._shape.depth))
            for k in self._emit.times(self._shape.depth):
                self._pack_row(
                    self._emit.at(source, (k, strides[0])),
                    strides[1],
                    self._emit.at(target, (k, self._shape.panel)),
                    columns,
                )

    def pack_left(self, a: Value, packed: Value) -> None:
        """Writes the copy of an a that lies transposed, (depth, rows)."""
        for tile, row, height in self._rows():
            target = self._emit.at(packed, (tile, self._shape.depth * self._shape.machine.width))
            for k in self._emit.times(self._shape.depth):
                value = self._emit.load(self._emit.at(a, (k, self._shape.rows), (row, 1)), height)
                self._emit.store(value, self._emit.at(target, (k, self._shape.machine.width)))

    def _panels(self) -> Iterator[tuple[Value, int]]:
        """Loops over panels: their place, and how many columns are real."""
        whole, rest = divmod(self._shape.columns, self._shape.panel)
        for n in self._emit.times(whole):
            yield n, self._shape.panel
        if rest:
            yield INT64(whole), rest

    def _rows(self) -> Iterator[tuple[Value, Value, int]]:
        """Loops over tiles of almost the same height that make up the rows: their place, first row and height."""
        tiles = -(-self._shape.rows // self._shape.machine.rows)
        low, more = divmod(self._shape.rows, tiles)
        for n in self._emit.times(more):
            yield n, self._emit.build.mul(n, INT64(low + 1)), low + 1
        for n in self._emit.times(tiles - more):
            row = self._emit.build.add(self._emit.build.mul(n, INT64(low)), INT64(more * (low + 1)))
            yield self._emit.build.add(n, INT64(more)), row, low

    def _one(
        self,
        rows: tuple[Value, Value, int],
        columns: tuple[Value, int],
        a: Value,
        packed: Value,
        out: Value,
        start: Value | None,
    ) -> None:
        (tile, row, height), (panel, count), emit = rows, columns, self._emit
        packs = self._shape.depth * self._shape.machine.width
        left = emit.at(a, (tile, packs) if self._shape.a_stride is None else (row, self._shape.a_stride))
        right = emit.at(packed, (panel, self._shape.depth * self._shape.panel))
        to, begin = (p and emit.at(p, (row, self._shape.out_stride), (panel, self._shape.panel)) for p in (out, start))
        emit.build.call(self._tile(height, count, zero=start is None), [left, right, to, begin or to])

    def _tile(self, height: int, columns: int, *, zero: bool) -> Function:
        module, width = self._emit.function.module, self._shape.machine.width
        name = f"tile_{height}_{columns}_{self._shape.depth}_{int(zero)}"
        if name in module.globals:
            return module.globals[name]
        emit = Emitter(module, name, [POINTER] * 4, width)
        emit.function.linkage = "internal"
        a, panel, out, start = emit.arguments
        row_stride, depth_stride = (1, width) if self._shape.a_stride is None else (self._shape.a_stride, 1)
        vectors = [(v * width, min(width, columns - v * width)) for v in range(-(-columns // width))]
        places = [(row, *vector) for row in range(height) for vector in vectors]
        for row, column, _ in places:  # of the next panel
            emit.prefetch(emit.at(out, row * self._shape.out_stride + column + self._shape.panel), write=True)
        zeros = [emit.number(0)] * len(places)
        begin = zeros if zero else [emit.load(emit.at(start, r * self._shape.out_stride + c), n) for r, c, n in places]
        with emit.reduced(self._shape.depth, begin) as (k, sums, after):
            right = [emit.load(emit.at(panel, c, (k, self._shape.panel))) for c, _ in vectors]
            for c in range(0, self._shape.panel, LINE):
                emit.prefetch(emit.at(panel, c + AHEAD * self._shape.panel, (k, self._shape.panel)))
            left = emit.at(a, (k, depth_stride))
            for row in range(height):
                one = emit.spread(emit.at(left, row * row_stride))
                for v, b in enumerate(right):
                    after.append(emit.fma(one, b, sums[row * len(vectors) + v]))
        for (row, column, count), value in zip(places, after, strict=True):
            emit.store(value, emit.at(out, row * self._shape.out_stride + column), count)
        emit.build.ret_void()
        return emit.function

    def _pack_row(self, row: Value, stride: int, target: Value, columns: int) -> None:
        emit, width = self._emit, self._shape.machine.width
        for c in range(0, self._shape.panel, width):
            count = max(min(width, columns - c), 0)
            if not count:
                value = emit.number(0)
            elif stride == 1:
                value = emit.load(emit.at(row, c), count)
            else:
                value = emit.number(0)
                for n in range(count):
                    one = emit.build.load(emit.at(row, (c + n) * stride), typ=FLOAT)
                    value = emit.build.insert_element(value, one, INT32(n))
            emit.store(value, emit.at(target, c))
