"""`train`: global weights to one chunk of clients, and back what the chunk's aggregation makes of their updates."""

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
from fedlm.messages.records import Allocate, arrays_of, record_of, records_in
from fedlm.types import IntSums, Pseudonyms, Weights

_VECTORS = "vector."  # records of an algorithm's further vectors, and of further sums in a reply


@dataclass(frozen=True)
class TrainRequest:
    """Train these clients from these weights.

    Attributes:
      settings: the run's configuration as JSON.
      server_round: the round, from 1.
      clients: pseudonyms of the chunk, (clients,).
      cohort: clients drawn in the whole round; it bounds each contribution, so that no sum overflows.
      arrays: the global weights; one record for all chunks of a round.
      strategy: what Flower's strategy tells its clients (`proximal-mu`).
      mechanism: what the privacy mechanism tells its nodes (`clip-norm`).
      vectors: further vectors that the algorithm sends with the weights, in the weights' shapes.
    """

    kind: ClassVar[str] = "train"
    settings: str
    server_round: int
    clients: Pseudonyms
    cohort: int
    arrays: ArrayRecord
    strategy: Mapping[str, object] = field(default_factory=dict)
    mechanism: Mapping[str, float] = field(default_factory=dict)
    vectors: Mapping[str, ArrayRecord] = field(default_factory=dict)

    @property
    def weights(self) -> Weights:
        """The global weights, float32, read-only."""
        return record_weights(self.arrays)

    @property
    def clip_norm(self) -> float | None:
        """The bound to which the mechanism clips in this round; None where it clips nothing."""
        return self.mechanism.get("clip-norm")

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        content = RecordDict(
            {
                "config": head(
                    self.settings, self.server_round, clients=pseudonym_bytes(self.clients), cohort=self.cohort
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
          Malformed: it is not laid out as one.
        """
        config, settings, server_round = read_head(content)
        records = records_in(content, ArrayRecord)
        vectors = {k.removeprefix(_VECTORS): r for k, r in records.items() if k.startswith(_VECTORS)}
        return cls(
            settings,
            server_round,
            pseudonyms_in(config),
            count_in(config, "cohort"),
            arrays_in(content),
            dict(record_in(content, "strategy", ConfigRecord)),
            scalars(record_in(content, "mechanism", ConfigRecord)),
            vectors,
        )


def payload_content(payload: Payload, allocate: Allocate | None = None) -> RecordDict:
    """Returns the reply to a training request.

    Args:
      payload: what the node's half of the aggregation made; its vectors are copied.
      allocate: where their bytes shall lie.
    """
    content = RecordDict({"metrics": MetricRecord({k: _as_field(n) for k, n in payload.numbers.items()})})
    for name, vectors in payload.vectors.items():
        content[_VECTORS + name] = record_of(vectors, allocate)
    return content


def read_payload(content: RecordDict, weights: Weights) -> Payload:
    """Reads the reply to a training request; what its figures mean is checked by the aggregation that opens it.

    Raises:
      Malformed: a vector is not of whole numbers in the weights' shapes, or a figure is no number.
    """
    records = records_in(content, ArrayRecord)
    if not all(name.startswith(_VECTORS) for name in records):
        raise Malformed("names of the reply's records are wrong")
    vectors = {name.removeprefix(_VECTORS): _whole_numbers(record, weights) for name, record in records.items()}
    numbers: dict[str, int | float] = {}
    for key, value in metrics_in(content).items():
        if type(value) not in (int, float):
            raise Malformed(f"the field {key!r} is wrong: it is not a number")
        numbers[key] = value  # type: ignore[assignment]
    return Payload(vectors, numbers)


def _whole_numbers(record: ArrayRecord, weights: Weights) -> IntSums:
    """Returns int64 vectors of the weights' shapes. The type is checked first: a cast would turn NaN into a number."""
    try:
        arrays = arrays_of(record)
    except ValueError as error:
        raise Malformed(str(error)) from None
    if list(record) != [str(i) for i in range(len(weights))] or any(a.dtype != np.int64 for a in arrays):
        raise Malformed("names or types of the arrays are wrong")
    if [a.shape for a in arrays] != [w.shape for w in weights]:
        raise Malformed("shapes of the arrays are wrong")
    return tuple(arrays)


def _as_field(number: int | float) -> int | float:
    """Returns a number that a Flower record takes: integers have 64 bits there."""
    return number if isinstance(number, float) or -(2**63) <= number < 2**63 else float(number)
