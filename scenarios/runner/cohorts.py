"""Client sampling of a study, in place of the run's own. Every choice is by hash, as the server's is: no generator has state.

A rule is a function `(population, round, size) -> pseudonyms`; its options are given in the spec string.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from fedlm.errors import ConfigError
from fedlm.privacy.sampling import sample_cohort, scores
from fedlm.spec import parse_spec
from fedlm.types import Pseudonyms, TextMetrics
from fedlm.vault.format import derive


@dataclass(frozen=True)
class Population:
    """All that a sampling rule may read.

    Attributes:
      key: the run's cohort key.
      clients: the pseudonyms of all that train.
      tokens: training targets of each.
      groups: the group of each.
      minority: the study's.
      figures: sums of the last evaluation, for each client that was in it: on validation text, if the clients have any.
    """

    key: bytes
    clients: Pseudonyms
    tokens: Mapping[int, int]
    groups: Mapping[int, str]
    figures: Mapping[int, TextMetrics]
    minority: str = ""

    def chance(self, purpose: str, server_round: int) -> npt.NDArray[np.float64]:
        """Returns a uniform number in [0, 1) for each client, its own for a purpose and a round."""
        return scores(derive(self.key, purpose), server_round, self.clients) / 2.0**64

    def of_group(self, group: str) -> npt.NDArray[np.bool_]:
        """Returns which clients are of a group, by default of the minority."""
        return np.array([self.groups.get(int(c), "") == (group or self.minority) for c in self.clients], np.bool_)


Sampling = Callable[[Population, int, int], Pseudonyms]
"""Returns the cohort of a round: population, round (from 1), cohort size -> pseudonyms."""


def available(population: Population, server_round: int, size: int, *, share: float, group: str = "") -> Pseudonyms:
    """Samples from the available clients: those of a group (the minority, if none is named) are available in a share of the rounds, all others always."""
    # Availability and the sampling below use independent streams, because their purposes differ.
    there = (population.chance("available", server_round) < share) | ~population.of_group(group)
    return sample_cohort(population.key, server_round, population.clients[there], size)


def dropout(population: Population, server_round: int, size: int, *, rate: float, by_size: bool = True) -> Pseudonyms:
    """A share `rate` of the clients drops out of each round.

    With `by_size` a client's probability rises with its rank r by size, from 0 to twice the rate: 2 rate (r + 1/2) / n, r = 0
    for the smallest of n. The mean stays `rate`.
    """
    ranks = np.argsort(np.argsort([population.tokens.get(int(c), 0) for c in population.clients], kind="stable"))
    probabilities = 2 * rate * (ranks + 0.5) / max(len(ranks), 1) if by_size else np.full(len(ranks), rate)
    there = population.chance("dropout", server_round) >= probabilities
    return sample_cohort(population.key, server_round, population.clients[there], size)


def mixture(
    population: Population,
    server_round: int,
    size: int,
    *,
    share: float,
    clients: int,
    group: str = "",
    available: float = 1.0,
) -> Pseudonyms:
    """Samples from `clients` clients, of whom a share is of a group.

    The clients of each side are those that come first by a hash, so the training sets of one seed are nested: with a
    larger share the group's clients stay, and more join.

    Args:
      population, server_round, size: see `Sampling`.
      share: of the group among the clients that train.
      clients: that train, in total.
      group: its label's value; by default the study's minority.
      available: share of the rounds in which a client of the group is there; all others always are.

    Raises:
      ConfigError: a side has too few clients.
    """
    inside, few = population.of_group(group), round(share * clients)
    order = np.argsort(population.chance("mixture", 0), kind="stable")
    sides = [order[inside[order]][:few], order[~inside[order]][: clients - few]]
    if len(sides[0]) < few or len(sides[1]) < clients - few:
        found = f"{np.sum(inside)} of {group} and {np.sum(~inside)} others"
        raise ConfigError(
            f"The client sampling needs {few} clients of {group} and {clients - few} others; there are {found}."
        )
    chosen = np.sort(np.concatenate(sides))
    there = (population.chance("available", server_round) < available) | ~inside
    return sample_cohort(population.key, server_round, population.clients[chosen[there[chosen]]], size)


def only(population: Population, server_round: int, size: int, *, groups: list[str], clients: int) -> Pseudonyms:
    """Samples from `clients` clients of some groups: those that come first by a hash.

    Raises:
      ConfigError: the groups have too few clients.
    """
    inside = np.flatnonzero(np.any([population.of_group(group) for group in groups], axis=0))
    if len(inside) < clients:
        named = ", ".join(groups)
        raise ConfigError(f"The client sampling needs {clients} clients of {named}; there are {len(inside)}.")
    order = inside[np.argsort(population.chance("only", 0)[inside], kind="stable")]
    return sample_cohort(population.key, server_round, population.clients[np.sort(order[:clients])], size)


def _by_share(population: Population, server_round: int, size: int, shares: Mapping[str, float]) -> Pseudonyms:
    """Samples each group's share of the cohort, at least one client of every group with a share."""
    parts = []
    for group, share in sorted(shares.items()):
        inside = population.clients[population.of_group(group)]
        parts.append(sample_cohort(population.key, server_round, inside, max(1, round(share * size))))
    return np.concatenate(parts)


def balanced(population: Population, server_round: int, size: int) -> Pseudonyms:
    """The same number of clients of each group, however many it has."""
    groups = sorted(set(population.groups.values()))
    return _by_share(population, server_round, size, dict.fromkeys(groups, 1 / max(len(groups), 1)))


def agnostic(population: Population, server_round: int, size: int, *, step: float = 2.0) -> Pseudonyms:
    """Groups with a higher loss get more places: shares softmax(step * loss), as of the last evaluation.

    After agnostic federated learning (Mohri, Sivek and Suresh 2019, https://arxiv.org/abs/1902.00146). There the mixture
    changes at every step and weights the losses; here it changes with each evaluation and sets the sampling.
    """
    losses = {}
    for group in sorted(set(population.groups.values())):
        total = sum((m for c, m in population.figures.items() if population.groups.get(c) == group), TextMetrics())
        losses[group] = total.loss_sum / max(total.tokens, 1)
    worst = max(losses.values(), default=0.0)  # subtracted before exp: a large loss would overflow
    weights = {g: math.exp(step * (loss - worst)) for g, loss in losses.items()}
    return _by_share(population, server_round, size, {g: w / sum(weights.values()) for g, w in weights.items()})


RULES: dict[str, Callable[..., Pseudonyms]] = {
    "available": available,
    "dropout": dropout,
    "balanced": balanced,
    "agnostic": agnostic,
    "mixture": mixture,
    "only": only,
}


def build_sampling(spec: str) -> Sampling:
    """Returns the rule of a spec string.

    Raises:
      ConfigError: there is none of this name.
    """
    parsed = parse_spec(spec)
    if parsed.name not in RULES:
        raise ConfigError(f"Unknown client sampling {parsed.name!r}; choose one of: {', '.join(RULES)}.")
    return partial(RULES[parsed.name], **parsed.options)
