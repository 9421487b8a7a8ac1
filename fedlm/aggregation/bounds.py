"""What a chunk of clients can add to a round at most: nodes are not trusted, and each reply is compared with public limits.

All limits are per client, so a chunk's limit is the number of its clients times that, and a chunk without trained clients
adds nothing. With n clients in a cohort, the limit b = min(coordinate, LIMIT // n) keeps the sum of all checked replies
within int64:

    sum over chunks |s_k| <= sum over chunks clients_k * b <= n * (2**62 // n) <= 2**62 < 2**63 - 1

Where nodes add noise of standard deviation sigma, each client adds at most 40 sigma more (P < exp(-800) beyond). A chunk of c
clients adds at most 40 sqrt(c) sigma <= 40 c sigma, and `PrivacySettings.check_overflow` has refused settings with
n * (b + 40 sigma) > 2**62.
"""

import math
from dataclasses import dataclass

import numpy as np

from fedlm.aggregation.exact import LIMIT, ExactSum
from fedlm.types import IntSums, TextMetrics

MAX_TOKENS = 2**31
"""The largest number of targets of one client in an epoch, where the run states none."""

MAX_CHARACTERS = 2**10
"""The largest number of characters of one symbol, where the vocabulary is not at hand."""

_MAX_LOSS = 2.0**128  # nats per target: losses are computed in float32, whose values are all smaller
_MAX_NUMBER = 2**200  # of a further sum: no norm of float32 vectors is larger, and a total fits into a float
_ROUNDING = 1e-9  # relative error of a norm in float64
_BLOCK = 2**13  # coordinates at a time
_REACH = 40  # standard deviations of noise


@dataclass(frozen=True)
class Bounds:
    """The public limits of one client's contribution to a round.

    Attributes:
      coordinate: of |rint(weight * update * 2**24)| in every coordinate, before noise.
      norm: L2 norm of the contribution, where the mechanism clips and the node adds no noise.
      noise_std: standard deviation of the noise that a node adds for each client; 0 without.
      weights: the smallest and the largest weight.
      tokens: targets, over all epochs of the round.
      characters: of one target.
    """

    coordinate: int = LIMIT
    norm: float = math.inf
    noise_std: int = 0
    weights: tuple[int, int] = (0, MAX_TOKENS)
    tokens: int = MAX_TOKENS
    characters: int = MAX_CHARACTERS

    def check(self, total: ExactSum, metrics: TextMetrics, *, asked: int, cohort: int) -> None:
        """Refuses the sum of a chunk that its clients could not have sent.

        Args:
          total: the sum.
          metrics: its training figures.
          asked: the number of clients in the request.
          cohort: the number of clients in the round.

        Raises:
          ValueError: with the reason.
        """
        clients = total.clients
        least, most = self.weights
        if clients + total.failed != asked:
            raise ValueError("its numbers of clients are out of range: they do not add up to those of the request")
        if not (least * clients <= total.weight <= most * clients and total.below <= clients):
            raise ValueError("its weight or its number of clipped updates is out of range for so many clients")
        check_metrics(metrics, clients, self.tokens, self.characters)
        numbers = (n for named in total.further.values() for n in named.numbers.values())
        if not all(n <= clients * _MAX_NUMBER for n in numbers):
            raise ValueError("a number of its further sums is out of range")
        each = min(self.coordinate, LIMIT // max(cohort, 1))
        # Noise is added for failed clients as well. Without noise, a weight of 0 makes rint(0 * update) = 0.
        noise = math.ceil(_REACH * self.noise_std * math.sqrt(asked))
        own = clients * each if total.weight or self.noise_std else 0
        further = [v for named in total.further.values() for v in named.vectors]
        if not (_within(total.sums, own + noise) and _within(tuple(further), clients * each)):
            raise ValueError("its sums are out of range for so many clients")
        # |sum of c contributions| <= c max |contribution|
        if math.isfinite(self.norm) and not _norm(total.sums) <= clients * self.norm * (1 + _ROUNDING):
            raise ValueError("the norm of its sums is out of range for so many clients")


def check_metrics(metrics: TextMetrics, clients: int, tokens: int, characters: int = MAX_CHARACTERS) -> None:
    """Refuses figures that no text of these clients has.

    Args:
      metrics: sums over the clients. The loss is a cross-entropy, so it is finite and at least 0.
      clients: the number of clients.
      tokens: the largest number of targets of one client.
      characters: the largest number of characters of one target.

    Raises:
      ValueError: with the reason.
    """
    if not metrics.correct <= metrics.tokens <= clients * tokens:
        raise ValueError("its numbers of tokens are out of range for so many clients")
    if not metrics.characters <= metrics.tokens * characters:
        raise ValueError("its number of characters is out of range for so many tokens")
    if not 0 <= metrics.loss_sum <= metrics.tokens * _MAX_LOSS:  # NaN compares false
        raise ValueError("its loss is out of range for so many tokens")


def _within(vectors: IntSums, limit: int) -> bool:
    """Returns whether every |coordinate| is at most `limit`; as Python integers, since |-2**63| is no int64."""
    return all(v.size == 0 or (-limit <= int(v.min()) and int(v.max()) <= limit) for v in vectors)


def _norm(vectors: IntSums) -> float:
    """Returns the L2 norm over all arrays together, block by block: a float64 copy of a whole model is slow to make."""
    flat = [v.reshape(-1) for v in vectors]
    blocks = (f[at : at + _BLOCK].astype(np.float64) for f in flat for at in range(0, f.size, _BLOCK))
    return math.sqrt(sum(float(b @ b) for b in blocks))
