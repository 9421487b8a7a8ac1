"""Words for writing a kernel: loops, and vectors of float32 in memory, over llvmlite's builder."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir
from llvmlite.ir import Value

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
POINTER = ir.PointerType()
_numbers = itertools.count()


class Emitter:
    """Writes one function of a module.

    Args:
      module: gets the function.
      name: of the function.
      kinds: of its arguments.
      width: floats in a vector.

    Attributes:
      arguments: of the function.
      width: floats in a vector.
    """

    def __init__(self, module: ir.Module, name: str, kinds: Sequence[ir.Type], width: int) -> None:
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        self.function.attributes.add("noinline")  # a tile is called from several loops
        self.arguments: Sequence[Value] = self.function.args
        self.width, self._vector = width, ir.VectorType(FLOAT, width)
        self.build = ir.IRBuilder(self.function.append_basic_block())

    def at(self, pointer: Value, *terms: int | tuple[Value, int]) -> Value:
        """Returns the place so many floats after a pointer: the sum of terms, a number or (index, stride)."""
        fixed = sum(t for t in terms if isinstance(t, int))
        place = self.build.gep(pointer, [INT64(fixed)], source_etype=FLOAT) if fixed else pointer
        for term in terms:
            if not isinstance(term, int):
                distance = self.build.mul(term[0], INT64(term[1]))
                place = self.build.gep(place, [distance], source_etype=FLOAT)
        return place

    def times(self, count: int, step: int = 1) -> Iterator[Value]:
        """Loops over 0, step, 2 step, ... below `count`: what stands in the Python loop, which has one turn, is written once."""
        if count > 0:
            with self.reduced(count, [], step) as (index, _, _):
                yield index

    @contextmanager
    def reduced(
        self, count: int, start: Sequence[Value], step: int = 1
    ) -> Iterator[tuple[Value, list[Value], list[Value]]]:
        """A loop of one turn or more that carries values: yields the index, the values before the turn, and a list to be filled with those after.

        After the loop that list holds the last values.
        """
        build = self.build
        before, body = build.block, build.append_basic_block()
        build.branch(body)
        build.position_at_end(body)
        index, carried = build.phi(INT64), [build.phi(v.type) for v in start]
        index.add_incoming(INT64(0), before)
        for phi, value in zip(carried, start, strict=True):
            phi.add_incoming(value, before)
        after: list[Value] = []
        yield index, list(carried), after
        following, last = build.add(index, INT64(step)), build.block
        index.add_incoming(following, last)
        for phi, value in zip(carried, after, strict=True):
            phi.add_incoming(value, last)
        end = build.append_basic_block()
        build.cbranch(build.icmp_signed("<", following, INT64(count)), body, end)
        build.position_at_end(end)

    def number(self, value: float) -> Value:
        """Returns a vector of one number."""
        return ir.Constant(self._vector, [FLOAT(value)] * self.width)

    def load(self, place: Value, count: int | None = None) -> Value:
        """Returns the vector at a place; of fewer floats than a vector has, the rest is zero and not read."""
        if count is None or count == self.width:
            return self.build.load(place, typ=self._vector, align=4)
        name, kinds = f"llvm.masked.load.v{self.width}f32.p0", [POINTER, INT32, self._mask(count).type, self._vector]
        arguments = [place, INT32(4), self._mask(count), self.number(0)]
        return self.build.call(self._intrinsic(name, self._vector, kinds), arguments)

    def store(self, value: Value, place: Value, count: int | None = None) -> None:
        """Writes a vector, or its first `count` floats."""
        if count is None or count == self.width:
            self.build.store(value, place, align=4)
            return
        name, mask = f"llvm.masked.store.v{self.width}f32.p0", self._mask(count)
        kinds = [self._vector, POINTER, INT32, mask.type]
        self.build.call(self._intrinsic(name, ir.VoidType(), kinds), [value, place, INT32(4), mask])

    def prefetch(self, place: Value, *, write: bool = False) -> None:
        """Asks for the cache line of a place that is soon read or written; one outside of an array does no harm."""
        fetch = self._intrinsic("llvm.prefetch.p0", ir.VoidType(), [POINTER, INT32, INT32, INT32])
        self.build.call(fetch, [place, INT32(int(write)), INT32(3), INT32(1)])

    def spread(self, place: Value) -> Value:
        """Returns a vector of the one float at a place."""
        one = self.build.insert_element(self._vector(ir.Undefined), self.build.load(place, typ=FLOAT), INT32(0))
        zeros = ir.Constant(ir.VectorType(INT32, self.width), [0] * self.width)
        return self.build.shuffle_vector(one, self._vector(ir.Undefined), zeros)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Returns a b + c, rounded once."""
        name = f"llvm.fma.v{self.width}f32"
        return self.build.call(self._intrinsic(name, self._vector, [self._vector] * 3), [a, b, c])

    def lanes(self, total: int) -> Iterator[tuple[Value, int]]:
        """Loops over a row of `total` floats: yields where a vector begins, and how many floats it has; the last one is short."""
        whole = total - total % self.width
        for place in self.times(whole, self.width):
            yield place, self.width
        if total > whole:
            yield INT64(whole), total - whole

    def _mask(self, count: int) -> ir.Constant:
        bit = ir.IntType(1)
        return ir.Constant(ir.VectorType(bit, self.width), [bit(n < count) for n in range(self.width)])

    def _intrinsic(self, name: str, result: ir.Type, kinds: Sequence[ir.Type]) -> ir.Function:
        module = self.function.module
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, kinds), name)


def kernel(width: int, outputs: int, inputs: int) -> tuple[Emitter, list[Value]]:
    """Begins a kernel as XLA calls it, in a module of its own.

    Returns:
      What writes it; its arrays, those it writes first.
    """
    emit = Emitter(ir.Module(), f"kernel_{next(_numbers)}", [POINTER] * 3 + [INT64, POINTER], width)
    found = [emit.arguments[0]] if outputs == 1 else []  # one output comes as it is, several as a list
    for place, count in ((0, 0 if found else outputs), (1, inputs)):
        for n in range(count):
            at = emit.build.gep(emit.arguments[place], [INT64(n)], source_etype=POINTER)
            found.append(emit.build.load(at, typ=POINTER))
    return emit, found
