"""The gates of an LSTM, on vectors.

With n = round(x / ln 2) and r = x - n ln 2, exp(x) is 2**n (1 + p(r)), where p is the Taylor polynomial of exp(r) - 1 of degree 7:
its error at |r| <= ln(2) / 2 is below 2**-27. So sigmoid(x) = e / (1 + e) with e = exp(x), and tanh(x) = m / (m + 2) with
m = exp(2 x) - 1, both without cancellation. Results are right to a few units in the
last place: a gate may pass 1 by one of them. NaN stays NaN.
"""

import math

from llvmlite import ir
from llvmlite.ir import Value

from fedlm.layers.kernels.emit import INT32, Emitter

# Exp of the first is a normal number; sigmoid of the second is 1, and the product of four such denominators is finite.
_LOW, _HIGH = -87.0, 18.0
# Of few bits: n times it is exact. The rest of ln 2 comes after it.
_LN2_HIGH = 0.693359375
# Added to a number it rounds it to a whole one, which then stands in the lowest bits.
_WHOLE = 1.5 * 2.0**23


class Gates:
    """Writes the functions of gates.

    Args:
      emit: writes the code.
    """

    def __init__(self, emit: Emitter) -> None:
        self._emit, self._build = emit, emit.build

    def forward(self, i: Value, f: Value, g: Value, o: Value) -> tuple[Value, Value, Value, Value]:
        """Returns sigmoid(i), sigmoid(f), tanh(g), sigmoid(o): one division serves all four, so that NaN in one makes all four NaN."""
        build, one = self._build, self._emit.number(1)
        above = [self._exp(x) for x in (i, f, o)]
        above.insert(2, self._exp_less_one(self._twice(g)))
        below = [build.fadd(a, self._emit.number(2) if n == 2 else one) for n, a in enumerate(above)]
        left, right = build.fmul(below[0], below[1]), build.fmul(below[2], below[3])
        inverse = build.fdiv(one, build.fmul(left, right))
        by_left, by_right = build.fmul(inverse, right), build.fmul(inverse, left)
        pairs = ((by_left, below[1]), (by_left, below[0]), (by_right, below[3]), (by_right, below[2]))
        return tuple(build.fmul(a, build.fmul(*pair)) for a, pair in zip(above, pairs, strict=True))

    def tanh(self, x: Value) -> Value:
        """Returns tanh(x)."""
        m = self._exp_less_one(self._twice(x))
        return self._build.fdiv(m, self._build.fadd(m, self._emit.number(2)))

    def _twice(self, x: Value) -> Value:
        return self._build.fadd(x, x)

    def _exp(self, x: Value) -> Value:
        power, rest = self._parts(x, _LOW)
        return self._emit.fma(power, rest, power)

    def _exp_less_one(self, x: Value) -> Value:
        power, rest = self._parts(x, -_HIGH)
        return self._emit.fma(power, rest, self._build.fsub(power, self._emit.number(1)))

    def _parts(self, x: Value, low: float) -> tuple[Value, Value]:
        """Returns 2**n and p(r)."""
        build, emit, whole = self._build, self._emit, self._emit.number(_WHOLE)
        for limit, sign in ((low, "<"), (_HIGH, ">")):
            x = build.select(build.fcmp_ordered(sign, x, emit.number(limit)), emit.number(limit), x)
        shifted = emit.fma(x, emit.number(1 / math.log(2)), whole)
        n = build.fsub(shifted, whole)
        for part in (_LN2_HIGH, math.log(2) - _LN2_HIGH):
            x = emit.fma(n, emit.number(-part), x)
        rest = emit.number(1 / math.factorial(7))
        for degree in range(6, 1, -1):
            rest = emit.fma(rest, x, emit.number(1 / math.factorial(degree)))
        rest = emit.fma(build.fmul(x, x), rest, x)
        integers = ir.VectorType(INT32, emit.width)
        places = build.shl(build.bitcast(shifted, integers), ir.Constant(integers, [23] * emit.width))
        one = ir.Constant(integers, [0x3F800000] * emit.width)
        return build.bitcast(build.add(places, one), rest.type), rest
