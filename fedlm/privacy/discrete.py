"""The discrete Gaussian is, but for a factor next to 1, a rounded continuous one, whose privacy loss is known exactly.

Let D be the discrete Gaussian exp(-(x - m)^2 / 2 s^2) / c on the integers with an integer centre m, and 0 < r < s. Draw y
from N(m, s^2 - r^2), then an integer x with probability exp(-(x - y)^2 / 2 r^2) / c(y). Call its law Q: it is post-processing
of a continuous Gaussian. By Poisson summation

    c(y) = r sqrt(2 pi) (1 + 2 sum over k >= 1 of exp(-2 pi^2 r^2 k^2) cos(2 pi k y)),

so c(y) is constant to within a factor 1 +- e, e = 2 sum exp(-2 pi^2 r^2 k^2), and so is the constant c of D. Since
N(0, s^2 - r^2) * N(0, r^2) = N(0, s^2), the ratio D(x) / Q(x) lies between (1 - e) / (1 + e) and its inverse for every x
(Peikert 2010, theorem 3.1, https://eprint.iacr.org/2010/088). With d coordinates and T releases, the factors multiply to
exp(+-tau), tau <= 5 d T exp(-2 pi^2 r^2), also inside the mixture over the cohorts that sampling makes. Therefore

    delta of the discrete mechanism at epsilon + 2 tau  <=  exp(tau) * delta of the continuous one at epsilon,

where the continuous one has variance s^2 - r^2 instead of s^2. docs/accounting.md has the steps.
"""

import math

MAX_DIMENSION = 2**40
"""The proof's constants hold for up to this many coordinates."""
_SUM, _COUNT = 4.0, 2.0  # r^2, in steps of the lattice, for sums of up to MAX_DIMENSION coordinates and for one count
LOG_RATIO = 5 * (MAX_DIMENSION * math.exp(-2 * math.pi**2 * _SUM) + math.exp(-2 * math.pi**2 * _COUNT))
"""tau of one release: 4e-17."""


def continuous_multiplier(noise_multiplier: float, noise_std: float, *, is_count: bool = False) -> float:
    """Returns the noise multiplier of the continuous Gaussian whose privacy loss bounds that of the discrete one.

    Args:
      noise_multiplier: of the discrete Gaussian.
      noise_std: its s, in steps of the lattice.
      is_count: whether one number is noised, not up to `MAX_DIMENSION`.

    >>> continuous_multiplier(1.0, 2**24), continuous_multiplier(1.0, 2.0)
    (0.999999999, 0.0)
    """
    removed = (_COUNT if is_count else _SUM) / max(noise_std, 1.0) ** 2  # r^2 / s^2
    kept = math.sqrt(max(0.0, 1 - removed))
    # Rounded down to nine digits: rounds whose s differs by little then cost the same and compose as one.
    return noise_multiplier * max(0, math.floor(kept * 1e9 - 0.5)) / 1e9
