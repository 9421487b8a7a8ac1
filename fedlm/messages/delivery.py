"""What names a message that may be sent twice: the run, the chunk, the attempt; and the echo by which a reply is known."""

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
      chunk: a name of the message, the same in every attempt.
      attempt: from 1.
    """

    run: str
    chunk: str
    attempt: int = 1

    def stamp(self, content: RecordDict) -> None:
        """Writes this into a request."""
        content["delivery"] = ConfigRecord({"run": self.run, "chunk": self.chunk, "attempt": self.attempt})

    @classmethod
    def of(cls, content: RecordDict) -> Self | None:
        """Returns what a request was stamped with; None if it was not. Raises `Malformed`."""
        record = records_in(content, ConfigRecord).get("delivery")
        return None if record is None else cls(value_in(record, "run", str), value_in(record, "chunk", str))

    def echo(self, reply: RecordDict) -> None:
        """Writes into a reply what it is the reply to."""
        reply["echo"] = ConfigRecord({"run": self.run, "chunk": self.chunk})

    def is_echoed(self, reply: RecordDict) -> bool:
        """Returns whether a reply says that it answers this chunk of this run."""
        echo = records_in(reply, ConfigRecord).get("echo", ConfigRecord())
        return (echo.get("run"), echo.get("chunk")) == (self.run, self.chunk)
