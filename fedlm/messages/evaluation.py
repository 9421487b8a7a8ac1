"""Held-out figures: `evaluate` under the global weights, `query.score` and `evaluate.reference` under other weights.

The reply contains sums per client if the node's owner allows it, otherwise their total and a histogram.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.messages.fields import (
    Malformed,
    arrays_in,
    config_in,
    count_in,
    head,
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
)
from fedlm.types import Pseudonyms, TextMetrics, Weights

HISTOGRAM_BINS, BIN_NATS = 48, 0.25
_COLUMNS = ("loss-sum", "correct", "tokens", "characters")


@dataclass(frozen=True)
class EvaluateRequest:
    """Evaluate these clients' held-out text under these weights; attributes as in `TrainRequest`."""

    kind: ClassVar[str] = "evaluate"
    settings: str
    server_round: int
    clients: Pseudonyms
    arrays: ArrayRecord

    @property
    def weights(self) -> Weights:
        """The global weights, float32, read-only."""
        return record_weights(self.arrays)

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        config = head(self.settings, self.server_round, clients=pseudonym_bytes(self.clients))
        return RecordDict({"config": config, "arrays": self.arrays})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, server_round = read_head(content)
        return cls(settings, server_round, pseudonyms_in(config), arrays_in(content))


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
    """Score texts under these weights: the texts come with the request, so the node may read them."""

    kind: ClassVar[str] = "query.score"
    settings: str
    arrays: ArrayRecord
    texts: Sequence[str]

    @property
    def weights(self) -> Weights:
        """The weights, float32, read-only."""
        return record_weights(self.arrays)

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        config = head(self.settings, 0, clients=b"")
        config["texts"] = list(self.texts)
        return RecordDict({"config": config, "arrays": self.arrays})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, _ = read_head(content)
        return cls(settings, arrays_in(content), strings_in(config, "texts"))


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
        columns = [_column(record, key, len(clients)) for key in _COLUMNS]
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
        if not isinstance(histogram, list) or not all(type(n) is int and n >= 0 for n in histogram):
            raise Malformed("the field 'histogram' is not a list of counts")
        return cls(metrics_of(record), tuple(map(int, histogram)))


def read_figures(content: RecordDict, node: int, asked: Pseudonyms) -> Mapping[int, TextMetrics]:
    """Returns held-out sums by pseudonym, or under the node's id if the node reports only their total.

    Args:
      content: of the reply.
      node: the id of the node that sent it.
      asked: the clients in the request.

    Raises:
      Malformed: the reply's layout is wrong, or its clients are not those of the request.
    """
    if "config" not in content:
        return {node: GroupFigures.read(content).total}
    figures = ClientFigures.read(content).by_client()
    if set(figures) != set(map(int, asked)):
        raise Malformed("its clients are not those of the request")
    return figures


def _column(record: MetricRecord, key: str, clients: int) -> list[int | float]:
    values = record.get(key)
    if not isinstance(values, list) or len(values) != clients:
        raise Malformed(f"the field {key!r} does not have one value per client")
    return list(values)
