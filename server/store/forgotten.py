"""`forgotten.json` of a run: clients that it must never train or evaluate again, and the failures that a retraining replays."""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fedlm.errors import ConfigError, VaultError
from fedlm.vault.reader import Vault

FILE = "forgotten.json"


@dataclass(frozen=True)
class Forgotten:
    """The content of the file.

    Attributes:
      clients: pseudonyms that the run leaves out, whatever the vault holds.
      lost: by round, the clients whose training was lost when the round was first run.
      pending: the round to go back to while old files are being deleted; -1 when that is done.
      client: the client that is being forgotten while `pending`.
    """

    clients: frozenset[int] = frozenset()
    lost: dict[int, frozenset[int]] = field(default_factory=dict)
    pending: int = -1
    client: int = 0

    @classmethod
    def read(cls, run: Path) -> Self:
        """Reads the file; without one, no client was forgotten."""
        path = run / FILE
        if not path.is_file():
            return cls()
        content = json.loads(path.read_text())
        lost = {int(k): frozenset(v) for k, v in content["lost"].items()}
        return cls(frozenset(content["clients"]), lost, content["pending"], content["client"])

    def as_json(self) -> str:
        """Returns the file's content."""
        lost = {str(k): sorted(v) for k, v in sorted(self.lost.items())}
        content = {"clients": sorted(self.clients), "lost": lost, "pending": self.pending, "client": self.client}
        return json.dumps(content) + "\n"

    def counted(self, vault: Vault) -> dict[str, Any]:
        """Returns the counts of the text that the run may train on, for its summary.

        Clients that the run has forgotten and the vault still holds do not count. Findings were
        counted when text was added.
        """
        about = {**vault.about, "clients": len(vault.pseudonyms), "forgotten": vault.forgotten()}
        for client in self.clients & set(map(int, vault.pseudonyms)):
            documents = characters = 0
            with contextlib.suppress(
                VaultError
            ):  # damaged text cannot be counted, but the client is left out all the same
                documents, characters = vault.size(client)
            for key, count in (("clients", 1), ("documents", documents), ("characters", characters), ("forgotten", -1)):
                about[key] = int(about.get(key, 0)) - count
        return about

    def check_done(self, run: Path) -> None:
        """Raises a ConfigError if files of the run still depend on a client that is being forgotten."""
        if self.pending >= 0:
            raise ConfigError(f"The deletion of a client from {run} was interrupted: repeat fedlm forget.")
