"""Does the mechanism keep what its ledger claims? A lower bound on epsilon, measured from outside with canaries.

`python -m scenarios.privacy_audit [--canaries 10000] [--epsilons 1 2 4]`, seconds. Each canary is a coordinate direction
of its own, clipped to the norm bound, in the sum or not by a fair coin; the auditor guesses from the released sum.
A missing clip is caught at once. Halved noise is caught at claims of 1 and 2 with 100,000 canaries, not reliably with
10,000 and not at 4; a chi-square test of the noise catches it always (tests/privacy/test_noise.py). (The audit of a trained model, with
canaries in its text, is not written yet.)

Steinke, Nasr, Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023, theorem 5.2 (delta > 0).
https://arxiv.org/abs/2305.08846
"""

import argparse
import math

import numpy as np
from scipy import optimize, stats

from fedlm.config import RunConfig
from fedlm.privacy.accounting import plan
from fedlm.privacy.contribute import contribute
from fedlm.privacy.mechanism import build_mechanism, noise_source
from fedlm.sums import ExactSum


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Returns the largest chance that an (epsilon, delta)-private mechanism lets so many guesses be right.

    Binomial tail beta = P(Bin(guesses, e^eps / (1 + e^eps)) >= correct), plus
    2 canaries delta max_i P(correct - i <= Bin < correct) / i (the paper's appendix D).
    """
    law = stats.binom(guesses, 1 / (1 + math.exp(-epsilon)))
    beta = float(law.sf(correct - 1))
    steps = np.arange(1, correct + 1)
    alpha = float(np.max((law.sf(correct - steps - 1) - beta) / steps)) if correct else 0.0
    return min(1.0, beta + 2 * canaries * delta * alpha)


def lower_bound(canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95) -> float:
    """Returns the largest epsilon that the guesses refute at the confidence; 0 if none."""

    def gap(epsilon: float) -> float:
        return p_value(canaries, guesses, correct, epsilon, delta) - (1 - confidence)

    return float(optimize.brentq(gap, 0.0, 30.0)) if gap(0.0) < 0 < gap(30.0) else (0.0 if gap(0.0) >= 0 else 30.0)


def audit(
    canaries: int, multiplier: float, delta: float, rng: np.random.Generator, *, noise: float, size: float
) -> float:
    """Returns the lower bound of one released sum.

    Args:
      canaries: orthogonal canaries, and coordinates.
      multiplier: the noise multiplier that the ledger would state; 0 is no noise.
      delta: of the claim.
      rng: draws who is in.
      noise: factor on the noise (0.5: a broken mechanism).
      size: canaries' norm over the bound (above 1: a missing clip).
    """
    values = {"mechanism": "gaussian", "weighting": "uniform", "sampling_rate": 1.0, "clip_norm": 1.0}
    settings = RunConfig.checked({**values, "noise_multiplier": multiplier}).privacy
    mechanism = build_mechanism(settings, canaries)
    event = mechanism.event(1, np.zeros(0, np.uint64))
    inside = rng.integers(0, 2, canaries).astype(bool)
    one = ExactSum((np.zeros(1, np.int64),))  # one coordinate is all a canary touches
    contribute(one, (np.ones(1, np.float32),), 1, settings, 1.0, noise_source(settings))
    total = ExactSum((np.where(inside, round(int(one.sums[0][0]) * size), 0).astype(np.int64),))
    silent = ExactSum((np.zeros(canaries, np.int64),))
    noised = total.sums[0] + (mechanism.release(event, silent, noise_source(settings))[0] * noise).astype(np.int64)
    order = np.argsort(noised)
    best = 0.0
    tenths = max(1, canaries // 200)
    for each in (tenths, 4 * tenths, 20 * tenths):  # guesses on either side; a third of the error for each choice
        correct = int((~inside[order[:each]]).sum() + inside[order[-each:]].sum())
        best = max(best, lower_bound(canaries, 2 * each, correct, delta, 1 - 0.05 / 3))
    return best


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Lower bounds on epsilon by canaries, at 95 % confidence.")
    parser.add_argument("--canaries", type=int, default=10_000)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0, help="of the canaries' coins; the noise is never seeded")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print("claimed  as claimed  noise halved  clip missing (x10)  no noise")
    for claimed in args.epsilons:
        z = plan(target=claimed, delta=args.delta, rounds=1, sampling_rate=1.0, method="pld")
        kinds = [(z, 1.0, 1.0), (z, 0.5, 1.0), (z, 1.0, 10.0), (0.0, 1.0, 1.0)]
        found = [audit(args.canaries, m, args.delta, rng, noise=n, size=s) for m, n, s in kinds]
        print(f"{claimed:7.2f}  {found[0]:10.2f}  {found[1]:12.2f}  {found[2]:18.2f}  {found[3]:8.2f}", flush=True)


if __name__ == "__main__":
    main()
