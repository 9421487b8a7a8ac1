"""What the fuzzers feed to the vault's parsers, and what must hold whatever the bytes are.

The first byte of an input chooses the target, the rest is its food. A parser may say one of our sentences; it may never
raise anything else, and a whole vault may never read as other text.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fedlm.errors import VaultError
from fedlm.vault.format import Part, Place, pack_documents, seal, unpack_documents, unseal
from fedlm.vault.keyfile import KeyFile
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import check_receipt, parse_receipt
from fedlm.vault.tables import VaultKeys, put_meta, seal_root

VECTORS = Path(__file__).parents[1] / "vectors"
COLUMNS = [
    *(("meta", f"value WHERE key = '{k}'") for k in ("format", "vault_id", "kdf", "inner_keys", "root", "about")),
    *(("client", "wrapped_key"), ("client", "row_id"), ("shard", "row_id"), ("shard", "train"), ("shard", "held_out")),
    *(("block", "arrays"), ("block", "names"), ("block", "number")),
]
_PLACE = Place(b"v" * 16, Part.TRAIN, b"r" * 16)
Content = list[tuple[str, dict[str, str], list[str], list[str]]]


@cache
def _bench() -> tuple[Path, bytes, bytes, Content]:
    """Returns a folder for one process's vault, the vault's bytes, its key and what it holds."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    shutil.copy(VECTORS / "format-1.vault", folder / "v")
    shutil.copy(VECTORS / "format-1.vaultkey", folder / "k")
    (folder / "k").chmod(0o600)
    key = next(iter(json.loads((folder / "k").read_text())["vaults"].values()))["key"]
    db = sqlite3.connect(folder / "v")
    db.execute("PRAGMA page_size=512")
    db.execute("VACUUM")
    db.close()
    whole = (folder / "v").read_bytes()
    return folder, whole, bytes.fromhex(key), _content(folder)


def _put(content: bytes) -> Path:
    """Writes the vault's file anew; returns its folder. What an earlier input left beside it is gone."""
    folder = _bench()[0]
    for name in ("v", "v-wal", "v-shm", "v-journal"):
        (folder / name).unlink(missing_ok=True)
    (folder / "v").write_bytes(content)
    return folder


def _content(folder: Path) -> Content:
    vault = Vault(folder / "v", KeySource(folder / "k"))
    try:
        if vault.verify() or vault.strangers():
            raise VaultError("damaged")
        rows = ((name, labels, vault.pseudonym(name)) for name, labels in vault.names())
        return [(n, ls, vault.documents(p), vault.documents(p, Part.HELD_OUT)) for n, ls, p in rows]
    finally:
        vault.close()


def _opens_as_before_or_not_at_all() -> None:
    folder, _, _, before = _bench()
    try:
        found = _content(folder)
    except VaultError:
        return
    assert found == before, "the vault reads as other text"


def blob(food: bytes) -> None:
    """No bytes open as a blob, with a right header or a wrong one."""
    for attempt in (food, _PLACE.header + food):
        try:
            unseal(b"k" * 32, _PLACE, attempt)
        except VaultError:
            continue
        raise AssertionError("bytes that nobody sealed were opened")


def documents(food: bytes) -> None:
    """A part reads as documents that pack to the same bytes, or says one sentence."""
    try:
        found = unpack_documents(food)
    except VaultError:
        return
    assert pack_documents(found) == food


def whole_file(food: bytes) -> None:
    """Pieces of the file, each at a place of its own (two bytes), overwritten: how many, place, length, bytes."""
    whole = _bench()[1]
    damaged, at = bytearray(whole), 0
    while at + 3 <= len(food):
        place, size = int.from_bytes(food[at : at + 2], "little") % len(whole), food[at + 2]
        piece = food[at + 3 : at + 3 + size]
        damaged[place : place + len(piece)] = piece
        at += 3 + size
    _put(damaged)
    _opens_as_before_or_not_at_all()


def raw_file(food: bytes) -> None:
    """The file is the food itself."""
    _put(food)
    _opens_as_before_or_not_at_all()


def one_field(food: bytes) -> None:
    """One field of the tables holds the food: as bytes, as text, as a number, or after so many of its own bytes."""
    folder = _put(_bench()[1])
    table, column = COLUMNS[food[0] % len(COLUMNS)] if food else COLUMNS[0]
    name, _, where = column.partition(" ")
    value = food[3:]
    db = sqlite3.connect(folder / "v", isolation_level=None)
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
        _opens_as_before_or_not_at_all()


def resealed(food: bytes) -> None:
    """Who has the key sealed nonsense: the parsers behind the seal say one sentence too."""
    _, whole, key, _ = _bench()
    folder = _put(whole)
    keys, plain = VaultKeys.of(key), food[1:]
    db = sqlite3.connect(folder / "v", isolation_level=None)
    vault_id = db.execute("SELECT value FROM meta WHERE key = 'vault_id'").fetchone()[0]
    part = (Part.INDEX, Part.NAMES, Part.SECRETS, Part.ROOT)[food[0] % 4 if food else 0]
    sealed = seal(keys.index, Place(vault_id, part), plain)
    if part in (Part.INDEX, Part.NAMES):
        name = "arrays" if part is Part.INDEX else "names"
        db.execute(f"UPDATE block SET {name} = ? WHERE number = 0", (sealed,))
    elif part is Part.SECRETS:
        put_meta(db, inner_keys=sealed)
    if part is Part.ROOT:
        put_meta(db, root=sealed)
    else:
        seal_root(db, keys, vault_id, 1, (len(plain) // 48) if part is Part.INDEX else 3)
    db.close()
    try:
        _content(folder)
    except VaultError:
        return


def key_file(food: bytes) -> None:
    """A key file reads, or says one sentence."""
    folder = _bench()[0]
    path = folder / "other"
    path.touch(mode=0o600)
    path.write_bytes(food)
    try:
        entry = KeyFile(path).load(b"\0" * 16)
    except VaultError:
        return
    assert entry is None or len(bytes.fromhex(entry["key"])) == 32


def receipt(food: bytes) -> None:
    """No receipt that nobody signed is taken."""
    try:
        check_receipt(parse_receipt(food), bytes(32))
    except VaultError:
        return
    raise AssertionError("a receipt that nobody signed was taken")


TARGETS: list[Callable[[bytes], None]] = [
    *(blob, documents, whole_file, raw_file, one_field, resealed, key_file, receipt),
]


def run(data: bytes) -> None:
    """Runs one input."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def seeds() -> dict[str, bytes]:
    """Returns a good input of every kind, for a corpus that starts from nothing."""
    _, whole, _, _ = _bench()
    key = (VECTORS / "format-1.vaultkey").read_bytes()
    made = {
        "blob": b"\0" + seal(b"o" * 32, _PLACE, b"text"),
        "documents": b"\1" + pack_documents(["one", "zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf", ""]),
        "whole-file": b"\2" + b"\x10\0\4abcd",
        "raw-file": b"\3" + whole[:1024],
        "key-file": b"\6" + key,
        "receipt": b'\7{"what":"x","signature":"00"}',
        "names": b"\5\1" + json.dumps([["a", {"group": "g"}]]).encode(),
        "index": b"\5\0" + bytes(48),
        "root": b"\5\3" + bytes(48),
        "inner-keys": b"\5\2" + bytes(96),
    }
    fields = {f"field-{i}-{form}": bytes([4, i, form, 9]) + b"12" for i in range(len(COLUMNS)) for form in (0, 4)}
    return made | fields
