"""Changes a vault in one transaction, as a whole or not at all (docs/vault-format.md, "Changes").

    open     lock VAULT.use exclusively; BEGIN IMMEDIATE; check the root; settle what a killed change left undone
    put      a client's old documents + its new ones  ->  split  ->  sealed under a NEW data key      (add)
    remove   delete the client's wrapped key and text, leave a tombstone                              (forget)
    rewrap   a new vault key is stored beside the old one; every data key, the index and the inner
             keys are sealed under it                                                                 (forget, rotate)
    commit   seal the root of epoch + 1; COMMIT; the provider destroys the old vault key and keeps the epoch
    purge    overwrite freed pages and the WAL                                                        (forget)

Order is what makes this safe. The new vault key is stored before anything is wrapped under it, and
the old one destroyed after the commit is on the disk, so that a crash between two steps leaves a
vault that one of the stored keys opens. The epoch reaches the provider last: a vault with a lower
epoch than the provider's is an old copy put back.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fedlm.data.names import client_name, forms
from fedlm.errors import ConfigError, VaultError
from fedlm.scrub.engine import ScrubbedText
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, seal, unseal
from fedlm.vault.index import IndexChange
from fedlm.vault.keys import KeySource
from fedlm.vault.locks import being_changed
from fedlm.vault.parts import Parts, add_column, joined, unseal_all
from fedlm.vault.people import People, Tombstone
from fedlm.vault.providers import new_kdf
from fedlm.vault.tables import (
    FORMAT,
    Opened,
    VaultKeys,
    as_bytes,
    digest,
    put_meta,
    seal_root,
)
from fedlm.vault.transaction import Transaction
from fedlm.vault.writer import SealedClient

Split = Callable[[Parts[list[str]], list[str]], tuple[Parts[list[str]], Parts[int]]]
"""Divides a client's old documents, by part, and its new ones; returns all by part, and the number of targets in each."""


class VaultEditor:
    """One change of a vault, as a context manager: what is not committed is rolled back.

    Args:
      path: the vault.
      source: where its key is.

    Raises:
      VaultError: the vault does not open, a run or a node has it open, or another process is
        changing it.
      StorageError: the machine does not read or write it.
    """

    def __init__(self, path: Path, source: KeySource) -> None:
        if not path.is_file():
            raise VaultError(f"There is no vault at {path}: make one with fedlm prepare.")
        self.path, self._provider = path, source.open()
        with contextlib.ExitStack() as held:
            held.enter_context(being_changed(path))
            self._transaction = Transaction(path, self._provider, held)
            self._held = held.pop_all()
        self.head, self._db = self._transaction.head, self._transaction.db
        self._keys, self.clients = self.head.keys, self.head.clients
        self.about: dict[str, Any] = dict(self.head.about)
        add_column(self._db)
        self._index = IndexChange(self._db, self._keys, self.head.vault_id)
        self.people = People(self._db, self._index, self.head.secrets)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self._transaction.end()
        if isinstance(error, sqlite3.Error):  # of a damaged page; the machine's errors are told by the connection
            raise VaultError(DOES_NOT_OPEN) from None

    def has(self, name: str) -> bool:
        """Returns whether the vault holds a client of exactly this name."""
        return self._index.position(self.head.secrets.row_id(name)) is not None

    def put(self, name: str, new: list[ScrubbedText], labels: Mapping[str, str], split: Split) -> int:
        """Appends new documents to a client's old ones and seals all of them under a new data key.

        A data key seals one version of a client's text only: an old blob put back must not open.

        Args:
          name: the client; an unknown one is added.
          new: its new documents, in order.
          labels: of a new client; a known one keeps its own.
          split: divides all documents into parts.

        Returns:
          The number of documents that the client had before.
        """
        row_id = self.head.secrets.row_id(name)
        known = self._index.known(row_id)
        old = Parts[list[str]]([], [], []) if known is None else self._documents(known)
        parts, tokens = split(old, [d.text for d in new])
        sealed = SealedClient.seal(self._keys.wrap, self.head.vault_id, row_id, parts)
        sealed.write(self._db)
        entry = sealed.entry(self.head.secrets.pseudonym(name), tokens, len(parts.train))
        self.clients += self._index.put(row_id, (entry, name, dict(labels)))
        return len(joined(old))

    def _documents(self, entry: np.void) -> Parts[list[str]]:
        """Opens a client's text, by its entry in the index; raises a VaultError if a part does not open."""
        data_key = self._data_key(entry["row_id"].tobytes(), entry["wrapped"].tobytes())
        return unseal_all(self._db, data_key, self.head.vault_id, entry)

    def _data_key(self, row_id: bytes, known: bytes) -> bytes:
        """Opens a client's data key; raises a VaultError if it is damaged, or not the one whose digest the index holds."""
        row = self._db.execute("SELECT wrapped_key FROM client WHERE row_id = ?", (row_id,)).fetchone()
        if row is None or digest(as_bytes(row[0])) != known:
            raise VaultError(DOES_NOT_OPEN)
        return unseal(self._keys.wrap, Place(self.head.vault_id, Part.DATA_KEY, row_id), row[0])

    def remove(self, name: str, now: int) -> Tombstone:
        """Deletes a client's key and text, whatever state they are in; returns the tombstone that it leaves, with the time.

        The text is unreadable once the vault key that wraps the deleted data key is destroyed too:
        `rewrap`, then `commit`. `about` counts what is left; documents and characters of a client
        whose text does not open stay counted.
        """
        row_id = self.head.secrets.row_id(name)
        position = self._index.position(row_id)
        if position is None:
            raise VaultError(f"The vault {self.path} has no client of this name.")
        number, place = position
        entry = self._index.entry(number, place)
        wrapped = entry["wrapped"].tobytes()
        with contextlib.suppress(VaultError):
            self._discount(joined(self._documents(entry)))
        self._db.execute("DELETE FROM client WHERE row_id = ?", (row_id,))
        self._db.execute("DELETE FROM shard WHERE row_id = ?", (row_id,))
        self._db.execute("INSERT INTO tombstone VALUES (?, ?, ?)", (row_id, now, wrapped))
        if name not in forms(
            plain := client_name(name)
        ):  # a spelling that nobody would try: the person is found by name
            normal = self.head.secrets.row_id(plain)
            self._db.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?)", (normal, now, wrapped))
        self._index.remove(number, place)
        self.clients -= 1
        return Tombstone(row_id.hex(), self.head.secrets.pseudonym(name), now, wrapped.hex())

    def _discount(self, documents: list[str]) -> None:
        self.about.pop(
            "unknown_characters", None
        )  # without the vocabulary, their share in these documents is not known
        for key, count in (("documents", len(documents)), ("characters", sum(map(len, documents)))):
            if key in self.about:
                self.about[key] -= count

    def rewrap(self) -> None:
        """Wraps every data key, and seals the index and the inner keys, under a new vault key; call it last.

        Texts do not change, only the keys that wrap them. One block of the index is in
        memory at a time. A damaged client stays in the index and is lost for good, because its data
        key opens under no later vault key.

        Raises:
          ConfigError: the provider proposes the key that the vault has already.
        """
        kdf = new_kdf()
        new = VaultKeys.of(self._provider.propose(self.head.vault_id, kdf))
        if new.vault == self._keys.vault:
            raise ConfigError(
                f"The key provider gave the key that {self.path} has already: make it the current key there, and provide a "
                "new one as the next."
            )
        self._index.rewrap(new, lambda entry: self._rewrap_row(new, entry))
        sealed = seal(new.index, Place(self.head.vault_id, Part.SECRETS), self.head.secrets.pack())
        put_meta(self._db, kdf=kdf, inner_keys=sealed)
        self._keys = new

    def _rewrap_row(self, new: VaultKeys, entry: np.void) -> bytes:
        row_id, known = entry["row_id"].tobytes(), entry["wrapped"].tobytes()
        try:
            data_key = self._data_key(row_id, known)
        except VaultError:  # one damaged client must not keep others from being forgotten
            return bytes(known)
        again = seal(new.wrap, Place(self.head.vault_id, Part.DATA_KEY, row_id), data_key)
        self._db.execute("UPDATE client SET wrapped_key = ? WHERE row_id = ?", (again, row_id))
        return digest(again)

    def commit(self) -> Opened:
        """Seals the root of the next epoch and commits; then the provider destroys older keys. Returns the new head."""
        epoch = self.head.epoch + 1
        self._index.write()
        put_meta(self._db, format=str(FORMAT), about=json.dumps({**self.about, "clients": self.clients}))
        seal_root(self._db, self._keys, self.head.vault_id, epoch, self.clients)
        self._transaction.commit(self._keys, epoch)
        return Opened(self.head.vault_id, self._keys, self.head.secrets, epoch, self.clients, self.about)

    def purge(self) -> None:
        """Overwrites freed space, see `Transaction.purge`."""
        self._transaction.purge()
