"""`forgotten.json` of a run: clients that it must never train or evaluate again, and the failures that a retraining replays.

Under differential privacy it is in `private/`.
"""

import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from fedlm.errors import ConfigError, VaultError
from fedlm.privacy.folder import owned
from fedlm.system.files import write_atomic
from fedlm.vault.reader import Vault, training_clients

FILE = "forgotten.json"


@dataclass(frozen=True)
class Before:
    """What the receipt of an unlearning states of the run as it was: a repeated command finds it here.

    Attributes:
      weights_sha256: of the weights before the deletion; empty if there were none.
      restart, rounds: the round that training went back to, and the number of rounds trained again.
    """

    weights_sha256: str
    restart: int
    rounds: int


@dataclass(frozen=True)
class Forgotten:
    """The content of the file.

    Attributes:
      clients: pseudonyms that the run leaves out, whatever the vault holds.
      lost: by round, the clients whose training was lost when the round was first run.
      pending: the round to go back to while old files are being deleted; -1 when that is done.
      client: the client that is being forgotten while `pending`.
      before: the run before each client was forgotten.
    """

    clients: frozenset[int] = frozenset()
    lost: dict[int, frozenset[int]] = field(default_factory=dict)
    pending: int = -1
    client: int = 0
    before: dict[int, Before] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Path) -> Self:
        """Reads the file; without one, no client was forgotten."""
        path = owned(run, FILE)
        if not path.is_file():
            return cls()
        content = json.loads(path.read_text())
        lost = {int(k): frozenset(v) for k, v in content["lost"].items()}
        before = {int(k): Before(**v) for k, v in content.get("before", {}).items()}
        return cls(frozenset(content["clients"]), lost, content["pending"], content["client"], before)

    def write(self, run: Path) -> None:
        """Writes the file, whole or not at all."""
        write_atomic(owned(run, FILE), self.as_json())

    def as_json(self) -> str:
        """Returns the file's content."""
        lost = {str(k): sorted(v) for k, v in sorted(self.lost.items())}
        before = {str(k): asdict(v) for k, v in sorted(self.before.items())}
        content = {"clients": sorted(self.clients), "lost": lost, "pending": self.pending, "client": self.client}
        return json.dumps({**content, "before": before}) + "\n"

    def counted(self, vault: Vault) -> dict[str, Any]:
        """Returns the counts of the text that the run may train on, for its summary.

        Clients that the run has forgotten and the vault still holds do not count. Findings were
        counted when text was added.
        """
        about = {**vault.about, "clients": len(vault.pseudonyms), "forgotten": vault.forgotten()}
        if vault.label_entropy:
            about["label_entropy"] = vault.label_entropy  # by name: who runs this has the vault's key
        kept = ~np.isin(vault.pseudonyms, np.array(sorted(self.clients), np.uint64))
        about["without_held_out"] = int(np.sum((vault.index["held_out"] == 0) & kept))
        trains = training_clients(vault.index)
        about["evaluated_only"] = int(np.sum(~trains & kept))
        if about.get("validation_fraction"):
            about["without_validation"] = int(np.sum(trains & (vault.index["validation"] == 0) & kept))
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
