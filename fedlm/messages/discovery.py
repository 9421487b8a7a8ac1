"""`query`: which clients a node has, and `query.export`: the global model as a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from fedlm.messages.fields import (
    Malformed,
    arrays_in,
    config_in,
    head,
    read_head,
    record_weights,
    value_in,
    weights_record,
)
from fedlm.messages.records import arrays_of, as_array, records_in
from fedlm.types import Pseudonyms, Weights

COUNTS = ("train", "validation", "held_out", "documents")
"""The counts that a node may report per client: targets of each part of its text, and training documents."""


@dataclass(frozen=True)
class DiscoveryRequest:
    """Client discovery: which clients does this node have?

    Attributes:
      settings: the run's configuration as JSON.
      wants_weights: whether the reply should contain the initial weights of the run's seed.
    """

    kind: ClassVar[str] = "query"
    settings: str
    wants_weights: bool = False

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        return RecordDict({"config": head(self.settings, 0, clients=b"", weights=self.wants_weights)})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, _ = read_head(content)
        return cls(settings, value_in(config, "weights", bool))


@dataclass(frozen=True)
class DiscoveryReply:
    """The clients of a node's vault.

    Attributes:
      vault: the vault's id; nodes with the same id open the same vault.
      pseudonyms: of its clients, (clients,).
      counts: some of `COUNTS`, (clients,) each, where the owner allows them.
      initial: the initial weights, if they were requested.
      kernels: how this node computes recurrent layers, for the run's summary; empty if unknown.
    """

    vault: bytes
    pseudonyms: Pseudonyms
    counts: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    initial: Weights | None = None
    kernels: str = ""

    def content(self) -> RecordDict:
        """Returns the content of the reply."""
        clients = ArrayRecord({"pseudonyms": as_array(self.pseudonyms)})
        for name, counts in self.counts.items():
            clients[name] = as_array(counts)
        config = ConfigRecord({"vault": self.vault, "kernels": self.kernels})
        content = RecordDict({"config": config, "clients": clients})
        if self.initial is not None:
            content["arrays"] = weights_record(self.initial)
        return content

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a reply; the arrays are read-only.

        Raises:
          Malformed: its layout is wrong, a pseudonym occurs twice, a count does not have one value per client, or a weight
            is not finite.
        """
        config, record = config_in(content), arrays_in(content, "clients")
        try:
            counts = dict(zip(record, arrays_of(record), strict=True))
        except ValueError:
            raise Malformed("the arrays of its clients cannot be read") from None
        pseudonyms = counts.pop("pseudonyms", np.zeros((), np.float64))
        if pseudonyms.dtype != np.uint64 or pseudonyms.ndim != 1:
            raise Malformed("the pseudonyms are not a list of 64-bit numbers")
        if not _all_differ(pseudonyms):
            raise Malformed("its pseudonyms are not all different")
        if not set(counts) <= set(COUNTS):
            raise Malformed("the counts have unknown names")
        if any(c.shape != pseudonyms.shape or c.dtype.kind not in "iu" for c in counts.values()):
            raise Malformed("the counts do not have one value per client")
        if any(c.size and not 0 <= int(c.min()) <= int(c.max()) < 2**32 for c in counts.values()):
            raise Malformed("the counts are out of range")
        has_weights = "arrays" in records_in(content, ArrayRecord)
        initial = record_weights(arrays_in(content)) if has_weights else None
        if not all(np.isfinite(w).all() for w in initial or ()):
            raise Malformed("the initial weights are not finite")
        return cls(value_in(config, "vault", bytes), pseudonyms, counts, initial, value_in(config, "kernels", str))


def _all_differ(pseudonyms: Pseudonyms) -> bool:
    in_order = bool(np.all(pseudonyms[:-1] < pseudonyms[1:]))  # as a vault keeps them
    return in_order or len(np.unique(pseudonyms)) == len(pseudonyms)


@dataclass(frozen=True)
class ExportRequest:
    """Export the model with these weights as a `.keras` file: the server itself never loads TensorFlow."""

    kind: ClassVar[str] = "query.export"
    settings: str
    arrays: ArrayRecord

    @property
    def weights(self) -> Weights:
        """The weights, float32, read-only."""
        return record_weights(self.arrays)

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        return RecordDict({"config": head(self.settings, 0, clients=b""), "arrays": self.arrays})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        _, settings, _ = read_head(content)
        return cls(settings, arrays_in(content))


@dataclass(frozen=True)
class ExportReply:
    """An exported model.

    Attributes:
      keras: the content of a `.keras` file.
      sample: text generated by the model.
    """

    keras: bytes
    sample: str

    def content(self) -> RecordDict:
        """Returns the content of the reply."""
        return RecordDict({"config": ConfigRecord({"keras": self.keras, "sample": self.sample})})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a reply; raises `Malformed`."""
        config = config_in(content)
        return cls(value_in(config, "keras", bytes), value_in(config, "sample", str))
