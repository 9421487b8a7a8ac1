"""`query.vocabulary`: noised counts of the words of a node's clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from flwr.app import ConfigRecord, RecordDict

from fedlm.messages.fields import (
    Malformed,
    config_in,
    head,
    list_in,
    pseudonym_bytes,
    pseudonyms_in,
    read_head,
    strings_in,
    whole_numbers,
)
from fedlm.types import Pseudonyms


@dataclass(frozen=True)
class VocabularyRequest:
    """Count the words of these clients under differential privacy.

    Attributes:
      settings: the run's configuration as JSON; it names epsilon and delta.
      clients: pseudonyms, (clients,).
      candidates: a public list; if empty, all words are counted.
    """

    kind: ClassVar[str] = "query.vocabulary"
    settings: str
    clients: Pseudonyms
    candidates: Sequence[str] = ()

    def content(self) -> RecordDict:
        """Returns the content of the message."""
        config = head(self.settings, 1, clients=pseudonym_bytes(self.clients))
        config["candidates"] = list(self.candidates)
        return RecordDict({"config": config})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a request; raises `Malformed`."""
        config, settings, _ = read_head(content)
        return cls(settings, pseudonyms_in(config), strings_in(config, "candidates"))


@dataclass(frozen=True)
class VocabularyReply:
    """Noised counts by word; with a list of candidates they may be negative."""

    counts: Mapping[str, int]

    def content(self) -> RecordDict:
        """Returns the content of the reply."""
        config = ConfigRecord({"words": list(self.counts), "counts": list(self.counts.values())})
        return RecordDict({"config": config})

    @classmethod
    def read(cls, content: RecordDict) -> Self:
        """Reads a reply; raises `Malformed`."""
        config = config_in(content)
        words = strings_in(config, "words")
        counts = whole_numbers(list_in(config, "counts", len(words), "word"), "counts")
        if len(set(words)) < len(words):
            raise Malformed("the words of the field 'words' are not all different")
        return cls(dict(zip(words, counts, strict=True)))
