"""Identifies a message that may be sent more than once by run, chunk and attempt, and its reply by an echo of them."""

from dataclasses import dataclass
from typing import Self

from flwr.app import ConfigRecord, RecordDict

from fedlm.messages.fields import value_in
from fedlm.messages.records import records_in


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver a chunk.

    Attributes:
      run: Flower's id of the run.
      chunk: the message's name, the same in every attempt.
      attempt: the number of the attempt, from 1.
    """

    run: str
    chunk: str
    attempt: int = 1

    def stamp(self, content: RecordDict) -> None:
        """Writes this into a request."""
        content["delivery"] = ConfigRecord({"run": self.run, "chunk": self.chunk, "attempt": self.attempt})

    @classmethod
    def of(cls, content: RecordDict) -> Self | None:
        """Returns the stamp of a request; None without one. Raises `Malformed`."""
        record = records_in(content, ConfigRecord).get("delivery")
        return None if record is None else cls(value_in(record, "run", str), value_in(record, "chunk", str))

    def echo(self, reply: RecordDict) -> None:
        """Writes into a reply which request it answers."""
        reply["echo"] = ConfigRecord({"run": self.run, "chunk": self.chunk})

    def is_echoed(self, reply: RecordDict) -> bool:
        """Returns whether a reply claims to answer this chunk of this run."""
        echo = records_in(reply, ConfigRecord).get("echo", ConfigRecord())
        return (echo.get("run"), echo.get("chunk")) == (self.run, self.chunk)
