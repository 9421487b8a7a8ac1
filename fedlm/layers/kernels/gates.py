"""The functions of an LSTM's gates, sigmoid and tanh, on vectors of float32.

Both come from one exponential. With n = round(x / ln 2) and r = x - n ln 2, so that |r| <= ln(2) / 2:

  exp(x)     = 2**n (1 + p(r)),   p(r) = r + r**2 / 2! + ... + r**7 / 7!     the Taylor polynomial of exp(r) - 1
  sigmoid(x) = e / (1 + e),       e = exp(x)
  tanh(x)    = m / (m + 2),       m = exp(2 x) - 1 = 2**n p(r) + (2**n - 1)

Accuracy. The polynomial's relative error is at most 2**-27, an eighth of what rounding exp(x) to
float32 costs (2**-24). No step cancels: 1 + e and m + 2 are at least 1, and m keeps its digits near
0, where n = 0 and m = p(r). Against float64, gates are right to 5 units in the last place and
tanh(c) to 3, measured over a million numbers (the tests assert 1e-6 relative); so a gate may exceed
1 by one unit.

Range. x is clamped to [-87, 18] before exp: exp(-87) is still a normal number, and sigmoid(18) is 1
in float32. NaN stays NaN. Method as in Cephes' expf (Moshier, https://www.netlib.org/cephes/), with
Taylor's coefficients.
"""

import math

from llvmlite import ir
from llvmlite.ir import Value

from fedlm.layers.kernels.emit import INT32, Emitter

# Above 18, sigmoid is 1 and the product of four denominators 1 + e (see `forward`) is still finite.
_LOW, _HIGH = -87.0, 18.0
# ln 2 in two parts, of which the first has 9 bits: n times it is exact, so that r loses no digits.
_LN2_HIGH = 0.693359375
_LN2_LOW = math.log(2) - _LN2_HIGH
# y + 1.5 * 2**23 rounds y to a whole number, which is then in the lowest bits of the sum:
# float32's numbers in [2**23, 2**24) are the whole ones.
_WHOLE = 1.5 * 2.0**23
_EXPONENT = 23  # bits of a float32's fraction; its exponent lies above them
_ONE_BITS = 0x3F800000  # 1.0 as bits


class Gates:
    """Writes the functions of gates.

    Args:
      emit: writes the code.
    """

    def __init__(self, emit: Emitter) -> None:
        self._emit, self._build = emit, emit.build

    def forward(self, i: Value, f: Value, g: Value, o: Value) -> tuple[Value, Value, Value, Value]:
        """Returns sigmoid(i), sigmoid(f), tanh(g), sigmoid(o).

        Each is a quotient a_k / b_k. Division is slow, so one serves all four, and NaN in one gate
        makes all four NaN:

          q = 1 / (b_0 b_1 b_2 b_3);   a_0 / b_0 = a_0 (q b_2 b_3) b_1,   and so on
        """
        build, one = self._build, self._emit.number(1)
        above = [self._exp(x) for x in (i, f, o)]
        above.insert(2, self._exp_less_one(self._twice(g)))
        below = [build.fadd(a, self._emit.number(2) if n == 2 else one) for n, a in enumerate(above)]
        left, right = build.fmul(below[0], below[1]), build.fmul(below[2], below[3])
        inverse = build.fdiv(one, build.fmul(left, right))
        by_left, by_right = build.fmul(inverse, right), build.fmul(inverse, left)  # 1 / left, 1 / right
        pairs = ((by_left, below[1]), (by_left, below[0]), (by_right, below[3]), (by_right, below[2]))
        return tuple(build.fmul(a, build.fmul(*pair)) for a, pair in zip(above, pairs, strict=True))

    def tanh(self, x: Value) -> Value:
        """Returns tanh(x)."""
        m = self._exp_less_one(self._twice(x))
        return self._build.fdiv(m, self._build.fadd(m, self._emit.number(2)))

    def _twice(self, x: Value) -> Value:
        return self._build.fadd(x, x)

    def _exp(self, x: Value) -> Value:
        """Returns exp(x) = 2**n p(r) + 2**n."""
        power, rest = self._parts(x, _LOW)
        return self._emit.fma(power, rest, power)

    def _exp_less_one(self, x: Value) -> Value:
        """Returns exp(x) - 1 = 2**n p(r) + (2**n - 1); below -18 it is -1 in float32."""
        power, rest = self._parts(x, -_HIGH)
        return self._emit.fma(power, rest, self._build.fsub(power, self._emit.number(1)))

    def _parts(self, x: Value, low: float) -> tuple[Value, Value]:
        """Returns 2**n and p(r), of x clamped to [low, 18]."""
        build, emit = self._build, self._emit
        for limit, sign in ((low, "<"), (_HIGH, ">")):  # ordered comparisons are false for NaN, which stays
            x = build.select(build.fcmp_ordered(sign, x, emit.number(limit)), emit.number(limit), x)
        whole = emit.number(_WHOLE)
        shifted = emit.fma(x, emit.number(1 / math.log(2)), whole)  # n, in the lowest bits
        n = build.fsub(shifted, whole)
        r = emit.fma(n, emit.number(-_LN2_LOW), emit.fma(n, emit.number(-_LN2_HIGH), x))
        return self._power_of_two(shifted), self._polynomial(r)

    def _polynomial(self, r: Value) -> Value:
        """Returns p(r) = r + r**2 (1/2! + r (1/3! + ... + r / 7!)), by Horner's scheme."""
        emit = self._emit
        rest = emit.number(1 / math.factorial(7))
        for degree in range(6, 1, -1):
            rest = emit.fma(rest, r, emit.number(1 / math.factorial(degree)))
        return emit.fma(self._build.fmul(r, r), rest, r)

    def _power_of_two(self, shifted: Value) -> Value:
        """Returns 2**n: n, shifted into the exponent's bits and added to the bits of 1."""
        build, width = self._build, self._emit.width
        integers = ir.VectorType(INT32, width)
        exponent = build.shl(build.bitcast(shifted, integers), ir.Constant(integers, [_EXPONENT] * width))
        bits = build.add(exponent, ir.Constant(integers, [_ONE_BITS] * width))
        return build.bitcast(bits, shifted.type)
