"""`train`: global weights for one chunk of clients; the reply is the aggregation's payload over their updates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.aggregation.base import Payload
from fedlm.messages.fields import (
    Malformed,
    arrays_in,
    count_in,
    head,
    metrics_in,
    pseudonym_bytes,
    pseudonyms_in,
    read_head,
    record_in,
    record_weights,
    scalars,
)
from fedlm.messages.records import Allocator, arrays_of, record_of, records_in
from fedlm.types import IntSums, Pseudonyms, Weights

_VECTORS = "vector."  # prefix of the records of an algorithm's further vectors, and of a reply's sums


@dataclass(frozen=True)
class TrainRequest:
    """Train these clients from these weights.

    No field depends on the clients of other nodes. The size of the round's cohort is not sent either: under Poisson
    sampling it would tell whether one client elsewhere exists. The configuration's cohort_size bounds contributions instead.

    Attributes:
      settings: the run's configuration as JSON.
      server_round: the round, from 1.
      clients: pseudonyms of the chunk, (clients,).
      arrays: the global weights; one record for all chunks of a round.
      strategy: the configuration that Flower's strategy sends to clients (`proximal-mu`).
      mechanism: the public numbers that the privacy mechanism sends to nodes (`clip-norm`).
      vectors: further vectors that the algorithm sends with the weights, in the weights' shapes.
      attempt: 0 at first; a charged round that is repeated after a crash has a new cohort, and the next number.
    """

    kind: ClassVar[str] = "train"
    settings: str
    server_round: int
    clients: Pseudonyms
    arrays: ArrayRecord
    strategy: Mapping[str, object] = field(default_factory=dict)
    mechanism: Mapping[str, float] = field(default_factory=dict)
    vectors: Mapping[str, ArrayRecord] = field(default_factory=dict)
    attempt: int = 0

    @property
    def weights(self) -> Weights:
        """The global weights, float32, read-only."""
        return record_weights(self.arrays)

    @property
    def clip_norm(self) -> float | None:
        """The clip norm of this round; None if the mechanism does not clip."""
        return self.mechanism.get("clip-norm")

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        content = RecordDict(
            {
                "config": head(
                    self.settings, self.server_round, clients=pseudonym_bytes(self.clients), attempt=self.attempt
                ),
                "strategy": ConfigRecord(dict(self.strategy)),  # type: ignore[arg-type]
                "mechanism": ConfigRecord(dict(self.mechanism)),
                "arrays": self.arrays,
            }
        )
        for name, record in self.vectors.items():
            content[_VECTORS + name] = record
        return content

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request.

        Raises:
          Malformed: the layout is wrong.
        """
        config, settings, server_round = read_head(content)
        records = records_in(content, ArrayRecord)
        vectors = {k.removeprefix(_VECTORS): r for k, r in records.items() if k.startswith(_VECTORS)}
        return cls(
            settings,
            server_round,
            pseudonyms_in(config),
            arrays_in(content),
            dict(record_in(content, "strategy", ConfigRecord)),
            scalars(record_in(content, "mechanism", ConfigRecord)),
            vectors,
            count_in(config, "attempt"),
        )


def payload_content(payload: Payload, allocate: Allocator | None = None) -> RecordDict:
    """Returns the reply to a training request.

    Args:
      payload: from the node part of the aggregation; its vectors are copied.
      allocate: returns the memory for the vectors' bytes.
    """
    content = RecordDict({"metrics": MetricRecord({k: _as_field(n) for k, n in payload.numbers.items()})})
    for name, vectors in payload.vectors.items():
        content[_VECTORS + name] = record_of(vectors, allocate)
    return content


def read_payload(content: RecordDict, weights: Weights) -> Payload:
    """Reads the reply to a training request; the aggregation checks whether its figures are plausible.

    Raises:
      Malformed: a vector is not int64 in the weights' shapes, or a figure is not a number.
    """
    records = records_in(content, ArrayRecord)
    if not all(name.startswith(_VECTORS) for name in records):
        raise Malformed("the reply has records with unknown names")
    vectors = {name.removeprefix(_VECTORS): _whole_numbers(record, weights) for name, record in records.items()}
    numbers: dict[str, int | float] = {}
    for key, value in metrics_in(content).items():
        if type(value) not in (int, float):
            raise Malformed(f"the field {key!r} is wrong: it is not a number")
        numbers[key] = value  # type: ignore[assignment]
    return Payload(vectors, numbers)


def _whole_numbers(record: ArrayRecord, weights: Weights) -> IntSums:
    """Returns int64 vectors in the weights' shapes. The dtype is checked first: a cast would turn NaN into a number."""
    try:
        arrays = arrays_of(record)
    except ValueError as error:
        raise Malformed(str(error)) from None
    if list(record) != [str(i) for i in range(len(weights))] or any(a.dtype != np.int64 for a in arrays):
        raise Malformed("the names or dtypes of the arrays are wrong")
    if [a.shape for a in arrays] != [w.shape for w in weights]:
        raise Malformed("the shapes of the arrays are wrong")
    return tuple(arrays)


def _as_field(number: int | float) -> int | float:
    """Returns a number that fits into a Flower record, whose integers have 64 bits."""
    return number if isinstance(number, float) or -(2**63) <= number < 2**63 else float(number)
