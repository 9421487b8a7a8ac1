"""Groups a stream of documents by client on disk, sealed under a key that exists in memory only.

Memory does not grow with the corpus, and what a crash leaves behind cannot be read.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

from fedlm.system.database import open_database
from fedlm.system.own_files import own_file
from fedlm.types import Document
from fedlm.vault.format import Part, Place, seal, unseal

_BUFFER_CHARACTERS = 16_000_000
_TEST_ONLY = "SUM(rows) = 0 AND SUM(test) > 0"
_Piece = tuple[str, dict[str, str], bool]
"""A document's text and labels, and whether it is given test text."""


class Spool:
    """Takes documents in any order and gives them back client by client, in their order.

    Args:
      path: a temporary file, or one beside it if another process has one of this name; removed by `close`.
    """

    def __init__(self, path: Path) -> None:
        self._key, self._id = secrets.token_bytes(32), secrets.token_bytes(16)
        with contextlib.ExitStack() as held:
            own = held.enter_context(own_file(path))
            self._db = open_database(own, "rw")
            held.callback(self._db.close)
            # The file is worthless once this process, which has the key, is gone: nothing has to
            # survive a crash.
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.execute(
                "CREATE TABLE piece(user BLOB, number INTEGER, documents INTEGER, rows INTEGER, test INTEGER, sealed BLOB, "
                "PRIMARY KEY(user, number)) WITHOUT ROWID"
            )
            self._held = held.pop_all()
        self._buffer: dict[str, list[_Piece]] = {}
        self._buffered = self._number = 0
        self.documents = self.characters = 0

    def add(self, document: Document) -> None:
        """Takes one document."""
        self._buffer.setdefault(document.user, []).append((document.text, dict(document.labels), document.held_out))
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
            rows, test = (
                [bool(t.strip()) for t, _, held_out in documents if held_out is given] for given in (False, True)
            )
            self._db.execute(
                "INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?)",
                (user, self._number, sum(rows), len(rows), sum(test), seal(self._key, place, plain)),
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
        """Returns handles of the clients with enough documents that have text; `max_clients` > 0 draws that many by the seed.

        Given test text does not count.
        """
        self._flush()
        query = "SELECT user FROM piece GROUP BY user HAVING SUM(documents) >= ?"
        return self._drawn([u for (u,) in self._db.execute(query, (min_documents,))], max_clients, seed)

    def test_clients(self, max_clients: int, seed: int) -> list[bytes]:
        """Returns handles of the clients that have given test text and no other document; see `clients`."""
        self._flush()
        query = f"SELECT user FROM piece GROUP BY user HAVING {_TEST_ONLY}"  # noqa: S608
        return self._drawn([u for (u,) in self._db.execute(query)], max_clients, seed)

    def _drawn(self, users: list[bytes], max_clients: int, seed: int) -> list[bytes]:
        if 0 < max_clients < len(users):
            prefix = b"fedlm clients" + seed.to_bytes(8, "little")
            order = {hashlib.sha256(prefix + self.name(u).encode("utf-8", "replace")).digest(): u for u in users}
            users = [order[k] for k in sorted(order)[:max_clients]]
        return users

    def short_clients(self, min_documents: int) -> list[bytes]:
        """Returns handles of the clients with fewer documents that have text, which `clients` leaves out."""
        self._flush()
        query = f"SELECT user FROM piece GROUP BY user HAVING SUM(documents) < ? AND NOT ({_TEST_ONLY})"  # noqa: S608
        return [u for (u,) in self._db.execute(query, (min_documents,))]

    def _pieces(self, user: bytes) -> Iterator[tuple[str, list[_Piece]]]:
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
            found += [Document(name, text, labels, held_out=held_out) for text, labels, held_out in documents]
        return found

    def close(self) -> None:
        """Removes the file."""
        self._held.close()
