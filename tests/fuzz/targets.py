"""What the fuzzers feed to the vault's parsers, and what must hold whatever the bytes are.

The first byte of an input chooses the target and the format of the vault that the target damages, the rest is its food. A
parser may say one of our sentences; it may never raise anything else, and a whole vault may never read as other text.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fedlm.errors import VaultError
from fedlm.vault.format import Part, Place, derive, pack_documents, seal, unpack_documents, unseal
from fedlm.vault.keyfile import KeyFile
from fedlm.vault.keys import KeySource
from fedlm.vault.parts import COLUMNS as PARTS
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import check_receipt, parse_receipt
from fedlm.vault.tables import FORMAT, VaultKeys, open_head, put_meta, seal_root

VECTORS = Path(__file__).parents[1] / "vectors"
FORMATS = tuple(range(1, FORMAT + 1))
FOLDER = "FEDLM_FUZZ_FOLDER"  # the environment variable with the folder for the vaults
_FIELDS = [
    *(("meta", f"value WHERE key = '{k}'") for k in ("format", "vault_id", "kdf", "inner_keys", "root", "about")),
    *(("client", "wrapped_key"), ("client", "row_id"), ("shard", "row_id"), ("shard", "train"), ("shard", "held_out")),
    *(("block", "arrays"), ("block", "names"), ("block", "number")),
]
_FIELDS_3 = [("shard", "validation"), ("meta", "value WHERE key = 'labels'")]
_ENTRY_BYTES = {1: 48, 2: 52, 3: 56}
_PLACE = Place(b"v" * 16, Part.TRAIN, b"r" * 16)
Content = list[tuple[str, dict[str, str], list[list[str]]]]


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """Has a folder for the vaults while the block runs, in memory where the system offers that."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place) as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]
            bench.cache_clear()


@dataclass(frozen=True)
class Bench:
    """One process's vault of a format.

    Attributes:
      folder: with the vault `v` and its key file `k`.
      fields: of the tables, as (table, column and row).
      whole: the vault's bytes.
      key: of the vault.
      content: what it holds.
    """

    folder: Path
    fields: list[tuple[str, str]]
    whole: bytes
    key: bytes
    content: Content

    def put(self, content: bytes) -> Path:
        """Writes the vault's file anew; returns it. What an earlier input left beside it is gone."""
        for name in ("v-wal", "v-shm", "v-journal"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "v").write_bytes(content)
        return self.folder / "v"

    def opens_as_before_or_not_at_all(self) -> None:
        """Raises an AssertionError if the vault now reads as other text."""
        try:
            found = content_of(self.folder)
        except VaultError:
            return
        assert found == self.content, "the vault reads as other text"


@cache
def bench(version: int) -> Bench:
    """Returns the process's vault of a format."""
    folder = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
    shutil.copy(VECTORS / f"format-{version}.vault", folder / "v")
    shutil.copy(VECTORS / f"format-{version}.vaultkey", folder / "k")
    (folder / "k").chmod(0o600)
    key = next(iter(json.loads((folder / "k").read_text())["vaults"].values()))["key"]
    db = sqlite3.connect(folder / "v", isolation_level=None)
    if version == FORMAT:
        _add_labels(db, folder)
    db.execute("PRAGMA page_size=512")
    db.execute("VACUUM")
    db.close()
    fields = _FIELDS + (_FIELDS_3 if version == FORMAT else [])
    return Bench(folder, fields, (folder / "v").read_bytes(), bytes.fromhex(key), content_of(folder))


def _add_labels(db: sqlite3.Connection, folder: Path) -> None:
    """Adds names of labels, which the vector is too old for."""
    head = open_head(db, folder / "v", KeySource(folder / "k").open())
    about = head.about | {"label_entropy": {"label 1": 0.5}}
    put_meta(db, labels=head.secrets.seal_labels(head.vault_id, {"label 1": "group"}), about=json.dumps(about))
    seal_root(db, head.keys, head.vault_id, head.epoch, head.clients)


def content_of(folder: Path) -> Content:
    """Returns what a vault holds: the names and labels of its clients, with the documents of each part."""
    vault = Vault(folder / "v", KeySource(folder / "k"))
    try:
        if vault.verify() or vault.strangers():
            raise VaultError("damaged")
        found: Content = [("", {k: str(v) for k, v in vault.label_entropy.items()}, [])]
        known = set(map(int, vault.pseudonyms))
        for name, labels in vault.names():
            if vault.pseudonym(name) not in known:
                raise VaultError("a name of another vault")
            found.append((name, labels, [vault.documents(vault.pseudonym(name), part) for part in PARTS]))
        return found
    finally:
        vault.close()


def blob(food: bytes, _: Bench) -> None:
    """No bytes open as a blob, with a right header or a wrong one."""
    for attempt in (food, _PLACE.header + food):
        try:
            unseal(b"k" * 32, _PLACE, attempt)
        except VaultError:
            continue
        raise AssertionError("bytes that nobody sealed were opened")


def documents(food: bytes, _: Bench) -> None:
    """A part reads as documents that pack to the same bytes, or says one sentence."""
    try:
        found = unpack_documents(food)
    except VaultError:
        return
    assert pack_documents(found) == food


def whole_file(food: bytes, vault: Bench) -> None:
    """Pieces of the file, each at a place of its own (two bytes), overwritten: how many, place, length, bytes."""
    damaged, at = bytearray(vault.whole), 0
    while at + 3 <= len(food):
        place, size = int.from_bytes(food[at : at + 2], "little") % len(damaged), food[at + 2]
        piece = food[at + 3 : at + 3 + size]
        damaged[place : place + len(piece)] = piece
        at += 3 + size
    vault.put(damaged)
    vault.opens_as_before_or_not_at_all()


def raw_file(food: bytes, vault: Bench) -> None:
    """The file is the food itself."""
    vault.put(food)
    vault.opens_as_before_or_not_at_all()


def one_field(food: bytes, vault: Bench) -> None:
    """One field of the tables holds the food: as bytes, as text, as a number, or after so many of its own bytes."""
    table, column = vault.fields[food[0] % len(vault.fields)] if food else vault.fields[0]
    name, _, where = column.partition(" ")
    value = food[3:]
    db = sqlite3.connect(vault.put(vault.whole), isolation_level=None)
    old = db.execute(f"SELECT {name} FROM {table} {where} LIMIT 1").fetchone()[0]
    forms: list[object] = [value, value.decode("utf-8", "replace"), int.from_bytes(value[:7], "little"), None]
    if isinstance(old, bytes):
        forms.append(old[: food[2] if len(food) > 2 else 0] + value)
    new = forms[food[1] % len(forms)] if len(food) > 1 else b""
    try:
        row = (where and f"{where} AND {name} IS ?") or f"WHERE {name} IS ?"
        db.execute(f"UPDATE {table} SET {name} = ? {row}", (new, old))
    except sqlite3.Error:
        return  # the file itself takes no such value
    finally:
        db.close()
    if new != old:
        vault.opens_as_before_or_not_at_all()


def resealed(food: bytes, vault: Bench) -> None:
    """Who has the key sealed nonsense: the parsers behind the seal say one sentence too."""
    keys, plain = VaultKeys.of(vault.key), food[1:]
    db = sqlite3.connect(vault.put(vault.whole), isolation_level=None)
    head = open_head(db, vault.folder / "v", KeySource(vault.folder / "k").open())
    parts = (Part.INDEX, Part.NAMES, Part.SECRETS, Part.ROOT, Part.LABELS)
    part = parts[food[0] % len(parts) if food else 0]
    key = derive(head.secrets.row_key, "labels") if part is Part.LABELS else keys.index
    sealed = seal(key, Place(head.vault_id, part), plain)
    if part in (Part.INDEX, Part.NAMES):
        name = "arrays" if part is Part.INDEX else "names"
        db.execute(f"UPDATE block SET {name} = ? WHERE number = 0", (sealed,))
    else:
        put_meta(db, **{{Part.SECRETS: "inner_keys", Part.LABELS: "labels", Part.ROOT: "root"}[part]: sealed})
    if part is not Part.ROOT:
        seal_root(db, keys, head.vault_id, head.epoch, _entries(plain) if part is Part.INDEX else head.clients)
    db.close()
    with contextlib.suppress(VaultError):
        content_of(vault.folder)


def _entries(plain: bytes) -> int:
    """Returns how many clients a block of the index has."""
    return len(plain) // (_ENTRY_BYTES.get(plain[0], 1) if len(plain) % 4 else _ENTRY_BYTES[1])


def key_file(food: bytes, vault: Bench) -> None:
    """A key file reads, or says one sentence."""
    path = vault.folder / "other"
    path.touch(mode=0o600)
    path.write_bytes(food)
    try:
        entry = KeyFile(path).load(b"\0" * 16)
    except VaultError:
        return
    assert entry is None or len(bytes.fromhex(entry["key"])) == 32


def receipt(food: bytes, _: Bench) -> None:
    """No receipt that nobody signed is taken."""
    try:
        check_receipt(parse_receipt(food), bytes(32))
    except VaultError:
        return
    raise AssertionError("a receipt that nobody signed was taken")


TARGETS: list[Callable[[bytes, Bench], None]] = [
    *(blob, documents, whole_file, raw_file, one_field, resealed, key_file, receipt),
]


def chosen(target: int, version: int) -> bytes:
    """Returns the first byte of an input."""
    return bytes([target + len(TARGETS) * FORMATS.index(version)])


def run(data: bytes) -> None:
    """Runs one input."""
    if data:
        version, target = divmod(data[0], len(TARGETS))
        TARGETS[target](data[1:], bench(FORMATS[version % len(FORMATS)]))


def seeds() -> dict[str, bytes]:
    """Returns a good input of every kind, for a corpus that starts from nothing."""
    made = {
        "blob": b"\0" + seal(b"o" * 32, _PLACE, b"text"),
        "documents": b"\1" + pack_documents(["one", "zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf", ""]),
        "key-file": b"\6" + (VECTORS / f"format-{FORMAT}.vaultkey").read_bytes(),
        "receipt": b'\7{"what":"x","signature":"00"}',
    }
    return made | {f"{name}-{v}": data for v in FORMATS for name, data in _seeds_of(v).items()}


def _seeds_of(version: int) -> dict[str, bytes]:
    vault = bench(version)
    fields = {
        f"field-{i}-{form}": chosen(4, version) + bytes([i, form, 9]) + b"12"
        for i in range(len(vault.fields))
        for form in (0, 4)
    }
    block = (bytes([version]) if version > 1 else b"") + bytes(_ENTRY_BYTES[version])
    return fields | {
        "whole-file": chosen(2, version) + b"\x10\0\4abcd",
        "raw-file": chosen(3, version) + vault.whole[:1024],
        "index": chosen(5, version) + b"\0" + block,
        "names": chosen(5, version) + b"\1" + json.dumps([["a", {"group": "g"}]]).encode(),
        "inner-keys": chosen(5, version) + b"\2" + bytes(96),
        "root": chosen(5, version) + b"\3" + bytes(48),
        "labels": chosen(5, version) + b"\4" + json.dumps({"label 1": "group"}).encode(),
        "labels-list": chosen(5, version) + b"\4" + json.dumps(["group"]).encode(),
    }
