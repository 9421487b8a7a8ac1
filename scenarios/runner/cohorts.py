"""Who takes part in a round: rules that a study sets in place of the run's own cohort. All draws are by hash, as the server's.

A rule is a function `(population, round, size) -> pseudonyms`; its options stand in the spec string.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from fedlm.errors import ConfigError
from fedlm.privacy.sampling import draw_cohort, scores
from fedlm.spec import parse_spec
from fedlm.types import Pseudonyms, TextMetrics
from fedlm.vault.format import derive


@dataclass(frozen=True)
class Population:
    """All that a rule may know.

    Attributes:
      key: the run's cohort key.
      clients: all pseudonyms.
      tokens: training targets of each.
      groups: the group of each.
      figures: held-out sums of the last evaluation, for each client that was in it.
    """

    key: bytes
    clients: Pseudonyms
    tokens: Mapping[int, int]
    groups: Mapping[int, str]
    figures: Mapping[int, TextMetrics]

    def chance(self, purpose: str, server_round: int) -> npt.NDArray[np.float64]:
        """Returns a uniform number in [0, 1) for each client, its own for a purpose and a round."""
        return scores(derive(self.key, purpose), server_round, self.clients) / 2.0**64

    def of_group(self, group: str) -> npt.NDArray[np.bool_]:
        """Returns which clients are of a group."""
        return np.array([self.groups.get(int(c), "") == group for c in self.clients], np.bool_)


Draw = Callable[[Population, int, int], Pseudonyms]


def available(people: Population, server_round: int, size: int, *, group: str, share: float) -> Pseudonyms:
    """Clients of a group can be reached in a share of the rounds only, the others always; the cohort is drawn from who can."""
    there = (people.chance("available", server_round) < share) | ~people.of_group(group)
    return draw_cohort(people.key, server_round, people.clients[there], size)


def dropout(people: Population, server_round: int, size: int, *, rate: float, by_size: bool = True) -> Pseudonyms:
    """A share of the clients drops out of each round: by size, the larger the likelier (rate 0 to twice the rate by rank)."""
    ranks = np.argsort(np.argsort([people.tokens.get(int(c), 0) for c in people.clients], kind="stable"))
    chances = 2 * rate * (ranks + 0.5) / max(len(ranks), 1) if by_size else np.full(len(ranks), rate)
    there = people.chance("dropout", server_round) >= chances
    return draw_cohort(people.key, server_round, people.clients[there], size)


def _by_share(people: Population, server_round: int, size: int, shares: Mapping[str, float]) -> Pseudonyms:
    """Draws from each group its share of the cohort; every group with a share above 0 has at least one client in it."""
    parts = []
    for group, share in sorted(shares.items()):
        inside = people.clients[people.of_group(group)]
        parts.append(draw_cohort(people.key, server_round, inside, max(1, round(share * size))))
    return np.concatenate(parts)


def balanced(people: Population, server_round: int, size: int) -> Pseudonyms:
    """As many clients of each group, however many it has."""
    groups = sorted(set(people.groups.values()))
    return _by_share(people, server_round, size, dict.fromkeys(groups, 1 / max(len(groups), 1)))


def agnostic(people: Population, server_round: int, size: int, *, step: float = 2.0) -> Pseudonyms:
    """The worse a group's held-out loss, the more of it: mixture weights softmax(step * loss), as of the last evaluation.

    After Mohri, Sivek and Suresh 2019 (https://arxiv.org/abs/1902.00146), whose players meet every step; here the mixture
    follows the evaluations, and clients are drawn by it rather than weighted.
    """
    losses = {}
    for group in sorted(set(people.groups.values())):
        total = sum((m for c, m in people.figures.items() if people.groups.get(c) == group), TextMetrics())
        losses[group] = total.loss_sum / max(total.tokens, 1)
    worst = max(losses.values(), default=0.0)
    weights = {g: math.exp(step * (loss - worst)) for g, loss in losses.items()}
    return _by_share(people, server_round, size, {g: w / sum(weights.values()) for g, w in weights.items()})


RULES: dict[str, Callable[..., Pseudonyms]] = {
    "available": available,
    "dropout": dropout,
    "balanced": balanced,
    "agnostic": agnostic,
}


def build_draw(spec: str) -> Draw:
    """Returns the rule of a spec string.

    Raises:
      ConfigError: there is none of this name.
    """
    parsed = parse_spec(spec)
    if parsed.name not in RULES:
        raise ConfigError(f"There is no draw {parsed.name!r}; there are: {', '.join(RULES)}.")
    return partial(RULES[parsed.name], **parsed.options)
