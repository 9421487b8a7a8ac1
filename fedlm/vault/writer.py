"""Fills a new vault, in `VAULT.partial` until it is whole."""

import contextlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedlm.errors import VaultError
from fedlm.scrub.engine import ScrubbedText
from fedlm.system.files import create_private, move_into_place
from fedlm.vault.format import KEY_BYTES, Part, Place, pack_documents, seal
from fedlm.vault.index import BLOCK_CLIENTS, ENTRY, seal_block
from fedlm.vault.keys import KeySource
from fedlm.vault.providers import new_kdf
from fedlm.vault.tables import FORMAT, SCHEMA, Secrets, VaultKeys, connect, digest, put_meta, seal_root


@dataclass(frozen=True)
class ClientShard:
    """One client's scrubbed documents on their way into a vault, already split into training and held-out text."""

    name: str
    train: list[ScrubbedText] = field(repr=False)
    held_out: list[ScrubbedText] = field(repr=False)
    train_tokens: int
    held_out_tokens: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SealedClient:
    """One client under a separate data key: the row of `client`, of `shard`, and the digest for the index."""

    row_id: bytes
    wrapped: bytes
    train: bytes = field(repr=False)
    held_out: bytes = field(repr=False)

    @classmethod
    def seal(cls, wrap: bytes, vault_id: bytes, row_id: bytes, parts: tuple[list[str], list[str]]) -> "SealedClient":
        """Seals training and held-out documents under a new data key."""
        data_key = secrets.token_bytes(KEY_BYTES)
        wrapped = seal(wrap, Place(vault_id, Part.DATA_KEY, row_id), data_key)
        train, held_out = (
            seal(data_key, Place(vault_id, part, row_id), pack_documents(documents))
            for part, documents in zip((Part.TRAIN, Part.HELD_OUT), parts, strict=True)
        )
        return cls(row_id, wrapped, train, held_out)

    def entry(self, pseudonym: int, train_tokens: int, held_out_tokens: int, documents: int) -> bytes:
        """Returns the client's record of the index."""
        entry = np.zeros((), ENTRY)
        entry["row_id"], entry["wrapped"] = np.void(self.row_id), np.void(digest(self.wrapped))
        entry["pseudonym"], entry["train"], entry["held_out"] = pseudonym, train_tokens, held_out_tokens
        entry["documents"] = documents
        return entry.tobytes()


class VaultWriter:
    """Fills a new vault beside its final place; `finish` moves it there.

    Args:
      path: where the vault will be; nothing may be there.
      source: the key.
      pseudonym_key: 32 bytes or more, or None for a random one.
      vault_id: 16 bytes, or None for random ones.
    """

    def __init__(
        self, path: Path, source: KeySource, pseudonym_key: bytes | None = None, vault_id: bytes | None = None
    ) -> None:
        if path.exists():
            raise VaultError(f"{path} exists already: name another file, or remove it first.")
        self.path, self._provider = path, source.open()
        self._beside = path.with_name(path.name + ".partial")
        self._remove()
        self.vault_id, kdf = vault_id or secrets.token_bytes(16), new_kdf()
        self._keys = VaultKeys.of(self._provider.create(self.vault_id, kdf))
        row_key, signing_key, random_key = (secrets.token_bytes(KEY_BYTES) for _ in range(3))
        self._secrets = Secrets(row_key, signing_key, pseudonym_key or random_key)
        with contextlib.ExitStack() as undo:
            undo.callback(self._remove)
            create_private(self._beside)
            self._db = connect(self._beside, writing=True)
            # No process opens the file before `finish`: no journal, and one transaction over all clients.
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.executescript(SCHEMA)
            self._db.execute("BEGIN")
            sealed = seal(self._keys.index, Place(self.vault_id, Part.SECRETS), self._secrets.pack())
            put_meta(self._db, format=str(FORMAT), vault_id=self.vault_id, kdf=kdf, inner_keys=sealed)
            undo.pop_all()
        self._arrays: list[bytes] = []
        self._names: list[tuple[str, dict[str, str]]] = []
        self._blocks = self.clients = 0

    def add(self, shard: ClientShard) -> None:
        """Seals one client under a separate data key."""
        parts = ([d.text for d in shard.train], [d.text for d in shard.held_out])
        sealed = SealedClient.seal(self._keys.wrap, self.vault_id, self._secrets.row_id(shard.name), parts)
        self._db.execute("INSERT INTO client VALUES (?, ?)", (sealed.row_id, sealed.wrapped))
        self._db.execute("INSERT INTO shard VALUES (?, ?, ?)", (sealed.row_id, sealed.train, sealed.held_out))
        pseudonym = self._secrets.pseudonym(shard.name)
        self._arrays.append(sealed.entry(pseudonym, shard.train_tokens, shard.held_out_tokens, len(shard.train)))
        self._names.append((shard.name, dict(shard.labels)))
        self.clients += 1
        if len(self._names) == BLOCK_CLIENTS:
            self._write_block()

    def _write_block(self) -> None:
        row = seal_block(self._keys, self.vault_id, self._blocks, b"".join(self._arrays), self._names)
        self._db.execute("INSERT INTO block VALUES (?, ?, ?)", row)
        self._blocks += 1
        self._arrays.clear()
        self._names.clear()

    def finish(self, about: Mapping[str, object]) -> None:
        """Seals the root of epoch 1 and moves the whole vault to its place in one rename."""
        if self._names:
            self._write_block()
        put_meta(self._db, about=json.dumps(about))
        seal_root(self._db, self._keys, self.vault_id, 1, self.clients)
        self._db.execute("COMMIT")
        self._db.close()
        # The key is settled before the vault appears: a vault that can be seen can be opened.
        self._provider.settle(self.vault_id, self._keys.vault, 1)
        move_into_place(self._beside, self.path)

    def discard(self) -> None:
        """Removes an unfinished vault."""
        self._db.close()
        self._remove()

    def _remove(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._beside.with_name(self._beside.name + suffix).unlink(missing_ok=True)
