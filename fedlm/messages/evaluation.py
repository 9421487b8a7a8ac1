"""Held-out figures: `evaluate` under the global weights, `query.score` and `evaluate.reference` under other weights.

The reply contains sums per client if the node's owner allows it, otherwise their total and a histogram.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.aggregation.bounds import MAX_TOKENS, check_metrics
from fedlm.messages.fields import (
    Malformed,
    arrays_in,
    config_in,
    count_in,
    head,
    list_in,
    metrics_fields,
    metrics_in,
    metrics_of,
    pseudonym_bytes,
    pseudonyms_in,
    read_head,
    record_weights,
    strings_in,
    value_in,
    weights_record,
    whole_numbers,
)
from fedlm.types import Evaluated, Pseudonyms, TextMetrics, Weights

HISTOGRAM_BINS, BIN_NATS = 48, 0.25
_COLUMNS = ("loss-sum", "correct", "tokens", "characters")


@dataclass(frozen=True)
class EvaluateRequest:
    """Evaluate one part of these clients' text under these weights.

    Attributes:
      settings, server_round, clients, arrays: as in `TrainRequest`.
      part: which text is read.
    """

    kind: ClassVar[str] = "evaluate"
    settings: str
    server_round: int
    clients: Pseudonyms
    arrays: ArrayRecord
    part: Evaluated = Evaluated.HELD_OUT

    @property
    def weights(self) -> Weights:
        """The global weights, float32, read-only."""
        return record_weights(self.arrays)

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        config = head(self.settings, self.server_round, clients=pseudonym_bytes(self.clients), part=str(self.part))
        return RecordDict({"config": config, "arrays": self.arrays})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, server_round = read_head(content)
        part = value_in(config, "part", str)
        if part not in set(Evaluated):
            raise Malformed(f"the field 'part' is not one of {', '.join(Evaluated)}")
        return cls(settings, server_round, pseudonyms_in(config), arrays_in(content), Evaluated(part))


@dataclass(frozen=True)
class ReferenceRequest:
    """Evaluate clients under models trained outside the federation: local-only, or centralised.

    Attributes:
      passes: over the text.
      centralised: train one model on the text of all clients, instead of one model per client on its own text.
    """

    kind: ClassVar[str] = "evaluate.reference"
    settings: str
    clients: Pseudonyms
    arrays: ArrayRecord
    passes: int
    centralised: bool

    @property
    def weights(self) -> Weights:
        """The weights that training starts from, float32, read-only."""
        return record_weights(self.arrays)

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        clients = pseudonym_bytes(self.clients)
        config = head(self.settings, 0, clients=clients, passes=self.passes, centralised=self.centralised)
        return RecordDict({"config": config, "arrays": self.arrays})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, _ = read_head(content)
        passes, centralised = count_in(config, "passes"), value_in(config, "centralised", bool)
        return cls(settings, pseudonyms_in(config), arrays_in(content), passes, centralised)


@dataclass(frozen=True)
class ScoreRequest:
    """Score texts under these weights: the texts come with the request, so the node may read them.

    Attributes:
      settings, arrays: the configuration and the weights.
      texts: what is scored.
      before: what each text follows; its end is then not scored. Empty where each text is scored by itself.
    """

    kind: ClassVar[str] = "query.score"
    settings: str
    arrays: ArrayRecord
    texts: Sequence[str]
    before: Sequence[str] = ()

    @property
    def weights(self) -> Weights:
        """The weights, float32, read-only."""
        return record_weights(self.arrays)

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        config = head(self.settings, 0, clients=b"")
        config["texts"], config["before"] = list(self.texts), list(self.before)
        return RecordDict({"config": config, "arrays": self.arrays})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, _ = read_head(content)
        texts, before = strings_in(config, "texts"), strings_in(config, "before")
        if before and len(before) != len(texts):
            raise Malformed(f"the field 'before' is not a list of {len(texts)} strings, one for each text")
        return cls(settings, arrays_in(content), texts, before)


@dataclass(frozen=True)
class ClientFigures:
    """Sums per client, or per text for scored texts.

    Attributes:
      clients: pseudonyms, (clients,), or the positions of scored texts.
      metrics: one per client.
      weights: of the centralised model, if that is what was evaluated.
    """

    clients: Pseudonyms
    metrics: Sequence[TextMetrics]
    weights: Weights | None = None

    def content(self) -> RecordDict:
        """Returns the content of a reply: one column per figure."""
        rows = [metrics_fields(m) for m in self.metrics]
        columns = MetricRecord({key: [row[key] for row in rows] for key in _COLUMNS})
        config = ConfigRecord({"clients": pseudonym_bytes(self.clients)})
        content = RecordDict({"metrics": columns, "config": config})
        if self.weights is not None:
            content["arrays"] = weights_record(self.weights)
        return content

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a reply; raises `Malformed`. The loss of a diverged model may be infinite or NaN."""
        record, clients = metrics_in(content), pseudonyms_in(config_in(content))
        columns = [list_in(record, key, len(clients), "client") for key in _COLUMNS]
        rows = [metrics_of(MetricRecord(dict(zip(_COLUMNS, row, strict=True)))) for row in zip(*columns, strict=True)]
        weights = record_weights(arrays_in(content)) if "arrays" in content else None
        return cls(clients, rows, weights)

    def by_client(self) -> dict[int, TextMetrics]:
        """Returns the sums by pseudonym."""
        return dict(zip(map(int, self.clients), self.metrics, strict=True))


@dataclass(frozen=True)
class GroupFigures:
    """The sum over a chunk's clients, for owners who do not allow figures per client to leave the node.

    Attributes:
      total: over all clients.
      histogram: the number of clients per quarter nat of held-out loss per token; empty for a small group.
    """

    total: TextMetrics
    histogram: Sequence[int] = ()

    @classmethod
    def of(cls, metrics: Sequence[TextMetrics], min_group: int) -> Self:
        """Adds clients' sums; with fewer than `min_group` clients with held-out text, there is no histogram."""
        total = sum(metrics, TextMetrics())
        losses = [m.loss_sum / m.tokens for m in metrics if m.tokens]
        if len(losses) < min_group:
            return cls(total)
        edges = np.arange(HISTOGRAM_BINS + 1) * BIN_NATS
        counts, _ = np.histogram(np.clip(losses, 0, edges[-1]), edges)
        return cls(total, tuple(map(int, counts)))

    def content(self) -> RecordDict:
        """Returns the content of a reply."""
        record = MetricRecord(dict(metrics_fields(self.total)))
        if self.histogram:
            record["histogram"] = list(self.histogram)
        return RecordDict({"metrics": record})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a reply; raises `Malformed`."""
        record = metrics_in(content)
        histogram = record.get("histogram", [])
        if not isinstance(histogram, list):
            raise Malformed("the field 'histogram' is not a list")
        if len(histogram) not in (0, HISTOGRAM_BINS):
            raise Malformed(f"the field 'histogram' does not have {HISTOGRAM_BINS} counts")
        return cls(metrics_of(record), tuple(whole_numbers(histogram, "histogram", least=0)))


def read_figures(content: RecordDict, node: int, asked: Pseudonyms) -> Mapping[int, TextMetrics]:
    """Returns held-out sums by pseudonym, or under the node's id if the node reports only their total.

    Nodes are not trusted: figures that no text of so many clients has are refused.

    Args:
      content: of the reply.
      node: the id of the node that sent it.
      asked: the clients in the request.

    Raises:
      Malformed: the reply's layout is wrong, its clients are not those of the request, or a figure is out of range.
    """
    if "config" not in content:
        group = GroupFigures.read(content)
        _check_sums(group.total, len(asked))
        if sum(group.histogram) > len(asked):
            raise Malformed("the field 'histogram' has more clients than the request")
        return {node: group.total}
    figures = ClientFigures.read(content)
    if sorted(map(int, figures.clients)) != sorted(map(int, asked)):
        raise Malformed("its clients are not those of the request")
    for metrics in figures.metrics:
        _check_sums(metrics, 1)
    return figures.by_client()


def _check_sums(metrics: TextMetrics, clients: int) -> None:
    """Refuses sums that no text of so many clients has. A model that diverged has a loss that is infinite or NaN."""
    diverged = metrics.tokens > 0 and not math.isfinite(metrics.loss_sum) and metrics.loss_sum != -math.inf
    try:
        check_metrics(replace(metrics, loss_sum=0.0) if diverged else metrics, clients, MAX_TOKENS)
    except ValueError as error:
        raise Malformed(str(error)) from None
