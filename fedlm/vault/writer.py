"""Fills a new vault, in `VAULT.partial` until it is whole (`VAULT.partial.2` while another process fills one of that name)."""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedlm.errors import ConfigError
from fedlm.scrub.engine import ScrubbedText
from fedlm.system.files import check_new_file
from fedlm.system.own_files import move_new_into_place, own_file
from fedlm.system.storage import storing
from fedlm.vault.format import KEY_BYTES, Part, Place, pack_documents, seal
from fedlm.vault.index import BLOCK_CLIENTS, ENTRY, seal_block
from fedlm.vault.keys import KeySource
from fedlm.vault.parts import COLUMNS, Parts
from fedlm.vault.providers import new_kdf
from fedlm.vault.tables import FORMAT, SCHEMA, Secrets, VaultKeys, connect, digest, put_meta, seal_root


@dataclass(frozen=True)
class ClientShard:
    """One client's scrubbed documents on their way into a vault, already split into its parts."""

    name: str
    train: list[ScrubbedText] = field(repr=False)
    held_out: list[ScrubbedText] = field(repr=False)
    train_tokens: int
    held_out_tokens: int
    labels: Mapping[str, str] = field(default_factory=dict)
    validation: list[ScrubbedText] = field(default_factory=list, repr=False)
    validation_tokens: int = 0


@dataclass(frozen=True)
class SealedClient:
    """One client under a separate data key: the row of `client`, of `shard`, and the digest for the index."""

    row_id: bytes
    wrapped: bytes
    parts: Parts[bytes | None] = field(repr=False)

    @classmethod
    def seal(cls, wrap: bytes, vault_id: bytes, row_id: bytes, parts: Parts[list[str]]) -> "SealedClient":
        """Seals a client's documents under a new data key; without validation text, nothing is sealed for it."""
        data_key = secrets.token_bytes(KEY_BYTES)
        wrapped = seal(wrap, Place(vault_id, Part.DATA_KEY, row_id), data_key)
        sealed = (
            seal(data_key, Place(vault_id, part, row_id), pack_documents(documents))
            if documents or part is not Part.VALIDATION
            else None
            for part, documents in zip(COLUMNS, parts, strict=True)
        )
        return cls(row_id, wrapped, Parts(*sealed))

    def write(self, db: sqlite3.Connection) -> None:
        """Writes the rows, in place of those that the client has."""
        db.execute("INSERT OR REPLACE INTO client VALUES (?, ?)", (self.row_id, self.wrapped))
        query = "INSERT OR REPLACE INTO shard(row_id, train, validation, held_out) VALUES (?, ?, ?, ?)"
        db.execute(query, (self.row_id, *self.parts))

    def entry(self, pseudonym: int, tokens: Parts[int], documents: int) -> bytes:
        """Returns the client's record of the index: targets of each part, and the number of training documents."""
        entry = np.zeros((), ENTRY)
        entry["row_id"], entry["wrapped"] = np.void(self.row_id), np.void(digest(self.wrapped))
        entry["pseudonym"], entry["documents"] = pseudonym, documents
        entry["train"], entry["validation"], entry["held_out"] = tokens
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
        check_new_file(path, "vault")
        self.path, self._provider = path, source.open()
        self.vault_id, kdf = vault_id or secrets.token_bytes(16), new_kdf()
        self._keys = VaultKeys.of(self._provider.create(self.vault_id, kdf))
        row_key, signing_key, random_key = (secrets.token_bytes(KEY_BYTES) for _ in range(3))
        self._secrets = Secrets(row_key, signing_key, pseudonym_key or random_key)
        with contextlib.ExitStack() as held:
            self._beside = held.enter_context(own_file(path.with_name(path.name + ".partial")))
            self._db = connect(self._beside, writing=True)
            held.callback(self._db.close)
            # No process opens the file before `finish`: no journal, and one transaction over all clients.
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.executescript(SCHEMA)
            self._db.execute("BEGIN")
            sealed = seal(self._keys.index, Place(self.vault_id, Part.SECRETS), self._secrets.pack())
            put_meta(self._db, format=str(FORMAT), vault_id=self.vault_id, kdf=kdf, inner_keys=sealed)
            self._held = held.pop_all()
        self._arrays: list[bytes] = []
        self._names: list[tuple[str, dict[str, str]]] = []
        self._blocks = self.clients = 0

    def add(self, shard: ClientShard) -> None:
        """Seals one client under a separate data key."""
        parts = Parts(*([d.text for d in part] for part in (shard.train, shard.validation, shard.held_out)))
        tokens = Parts(shard.train_tokens, shard.validation_tokens, shard.held_out_tokens)
        self.add_again(shard.name, parts, tokens, shard.labels)

    def add_again(self, name: str, parts: Parts[list[str]], tokens: Parts[int], labels: Mapping[str, str]) -> None:
        """Seals documents that another vault held, so that they are scrubbed already.

        Args:
          name: the client.
          parts: its documents.
          tokens: the targets in each.
          labels: of the client.
        """
        sealed = SealedClient.seal(self._keys.wrap, self.vault_id, self._secrets.row_id(name), parts)
        sealed.write(self._db)
        self._arrays.append(sealed.entry(self._secrets.pseudonym(name), tokens, len(parts.train)))
        self._names.append((name, dict(labels)))
        self.clients += 1
        if len(self._names) == BLOCK_CLIENTS:
            self._write_block()

    def _write_block(self) -> None:
        row = seal_block(self._keys, self.vault_id, self._blocks, b"".join(self._arrays), self._names)
        self._db.execute("INSERT INTO block VALUES (?, ?, ?)", row)
        self._blocks += 1
        self._arrays.clear()
        self._names.clear()

    def finish(self, about: Mapping[str, object], labels: Mapping[str, str] | None = None) -> None:
        """Seals the root of epoch 1 and moves the whole vault to its place in one rename.

        Args:
          about: facts of the vault, which anybody may read.
          labels: names of labels, by what `about` calls them; sealed.

        Raises:
          ConfigError: something is at its place by now; it stays.
        """
        if self._names:
            self._write_block()
        put_meta(self._db, about=json.dumps(about))
        if labels:
            put_meta(self._db, labels=self._secrets.seal_labels(self.vault_id, labels))
        seal_root(self._db, self._keys, self.vault_id, 1, self.clients)
        self._db.execute("COMMIT")
        self._db.close()
        # The key is settled before the vault appears: a vault that can be seen can be opened.
        self._provider.settle(self.vault_id, self._keys.vault, 1)
        try:
            with storing(self.path):
                move_new_into_place(self._beside, self.path)
        except FileExistsError:
            raise ConfigError(
                f"{self.path} was made by something else in the meantime and stays as it is: name another file for the vault."
            ) from None
        self._held.close()

    def discard(self) -> None:
        """Removes an unfinished vault."""
        self._held.close()
