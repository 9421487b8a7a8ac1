"""A run's vault: its state when the run began, what has changed since, and a client in it that is to be forgotten."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from fedlm.errors import ConfigError, VaultError
from fedlm.privacy.folder import CHECKPOINTS, owned
from fedlm.system.files import write_atomic
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.store.forgotten import Forgotten

FILE = "vault.json"


@dataclass(frozen=True)
class VaultState:
    """What a vault's version is to a run.

    Attributes:
      epoch: the number of the vault's version.
      additions: how often text was added to it.
      forgotten: how many clients it had forgotten.
    """

    epoch: int
    additions: int
    forgotten: int

    @classmethod
    def of(cls, vault: Vault) -> Self:
        """Returns the state of an open vault."""
        return cls(vault.epoch, int(vault.about.get("additions", 0)), vault.forgotten())

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """Returns what a run recorded; None for a run of an earlier version, a deployment or a study."""
        file = _file(run)
        return cls(**json.loads(file.read_text())) if file.is_file() else None

    def write(self, run: Path) -> None:
        """Records the state, beside the checkpoints."""
        file = _file(run)
        file.parent.mkdir(exist_ok=True, mode=0o700)
        write_atomic(file, json.dumps(asdict(self)), private=True)


def _file(run: Path) -> Path:
    return owned(run, CHECKPOINTS) / FILE


def has_new_text(run: Path, vault: Vault) -> bool:
    """Returns whether text was added to a vault since a run on it began."""
    before = VaultState.read(run)
    return before is not None and VaultState.of(vault).additions != before.additions


@dataclass(frozen=True)
class FoundClient:
    """A client in a run's vault, and how the vault has changed since the run began.

    Attributes:
      client: its pseudonym.
      held: whether the vault still holds its text.
      has_new_text: whether text was added to the vault.
      others_forgotten: how many clients the vault has forgotten that the run has not.
    """

    client: int
    held: bool
    has_new_text: bool
    others_forgotten: int


def find_client(run: Path, vault: Path, source: KeySource, name: str, vaults: list[str]) -> FoundClient:
    """Returns a client in a run's vault.

    Args:
      run, vault, source: the run, the vault and where its key is.
      name: the client.
      vaults: the ids of the vaults that the run was trained on.

    Raises:
      ConfigError: the run was trained on another vault.
      VaultError: the vault does not open, or never held the client.
    """
    with contextlib.closing(Vault(vault, source)) as opened:
        if opened.vault_id.hex() not in vaults:
            raise ConfigError(f"{vault} is not the vault that the run was trained on: name the right one with --vault.")
        client, holds = opened.pseudonym(name), set(map(int, opened.pseudonyms))
        if client not in holds and not opened.has_forgotten(name):
            raise VaultError(f"The vault {vault} has no client of this name, and never forgot one.")
        before = VaultState.read(run) or VaultState.of(opened)
        known = Forgotten.read(run).clients | {client}
        others = opened.forgotten() - before.forgotten - len(known - holds)
        return FoundClient(client, client in holds, has_new_text(run, opened), max(others, 0))
