"""The sealed index: blocks of at most 4,096 clients, with an entry, a name and labels each (docs/vault-format.md)."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedlm.errors import VaultError
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, seal, unseal
from fedlm.vault.tables import FORMAT, VaultKeys, as_bytes

BLOCK_CLIENTS = 4096
_FIELDS = [("row_id", "V16"), ("pseudonym", "<u8"), ("train", "<u4"), ("held_out", "<u4"), ("wrapped", "V16")]
ENTRY = np.dtype([*_FIELDS, ("documents", "<u4"), ("validation", "<u4")])
_ENTRIES = {2: np.dtype([*_FIELDS, ("documents", "<u4")]), FORMAT: ENTRY}  # format 2 had no validation text
_ENTRY_1 = np.dtype(_FIELDS)  # format 1 did not count documents

Names = list[tuple[str, dict[str, str]]]
"""Names and labels of a block's clients."""


def seal_block(keys: VaultKeys, vault_id: bytes, number: int, entries: bytes, names: Names) -> tuple[int, bytes, bytes]:
    """Returns a row of the table `block`; `entries` are the bytes of records of ENTRY."""
    plain = json.dumps([[name, labels] for name, labels in names]).encode()
    return (
        number,
        seal(keys.index, Place(vault_id, Part.INDEX, sequence=number), bytes([FORMAT]) + entries),
        seal(keys.index, Place(vault_id, Part.NAMES, sequence=number), plain),
    )


def unseal_entries(keys: VaultKeys, vault_id: bytes, number: int, blob: object) -> npt.NDArray[np.void]:
    """Returns a block's entries, (clients,) of ENTRY.

    In a block of format 1 every client has 0 documents (unknown); before format 3 none has validation text.
    """
    plain = unseal(keys.index, Place(vault_id, Part.INDEX, sequence=number), as_bytes(blob))
    # Entries have 48 bytes (format 1), 52 (format 2) or 56 (format 3), multiples of 4; a byte with
    # the format's number precedes those of the later formats.
    if len(plain) % 4:
        if plain[0] not in _ENTRIES:
            raise VaultError(DOES_NOT_OPEN)
        known = np.frombuffer(plain, _ENTRIES[plain[0]], offset=1)
    else:
        known = np.frombuffer(plain, _ENTRY_1)
    if known.dtype == ENTRY:
        return known
    entries = np.zeros(len(known), ENTRY)
    for name in known.dtype.names or ():
        entries[name] = known[name]
    return entries


def unseal_names(keys: VaultKeys, vault_id: bytes, number: int, blob: object) -> Names:
    """Returns a block's names and labels."""
    plain = unseal(keys.index, Place(vault_id, Part.NAMES, sequence=number), as_bytes(blob))
    try:
        return [(str(name), dict(labels)) for name, labels in json.loads(plain)]
    except (ValueError, TypeError):
        raise VaultError(DOES_NOT_OPEN) from None


Client = tuple[bytes, str, dict[str, str]]
"""What the index holds of a client: its entry, name and labels."""


class IndexChange:
    """The changes of an index, gathered until `write`; one block is in memory at a time.

    Args:
      db: in a transaction.
      keys: that the index is sealed with.
      vault_id: of the vault.
    """

    def __init__(self, db: sqlite3.Connection, keys: VaultKeys, vault_id: bytes) -> None:
        self._db, self._keys, self._vault_id = db, keys, vault_id
        self._changed: dict[int, dict[int, Client | None]] = {}
        self._appended: dict[bytes, Client] = {}

    def entry(self, number: int, place: int) -> np.void:
        """Returns a client's entry before this change."""
        (blob,) = self._db.execute("SELECT arrays FROM block WHERE number = ?", (number,)).fetchone()
        entry: np.void = unseal_entries(self._keys, self._vault_id, number, blob)[place]
        return entry

    def position(self, row_id: bytes) -> tuple[int, int] | None:
        """Returns block and place of a client before this change; None if the index does not have it."""
        for number, rows in self._row_ids():
            places = np.flatnonzero(rows == np.void(row_id))
            if len(places):
                return number, int(places[0])
        return None

    def names(self) -> Iterator[str]:
        """Yields the names of all clients before this change, one block in memory at a time."""
        for number, blob in self._db.execute("SELECT number, names FROM block ORDER BY number"):
            yield from (name for name, _ in unseal_names(self._keys, self._vault_id, number, blob))

    def known(self, row_id: bytes) -> np.void | None:
        """Returns a client's entry with this change; None if the index does not have the client."""
        number, place = self._where.get(row_id, (-1, -1))
        change = self._appended.get(row_id) or self._changed.get(number, {}).get(place)
        if change is not None:
            changed: np.void = np.frombuffer(change[0], ENTRY)[0]
            return changed
        return None if number < 0 else self.entry(number, place)

    def put(self, row_id: bytes, client: Client) -> bool:
        """Changes or appends a client; returns whether it is new. A known client keeps its name and labels."""
        if row_id in self._where:
            number, place = self._where[row_id]
            self._changed.setdefault(number, {})[place] = client
            return False
        is_new = row_id not in self._appended
        self._appended[row_id] = client
        return is_new

    def remove(self, number: int, place: int) -> None:
        """Takes a client out."""
        self._changed.setdefault(number, {})[place] = None

    def write(self) -> None:
        """Applies the changes to the blocks."""
        # A block keeps its number, which is sealed in its header; one that lost clients is not
        # filled up again.
        for number, changes in self._changed.items():
            entries, names = self._block(number)
            kept: list[Client] = []
            for place, (name, labels) in enumerate(names):
                change = changes.get(place, (entries[place].tobytes(), name, labels))
                if change is not None:
                    kept.append((change[0], name, labels))
            self._write(number, kept)
        (number,) = self._db.execute("SELECT COALESCE(MAX(number) + 1, 0) FROM block").fetchone()
        appended = list(self._appended.values())  # new clients go to new blocks: no full block is sealed again
        for first in range(0, len(appended), BLOCK_CLIENTS):
            self._write(number, appended[first : first + BLOCK_CLIENTS])
            number += 1
        self._changed.clear()
        self._appended.clear()

    def rewrap(self, keys: VaultKeys, rewrap: Callable[[np.void], bytes]) -> None:
        """Seals all blocks under new keys; `rewrap` wraps an entry's data key again and returns the digest for the index."""
        self.write()
        for (number,) in self._db.execute("SELECT number FROM block").fetchall():
            known, names = self._block(number)
            entries = known.copy()
            for entry in entries:
                entry["wrapped"] = np.void(rewrap(entry))
            self._replace(keys, number, entries.tobytes(), names)
        self._keys = keys

    @cached_property
    def _where(self) -> dict[bytes, tuple[int, int]]:
        """Block and place of each row id. Only `put` needs all of them."""
        return {e.tobytes(): (number, i) for number, rows in self._row_ids() for i, e in enumerate(rows)}

    def _row_ids(self) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
        for number, blob in self._db.execute("SELECT number, arrays FROM block ORDER BY number"):
            yield number, unseal_entries(self._keys, self._vault_id, number, blob)["row_id"]

    def _block(self, number: int) -> tuple[npt.NDArray[np.void], Names]:
        arrays, names = self._db.execute("SELECT arrays, names FROM block WHERE number = ?", (number,)).fetchone()
        entries = unseal_entries(self._keys, self._vault_id, number, arrays)
        return entries, unseal_names(self._keys, self._vault_id, number, names)

    def _write(self, number: int, clients: list[Client]) -> None:
        names = [(name, labels) for _, name, labels in clients]
        self._replace(self._keys, number, b"".join(entry for entry, _, _ in clients), names)

    def _replace(self, keys: VaultKeys, number: int, entries: bytes, names: Names) -> None:
        row = seal_block(keys, self._vault_id, number, entries, names)
        self._db.execute("INSERT OR REPLACE INTO block VALUES (?, ?, ?)", row)
