"""Discrete Gaussian noise on the integers, exact and fast.

Canonne, Kamath, Steinke, The Discrete Gaussian for Differential Privacy, NeurIPS 2020, algorithms 1 to 3.
https://arxiv.org/abs/2004.00010. Rejection sampling: y from a discrete Laplace distribution of scale t,
P(y) ~ exp(-|y| / t), is accepted with probability exp(-(|y| - sigma^2 / t)^2 / (2 sigma^2)).

The paper samples Bernoulli(exp(-x)) exactly, in rational arithmetic, one at a time. Here a whole array is compared at once:
64 uniform bits each with exp(-x) in float64. The result is used if the two differ by more than one part in 1e9, far above
the float64 error. Otherwise, a few times in 1e9, more bits are generated and compared with exp(-x) in decimals of growing
precision. The distribution is therefore exact, and the low bits reveal nothing (Mironov 2012,
https://doi.org/10.1145/2382196.2382264).

The bits come from AES-256-CTR under a fresh key from the operating system for every call.
"""

import decimal
import math
import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedlm.rng import Stream
from fedlm.types import IntSums

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Source = Callable[[int], bytes]
"""Returns the given number of random bytes."""

MAX_SIGMA = 2**56  # 40 standard deviations still fit into 62 bits
_BATCH = 2**17  # proposals at a time
_DOUBT = 1e-9  # relative distance within which float64 does not decide a comparison


class _Bits:
    """A stream of uniform 64-bit words."""

    def __init__(self, source: Source) -> None:
        seed = source(48)
        self._encryptor = Cipher(algorithms.AES(seed[:32]), modes.CTR(seed[32:])).encryptor()

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), np.uint64)


class _Uniform:
    """A uniform number in [0, 1) whose bits are generated on demand: value / 2**size <= U < (value + 1) / 2**size."""

    def __init__(self, word: int, bits: _Bits) -> None:
        self._value, self._size, self._bits = word, 64, bits

    def below_exp(self, x: Fraction) -> bool:
        """Returns whether the number is below exp(-x), exactly."""
        while True:
            with decimal.localcontext(prec=self._size // 3 + 10) as context:
                context.Emin = decimal.MIN_EMIN
                exact = (-decimal.Decimal(x.numerator) / decimal.Decimal(x.denominator)).exp()
                # exp(-x) is off by at most its rounding plus that of -x, which exp multiplies by x.
                error = exact * (int(x) + 2) * decimal.Decimal(10) ** (2 - context.prec)
                if decimal.Decimal(self._value + 1) <= (exact - error) * 2**self._size:
                    return True
                if decimal.Decimal(self._value) >= (exact + error) * 2**self._size:
                    return False
            self._value = self._value << 64 | int(self._bits.words(1)[0])
            self._size += 64


def _coins(x: Floats, exact: Callable[[int], Fraction], bits: _Bits) -> npt.NDArray[np.bool_]:
    """Returns Bernoulli(exp(-x)) samples, the shape of x; `exact(i)` is x[i] without rounding."""
    words = bits.words(len(x))
    drawn, limit = words.astype(np.float64), np.exp(-x) * 2.0**64
    sure = drawn + 1 < limit * (1 - _DOUBT)  # U < exp(-x) whatever the further bits are
    for i in np.flatnonzero(~sure & (drawn <= limit * (1 + _DOUBT) + 1)):
        sure[i] = _Uniform(int(words[i]), bits).below_exp(exact(int(i)))
    return sure


def _geometric_limits() -> npt.NDArray[np.uint64]:
    """Returns floor(2**64 exp(-v)) for v = 44 down to 1, in ascending order; exp(-45) is below 2**-64."""
    with decimal.localcontext(prec=60):
        return np.array([int(decimal.Decimal(-v).exp() * 2**64) for v in range(44, 0, -1)], np.uint64)


_LIMITS = _geometric_limits()


def _geometric(count: int, bits: _Bits) -> Integers:
    """Returns geometric integers V >= 0 with P(V >= v) = exp(-v), by inversion: V is the largest v with U < exp(-v)."""
    words = bits.words(count)
    above = np.searchsorted(_LIMITS, words, side="right")
    values: Integers = len(_LIMITS) - above.astype(np.int64)
    # Where 64 bits of U equal a limit, or v may exceed 44, the remaining bits decide.
    undecided = np.isin(words, _LIMITS) | (words <= _LIMITS[0])
    for i in np.flatnonzero(undecided):
        uniform, value = _Uniform(int(words[i]), bits), 0
        while uniform.below_exp(Fraction(value + 1)):
            value += 1
        values[i] = value
    return values


def _batch(sigma: int, bits: _Bits) -> Integers:
    """Returns the accepted samples of one batch of proposals."""
    shift = max(0, round(math.log2(sigma)))
    t = 1 << shift  # scale of the Laplace proposals; a power of two near sigma, so that uniform integers are high bits
    # Algorithm 2: |y| = low + t * V, low uniform in 0..t-1 accepted with exp(-low / t), V geometric; the sign is one bit.
    words = bits.words(_BATCH)
    low = (words >> np.uint64(64 - shift) if shift else np.zeros_like(words)).astype(np.int64)
    negative = (words & np.uint64(1)).astype(bool)
    kept = _coins(low / t, lambda i: Fraction(int(low[i]), t), bits)
    low, negative = low[kept], negative[kept]
    size = low + t * _geometric(len(low), bits)
    kept = ~(negative & (size == 0))  # otherwise zero would be twice as likely
    size, negative = size[kept], negative[kept]
    # Algorithm 3: accept y with exp(-(|y| - sigma^2/t)^2 / (2 sigma^2)).
    x = ((size - sigma * (sigma / t)) / sigma) ** 2 / 2
    kept = _coins(x, lambda i: Fraction(int(size[i]) * t - sigma**2, sigma * t) ** 2 / 2, bits)
    drawn: Integers = np.where(negative, -size, size)[kept]
    return drawn


def discrete_gaussian(sigma: int, count: int, source: Source = os.urandom) -> Integers:
    """Samples integers x with probability proportional to exp(-x^2 / (2 sigma^2)).

    Args:
      sigma: a whole number from 1 to 2**56; the standard deviation, to within a relative 1e-7.
      count: the number of samples.
      source: of random bytes; only the operating system's gives a guarantee.

    Raises:
      ValueError: sigma or count is out of range.
    """
    if not (1 <= sigma <= MAX_SIGMA and count >= 0):
        raise ValueError(f"Expected 1 <= {sigma=} <= 2**56 and {count=} >= 0.")
    bits, out, filled = _Bits(source), np.empty(count, np.int64), 0
    while filled < count:
        drawn = _batch(sigma, bits)[: count - filled]
        out[filled : filled + len(drawn)] = drawn
        filled += len(drawn)
    return out


def with_noise(sums: IntSums, std: int, source: Source) -> IntSums:
    """Returns integer arrays with independent discrete Gaussian noise added; `std` 0 adds none."""
    if std == 0:
        return sums
    noise, place, out = discrete_gaussian(std, sum(s.size for s in sums), source), 0, []
    for s in sums:
        out.append(s + noise[place : place + s.size].reshape(s.shape))
        place += s.size
    return tuple(out)


def noise_source(reproducible: bool, stream: Stream) -> Source:
    """Returns the source of noise bits: the operating system, or the seed in a run marked reproducible.

    Args:
      reproducible: whether the run is marked so. Anyone who knows the seed can then subtract its noise.
      stream: the seeded stream of such a run; each call continues it.
    """
    if not reproducible:
        return os.urandom
    place = 0

    def read(count: int) -> bytes:
        nonlocal place
        place += count
        return stream.read(count, place - count)

    return read
