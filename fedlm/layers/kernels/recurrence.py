"""The recurrence of an LSTM, all steps in one call, forward and backward.

Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000). Gates in Keras' order i, f, g
(Keras' c), o; h_0 and c_0 are zero; . is elementwise. Forward, for t = 1 ... steps:

  z_t = x_t W + h_(t-1) U + b          (batch, 4 units); x_t W is an input of the kernel
  i, f, o = sigmoid(z),  g = tanh(z)   four quarters of z_t, (batch, units) each
  c_t = f . c_(t-1) + i . g
  h_t = o . tanh(c_t)

Backward, for t = steps ... 1, with dh_t the loss' gradient by h_t from the layer above (d' for the
step after, t + 1; zero after the last):

  Dh = dh_t + dz' U^T                                       (batch, units)
  Dc = Dh . o . (1 - tanh(c_t)**2) + Dc' . f'
  dz_i = Dc . g       . i . (1 - i)         since sigmoid' = sigmoid (1 - sigmoid)
  dz_f = Dc . c_(t-1) . f . (1 - f)
  dz_g = Dc . i       . (1 - g**2)          since tanh' = 1 - tanh**2
  dz_o = Dh . tanh(c_t) . o . (1 - o)

dz is the gradient of the projections x_t W. Those of W, U and b are products over all steps at
once, outside (`fused_lstm.py`).

Memory. The forward kernel returns what the backward one needs: gates (steps, batch, 4 units), h, c
and tanh(c), each (steps, batch, units). U (units, 4 units) is packed into panels once a call and
then serves every step (`tiles.py`). Scratch holds, one after the other: one step's dz with a gap
after each row (see `Recurrence.row`); dz U^T and Dc . f, which flow to the step before; and the
packed weights. The forward kernel uses it for the packed weights only.
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
        """Floats of one step's states, (batch, units)."""
        return self.batch * self.units

    @property
    def row(self) -> int:
        """Floats from one row of dz to the next in scratch: an odd number of cache lines.

        A tile reads 14 rows at once. With 4 * 256 floats a row they would all lie in the same set
        of the first cache, which holds fewer lines.
        """
        return (-(-4 * self.units // LINE) | 1) * LINE

    def scratch(self, machine: Machine) -> int:
        """Returns the floats of the scratch array."""
        weights = max(self.forward(machine).size, self.backward(machine).size)
        return weights + self.batch * self.row + 2 * self.size

    def forward(self, machine: Machine) -> Shape:
        """Returns the shape of h_(t-1) U: (batch, units) @ (units, 4 units)."""
        return Shape(machine, self.batch, 4 * self.units, self.units, self.units, 4 * self.units)

    def backward(self, machine: Machine) -> Shape:
        """Returns the shape of dz U^T: (batch, 4 units) @ (4 units, units)."""
        return Shape(machine, self.batch, self.units, 4 * self.units, self.row, self.units)


def compile_forward(spec: Recurrence, machine: Machine) -> int:
    """Returns the address of the forward kernel.

    Inputs: projections x_t W (steps, batch, 4 units), bias b (4 units,) and U (units, 4 units).
    Outputs: gates (steps, batch, 4 units), then h, c and tanh(c), each (steps, batch, units), and
    scratch.
    """
    emit, arrays = kernel(machine.width, outputs=5, inputs=3)
    gates, *states, packed, projected, bias, weights = arrays
    tiles, size = Tiles(emit, spec.forward(machine)), spec.size
    tiles.pack(weights, (4 * spec.units, 1), packed)
    _forward_step(emit, spec, _ForwardStep(projected, bias, gates, states, None))  # h_0 U is zero
    for last in emit.times(spec.steps - 1):  # the step before: step t has the floats from (last + 1) * size on
        now, start = (emit.at(array, 4 * size, (last, 4 * size)) for array in (gates, projected))
        h_last, c_last, _ = (emit.at(array, (last, size)) for array in states)
        tiles.multiply(h_last, packed, now, start)  # x_t W + h_(t-1) U, where the gates will be
        here = [emit.at(s, size, (last, size)) for s in states]
        _forward_step(emit, spec, _ForwardStep(now, bias, now, here, c_last))
    return address_of(emit)


def compile_backward(spec: Recurrence, machine: Machine) -> int:
    """Returns the address of the backward kernel.

    Inputs: gates, c and tanh(c) as above, dh (steps, batch, units), and U (units, 4 units). Outputs: dz
    (steps, batch, 4 units), and scratch.
    """
    emit, (out, row, gates, c, tanh_c, dh, weights) = kernel(machine.width, outputs=2, inputs=5)
    tiles, size = Tiles(emit, spec.backward(machine)), spec.size
    dh_next = emit.at(row, spec.batch * spec.row)
    dc_next, packed = (emit.at(dh_next, n * size) for n in (1, 2))
    tiles.pack(weights, (1, 4 * spec.units), packed)  # U^T: strides exchanged
    for place, count in emit.lanes(2 * size):  # nothing comes from after the last step
        emit.store(emit.number(0), emit.at(dh_next, (place, 1)), count)
    for done in emit.times(spec.steps - 1):
        t = emit.build.sub(INT64(spec.steps - 1), done)
        step = _BackwardStep(
            gates=emit.at(gates, (t, 4 * size)),
            tanh_c=emit.at(tanh_c, (t, size)),
            dh=emit.at(dh, (t, size)),
            dh_next=dh_next,
            dc_next=dc_next,
            dz=emit.at(out, (t, 4 * size)),
            dz_row=row,
            c_last=emit.at(c, -size, (t, size)),
        )
        _backward_step(emit, spec, step)
        tiles.multiply(row, packed, dh_next)
    _backward_step(emit, spec, _BackwardStep(gates, tanh_c, dh, dh_next, dc_next, out, row, None))
    return address_of(emit)


@dataclass(frozen=True)
class _ForwardStep:
    """Addresses of one step's arrays.

    Attributes:
      sums: x_t W + h_(t-1) U, (batch, 4 units).
      bias: (4 units,).
      gates: written, (batch, 4 units); may be `sums`.
      states: written: h_t, c_t and tanh(c_t), each (batch, units).
      c_last: c_(t-1), (batch, units); None is zero.
    """

    sums: Value
    bias: Value
    gates: Value
    states: list[Value]
    c_last: Value | None


def _forward_step(emit: Emitter, spec: Recurrence, step: _ForwardStep) -> None:
    """Writes the gates and states of one step."""
    build, functions = emit.build, Gates(emit)
    for part in _parts(emit, spec):
        z = (build.fadd(part.load(step.sums, n), part.load(step.bias, n, row=0)) for n in range(4))
        i, f, g, o = functions.forward(*z)
        c = build.fmul(i, g)
        c = c if step.c_last is None else emit.fma(f, part.load(step.c_last), c)
        tanh_c = functions.tanh(c)
        for n, value in enumerate((i, f, g, o)):
            part.store(value, step.gates, n)
        for array, value in zip(step.states, (build.fmul(o, tanh_c), c, tanh_c), strict=True):
            part.store(value, array)


@dataclass(frozen=True)
class _BackwardStep:
    """Addresses of one step's arrays.

    Attributes:
      gates, tanh_c, dh: of the step, (batch, 4 units), (batch, units) and (batch, units).
      dh_next: dz' U^T of the step after, (batch, units).
      dc_next: Dc' . f' of the step after, (batch, units); replaced by this step's Dc . f.
      dz: written, (batch, 4 units).
      dz_row: written: dz again, its rows `spec.row` floats apart, for the product with U^T.
      c_last: c_(t-1), (batch, units); None is zero.
    """

    gates: Value
    tanh_c: Value
    dh: Value
    dh_next: Value
    dc_next: Value
    dz: Value
    dz_row: Value
    c_last: Value | None


def _backward_step(emit: Emitter, spec: Recurrence, step: _BackwardStep) -> None:
    """Writes dz of one step."""
    build, one = emit.build, emit.number(1)
    for part in _parts(emit, spec):
        i, f, g, o = (part.load(step.gates, n) for n in range(4))
        tanh_c = part.load(step.tanh_c)
        d_h = build.fadd(part.load(step.dh), part.load(step.dh_next))
        d_h_o = build.fmul(d_h, o)
        d_c = emit.fma(d_h_o, build.fsub(one, build.fmul(tanh_c, tanh_c)), part.load(step.dc_next))
        d_c_i, d_c_f = build.fmul(d_c, i), build.fmul(d_c, f)
        dz = (
            build.fmul(build.fmul(d_c_i, g), build.fsub(one, i)),
            build.fmul(build.fmul(d_c_f, part.load(step.c_last)), build.fsub(one, f))
            if step.c_last
            else emit.number(0),
            build.fmul(d_c_i, build.fsub(one, build.fmul(g, g))),
            build.fmul(build.fmul(d_h_o, tanh_c), build.fsub(one, o)),
        )
        part.store(d_c_f, step.dc_next)
        for n, value in enumerate(dz):
            part.store(value, step.dz, n)
            part.store(value, step.dz_row, n, row=spec.row)


@dataclass(frozen=True)
class _Part:
    """A vector of units in one row of the batch: its place in arrays (batch, units) and (batch, 4 units)."""

    emit: Emitter
    units: int
    row: Value
    place: Value
    count: int

    def load(self, array: Value, gate: int | None = None, *, row: int | None = None) -> Value:
        """Returns the vector of an array (batch, units), or of one gate of (batch, 4 units).

        `row` is the distance of rows where they do not follow each other: 0 for a bias that all
        rows share.
        """
        return self.emit.load(self._at(array, gate, row), self.count)

    def store(self, value: Value, array: Value, gate: int | None = None, *, row: int | None = None) -> None:
        """Writes the vector, likewise."""
        self.emit.store(value, self._at(array, gate, row), self.count)

    def _at(self, array: Value, gate: int | None, row: int | None) -> Value:
        length = self.units * (1 if gate is None else 4) if row is None else row
        return self.emit.at(array, (gate or 0) * self.units, (self.row, length), (self.place, 1))


def _parts(emit: Emitter, spec: Recurrence) -> Iterator[_Part]:
    """Loops over the rows of the batch and, in each, over vectors of units."""
    for row in emit.times(spec.batch):
        for place, count in emit.lanes(spec.units):
            yield _Part(emit, spec.units, row, place, count)
