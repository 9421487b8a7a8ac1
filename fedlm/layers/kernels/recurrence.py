"""The recurrence of an LSTM, forward and back: all steps in one call.

Gates in Keras' order i, f, g (Keras' c), o: c_t = f c_(t-1) + i g;  h_t = o tanh(c_t).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llvmlite.ir import Value

from fedlm.layers.kernels.emit import INT64, Emitter, kernel
from fedlm.layers.kernels.gates import Gates
from fedlm.layers.kernels.machine import Machine, address_of
from fedlm.layers.kernels.tiles import LINE, Shape, Tiles


@dataclass(frozen=True)
class Recurrence:
    """An LSTM's states (steps, batch, units).

    Attributes:
      steps, batch, units: each above 0.
    """

    steps: int
    batch: int
    units: int

    @property
    def size(self) -> int:
        """Floats of a step's states."""
        return self.batch * self.units

    @property
    def row(self) -> int:
        """Floats from one row of a step's gradient to the next, in scratch: an odd number of cache lines."""
        return (-(-4 * self.units // LINE) | 1) * LINE

    def scratch(self, machine: Machine) -> int:
        """Returns how many floats a kernel needs besides."""
        weights = max(self.forward(machine).size, self.backward(machine).size)
        return weights + self.batch * self.row + 2 * self.size

    def forward(self, machine: Machine) -> Shape:
        """Returns that of h_(t-1) U."""
        return Shape(machine, self.batch, 4 * self.units, self.units, self.units, 4 * self.units)

    def backward(self, machine: Machine) -> Shape:
        """Returns that of the product of a step's gradient with U transposed."""
        return Shape(machine, self.batch, self.units, 4 * self.units, self.row, self.units)


def compile_forward(spec: Recurrence, machine: Machine) -> int:
    """Returns the address of a kernel.

    Its inputs are the projections x_t W (steps, batch, 4 units), the bias (4 units,) and U (units, 4 units); its outputs gates
    (steps, batch, 4 units), then h, c and tanh(c), each (steps, batch, units), and scratch.
    """
    emit, found = kernel(machine.width, outputs=5, inputs=3)
    gates, *states, packed, projected, bias, weights = found
    tiles, size = Tiles(emit, spec.forward(machine)), spec.size
    tiles.pack(weights, (4 * spec.units, 1), packed)
    _forward_step(emit, spec, projected, bias, gates, states, None)
    for last in emit.times(spec.steps - 1):
        now, start = (emit.at(array, 4 * size, (last, 4 * size)) for array in (gates, projected))
        h_last, c_last, _ = (emit.at(array, (last, size)) for array in states)
        tiles.multiply(h_last, packed, now, start)
        _forward_step(emit, spec, now, bias, now, [emit.at(s, size, (last, size)) for s in states], c_last)
    return address_of(emit)


def compile_backward(spec: Recurrence, machine: Machine) -> int:
    """Returns the address of a kernel.

    Its inputs are gates, c, tanh(c) as above, the gradient of h (steps, batch, units), and U; its outputs the gradient of the
    projections (steps, batch, 4 units), and scratch.
    """
    emit, (out, row, gates, c, tanh_c, dh, weights) = kernel(machine.width, outputs=2, inputs=5)
    tiles, size = Tiles(emit, spec.backward(machine)), spec.size
    dh_next = emit.at(row, spec.batch * spec.row)
    dc_next, packed = (emit.at(dh_next, n * size) for n in (1, 2))
    tiles.pack(weights, (1, 4 * spec.units), packed)
    for place, count in emit.lanes(2 * size):
        emit.store(emit.number(0), emit.at(dh_next, (place, 1)), count)
    for done in emit.times(spec.steps - 1):
        t = emit.build.sub(INT64(spec.steps - 1), done)
        here, inputs = emit.at(out, (t, 4 * size)), [emit.at(gates, (t, 4 * size))]
        inputs += [emit.at(array, (t, size)) for array in (tanh_c, dh)]
        _backward_step(emit, spec, inputs, (dh_next, dc_next), (here, row), emit.at(c, -size, (t, size)))
        tiles.multiply(row, packed, dh_next)
    _backward_step(emit, spec, [gates, tanh_c, dh], (dh_next, dc_next), (out, row), None)
    return address_of(emit)


def _forward_step(
    emit: Emitter, spec: Recurrence, sums: Value, bias: Value, gates: Value, states: list[Value], c_last: Value | None
) -> None:
    """Makes gates and states of one step from its sums without bias; `c_last` None is zero."""
    build, functions = emit.build, Gates(emit)
    for part in _parts(emit, spec):
        found = functions.forward(*(build.fadd(part.load(sums, n), part.load(bias, n, row=0)) for n in range(4)))
        i, f, g, o = found
        c = build.fmul(i, g)
        c = c if c_last is None else emit.fma(f, part.load(c_last), c)
        tanh_c = functions.tanh(c)
        for n, value in enumerate(found):
            part.store(value, gates, n)
        for array, value in zip(states, (build.fmul(o, tanh_c), c, tanh_c), strict=True):
            part.store(value, array)


def _backward_step(
    emit: Emitter,
    spec: Recurrence,
    inputs: list[Value],
    following: tuple[Value, Value],
    outputs: tuple[Value, Value],
    c_last: Value | None,
) -> None:
    """Makes the gradient of one step's projection, twice: as `spec` says rows lie in scratch, too.

    Args:
      emit: writes the code.
      spec: shapes.
      inputs: the step's gates, tanh(c) and the gradient of h from above.
      following: the gradients of h and c from the step after; that of c becomes the one for the step before.
      outputs: where the gradient goes, (batch, 4 units) and with rows of `spec.row`.
      c_last: None is zero.
    """
    build, one, (gates, tanh_c, dh) = emit.build, emit.number(1), inputs
    for part in _parts(emit, spec):
        i, f, g, o = (part.load(gates, n) for n in range(4))
        bent = part.load(tanh_c)
        d_h = build.fadd(part.load(dh), part.load(following[0]))
        d_o = build.fmul(d_h, o)
        d_c = emit.fma(d_o, build.fsub(one, build.fmul(bent, bent)), part.load(following[1]))
        d_i, d_f = build.fmul(d_c, i), build.fmul(d_c, f)
        found = (
            build.fmul(build.fmul(d_i, g), build.fsub(one, i)),
            build.fmul(build.fmul(d_f, part.load(c_last)), build.fsub(one, f)) if c_last else emit.number(0),
            build.fmul(d_i, build.fsub(one, build.fmul(g, g))),
            build.fmul(build.fmul(d_o, bent), build.fsub(one, o)),
        )
        part.store(d_f, following[1])
        for n, value in enumerate(found):
            part.store(value, outputs[0], n)
            part.store(value, outputs[1], n, row=spec.row)


@dataclass(frozen=True)
class _Part:
    """A vector of units of one row of the batch: where it is in arrays (batch, units) and (batch, 4 units)."""

    emit: Emitter
    units: int
    row: Value
    place: Value
    count: int

    def load(self, array: Value, gate: int | None = None, *, row: int | None = None) -> Value:
        return self.emit.load(self._at(array, gate, row), self.count)

    def store(self, value: Value, array: Value, gate: int | None = None, *, row: int | None = None) -> None:
        self.emit.store(value, self._at(array, gate, row), self.count)

    def _at(self, array: Value, gate: int | None, row: int | None) -> Value:
        length = self.units * (1 if gate is None else 4) if row is None else row
        return self.emit.at(array, (gate or 0) * self.units, (self.row, length), (self.place, 1))


def _parts(emit: Emitter, spec: Recurrence) -> Iterator[_Part]:
    """Loops over all rows and their units."""
    for row in emit.times(spec.batch):
        for place, count in emit.lanes(spec.units):
            yield _Part(emit, spec.units, row, place, count)
