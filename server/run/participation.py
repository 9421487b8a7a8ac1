"""The participation ledger of a run: the cohort of each round, and the clients that were lost. Exact unlearning needs it.

`participation.jsonl` beside the checkpoints, mode 0600: a header, then one line per round. It contains pseudonyms, but no
names and no text. Under differential privacy it is in `private/`, as is the cohort key.
"""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedlm.errors import FedLMError
from fedlm.privacy.folder import CHECKPOINTS, owned
from fedlm.system.files import append_durably, write_atomic
from fedlm.system.storage import MISSING, reading
from fedlm.types import Pseudonyms

FILE = "participation.jsonl"


@dataclass(frozen=True)
class Participation:
    """One round.

    Attributes:
      round: the round, from 1.
      clients: the cohort.
      lost: the clients of the cohort without a usable reply (a lost worker, a timeout); None where the engine does not
        report which. A client that fails because of its own text would fail again, so it is not listed.
    """

    round: int
    clients: frozenset[int]
    lost: frozenset[int] | None = frozenset()


class ParticipationLedger:
    """The ledger of one run.

    Args:
      run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run, self.path = run, owned(run, CHECKPOINTS) / FILE

    def start(self, vaults: Iterable[bytes], *, init: bool) -> None:
        """Starts an empty ledger; its header has the ids of the run's vaults, and whether another run's weights were used."""
        self.path.parent.mkdir(exist_ok=True, mode=0o700)
        self._rewrite({"vaults": sorted({v.hex() for v in vaults}), "init": init}, [])

    def add(self, entry: Participation) -> None:
        """Appends a round durably, before its checkpoint is written."""
        if not self.path.is_file():
            return  # a run of a version without ledgers stays without: an incomplete ledger would be misleading
        append_durably(self.path, json.dumps(_as_dict(entry)) + "\n")

    def keep_until(self, server_round: int, *, without: int | None = None) -> None:
        """Drops the rounds after the checkpoint, and one client from the rounds before."""
        if self.path.is_file():
            self._rewrite(self.header(), [_without(e, without) for e in self.rounds() if e.round <= server_round])

    def header(self) -> dict[str, Any]:
        """Returns the first line.

        Raises:
          FedLMError: there is no ledger, or it is damaged.
        """
        try:
            with reading(self.path):
                text = self.path.read_text()
            return dict(json.loads(text.splitlines()[0]))
        except (*MISSING, ValueError, IndexError, TypeError):
            raise FedLMError(
                f"The run {self._run} has no participation ledger: start a new run without the client."
            ) from None

    def rounds(self) -> list[Participation]:
        """Returns the rounds; an incomplete last line is skipped."""
        lines = self.path.read_text().splitlines()[1:] if self.path.is_file() else []
        entries = []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                entries.append(_of_dict(json.loads(line)))
        return entries

    def _rewrite(self, header: dict[str, Any], entries: Sequence[Participation]) -> None:
        lines = [json.dumps(line) + "\n" for line in [header, *map(_as_dict, entries)]]
        write_atomic(self.path, "".join(lines), private=True)


def as_pseudonyms(clients: Iterable[int]) -> Pseudonyms:
    """Returns clients as an array."""
    return np.array(sorted(clients), np.uint64)


def _as_dict(entry: Participation) -> dict[str, Any]:
    lost = None if entry.lost is None else sorted(entry.lost)
    return {"round": entry.round, "clients": sorted(entry.clients), "lost": lost}


def _of_dict(line: dict[str, Any]) -> Participation:
    lost = None if line["lost"] is None else frozenset(line["lost"])
    return Participation(line["round"], frozenset(line["clients"]), lost)


def _without(entry: Participation, client: int | None) -> Participation:
    lost = None if entry.lost is None else entry.lost - {client}
    return Participation(entry.round, entry.clients - {client}, lost)
