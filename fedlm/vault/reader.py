"""Reads a vault: one SQLite file of sealed shards, with its wrapped keys (docs/vault-format.md)."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedlm.errors import FedLMError, VaultError
from fedlm.types import Pseudonyms
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, unpack_documents, unseal
from fedlm.vault.index import ENTRY, unseal_entries, unseal_names
from fedlm.vault.keys import KeySource
from fedlm.vault.tables import DAMAGE, as_bytes, connect, digest, open_head
from fedlm.vault.writer import ClientShard, VaultWriter

__all__ = ["ClientShard", "Vault", "VaultWriter"]


class Vault:
    """An open vault, for reading.

    Args:
      path: the vault.
      source: where its key is.

    Attributes:
      index: a record of ENTRY for each client, in the vault's order: pseudonym (u8), training and
        held-out targets and training documents (u4).
      about: facts noted when it was made or changed; no names, no counts of one client.

    Raises:
      VaultError: the vault is missing, has a newer format, does not open with this key, or is an
        older copy put back.
    """

    def __init__(self, path: Path, source: KeySource) -> None:
        if not path.is_file():
            raise VaultError(f"There is no vault at {path}: make one with fedlm prepare.")
        self.path = path
        provider = source.open()
        self._db = _connected(path)
        try:
            self._head = open_head(self._db, path, provider)
            self.vault_id, self.about = self._head.vault_id, self._head.about
            self.index = self._read_index()
        except FedLMError:
            self._db.close()
            raise
        except DAMAGE:
            self._db.close()
            raise VaultError(DOES_NOT_OPEN) from None
        # Clients are found by binary search: two arrays, where a dict would cost some 100 bytes a
        # client.
        self._order = np.argsort(self.index["pseudonym"], kind="stable")
        self._sorted = self.index["pseudonym"][self._order]

    def _read_index(self) -> npt.NDArray[np.void]:
        plain = bytearray()  # block by block, so that a million clients are never in memory twice
        for number, arrays in self._db.execute("SELECT number, arrays FROM block ORDER BY number"):
            plain += unseal_entries(self._head.keys, self.vault_id, number, arrays).tobytes()
        index = np.frombuffer(plain, ENTRY)
        if len(index) != self._head.clients:
            raise VaultError(DOES_NOT_OPEN)
        return index

    def _entry(self, client: int) -> np.void:
        """Returns a client's record of the index.

        Raises:
          KeyError: the vault has no such client.
        """
        place = int(np.searchsorted(self._sorted, np.uint64(client)))
        if place == len(self._sorted) or int(self._sorted[place]) != client:
            raise KeyError(client)
        entry: np.void = self.index[self._order[place]]
        return entry

    @property
    def epoch(self) -> int:
        """The number of the vault's version: 1 when it was made, one more after each change."""
        return self._head.epoch

    @property
    def public_key(self) -> bytes:
        """The key that checks the vault's receipts, 32 bytes."""
        return self._head.secrets.public_key

    @property
    def key_fingerprint(self) -> str:
        """Identifies the vault key without revealing it, hexadecimal."""
        return self._head.keys.fingerprint

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The pseudonyms of all clients, (clients,) uint64, in the index's order."""
        return np.ascontiguousarray(self.index["pseudonym"])

    def by_pseudonym(self) -> npt.NDArray[np.void]:
        """Returns the index in the order of the pseudonyms, which does not reveal when a client was added."""
        return self.index[self._order]

    def pseudonym(self, name: str) -> int:
        """Returns the pseudonym of a name, whether or not the vault holds that client."""
        return self._head.secrets.pseudonym(name)

    def forgotten(self) -> int:
        """Returns the number of tombstones."""
        return int(self._db.execute("SELECT COUNT(*) FROM tombstone").fetchone()[0])

    def has_forgotten(self, name: str) -> bool:
        """Returns whether a client of this name was in the vault and has been forgotten."""
        row_id = self._head.secrets.row_id(name)
        return self._db.execute("SELECT 1 FROM tombstone WHERE row_id = ?", (row_id,)).fetchone() is not None

    def names(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yields each client's name and labels, in the index's order."""
        for number, blob in self._db.execute("SELECT number, names FROM block ORDER BY number"):
            yield from unseal_names(self._head.keys, self.vault_id, number, blob)

    def tokens(self, client: int, part: Part = Part.TRAIN) -> int:
        """Returns the number of training targets in a part of a client's text."""
        return int(self._entry(client)["train" if part is Part.TRAIN else "held_out"])

    def documents(self, client: int, part: Part = Part.TRAIN) -> list[str]:
        """Opens one part of one client's text, in memory only.

        Args:
          client: its pseudonym.
          part: TRAIN or HELD_OUT.

        Raises:
          KeyError: the vault holds no such client.
          VaultError: the row is missing, altered, or not the one that the index knows.
        """
        return unpack_documents(self.unseal(client, part))

    def size(self, client: int) -> tuple[int, int]:
        """Returns a client's documents and characters, in both parts; see `documents`."""
        texts = [*self.documents(client), *self.documents(client, Part.HELD_OUT)]
        return len(texts), sum(map(len, texts))

    def unseal(self, client: int, part: Part = Part.TRAIN) -> bytes:
        """Opens one part of one client as bytes; see `documents`."""
        entry = self._entry(client)
        row_id = entry["row_id"].tobytes()
        column = "train" if part is Part.TRAIN else "held_out"
        try:
            key = self._db.execute("SELECT wrapped_key FROM client WHERE row_id = ?", (row_id,)).fetchone()
            row = self._db.execute(f"SELECT {column} FROM shard WHERE row_id = ?", (row_id,)).fetchone()  # noqa: S608
        except DAMAGE:
            raise VaultError(DOES_NOT_OPEN) from None
        # The index is under the root, the row is not: a wrapped key put back from an older copy has
        # another digest.
        if key is None or row is None or digest(as_bytes(key[0])) != entry["wrapped"].tobytes():
            raise VaultError(DOES_NOT_OPEN)
        data_key = unseal(self._head.keys.wrap, Place(self.vault_id, Part.DATA_KEY, row_id), key[0])
        return unseal(data_key, Place(self.vault_id, part, row_id), as_bytes(row[0]))

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def verify(self) -> list[int]:
        """Opens every part of every client; returns the pseudonyms of those that do not open."""
        broken = []
        for client in map(int, self.pseudonyms):
            try:
                self.documents(client, Part.TRAIN)
                self.documents(client, Part.HELD_OUT)
            except VaultError:
                broken.append(client)
        return broken

    def holds_row(self, row_id: bytes) -> bool:
        """Returns whether a key or a text is stored under a row id, known to the index or not."""
        query = "SELECT 1 FROM client WHERE row_id = ?1 UNION ALL SELECT 1 FROM shard WHERE row_id = ?1"
        return self._db.execute(query, (row_id,)).fetchone() is not None

    def free_pages(self) -> int:
        """Returns the number of unused pages in the file."""
        return int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def strangers(self) -> int:
        """Returns the number of rows that the index does not know: someone put them in, or back."""
        known = {e.tobytes() for e in self.index["row_id"]}
        try:
            rows = {r for t in ("client", "shard") for (r,) in self._db.execute(f"SELECT row_id FROM {t}")}  # noqa: S608
        except DAMAGE:
            raise VaultError(DOES_NOT_OPEN) from None
        return len(rows - known)


def _connected(path: Path) -> sqlite3.Connection:
    try:
        return connect(path)
    except DAMAGE:
        raise VaultError(f"{path} is not a vault, or it is damaged: restore it from a backup.") from None
