"""The parts of a client's text, and where they are stored: the columns of the table `shard`.

Validation text came with format 3: the table of an older vault has no column for it until the vault changes. A client without
validation text has NULL there, and the sealed index says that it has none.
"""

import sqlite3
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from fedlm.errors import VaultError
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, unpack_documents, unseal
from fedlm.vault.tables import as_bytes

COLUMNS = {Part.TRAIN: "train", Part.VALIDATION: "validation", Part.HELD_OUT: "held_out"}
"""The columns of `shard`, and the fields of an index entry that count a part's targets."""

Item = TypeVar("Item")


class Parts(NamedTuple, Generic[Item]):
    """Something of each part, in the order of a client's documents."""

    train: Item
    validation: Item
    held_out: Item


def add_column(db: sqlite3.Connection) -> None:
    """Gives the table of an older vault its column for validation text, in the transaction of a change."""
    if not _has_column(db):
        db.execute("ALTER TABLE shard ADD COLUMN validation BLOB")


def _has_column(db: sqlite3.Connection) -> bool:
    return any(name == "validation" for _, name, *_ in db.execute("PRAGMA table_info(shard)"))


def sealed_part(db: sqlite3.Connection, row_id: bytes, part: Part) -> object:
    """Returns what the file holds of a part, unchecked.

    Raises:
      VaultError: it has no row for the client.
    """
    column = COLUMNS[part] if part is not Part.VALIDATION or _has_column(db) else "NULL"
    row = db.execute(f"SELECT {column} FROM shard WHERE row_id = ?", (row_id,)).fetchone()  # noqa: S608
    if row is None:
        raise VaultError(DOES_NOT_OPEN)
    return row[0]


def unseal_part(data_key: bytes, vault_id: bytes, entry: np.void, part: Part, blob: object) -> bytes:
    """Opens one part of a client.

    Args:
      data_key: the client's.
      vault_id: of the vault.
      entry: the client's record of the index.
      part: which.
      blob: of `sealed_part`.

    Raises:
      VaultError: it is damaged, or missing although the index says that there is text.
    """
    if blob is None and part is Part.VALIDATION and not entry["validation"]:
        return b""
    return unseal(data_key, Place(vault_id, part, entry["row_id"].tobytes()), as_bytes(blob))


def unseal_all(db: sqlite3.Connection, data_key: bytes, vault_id: bytes, entry: np.void) -> Parts[list[str]]:
    """Opens all parts of a client.

    Raises:
      VaultError: one of them does not open.
    """
    row_id = entry["row_id"].tobytes()
    return Parts(
        *(unpack_documents(unseal_part(data_key, vault_id, entry, p, sealed_part(db, row_id, p))) for p in COLUMNS)
    )


def joined(parts: Parts[list[str]] | Iterable[list[str]]) -> list[str]:
    """Returns the documents of all parts, in their order."""
    return [document for part in parts for document in part]
