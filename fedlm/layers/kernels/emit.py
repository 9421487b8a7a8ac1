"""Writes a kernel's instructions: loops, and vectors of float32 in memory, over llvmlite's builder.

LLVM is a compiler's back end; llvmlite writes its input, an assembly language for a machine with as
many registers as one likes. Each name is assigned once (`Value`), so a loop's running value is a
phi: "start when coming from above, the turn's result when coming from below". `Emitter.times` and
`Emitter.reduced` hide that:

  for k in emit.times(10): ...                      # writes the body once; k is the index in the running code
  with emit.reduced(10, [zero]) as (k, [s], after): after.append(emit.fma(a, b, s))     # s = s + a b, ten times

Python's own loops and ifs run while the kernel is written: a Python `for` writes its body so many
times (unrolling).
"""

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
      module: the function becomes part of it.
      name: name of the function.
      kinds: types of its arguments.
      width: floats of a vector.

    Attributes:
      function: what is written.
      arguments: the function's arguments.
      width: floats of a vector.
      build: llvmlite's builder, for single instructions.
    """

    def __init__(self, module: ir.Module, name: str, kinds: Sequence[ir.Type], width: int) -> None:
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        self.function.attributes.add("noinline")  # a tile is called from several loops
        self.arguments: Sequence[Value] = self.function.args
        self.width, self._vector = width, ir.VectorType(FLOAT, width)
        self.build = ir.IRBuilder(self.function.append_basic_block())

    def at(self, pointer: Value, *terms: int | tuple[Value, int]) -> Value:
        """Returns the address `pointer + terms`, in floats; a term is a number, or (index, stride) for their product."""
        fixed = sum(t for t in terms if isinstance(t, int))
        place = self.build.gep(pointer, [INT64(fixed)], source_etype=FLOAT) if fixed else pointer
        for term in terms:
            if not isinstance(term, int):
                distance = self.build.mul(term[0], INT64(term[1]))
                place = self.build.gep(place, [distance], source_etype=FLOAT)
        return place

    def times(self, count: int, step: int = 1) -> Iterator[Value]:
        """Writes a loop over 0, step, 2 step, ... below `count`; the Python loop has one turn, which writes the body."""
        if count > 0:
            with self.reduced(count, [], step) as (index, _, _):
                yield index

    @contextmanager
    def reduced(
        self, count: int, start: Sequence[Value], step: int = 1
    ) -> Iterator[tuple[Value, list[Value], list[Value]]]:
        """Writes a loop of at least one turn that carries values from turn to turn.

        Yields:
          The index; the values before a turn, at first `start`; and a list that the body fills with
          the values after it. After the loop this list holds the final values.
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
        """Returns the vector at a place; of its first `count` floats only, the others are 0 and their memory is not read."""
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
        """Prefetches the cache line of an address that is soon read or written; addresses outside an array are harmless."""
        # the last two arguments: keep it in all caches (3), data and not code (1)
        fetch = self._intrinsic("llvm.prefetch.p0", ir.VoidType(), [POINTER, INT32, INT32, INT32])
        self.build.call(fetch, [place, INT32(int(write)), INT32(3), INT32(1)])

    def spread(self, place: Value) -> Value:
        """Returns a vector whose floats are all the one at a place."""
        one = self.build.insert_element(self._vector(ir.Undefined), self.build.load(place, typ=FLOAT), INT32(0))
        zeros = ir.Constant(ir.VectorType(INT32, self.width), [0] * self.width)
        return self.build.shuffle_vector(one, self._vector(ir.Undefined), zeros)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Returns a b + c, rounded once (fused multiply-add)."""
        name = f"llvm.fma.v{self.width}f32"
        return self.build.call(self._intrinsic(name, self._vector, [self._vector] * 3), [a, b, c])

    def lanes(self, total: int) -> Iterator[tuple[Value, int]]:
        """Loops over a row of `total` floats; yields where a vector begins and how many floats it has (the last: fewer)."""
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
    """Begins a kernel, in a separate module.

    XLA calls `kernel(out, in, opaque, opaque_size, status)`: `in` is a list of the inputs'
    addresses, `out` likewise of the outputs', but the address itself where there is one output. The
    last three arguments are not used.

    Returns:
      What writes the kernel, and the addresses of its arrays: outputs, then inputs.
    """
    emit = Emitter(ir.Module(), f"kernel_{next(_numbers)}", [POINTER] * 3 + [INT64, POINTER], width)
    found = [emit.arguments[0]] if outputs == 1 else []
    for place, count in ((0, 0 if found else outputs), (1, inputs)):
        for n in range(count):
            at = emit.build.gep(emit.arguments[place], [INT64(n)], source_etype=POINTER)
            found.append(emit.build.load(at, typ=POINTER))
    return emit, found
