"""The run metrics: figures over tokens, clients and groups, with the heterogeneity of the data beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedlm.errors import CorpusError
from fedlm.measure.bootstrap import bootstrap_ratio
from fedlm.measure.checks import checked_figures
from fedlm.measure.heterogeneity import LABEL_ENTROPY, describe
from fedlm.measure.metric import ClientSums, Measure, RunEvidence
from fedlm.measure.registry import run_measures
from fedlm.plugins.calls import running
from fedlm.types import TextMetrics
from fedlm.vault.format import Part
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from scenarios.runner.job import Job

CLIENT_METRICS = ("bits_per_char", "equal_bits_per_char", "local_only_bits_per_char", "train_tokens", "held_out_tokens")
"""What is known of single clients, and drawn by `spread` figures."""

OTHERS = "all others"
"""The group of the clients that are not of the minority, where there are several."""


@dataclass(frozen=True)
class Profile:
    """The population of a run before training.

    Attributes:
      groups: each pseudonym's group; empty without groups.
      tokens: each pseudonym's training targets.
      data: heterogeneity figures, by metric.
      minority: the group that is also reported separately; empty without groups.
      numbers: each pseudonym's place by name; pseudonyms change with the seed, names do not.
    """

    groups: Mapping[int, str]
    tokens: Mapping[int, int]
    data: Mapping[str, float]
    minority: str = ""
    numbers: Mapping[int, int] = field(default_factory=dict)


def profile_vault(path: Path, source: KeySource, job: Job) -> Profile:
    """Opens a vault in memory and describes its clients.

    Raises:
      CorpusError: the study compares groups, but no client has the label, or a group has one client.
    """
    vault = Vault(path, source)
    clients = [int(c) for c in vault.pseudonyms]
    tokens = {c: vault.tokens(c) for c in clients}
    # The index's order differs between vaults of the same text, and a sum's last bits with the order of its terms.
    texts = [vault.documents(c) for c in sorted(clients)]
    names, labels = map(list, zip(*vault.names(), strict=True)) if clients else ([], [])
    by_name = sorted(range(len(clients)), key=lambda place: names[place])
    numbers = {clients[place]: number for number, place in enumerate(by_name)}
    # Counted while the text was sealed, over the labels of single documents.
    entropies = {f"{LABEL_ENTROPY}{k}": bits for k, bits in vault.label_entropy.items()}
    left_out = {"left_out": float(vault.about.get("left_out", 0))}
    vault.close()
    data = describe(texts, [tokens[c] for c in sorted(clients)], job.config.vocab) | left_out | entropies
    if not (job.study.group and job.case.grouped):
        return Profile({}, tokens, data, numbers=numbers)
    groups, named = [own.get(job.study.group, "") for own in labels], job.study.minority
    if job.config.partition.startswith("minority("):
        named = named or groups[by_name[0]]  # the partition names the clients of the minority first
        groups = _two_sides(groups, named)
    groups = _groups(groups, labels, job)
    minority = _minority(groups, named)
    return Profile(dict(zip(clients, groups, strict=True)), tokens, data, minority, numbers)


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


def _two_sides(groups: list[str], named: str) -> list[str]:
    """Returns the groups with all but one taken together, unless there are two; clients of others may mix their labels."""
    others = {group for group in groups if group != named}
    return groups if len(others) == 1 else [group if group == named else OTHERS for group in groups]


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


def texts_of(path: Path, source: KeySource, part: Part = Part.HELD_OUT) -> dict[int, list[str]]:
    """Opens a vault in memory and returns each client's documents, in the order of pseudonyms."""
    vault = Vault(path, source)
    texts = {c: vault.documents(c, part) for c in sorted(map(int, vault.pseudonyms))}
    vault.close()
    return texts


def client_sums(
    profile: Profile,
    held_out: Mapping[int, TextMetrics],
    local_only: Mapping[int, TextMetrics],
    equal: Mapping[int, TextMetrics],
) -> tuple[ClientSums, ...]:
    """Returns the sums of the clients with held-out text, in the order of their pseudonyms.

    Args:
      profile: of the population.
      held_out: each client's sums under the run's model.
      local_only: the same under local-only models, for some clients or none.
      equal: over equal amounts of held-out text, for the clients that have so much.
    """
    return tuple(
        ClientSums(
            held_out[c],
            train_tokens=profile.tokens[c],
            group=profile.groups.get(c, ""),
            local_only=local_only.get(c),
            number=profile.numbers.get(c, 0),
            equal=equal.get(c),
        )
        for c in sorted(held_out)
        if held_out[c].characters > 0
    )


def run_metrics(run: RunEvidence, profile: Profile, measures: Sequence[Measure] = ()) -> RunMetrics:
    """Applies the measures of `fedlm/measure/`, then those that the study names.

    Raises:
      FedLMError: a measure returned what it does not declare, or not all that it must.
    """
    figures: dict[str, float] = {}
    for measure in run_measures():
        figures |= checked_figures(measure, _called(measure, run), complete=False)
    for measure in measures:
        figures |= checked_figures(measure, _called(measure, run), complete=True)
    interval = bootstrap_ratio(run.loss_bits, run.characters)
    rows = tuple(_row(place, run) for place in range(len(run.clients)))
    return RunMetrics(figures | dict(profile.data), {"bits_per_char": [interval.low, interval.high]}, rows)


def _called(measure: Measure, run: RunEvidence) -> object:
    """Returns what a measure returns.

    Raises:
      PluginFailure: it raised an exception.
    """
    module = getattr(measure.figures, "__module__", "")
    with running(f"measure of {module}", getattr(measure.figures, "__qualname__", "figures"), module):
        return measure.figures(run)


def _row(place: int, run: RunEvidence) -> dict[str, Any]:
    client = run.clients[place]
    row: dict[str, Any] = {
        "client": client.number,  # not the pseudonym: results may be shared
        "group": client.group,
        "train_tokens": client.train_tokens,
        "held_out_tokens": client.held_out.tokens,
        "bits_per_char": float(run.bits[place]),
    }
    if client.equal is not None:
        row["equal_bits_per_char"] = float(run.equal_bits[place])
    return row if client.local_only is None else row | {"local_only_bits_per_char": float(run.local_bits[place])}
