"""What a node has answered, across restarts, so that no second question reveals what the first one hid.

Two sums over sets that differ by one client reveal that client's update; so do two answers for one client under different
weights, and two noised copies of one update. For each (run, round, attempt, client) the node therefore answers one request.
The identical request gets the identical reply; any other is refused.

    claim     tag -> digest of the request      durable before any work
    spend     tag -> a counter, up to a limit   in the same transaction
    reply     one sealed reply                  durable before it is sent, where noise would differ the next time

Tags are HMACs under a key that is sealed in the vault, so that the file names neither clients nor runs. How the file is opened:
`clients/contract/memory_file.py`.
"""

import hmac
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clients.contract.memory_file import open_memory, read_head, write_head
from fedlm.errors import ConfigError, VaultError
from fedlm.system.files import write_atomic
from fedlm.system.storage import reading, storing
from fedlm.vault.format import derive

_NONCE_BYTES = 12


class Refused(ConfigError):
    """A request that does not agree with an earlier one."""


class Memory:
    """The memory of one vault's node.

    Args:
      path: the SQLite file, mode 0600; made at the first use. The sealed reply lies beside it.
      secret: 32 bytes that stay the same for the vault's life.

    Raises:
      VaultError: the file is damaged.
      StorageError: the machine does not read or write it.
    """

    def __init__(self, path: Path, secret: bytes) -> None:
        self._tags, self._key = derive(secret, "memory tags"), derive(secret, "memory reply")
        self._path, self._reply = path, path.with_name(f"{path.name}.reply")
        self._head_key = derive(secret, "memory head")
        try:
            self._db, self._lock = open_memory(path, self._head_key)
        except sqlite3.DatabaseError:
            raise self._damaged() from None

    def close(self) -> None:
        """Closes the file; what was claimed stays."""
        self._db.close()
        os.close(self._lock)

    def tag(self, *parts: str | int | bytes) -> bytes:
        """Returns the tag of something to remember, 32 bytes; distinct parts have distinct tags."""
        message = b"".join(len(p).to_bytes(8, "little") + p for p in map(_as_bytes, parts))
        return hmac.digest(self._tags, message, "sha256")

    def remember(self, claims: Mapping[bytes, bytes], limits: Mapping[bytes, int], problem: str) -> bool:
        """Claims tags, all or none, durably.

        Args:
          claims: tag -> the digest that it must have from now on.
          limits: tag -> how often it may be spent; each is spent once if any claim is new.
          problem: the sentence of the refusal.

        Returns:
          Whether any claim is new.

        Raises:
          Refused: a tag has another digest, or a limit is reached. Nothing is remembered.
        """
        try:
            return self._remember(claims, limits, problem)
        except sqlite3.DatabaseError:
            raise self._damaged() from None

    def _remember(self, claims: Mapping[bytes, bytes], limits: Mapping[bytes, int], problem: str) -> bool:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            new = [tag for tag, digest in claims.items() if not self._holds(tag, digest, problem)]
            self._db.executemany("INSERT INTO claim VALUES (?, ?)", [(tag, claims[tag]) for tag in new])
            for tag, limit in limits.items() if new else ():
                self._spend(tag, limit)
            if new:
                head = read_head(self._db, self._head_key).after(len(new), len(limits))
                write_head(self._db, self._head_key, head)
        except BaseException:
            if self._db.in_transaction:  # SQLite ends it itself on a full disk
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return bool(new)

    def _damaged(self) -> VaultError:
        return VaultError(
            f"The node's memory {self._path} is damaged, so the node cannot tell what it answered before. "
            "An older copy would permit second answers: move the file away, and refuse the runs that were accepted before."
        )

    def has(self, tag: bytes) -> bool:
        """Returns whether a tag was claimed."""
        return self.digest_of(tag) is not None

    def digest_of(self, tag: bytes) -> bytes | None:
        """Returns a tag's digest; None if it was not claimed."""
        try:
            row = self._db.execute("SELECT digest FROM claim WHERE tag = ?", (tag,)).fetchone()
        except sqlite3.DatabaseError:
            raise self._damaged() from None
        return None if row is None else bytes(row[0])

    def keep_reply(self, digest: bytes, content: bytes) -> None:
        """Keeps the reply to a request, sealed, in place of the one before; then marks the request as answered."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key).encrypt(nonce, content, digest)
        with storing(self._reply):
            write_atomic(self._reply, digest + nonce + sealed, private=True)
        self.remember({self.tag("answered", digest): b""}, {}, "")

    def kept_reply(self, digest: bytes) -> bytes | None:
        """Returns the kept reply to a request; None if it is not the one that is kept.

        Raises:
          Refused: the request was answered, but its reply is no longer kept; another one would have fresh noise.
        """
        with reading(self._reply):
            blob = self._reply.read_bytes() if self._reply.is_file() else b""
        start = len(digest) + _NONCE_BYTES
        if blob.startswith(digest):
            try:
                return AESGCM(self._key).decrypt(blob[len(digest) : start], blob[start:], digest)
            except InvalidTag:
                pass
        if self.has(self.tag("answered", digest)):
            raise Refused("This request was answered before, and its reply is no longer kept.")
        return None

    def _holds(self, tag: bytes, digest: bytes, problem: str) -> bool:
        found = self.digest_of(tag)
        if found is not None and found != digest:
            raise Refused(problem)
        return found is not None

    def _spend(self, tag: bytes, limit: int) -> None:
        row = self._db.execute("SELECT times FROM spent WHERE tag = ?", (tag,)).fetchone()
        times = 0 if row is None else int(row[0])
        if times >= limit:
            raise Refused(f"A client of the message has taken part {limit} times, as often as the run may ask for.")
        self._db.execute("INSERT OR REPLACE INTO spent VALUES (?, ?)", (tag, times + 1))


def _as_bytes(part: str | int | bytes) -> bytes:
    if isinstance(part, bytes):
        return b"b" + part
    return f"i{part}".encode() if isinstance(part, int) else b"s" + part.encode()
