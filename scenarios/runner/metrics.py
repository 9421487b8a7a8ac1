"""The run metrics: figures over tokens, clients and groups, with the heterogeneity of the data beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlm.errors import CorpusError
from fedlm.measure.heterogeneity import LABEL_ENTROPY, describe
from fedlm.measure.metric import ClientSums, Measure, RunEvidence
from fedlm.measure.registry import run_measures
from fedlm.measure.statistics import bootstrap_ratio
from fedlm.types import TextMetrics
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from scenarios.runner.job import Job


@dataclass(frozen=True)
class Profile:
    """The population of a run before training.

    Attributes:
      groups: each pseudonym's group; empty without groups.
      tokens: each pseudonym's training targets.
      data: heterogeneity figures, by metric.
      minority: the group that is also reported separately; empty without groups.
    """

    groups: Mapping[int, str]
    tokens: Mapping[int, int]
    data: Mapping[str, float]
    minority: str = ""


def profile_vault(path: Path, source: KeySource, job: Job) -> Profile:
    """Opens a vault in memory and describes its clients.

    Raises:
      CorpusError: the study compares groups, but no client has the label, or a group has one client.
    """
    vault = Vault(path, source)
    clients = [int(c) for c in vault.pseudonyms]
    tokens = {c: vault.tokens(c) for c in clients}
    texts = [vault.documents(c) for c in clients]
    labels = [labels for _, labels in vault.names()]
    # Counted while the text was sealed, over the labels of single documents.
    entropies = {f"{LABEL_ENTROPY}{k}": float(v) for k, v in vault.about.get("label_entropy", {}).items()}
    vault.close()
    data = describe(texts, [tokens[c] for c in clients], job.config.vocab) | entropies
    if not (job.study.group and job.case.grouped):
        return Profile({}, tokens, data)
    groups = _groups([own.get(job.study.group, "") for own in labels], labels, job)
    return Profile(dict(zip(clients, groups, strict=True)), tokens, data, _minority(groups, job.study.minority))


def _groups(groups: list[str], labels: Sequence[Mapping[str, str]], job: Job) -> list[str]:
    """Returns the clients' groups, if a figure of each can be given."""
    if not any(groups):
        known = ", ".join(sorted({k for own in labels for k in own})) or "no labels"
        raise CorpusError(f"No client of {job.corpus} has the label {job.study.group!r}; they have: {known}.")
    for name in sorted(set(groups)):
        if groups.count(name) < 2:
            raise CorpusError(
                f"The group {job.study.group}={name or '(none)'} of {job.corpus} has one client only; a group's figure "
                "needs two or more."
            )
    return groups


def _minority(groups: list[str], named: str) -> str:
    """Returns the named group, or the smallest one; nothing if there is one group only."""
    smallest_first = sorted(set(groups), key=lambda g: (groups.count(g), g))
    if len(smallest_first) < 2:
        return ""
    return named if named in smallest_first else smallest_first[0]


@dataclass(frozen=True)
class RunMetrics:
    """The measured part of result.json.

    Attributes:
      figures: values by metric.
      over_clients: 95 % bootstrap intervals over clients, by metric.
      clients: a row for each client.
    """

    figures: dict[str, float]
    over_clients: dict[str, list[float]]
    clients: tuple[dict[str, Any], ...]


def client_sums(
    profile: Profile, held_out: Mapping[int, TextMetrics], local_only: Mapping[int, TextMetrics]
) -> tuple[ClientSums, ...]:
    """Returns the sums of the clients with held-out text, in the order of their pseudonyms.

    Args:
      profile: of the population.
      held_out: each client's sums under the run's model.
      local_only: the same under local-only models, for some clients or none.
    """
    return tuple(
        ClientSums(held_out[c], profile.tokens[c], profile.groups.get(c, ""), local_only.get(c))
        for c in sorted(held_out)
        if held_out[c].characters > 0
    )


def run_metrics(run: RunEvidence, profile: Profile, measures: Sequence[Measure] = ()) -> RunMetrics:
    """Applies the measures of `fedlm/measure/`, then further ones."""
    figures: dict[str, float] = {}
    for measure in (*run_measures(), *measures):
        figures |= measure.figures(run)
    interval = bootstrap_ratio(run.loss_bits, run.characters)
    rows = tuple(_row(place, run) for place in range(len(run.clients)))
    return RunMetrics(figures | dict(profile.data), {"bits_per_char": [interval.low, interval.high]}, rows)


def _row(place: int, run: RunEvidence) -> dict[str, Any]:
    client = run.clients[place]
    row = {
        "client": place,  # a number, not the pseudonym: results may be shared
        "group": client.group,
        "train_tokens": client.train_tokens,
        "held_out_tokens": client.held_out.tokens,
        "bits_per_char": float(run.bits[place]),
    }
    return row if client.local_only is None else row | {"local_only_bits_per_char": float(run.local_bits[place])}
