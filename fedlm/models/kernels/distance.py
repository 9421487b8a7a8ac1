"""How far apart two arrays are."""

from dataclasses import dataclass

from llvmlite.ir import Value

from fedlm.models.kernels.emit import INT64, kernel
from fedlm.models.kernels.machine import Machine, address_of

PARTS = 64  # sums that go side by side, whatever the width of a vector


@dataclass(frozen=True)
class Distance:
    """The sum of squares of a - b, in PARTS partial sums.

    Attributes:
      size: floats of each, above 0.
    """

    size: int


def compile_distance(spec: Distance, machine: Machine) -> int:
    """Returns the address of a kernel with inputs a and b, and the output sums (PARTS,): of every PARTS-th float each."""
    width = machine.width
    emit, (out, a, b) = kernel(width, outputs=1, inputs=2)
    sums = [emit.number(0)] * (PARTS // width)

    def added(place: Value, part: int, count: int, total: Value) -> Value:
        left, right = (emit.load(emit.at(array, part * width, (place, 1)), count) for array in (a, b))
        way = emit.build.fsub(left, right)
        return emit.fma(way, way, total)

    whole = spec.size - spec.size % PARTS
    if whole:
        with emit.reduced(whole, sums, PARTS) as (place, before, after):
            after += [added(place, n, width, s) for n, s in enumerate(before)]
        sums = after
    for part in range(PARTS // width):
        count = max(0, min(width, spec.size - whole - part * width))
        value = added(INT64(whole), part, count, sums[part]) if count else sums[part]
        emit.store(value, emit.at(out, part * width))
    return address_of(emit)
