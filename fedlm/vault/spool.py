"""Groups a stream of documents by client on disk, sealed under a key that exists in memory only.

Memory does not grow with the corpus, and what a crash leaves behind cannot be read.
"""

import contextlib
import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fedlm.system.files import create_private
from fedlm.types import Document
from fedlm.vault.format import Part, Place, seal, unseal

_BUFFER_CHARACTERS = 16_000_000


class Spool:
    """Takes documents in any order and gives them back client by client, in their order.

    Args:
      path: a temporary file; removed by `close`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        self._key, self._id = secrets.token_bytes(32), secrets.token_bytes(16)
        with contextlib.ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            create_private(path)
            self._db = sqlite3.connect(path, isolation_level=None)
            # The file is worthless once this process, which has the key, is gone: nothing has to
            # survive a crash.
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.execute(
                "CREATE TABLE piece(user BLOB, number INTEGER, documents INTEGER, sealed BLOB, PRIMARY KEY(user, number)) WITHOUT ROWID"
            )
            undo.pop_all()
        self._buffer: dict[str, list[tuple[str, dict[str, str]]]] = {}
        self._buffered = self._number = 0
        self.documents = self.characters = 0

    def add(self, document: Document) -> None:
        """Takes one document."""
        self._buffer.setdefault(document.user, []).append((document.text, dict(document.labels)))
        self._buffered += len(document.text) + 50
        self.documents += 1
        self.characters += len(document.text)
        if self._buffered > _BUFFER_CHARACTERS:
            self._flush()

    def _user(self, name: str) -> bytes:
        return hashlib.blake2b(name.encode("utf-8", "replace"), key=self._key, digest_size=16).digest()

    def _flush(self) -> None:
        self._db.execute("BEGIN")
        for user, name in sorted(
            (self._user(name), name) for name in self._buffer
        ):  # in key order: each page is written once
            documents = self._buffer[name]
            plain = json.dumps([name, documents]).encode()
            place = Place(self._id, Part.TRAIN, user, self._number)
            self._db.execute(
                "INSERT INTO piece VALUES (?, ?, ?, ?)",
                (user, self._number, len(documents), seal(self._key, place, plain)),
            )
        self._db.execute("COMMIT")
        self._buffer.clear()
        self._buffered = 0
        self._number += 1

    def characters_of(self, clients: int) -> int:
        """Returns about how many characters this many clients have together."""
        (all_clients,) = self._db.execute("SELECT COUNT(DISTINCT user) FROM piece").fetchone()
        return self.characters * clients // max(int(all_clients), 1)

    def clients(self, min_documents: int, max_clients: int, seed: int) -> list[bytes]:
        """Returns handles of the clients with enough documents; `max_clients` > 0 keeps that many, drawn by the seed."""
        self._flush()
        query = "SELECT user FROM piece GROUP BY user HAVING SUM(documents) >= ?"
        users = [u for (u,) in self._db.execute(query, (min_documents,))]
        if 0 < max_clients < len(users):
            prefix = b"fedlm clients" + seed.to_bytes(8, "little")
            order = {hashlib.sha256(prefix + self.name(u).encode("utf-8", "replace")).digest(): u for u in users}
            users = [order[k] for k in sorted(order)[:max_clients]]
        return users

    def _pieces(self, user: bytes) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
        for number, sealed in self._db.execute(
            "SELECT number, sealed FROM piece WHERE user = ? ORDER BY number", (user,)
        ):
            name, documents = json.loads(unseal(self._key, Place(self._id, Part.TRAIN, user, number), sealed))
            yield name, documents

    def name(self, user: bytes) -> str:
        """Returns a client's name."""
        return next(self._pieces(user))[0]

    def read(self, user: bytes) -> list[Document]:
        """Returns a client's documents in their order."""
        found = []
        for name, documents in self._pieces(user):
            found += [Document(name, text, labels) for text, labels in documents]
        return found

    def close(self) -> None:
        """Removes the file."""
        self._db.close()
        self._path.unlink(missing_ok=True)
