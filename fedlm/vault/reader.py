"""Reads a vault: one SQLite file of sealed shards, with its wrapped keys (docs/vault-format.md)."""

import contextlib
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.data.names import client_name, forms
from fedlm.errors import FedLMError, VaultError
from fedlm.system.journals import journals
from fedlm.types import Pseudonyms
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, derive, unpack_documents, unseal
from fedlm.vault.index import ENTRY, unseal_entries, unseal_names
from fedlm.vault.journals import connect_for_reading, settle_journals
from fedlm.vault.keys import KeyProvider, KeySource
from fedlm.vault.locks import being_changed, being_read
from fedlm.vault.parts import COLUMNS, joined, sealed_part, unseal_part
from fedlm.vault.receipts import signed
from fedlm.vault.tables import DAMAGE, as_bytes, digest, open_head
from fedlm.vault.writer import ClientShard, VaultWriter

__all__ = ["ClientShard", "Vault", "VaultWriter"]


class Vault:
    """An open vault, for reading. No other process can change it while it is open.

    Args:
      path: the vault.
      source: where its key is.

    Attributes:
      index: a record of ENTRY for each client, in the vault's order: pseudonym (u8), training and
        held-out targets, training documents and validation targets (u4).
      about: facts noted when it was made or changed; no names, no counts of one client.

    Raises:
      VaultError: the vault is missing, has a newer format, does not open with this key, is an
        older copy put back, or is being changed.
      StorageError: the machine does not read it.
    """

    def __init__(self, path: Path, source: KeySource) -> None:
        if not path.is_file():
            raise VaultError(f"There is no vault at {path}: make one with fedlm prepare.")
        self.path = path
        provider = source.open()
        with contextlib.ExitStack() as held:
            self._db = _connected(path, provider, held)
            try:
                self._head = open_head(self._db, path, provider)
                self.vault_id, self.about = self._head.vault_id, self._head.about
                self.index = self._read_index()
            except FedLMError:
                raise
            except DAMAGE:
                raise VaultError(DOES_NOT_OPEN) from None
            self._release = weakref.finalize(self, held.pop_all().close)  # also where nobody calls `close`
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
    def label_entropy(self) -> dict[str, float]:
        """The mean entropy of each label within clients, by its name; by a number in a vault of an earlier version."""
        found: Mapping[str, float] = self.about.get("label_entropy", {})
        return {self._head.labels.get(key, key): float(bits) for key, bits in found.items()}

    @property
    def public_key(self) -> bytes:
        """The key that checks the vault's receipts, 32 bytes."""
        return self._head.secrets.public_key

    def derived_key(self, purpose: str) -> bytes:
        """Returns a key of the vault's own, 32 bytes: the same for the vault's life, and sealed in it."""
        return derive(self._head.secrets.row_key, purpose)

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

    def row_id(self, name: str) -> bytes:
        """Returns the row id of a name, whether or not the vault holds that client; nothing outside the vault has it."""
        return self._head.secrets.row_id(name)

    def receipt(self, kind: str, content: Mapping[str, Any], reference: str = "") -> dict[str, Any]:
        """Returns a receipt signed with the vault's key, see `fedlm.vault.receipts.signed`."""
        return signed(self._head.secrets, kind, content, reference)

    def forgotten(self) -> int:
        """Returns the number of tombstones."""
        return int(self._rows("SELECT COUNT(*) FROM tombstone")[0][0])

    def _rows(self, query: str, *values: bytes | int) -> list[Any]:
        try:
            return list(self._db.execute(query, values).fetchall())
        except DAMAGE:
            raise VaultError(DOES_NOT_OPEN) from None

    def has_forgotten(self, name: str) -> bool:
        """Returns whether a client of exactly this name was in the vault and has been forgotten."""
        row_id = self._head.secrets.row_id(name)
        return bool(self._rows("SELECT 1 FROM tombstone WHERE row_id = ?", row_id))

    def names_of(self, name: str) -> list[str]:
        """Returns the names under which the vault holds a person's text, or held it.

        A vault of an earlier version kept names as they were written, so that one person may be several clients.
        """
        wanted = client_name(name)
        held = [n for n, _ in self.names() if client_name(n) == wanted]
        return held + [form for form in forms(name) if form not in held and self.has_forgotten(form)]

    def names(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yields each client's name and labels, in the index's order."""
        for (number,) in self._rows("SELECT number FROM block ORDER BY number"):
            for (blob,) in self._rows("SELECT names FROM block WHERE number = ?", number):
                yield from unseal_names(self._head.keys, self.vault_id, number, blob)

    def tokens(self, client: int, part: Part = Part.TRAIN) -> int:
        """Returns the number of training targets in a part of a client's text."""
        return int(self._entry(client)[COLUMNS[part]])

    def documents(self, client: int, part: Part = Part.TRAIN) -> list[str]:
        """Opens one part of one client's text, in memory only.

        Args:
          client: its pseudonym.
          part: TRAIN, VALIDATION or HELD_OUT.

        Raises:
          KeyError: the vault holds no such client.
          VaultError: the row is missing, altered, or not the one that the index knows.
        """
        return unpack_documents(self.unseal(client, part))

    def size(self, client: int) -> tuple[int, int]:
        """Returns a client's documents and characters, in all parts; see `documents`."""
        texts = joined(self.documents(client, part) for part in COLUMNS)
        return len(texts), sum(map(len, texts))

    def unseal(self, client: int, part: Part = Part.TRAIN) -> bytes:
        """Opens one part of one client as bytes; see `documents`."""
        entry = self._entry(client)
        row_id = entry["row_id"].tobytes()
        key = next(iter(self._rows("SELECT wrapped_key FROM client WHERE row_id = ?", row_id)), None)
        # The index is under the root, the row is not: a wrapped key put back from an older copy has
        # another digest.
        if key is None or digest(as_bytes(key[0])) != entry["wrapped"].tobytes():
            raise VaultError(DOES_NOT_OPEN)
        try:
            blob = sealed_part(self._db, row_id, part)
        except DAMAGE:
            raise VaultError(DOES_NOT_OPEN) from None
        data_key = unseal(self._head.keys.wrap, Place(self.vault_id, Part.DATA_KEY, row_id), key[0])
        return unseal_part(data_key, self.vault_id, entry, part, blob)

    def close(self) -> None:
        """Closes the file and allows changes of it."""
        self._release()

    def verify(self) -> list[int]:
        """Opens every part of every client; returns the pseudonyms of those that do not open."""
        broken = []
        for client in map(int, self.pseudonyms):
            try:
                for part in COLUMNS:
                    self.documents(client, part)
            except VaultError:
                broken.append(client)
        return broken

    def holds_row(self, row_id: bytes) -> bool:
        """Returns whether a key or a text is stored under a row id, known to the index or not."""
        query = "SELECT 1 FROM client WHERE row_id = ?1 UNION ALL SELECT 1 FROM shard WHERE row_id = ?1"
        return bool(self._rows(query, row_id))

    def free_pages(self) -> int:
        """Returns the number of unused pages in the file."""
        return int(self._rows("PRAGMA freelist_count")[0][0])

    def strangers(self) -> int:
        """Returns the number of rows that the index does not know: someone put them in, or back."""
        known = {e.tobytes() for e in self.index["row_id"]}
        rows = {r for t in ("client", "shard") for (r,) in self._rows(f"SELECT row_id FROM {t}")}  # noqa: S608
        return len(rows - known)


def training_clients(index: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Returns which clients of an index have training text, (clients,); others have given test text only."""
    has_text: npt.NDArray[np.bool_] = index["train"] > 0
    return has_text


def _connected(path: Path, provider: KeyProvider, held: contextlib.ExitStack) -> sqlite3.Connection:
    """Opens the vault until `held` ends, and keeps others from changing it."""
    if journals(path):
        # Whoever cannot change the vault now, or ever, reads what a recovery would make of it.
        with contextlib.suppress(FedLMError), being_changed(path, wait=0) as locked:
            if locked:
                settle_journals(path, provider)
    held.enter_context(being_read(path))
    try:
        db = connect_for_reading(path, provider)
    except DAMAGE as error:
        if isinstance(error, FedLMError):
            raise
        raise VaultError(f"{path} is not a vault, or it is damaged: restore it from a backup.") from None
    held.callback(db.close)
    return db
