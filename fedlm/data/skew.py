"""Partitions for studies: client sizes with a chosen Gini coefficient, topics of a chosen concentration, a minority's share.

All assign documents at random. The number of clients and (nearly) the total text stay the same over conditions, so that
only the skew changes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from fedlm.errors import ConfigError, check_number
from fedlm.rng import Purpose, stream

Parts = npt.NDArray[np.int64]
LEAST = 2  # documents of a client: one for training, one held out


def lognormal_sizes(gini: float, clients: int, documents: int) -> Parts:
    """Returns sizes (clients,), log-normal quantiles that add up to `documents` and have the Gini coefficient `gini`.

    The coefficient of a log-normal distribution is 2 Phi(sigma / sqrt 2) - 1 (Aitchison and Brown 1957, section 2.4). Few
    clients and whole documents lower it, so sigma is found by bisection on the sizes themselves.

    Raises:
      ConfigError: there are too few documents for this coefficient.

    >>> lognormal_sizes(0.0, clients=4, documents=20).tolist()
    [5, 5, 5, 5]
    """
    check_number("gini of quantity", gini, ge=0, lt=1)
    check_number("clients of quantity", clients, ge=2)
    check_number("documents of quantity", documents, ge=LEAST * clients)
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / clients) for i in range(clients)])
    low, high = 0.0, 12.0  # of sigma; sixty halvings reach the precision of float64
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _gini(_apportion(middle * quantiles, documents)) < gini else (low, middle)
    sizes = _apportion(high * quantiles, documents)
    if gini and abs(_gini(sizes) - gini) > 0.02:
        raise ConfigError(f"{documents} documents for {clients} clients reach Gini {_gini(sizes):.2f}, not {gini}.")
    return sizes


def _apportion(logs: npt.NDArray[np.float64], documents: int) -> Parts:
    """Returns whole sizes of at least LEAST, proportional to exp(logs), by largest remainders."""
    weights = np.exp(logs - logs.max())
    exact = weights / weights.sum() * (documents - LEAST * len(logs))
    sizes = np.floor(exact).astype(np.int64)
    rest = documents - LEAST * len(logs) - int(sizes.sum())
    sizes[np.argsort(-(exact - sizes), kind="stable")[:rest]] += 1
    found: Parts = sizes + LEAST
    return found


def _gini(sizes: Parts) -> float:
    """Returns 2 sum(rank x size) / (n sum(size)) - (n + 1) / n over the sorted sizes."""
    ranks = np.arange(1, len(sizes) + 1)
    return float(2 * np.sum(ranks * np.sort(sizes)) / (len(sizes) * sizes.sum()) - (len(sizes) + 1) / len(sizes))


def quantity(rows: Sequence[Mapping[str, str]], seed: int, *, gini: float, clients: int, documents: int) -> Parts:
    """Assigns `documents` of the rows at random to clients whose sizes have the Gini coefficient `gini`; -1 for the rest."""
    if documents > len(rows):
        raise ConfigError(f"The corpus has {len(rows)} documents, fewer than documents={documents}.")
    rng = stream(seed, Purpose.QUANTITY_SKEW)
    sizes = lognormal_sizes(gini, clients, documents)
    found = np.full(len(rows), -1, np.int64)
    found[rng.permutation(len(rows))[:documents]] = np.repeat(rng.permutation(clients), sizes)
    return found


def topics(
    rows: Sequence[Mapping[str, str]], seed: int, *, by: str, alpha: float, clients: int, documents: int
) -> Parts:
    """Assigns `documents` to each client, with labels drawn from its own distribution q ~ Dirichlet(alpha p).

    p is the distribution of the label. Sizes are equal, and every alpha deals the same documents of a seed, so that only
    their places differ (Hsu, Qi and Brown 2019, section 3, https://arxiv.org/abs/1909.06335). A label without documents left
    is omitted from the following draws, so the last clients' mixtures are what remains.

    Args:
      rows: labels of each document.
      seed: of the draws.
      by: the label.
      alpha: near 0 each client has one label; near infinity every client has the distribution of all.
      clients, documents: number of clients, and documents of each.
    """
    check_number("alpha of topics", alpha, gt=0)
    check_number("clients of topics", clients, ge=2)
    check_number("documents of topics", documents, ge=LEAST)
    names = sorted(label_values(rows, by))
    rng = stream(seed, Purpose.LABEL_SKEW)
    labelled = np.array([i for i, row in enumerate(rows) if row.get(by)])
    if len(labelled) < clients * documents:
        raise ConfigError(f"The corpus has {len(labelled)} documents with {by}, fewer than {clients} x {documents}.")
    dealt = rng.permutation(labelled)[: clients * documents]
    left = [[int(i) for i in dealt if rows[i][by] == name] for name in names]
    share = np.array([len(places) for places in left], np.float64)
    found = np.full(len(rows), -1, np.int64)
    mixes = rng.dirichlet(np.maximum(alpha * share / share.sum(), 1e-3), clients)  # (clients, labels)
    for _ in range(documents):  # clients take turns, so that a label runs out for all of them at once
        for client in range(clients):
            chances = mixes[client] * [bool(places) for places in left]
            if chances.sum() == 0:  # its labels are used up: choose among the others by what remains of each
                chances = np.array([len(places) for places in left], np.float64)
            found[left[rng.choice(len(names), p=chances / chances.sum())].pop()] = client
    return found


def minority(
    rows: Sequence[Mapping[str, str]],
    seed: int,
    *,
    by: str,
    share: float,
    clients: int,
    characters: int,
    group: str = "",
) -> Parts:
    """Splits the corpus into clients of `characters` each; a share of them has text of `group`, the others of the rest.

    Args:
      rows: labels of each document, `characters` among them.
      seed: of the draw.
      by: the label that defines groups.
      share: of the clients that belong to the group; each side has at least two, unless the share is 0 or 1.
      clients: in total.
      characters: of a client, at least.
      group: the label's value; by default the value with the second most text.
    """
    check_number("share of minority", share, ge=0, le=1)
    check_number("clients of minority", clients, ge=1)
    check_number("characters of minority", characters, ge=1)
    values = label_values(rows, by)
    group = group or minority_value(rows, by)
    if group not in values:
        raise ConfigError(f"No document has {by}={group}; the values are: {', '.join(sorted(values)[:20])}.")
    few = round(share * clients)
    if 1 in (few, clients - few):
        raise ConfigError(
            f"A share of {share:g} of {clients} clients leaves a group with one client; use more clients."
        )
    rng = stream(seed, Purpose.MINORITY_SKEW)
    found = np.full(len(rows), -1, np.int64)
    for inside, first, count in ((True, 0, few), (False, few, clients - few)):
        places = [i for i, row in enumerate(rows) if (row.get(by, "") == group) == inside and row.get(by)]
        _assign([places[i] for i in rng.permutation(len(places))], rows, range(first, first + count), characters, found)
    return found


def within(rows: Sequence[Mapping[str, str]], seed: int, *, by: str, characters: int) -> Parts:
    """Splits the documents of each value of a label into as many clients of `characters` as there are; -1 for the rest.

    Args:
      rows: labels of each document, `characters` among them.
      seed: of the draw.
      by: the label: each client has text of one value.
      characters: of a client, at least.
    """
    check_number("characters of within", characters, ge=1)
    rng = stream(seed, Purpose.WITHIN_GROUPS)
    found, client = np.full(len(rows), -1, np.int64), 0
    for value in sorted(label_values(rows, by)):
        places = [i for i, row in enumerate(rows) if row.get(by) == value]
        for own in _cut([places[i] for i in rng.permutation(len(places))], rows, characters):
            found[own], client = client, client + 1
    return found


def _assign(
    places: list[int], rows: Sequence[Mapping[str, str]], clients: range, characters: int, found: Parts
) -> None:
    """Gives each client documents until it has enough characters; writes into `found`."""
    cut = _cut(places, rows, characters)
    for client in clients:
        if (own := next(cut, None)) is None:
            raise ConfigError(f"The corpus has too little text for {len(clients)} clients of {characters} characters.")
        found[own] = client


def _cut(places: Iterable[int], rows: Sequence[Mapping[str, str]], characters: int) -> Iterator[list[int]]:
    """Yields the documents of one client after the other: at least LEAST, and until it has enough characters."""
    own, have = list[int](), 0
    for place in places:
        own.append(place)
        have += int(rows[place]["characters"])
        if have >= characters and len(own) >= LEAST:
            yield own
            own, have = [], 0


def label_values(rows: Sequence[Mapping[str, str]], label: str) -> dict[str, int]:
    """Returns the characters of text under each value of a label.

    Raises:
      ConfigError: no document has the label.
    """
    values: dict[str, int] = {}
    for row in rows:
        if row.get(label):
            values[row[label]] = values.get(row[label], 0) + int(row["characters"])
    if not values:
        known = sorted({k for row in rows for k in row} - {"user", "characters"})
        raise ConfigError(f"No document has the label {label!r}; the corpus has: {', '.join(known) or 'no labels'}.")
    return values


def minority_value(rows: Sequence[Mapping[str, str]], label: str) -> str:
    """Returns the value of a label with the second most text.

    Raises:
      ConfigError: there is one value only.
    """
    values = label_values(rows, label)
    if len(values) < 2:
        raise ConfigError(f"The label {label!r} has one value only; a study of groups needs two.")
    return sorted(values, key=lambda v: (-values[v], v))[1]


OWN: dict[str, Callable[..., Parts]] = {"quantity": quantity, "topics": topics, "minority": minority, "within": within}
"""Partitions of this file, by the name in a spec string."""
