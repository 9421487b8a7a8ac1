"""The transaction of a change: SQLite in WAL mode, on a vault without journals, which it leaves without journals."""

import contextlib
import sqlite3
from pathlib import Path

from fedlm.errors import FedLMError, InUseError, StorageError, VaultError
from fedlm.system.storage import check_room
from fedlm.vault.format import DOES_NOT_OPEN
from fedlm.vault.journals import settle_journals, tidy
from fedlm.vault.keys import KeyProvider
from fedlm.vault.tables import DAMAGE, Opened, VaultKeys, connect, open_head

_ROOM = (StorageError, InUseError, sqlite3.Error)


class Transaction:
    """An open transaction; the caller holds the vault's lock until `held` ends.

    Args:
      path: the vault.
      provider: of its key.
      held: closes the connection when it ends.

    Raises:
      VaultError: the vault does not open.
      StorageError: the machine does not read or write it.
    """

    def __init__(self, path: Path, provider: KeyProvider, held: contextlib.ExitStack) -> None:
        self._path, self._provider, self._committed = path, provider, False
        try:
            settle_journals(path, provider)
            self.db = connect(path)
        except FedLMError:
            raise
        except DAMAGE:
            raise VaultError(f"{path} is not a vault, or it is damaged: restore it from a backup.") from None
        held.callback(lambda: tidy(path, committed=self._committed))  # comes after the next line's `close`
        held.callback(self.db.close)
        try:
            self.head = self._begin()
        except FedLMError:
            raise
        except DAMAGE:
            raise VaultError(DOES_NOT_OPEN) from None

    def _begin(self) -> Opened:
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("BEGIN IMMEDIATE")
        head = open_head(self.db, self._path, self._provider)
        # A process that was killed between its commit and `settle` left the old key behind.
        self._provider.settle(head.vault_id, head.keys.vault, head.epoch)
        return head

    def commit(self, keys: VaultKeys, epoch: int) -> None:
        """Commits, copies the WAL into the file, and lets the provider destroy older keys.

        Raises:
          StorageError: the machine does not write it. The sentence says whether the change is made.
        """
        pages, size = (self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        check_room(self._path, pages * size)  # for the WAL's way into the file, which comes next
        self._committed = True
        self.db.execute("COMMIT")
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._provider.settle(self.head.vault_id, keys.vault, epoch)
        except StorageError as error:  # both keys are still there, and so is the WAL
            raise StorageError(
                f"{error} The change itself is made, and the next command that opens the vault completes it: do not repeat it, "
                f"and keep {self._path.name}-wal if it is there."
            ) from None

    def end(self) -> None:
        """Rolls back what is not committed, and ends WAL mode. What fails for want of room is left to the next who opens the vault."""
        with contextlib.suppress(*_ROOM):
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        with contextlib.suppress(*_ROOM):
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.db.execute("PRAGMA journal_mode=DELETE")

    def purge(self) -> None:
        """Overwrites freed space: the WAL is written into the file, and the file is rebuilt without gaps.

        Raises:
          VaultError: another process reads the vault, so that freed pages are still there.
          StorageError: there is no room for that.
        """
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.db.execute("VACUUM")
            busy, *_ = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except InUseError:
            busy = 1
        except StorageError as error:
            raise StorageError(
                f"{error} The change is made; freed pages are not overwritten yet: run this again."
            ) from None
        if busy:
            raise VaultError(
                f"Another process reads {self._path}, so freed pages are not overwritten yet: run this again."
            )
