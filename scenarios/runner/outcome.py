"""What one run of a study says: figures over tokens, clients and groups, with the data's heterogeneity beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedlm.aggregation.exact import ExactSum
from fedlm.errors import CorpusError
from fedlm.measure.fairness import (
    gini,
    group_gap,
    group_losses,
    jain,
    share_worse_than_local,
    standard_deviation,
    tenths,
)
from fedlm.measure.heterogeneity import describe
from fedlm.measure.statistics import bootstrap_ratio
from fedlm.measure.text import summary
from fedlm.types import TextMetrics, Weights
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault

if TYPE_CHECKING:
    from scenarios.runner.job import Job

Values = npt.NDArray[np.float64]
ENTROPY, GROUP = "label_entropy:", "group:"  # before the label's name, and the group's
HETEROGENEITY = ("clients", "tokens", "size_gini", "size_effective_number", "ngram_distance", "unknown_share")


@dataclass(frozen=True)
class People:
    """The clients of a run before training: group and size of each, heterogeneity of all."""

    groups: dict[int, str]
    tokens: dict[int, int]
    data: dict[str, float]
    minority: str


def population(path: Path, source: KeySource, job: "Job") -> People:
    """Opens a vault in memory and describes its clients.

    Raises:
      CorpusError: the study asks for groups, and the clients have no such label, or a group has one client.
    """
    vault = Vault(path, source)
    clients = [int(c) for c in vault.pseudonyms]
    tokens = {c: vault.tokens(c) for c in clients}
    texts = [vault.documents(c) for c in clients]
    labels = [labels for _, labels in vault.names()]
    entropies = {f"{ENTROPY}{k}": float(v) for k, v in vault.about.get("label_entropy", {}).items()}
    vault.close()
    data = describe(texts, [tokens[c] for c in clients], job.config.vocab) | entropies
    groups = {}
    if job.study.group and job.case.grouped:
        groups = {c: x.get(job.study.group, "") for c, x in zip(clients, labels, strict=True)}
        _check_groups(list(groups.values()), labels, job)
    names = sorted(set(groups.values()), key=lambda g: (sum(v == g for v in groups.values()), g))
    minority = job.study.minority if job.study.minority in names else names[0] if names else ""
    return People(groups, tokens, data, minority if len(names) > 1 else "")


def _check_groups(groups: list[str], labels: list[dict[str, str]], job: "Job") -> None:
    known = ", ".join(sorted({k for x in labels for k in x})) or "no labels"
    if not any(groups):
        raise CorpusError(f"No client of {job.corpus} has the label {job.study.group!r}; they have: {known}.")
    for name in sorted(set(groups)):
        if groups.count(name) < 2:
            raise CorpusError(
                f"The group {job.study.group}={name or '(none)'} of {job.corpus} has one client only; a group's figure "
                "needs two or more."
            )


def _bits(figures: Mapping[int, TextMetrics], clients: list[int]) -> Values:
    """Bits per character of each client (clients,)."""
    pairs = [(figures[c].loss_sum, max(figures[c].characters, 1)) for c in clients]
    return np.array([loss / math.log(2) / characters for loss, characters in pairs], np.float64)


def outcome(
    people: People,
    figures: Mapping[int, TextMetrics],
    alone: Mapping[int, TextMetrics],
    probed: Mapping[str, float],
) -> dict[str, Any]:
    """Returns the part of result.json that is measured: figures, intervals over clients, data, and a row per client.

    Args:
      people: the population.
      figures: held-out sums of each client under the run's model.
      alone: the same under a model of the client's own text, for some clients or none.
      probed: further figures.
    """
    clients = [c for c in sorted(figures) if figures[c].characters > 0]
    bits = _bits(figures, clients)
    best, worst = tenths(bits)
    measured: dict[str, float] = {
        **summary(sum((figures[c] for c in clients), TextMetrics())),
        "best_tenth": best,
        "worst_tenth": worst,
        "worst_tenth_perplexity": 2 ** min(worst, 1023),  # beyond, a float overflows
        "small_clients": _smallest(people, figures, clients),
        "client_mean": float(bits.mean()) if len(bits) else math.nan,
        "client_deviation": standard_deviation(bits),
        "client_gini": gini(bits),
        "client_jain": jain(bits),
        **probed,
    }
    groups = [people.groups.get(c, "") for c in clients]
    known = [c for c in clients if c in alone]
    own = np.full(len(clients), np.nan)
    own[np.isin(clients, known)] = _bits(alone, known)
    if known:
        has = np.isfinite(own)
        measured["worse_than_local"] = share_worse_than_local(bits[has], own[has])
        measured["personal_gap"] = float(np.mean(own[has] - bits[has]))
    if people.minority:
        measured |= _group_figures(people, figures, clients, groups, bits, own)
    losses = np.array([figures[c].loss_sum / math.log(2) for c in clients])
    characters = np.array([figures[c].characters for c in clients], np.float64)
    interval = bootstrap_ratio(losses, characters)
    rows = [
        {
            "client": place,  # a number, not the pseudonym: results may be shared
            "group": groups[place],
            "train_tokens": people.tokens[client],
            "held_out_tokens": figures[client].tokens,
            "bits_per_char": float(bits[place]),
            **({"alone_bits_per_char": float(own[place])} if client in alone else {}),
        }
        for place, client in enumerate(clients)
    ]
    over_clients = {"bits_per_char": [interval.low, interval.high]}
    return {"figures": measured | people.data, "over_clients": over_clients, "clients": rows}


def _smallest(people: People, figures: Mapping[int, TextMetrics], clients: list[int]) -> float:
    """Bits per character over the quarter of clients with the least training text: sums first, the ratio last."""
    few = sorted(clients, key=lambda c: (people.tokens[c], c))[: max(1, len(clients) // 4)]
    total = sum((figures[c] for c in few), TextMetrics())
    return total.loss_sum / math.log(2) / total.characters if few else math.nan


def _group_figures(
    people: People,
    figures: Mapping[int, TextMetrics],
    clients: list[int],
    groups: list[str],
    bits: Values,
    own: Values,
) -> dict[str, float]:
    losses = np.array([figures[c].loss_sum / math.log(2) for c in clients])
    characters = np.array([figures[c].characters for c in clients], np.float64)
    by_group = group_losses(losses, characters, groups)
    gap, worst = group_gap(by_group)
    found = {"group_gap": gap, "worst_group": by_group[worst], "minority": by_group[people.minority]}
    inside = np.array([g == people.minority for g in groups]) & np.isfinite(own)
    if inside.any():
        found["minority_worse_than_local"] = share_worse_than_local(bits[inside], own[inside])
        found["minority_personal_gap"] = float(np.mean(own[inside] - bits[inside]))
    return found | {f"{GROUP}{name}": value for name, value in by_group.items()}


def course(lines: Sequence[Mapping[str, Any]], weights: Weights) -> dict[str, float]:
    """Returns figures from the lines of metrics.jsonl; what the run lacks is left out.

    Args:
      lines: a round each.
      weights: of the model.

    Returns:
      `tokens_per_second` of the rounds after the first, which compiles; `bytes_per_round`, the arrays of a round and
      a node: weights down and exact sums up; round and figure of the best evaluation; and how much lower the training loss
      of the last one was than its held-out loss.
    """
    trained = [line for line in lines if line.get("tokens")]
    if not trained:
        return {}
    sums = 2 if any("drift" in line for line in trained) else 1
    up = sums * sum(s.nbytes for s in ExactSum.zeros_like(weights).sums)
    found = {"bytes_per_round": float(sum(w.nbytes for w in weights) + up)}
    seconds = sum(line["seconds"] for line in trained[1:])
    if seconds:
        found["tokens_per_second"] = sum(line["tokens"] for line in trained[1:]) / seconds
    evaluated = [line for line in trained if "eval" in line]
    if evaluated:
        best = min(evaluated, key=lambda line: line["eval"]["loss"])
        found["best_round"] = float(best["round"])
        found["best_bits_per_char"] = best["eval"]["bits_per_char"]
        last = evaluated[-1]
        found["generalisation_gap"] = (last["eval"]["loss"] - last["train_loss"]) / math.log(2)
    return found
