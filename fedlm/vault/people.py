"""Finds a person's clients in a vault that is being changed, under whatever spelling an earlier version kept the name.

A corpus gives a person one name (`fedlm.data.names`). A vault made before names were normalised may hold `ann` and `ann ` as
two clients: both are the person's, new text joins one of them, and forgetting the person destroys both.
"""

import sqlite3
from dataclasses import dataclass
from functools import cached_property

from fedlm.data.names import client_name, forms
from fedlm.vault.index import IndexChange
from fedlm.vault.tables import Secrets, as_bytes


@dataclass(frozen=True)
class Tombstone:
    """What is left of a forgotten client.

    Attributes:
      row_id: of the client, hexadecimal.
      pseudonym: of the client.
      when: Unix time of the deletion.
      destroyed: the digest of the wrapped key that was destroyed, hexadecimal.
    """

    row_id: str
    pseudonym: int
    when: int
    destroyed: str


class People:
    """Looks people up in the index before the change, and among the tombstones.

    Args:
      db: the vault, in a transaction.
      index: of the vault.
      secrets: of the vault.
    """

    def __init__(self, db: sqlite3.Connection, index: IndexChange, secrets: Secrets) -> None:
        self._db, self._index, self._secrets = db, index, secrets

    def held(self, name: str) -> list[str]:
        """Returns the names of all clients that are this person."""
        wanted = client_name(name)
        return [n for n in self._index.names() if client_name(n) == wanted]

    def stored_name(self, name: str) -> str:
        """Returns the name under which new text of a person is kept: the one that the vault has, or the normalised one."""
        return self._as_written.get(client_name(name), client_name(name))

    @cached_property
    def _as_written(self) -> dict[str, str]:
        """The names in the vault that are not normalised, by what they are normalised; a normalised one wins."""
        found: dict[str, str] = {}
        for name in self._index.names():
            if (normal := client_name(name)) != name:
                found.setdefault(normal, name)
        plain = [n for n in found if self._index.position(self._secrets.row_id(n)) is not None]
        return {normal: name for normal, name in found.items() if normal not in plain}

    def tombstones(self, name: str) -> list[Tombstone]:
        """Returns what is left of a person's forgotten clients; tombstones hold no names, so spellings are tried."""
        if self._db.execute("SELECT 1 FROM tombstone LIMIT 1").fetchone() is None:
            return []
        found = []
        for form in forms(name):
            row_id = self._secrets.row_id(form)
            row = self._db.execute("SELECT forgotten, wrapped FROM tombstone WHERE row_id = ?", (row_id,)).fetchone()
            if row is not None:
                found.append(
                    Tombstone(row_id.hex(), self._secrets.pseudonym(form), int(row[0]), as_bytes(row[1]).hex())
                )
        return found
