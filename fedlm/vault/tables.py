"""The vault's tables, its root, and how it is opened; reader, writer and editor share this (docs/vault-format.md).

    vault key --HKDF--> wrap key: wraps each client's data key, which seals that client's text
              \\-HKDF--> index key: seals the index, the root and the inner keys

The root is a sealed digest over everything that can be checked without opening a client: meta, the
blocks of the index (which hold a digest of each wrapped data key), the tombstones and the epoch.
One row put back from an older copy fails its digest in the index, a block or tombstone fails the
root, and a whole older file has an epoch below the one that the provider remembers.
"""

import hashlib
import hmac
import json
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedlm.errors import ConfigError, FedLMError, VaultError
from fedlm.system.database import Mode, open_database
from fedlm.vault.format import DOES_NOT_OPEN, KEY_BYTES, Part, Place, derive, seal, unseal
from fedlm.vault.keys import KeyProvider

FORMAT = 3
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE client(row_id BLOB PRIMARY KEY, wrapped_key BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shard(row_id BLOB PRIMARY KEY, train BLOB NOT NULL, held_out BLOB NOT NULL, validation BLOB);
CREATE TABLE block(number INTEGER PRIMARY KEY, arrays BLOB NOT NULL, names BLOB NOT NULL);
CREATE TABLE tombstone(row_id BLOB PRIMARY KEY, forgotten INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;
"""
_ROOT = struct.Struct("<QQ32s")

# What reading a damaged file raises. SQLite quotes damaged names in messages that are not UTF-8 (a
# ValueError), and a damaged header can make it request a cache of any size (a MemoryError).
DAMAGE = (sqlite3.DatabaseError, KeyError, ValueError, TypeError, OverflowError, MemoryError, struct.error)


@dataclass(frozen=True)
class VaultKeys:
    """The vault key and what is derived from it."""

    vault: bytes = field(repr=False)
    wrap: bytes = field(repr=False)
    index: bytes = field(repr=False)

    @classmethod
    def of(cls, vault_key: bytes) -> Self:
        """Derives the keys.

        Raises:
          ConfigError: the provider gave something other than 32 bytes.
        """
        if not isinstance(vault_key, bytes) or len(vault_key) != KEY_BYTES:
            raise ConfigError(f"The key provider returned a key that does not have {KEY_BYTES} bytes.")
        return cls(vault_key, derive(vault_key, "wrap"), derive(vault_key, "index"))

    @property
    def fingerprint(self) -> str:
        """Sixteen bytes, hexadecimal, that identify the key without revealing it."""
        return derive(self.vault, "fingerprint")[:16].hex()


@dataclass(frozen=True)
class Secrets:
    """The inner keys, which stay the same for the vault's life, sealed in it."""

    row_key: bytes = field(repr=False)
    signing_key: bytes = field(repr=False)
    pseudonym_key: bytes = field(repr=False)

    def pack(self) -> bytes:
        """Returns them as bytes."""
        return self.row_key + self.signing_key + self.pseudonym_key

    @classmethod
    def unpack(cls, plain: bytes) -> Self:
        """Returns what `pack` gave."""
        return cls(plain[:KEY_BYTES], plain[KEY_BYTES : 2 * KEY_BYTES], plain[2 * KEY_BYTES :])

    def row_id(self, name: str) -> bytes:
        """Returns the row id of a client, 16 bytes."""
        return hmac.digest(self.row_key, name.encode("utf-8", "replace"), "sha256")[:16]

    def pseudonym(self, name: str) -> int:
        """Returns a client's pseudonym, the keyed 64-bit hash of its name."""
        return pseudonym(self.pseudonym_key, name)

    def seal_labels(self, vault_id: bytes, names: Mapping[str, str]) -> bytes:
        """Seals the names of labels, by what `about` calls them, under a key that no rotation changes."""
        return seal(derive(self.row_key, "labels"), Place(vault_id, Part.LABELS), json.dumps(dict(names)).encode())

    def labels(self, vault_id: bytes, sealed: object) -> dict[str, str]:
        """Returns what `seal_labels` was given."""
        plain = unseal(derive(self.row_key, "labels"), Place(vault_id, Part.LABELS), as_bytes(sealed))
        found = json.loads(plain)
        if not isinstance(found, dict):
            raise VaultError(DOES_NOT_OPEN)
        return {str(key): str(name) for key, name in found.items()}

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The key that signs receipts."""
        return Ed25519PrivateKey.from_private_bytes(self.signing_key)

    @property
    def public_key(self) -> bytes:
        """The key that checks receipts, 32 bytes."""
        return self.signer.public_key().public_bytes_raw()


def pseudonym(key: bytes, name: str) -> int:
    """Returns a client's pseudonym, the keyed 64-bit hash of its name."""
    return int.from_bytes(hmac.digest(key, name.encode("utf-8", "replace"), "sha256")[:8], "little")


_WRITING_CACHE = -32 * 1024  # KiB: row ids are random, so in a large vault each client touches different pages


def connect(path: Path, *, writing: bool = False, mode: Mode = "rw") -> sqlite3.Connection:
    """Opens the file without implicit transactions, see `open_database`. `writing` takes a larger cache, for many clients."""
    db = open_database(path, mode)
    try:
        if writing:
            db.execute(f"PRAGMA cache_size={_WRITING_CACHE}")
        db.execute("PRAGMA secure_delete=ON")
        db.execute("PRAGMA synchronous=FULL")  # a commit is on the disk before the provider destroys the old key
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA cell_size_check=ON")
    except BaseException:
        db.close()  # now, not when garbage is collected: an open handle holds the file's lock
        raise
    return db


def as_bytes(value: object) -> bytes:
    """Returns a blob; a damaged file may have a number or a text in its place, which raises a VaultError."""
    if not isinstance(value, bytes):
        raise VaultError(DOES_NOT_OPEN)
    return value


def digest(wrapped: bytes) -> bytes:
    """Returns the sixteen bytes of a wrapped key that the index holds."""
    return hashlib.sha256(wrapped).digest()[:16]


def root_digest(db: sqlite3.Connection, epoch: int) -> bytes:
    """Returns SHA-256 over all that the root covers, each field after its length."""
    total = hashlib.sha256()

    def feed(*fields: bytes) -> None:
        for value in fields:
            total.update(struct.pack("<Q", len(value)) + value)

    feed(struct.pack("<Q", epoch))
    for key, value in db.execute("SELECT key, value FROM meta WHERE key <> 'root' ORDER BY key"):
        feed(b"meta", str(key).encode(), value if isinstance(value, bytes) else str(value).encode())
    for number, arrays, names in db.execute("SELECT number, arrays, names FROM block ORDER BY number"):
        digests = [hashlib.sha256(as_bytes(b)).digest() for b in (arrays, names)]
        feed(b"block", struct.pack("<Q", number), *digests)
    for row_id, forgotten, wrapped in db.execute("SELECT row_id, forgotten, wrapped FROM tombstone ORDER BY row_id"):
        feed(b"tombstone", as_bytes(row_id), struct.pack("<q", forgotten), as_bytes(wrapped))
    return total.digest()


def seal_root(db: sqlite3.Connection, keys: VaultKeys, vault_id: bytes, epoch: int, clients: int) -> None:
    """Writes the root of the present content of the tables."""
    root = _ROOT.pack(epoch, clients, root_digest(db, epoch))
    put_meta(db, root=seal(keys.index, Place(vault_id, Part.ROOT), root))


def put_meta(db: sqlite3.Connection, **values: bytes | str) -> None:
    """Writes entries of `meta`."""
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())


def is_vault(path: Path, vault_id: bytes) -> bool:
    """Returns whether the vault of this id is in place."""
    if not path.is_file():
        return False
    try:
        with closing(open_database(path, "immutable")) as db:
            found = db.execute("SELECT value FROM meta WHERE key = 'vault_id'").fetchone()
    except sqlite3.Error:
        return False
    return found is not None and found[0] == vault_id


@dataclass(frozen=True)
class Opened:
    """The head of a vault, opened and checked."""

    vault_id: bytes
    keys: VaultKeys
    secrets: Secrets
    epoch: int
    clients: int
    about: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)


def open_head(db: sqlite3.Connection, path: Path, provider: KeyProvider) -> Opened:
    """Opens the root and the inner keys with one of the provider's keys.

    Raises:
      VaultError: this is not a vault, it has a newer format, another key, or damage, or it is an older
        copy put back.
    """
    try:
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        version, vault_id = int(meta["format"]), as_bytes(meta["vault_id"])
    except (*DAMAGE, VaultError):
        raise VaultError(f"{path} is not a vault, or it is damaged: restore it from a backup.") from None
    if version > FORMAT:
        raise VaultError(f"The vault {path} has the newer format {version}: update fedlm.")
    try:
        for keys, root in _roots(vault_id, meta, provider):
            epoch, clients, expected = _ROOT.unpack(root)
            if root_digest(db, epoch) != expected:  # the key is right, the content is not: no other key will do
                break
            if epoch < (provider.epoch(vault_id) or 0):
                raise VaultError(f"The vault {path} was replaced by an older copy: restore the newest one.")
            place = Place(vault_id, Part.SECRETS)
            secrets = Secrets.unpack(unseal(keys.index, place, as_bytes(meta["inner_keys"])))
            labels = secrets.labels(vault_id, meta["labels"]) if "labels" in meta else {}
            return Opened(vault_id, keys, secrets, epoch, clients, json.loads(meta["about"]), labels)
    except FedLMError:
        raise  # a ConfigError is a ValueError too: the provider's sentence is not about damage
    except DAMAGE:
        raise VaultError(DOES_NOT_OPEN) from None
    raise VaultError(DOES_NOT_OPEN)


def _roots(vault_id: bytes, meta: dict[str, Any], provider: KeyProvider) -> Iterator[tuple[VaultKeys, bytes]]:
    """Yields each of the provider's keys that opens the root, with the root."""
    for vault_key in provider.keys(vault_id, as_bytes(meta["kdf"])):
        keys = VaultKeys.of(vault_key)
        try:
            root = unseal(keys.index, Place(vault_id, Part.ROOT), as_bytes(meta["root"]))
        except VaultError:
            continue
        yield keys, root
