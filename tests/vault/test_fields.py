"""Every field of the format cut, extended, emptied, and swapped with every other field, of this vault and of others."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.vault import format as vault_format
from fedlm.vault.format import Part
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.vault.test_attack import survives
from tests.vault.test_change import RULES, content, corpus, make, texts

COLUMNS = {
    "meta": ("key", ["value"]),
    "client": ("row_id", ["row_id", "wrapped_key"]),
    "shard": ("row_id", ["row_id", "train", "validation", "held_out"]),
    "block": ("number", ["number", "arrays", "names"]),
    "tombstone": ("row_id", ["row_id", "forgotten", "wrapped"]),
}
Cell = tuple[str, str, object]  # table, column, key of the row


def cells(vault: Path) -> dict[Cell, object]:
    """Every field of every row."""
    with sqlite3.connect(vault) as db:
        return {
            (table, column, row): value
            for table, (key, columns) in COLUMNS.items()
            for column in columns
            for row, value in db.execute(f"SELECT {key}, {column} FROM {table}").fetchall()
        }


def alter(vault: Path, cell: Cell, value: object) -> bool:
    """Writes one field; False if the file itself takes no such value."""
    table, column, row = cell
    db = sqlite3.connect(vault)
    try:
        with db:
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {COLUMNS[table][0]} IS ?", (value, row))
    except sqlite3.Error:
        return False
    finally:
        db.close()
    return True


def damages(value: object) -> Iterator[object]:
    if isinstance(value, int):
        yield from (value + 1, -1, 2**62, str(value + 1))
    else:
        raw = value if isinstance(value, bytes) else str(value).encode()
        yield from (raw[:-1], raw[1:], raw + b"\0", b"\0" + raw, b"", raw[::-1], raw[:9], raw + raw, 7, "text")


@pytest.fixture
def lived(tmp_path: Path) -> tuple[Path, KeySource]:
    """A vault with a tombstone, two clients and two blocks."""
    vault, source = make(tmp_path, texts("a", "b", "c", last=3))
    add(corpus(tmp_path / "more.jsonl", texts("d", last=3)), vault, source, lambda *_: None)
    forget(vault, source, "a")
    forget(vault, source, "b")
    return vault, source


@pytest.mark.slow
def test_every_field_cut_extended_emptied_and_swapped_with_every_other_is_noticed(
    tmp_path: Path, lived: tuple[Path, KeySource]
) -> None:
    vault, source = lived
    before, whole, fields = content(vault, source), vault.read_bytes(), cells(vault)
    other, _ = make(tmp_path, texts("c", "d", last=3), "other")
    foreign, tried = cells(other), 0
    for cell, old in fields.items():
        strange = [v for place, v in foreign.items() if place[:2] == cell[:2]]
        for new in [*damages(old), *fields.values(), *strange]:
            same = str(new) == str(old) or (isinstance(old, str) and new == old.encode())
            if same or not alter(vault, cell, new):
                continue
            tried += 1
            assert not survives(vault, source, before), (cell[:2], new)
            vault.write_bytes(whole)
    assert tried > 500
    assert content(vault, source) == before


@pytest.mark.parametrize("change", ["add", "rotate", "forget"])
def test_every_field_of_an_older_file_put_back_is_noticed(tmp_path: Path, change: str) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c", last=3))
    old = cells(vault)
    if change == "add":
        add(corpus(tmp_path / "more.jsonl", texts("b", first=3, last=5)), vault, source, lambda *_: None)
    elif change == "rotate":
        rotate(vault, source)
    else:
        forget(vault, source, "c")
    before, whole, now = content(vault, source), vault.read_bytes(), cells(vault)
    changed = [cell for cell, value in now.items() if cell in old and old[cell] != value]
    assert {("meta", "value", "root"), ("block", "arrays", 0)} <= set(changed)
    for cell in changed:
        assert alter(vault, cell, old[cell])
        assert not survives(vault, source, before), cell[:2]
        vault.write_bytes(whole)
    for cell in changed:  # and all of them at once, under the key of today
        assert alter(vault, cell, old[cell])
    assert not survives(vault, source, before)


def test_rows_added_by_someone_else_are_noticed(lived: tuple[Path, KeySource]) -> None:
    vault, source = lived
    before, whole = content(vault, source), vault.read_bytes()
    for statement in (
        "INSERT INTO meta VALUES ('more', x'00')",
        "INSERT INTO client VALUES (x'00', x'00')",
        "INSERT INTO shard VALUES (x'00', x'00', x'00', x'00')",
        "INSERT INTO block SELECT 9, arrays, names FROM block LIMIT 1",
        "INSERT INTO tombstone SELECT row_id, 0, x'00' FROM client LIMIT 1",
        "DELETE FROM tombstone WHERE row_id = (SELECT MIN(row_id) FROM tombstone)",
        "DELETE FROM block WHERE number = 0",
        "DELETE FROM client WHERE row_id = (SELECT MIN(row_id) FROM client)",
        "DELETE FROM shard WHERE row_id = (SELECT MIN(row_id) FROM shard)",
        "DELETE FROM meta WHERE key = 'about'",
    ):
        with sqlite3.connect(vault) as db:
            db.execute(statement)
        assert not survives(vault, source, before), statement
        vault.write_bytes(whole)


def test_no_key_and_nonce_come_twice_and_a_data_key_seals_one_set_of_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_sealed: list[tuple[bytes, bytes, int, bytes]] = []  # key, nonce, part, vault or spool

    class Recording:
        def __init__(self, key: bytes) -> None:
            self._key, self._cipher = key, AESGCM(key)

        def encrypt(self, nonce: bytes, plain: bytes, header: bytes) -> bytes:
            all_sealed.append((self._key, nonce, header[4], header[9:25]))
            return self._cipher.encrypt(nonce, plain, header)

        def decrypt(self, nonce: bytes, cipher: bytes, header: bytes) -> bytes:
            return self._cipher.decrypt(nonce, cipher, header)

    monkeypatch.setattr(vault_format, "AESGCM", Recording)
    vault, source = make(tmp_path, texts("a", "b", "c"))
    for turn in range(3):  # the same text again and again is new text each time
        add(corpus(tmp_path / "more.jsonl", texts("a", "b", first=turn, last=turn + 1)), vault, source, lambda *_: None)
        rotate(vault, source)
    forget(vault, source, "a")
    assert len({(key, nonce) for key, nonce, *_ in all_sealed}) == len(all_sealed) > 60
    vault_id = Vault(vault, source).vault_id
    sealed = [s[:3] for s in all_sealed if s[3] == vault_id]  # a spool has one key, and random nonces under it
    parts = [(key, part) for key, _, part in sealed if part in (Part.TRAIN, Part.VALIDATION, Part.HELD_OUT)]
    assert len(set(parts)) == len(parts)  # a data key seals each part once
    wrapping = {key for key, _, part in sealed if part == Part.DATA_KEY}
    index = {key for key, _, part in sealed if part in (Part.ROOT, Part.INDEX, Part.NAMES, Part.SECRETS)}
    assert not wrapping & index and not {key for key, _ in parts} & (wrapping | index)


def test_no_field_of_another_vault_opens_even_under_the_same_vault_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key for two vaults, as an environment variable allows: the vault's id is in every seal."""
    monkeypatch.setenv("VKEY", "11" * 32)
    source = KeySource(provider="env(VKEY)")
    for name in ("mine", "theirs"):
        prepare(corpus(tmp_path / "c.jsonl", texts("a", "b", last=3)), tmp_path / name, source, RULES, lambda *_: None)
    vault, theirs = tmp_path / "mine", cells(tmp_path / "theirs")
    before, whole = content(vault, source), vault.read_bytes()
    mine = cells(vault)
    for cell, old in mine.items():
        for other, value in theirs.items():
            if other[:2] == cell[:2] and str(value) != str(old) and alter(vault, cell, value):
                assert not survives(vault, source, before), cell[:2]
                vault.write_bytes(whole)
    with sqlite3.connect(vault) as db:  # whole rows, under the row ids of here
        rows = [v for (t, c, _), v in theirs.items() if (t, c) == ("client", "wrapped_key")]
        parts = zip(
            *(
                [v for (t, c, _), v in theirs.items() if (t, c) == ("shard", p)]
                for p in ("train", "validation", "held_out")
            ),
            strict=True,
        )
        for row_id, wrapped, shard in zip(
            [r for (r,) in db.execute("SELECT row_id FROM client")], rows, parts, strict=True
        ):
            db.execute("UPDATE client SET wrapped_key = ? WHERE row_id = ?", (wrapped, row_id))
            db.execute("UPDATE shard SET train = ?, validation = ?, held_out = ? WHERE row_id = ?", (*shard, row_id))
    opened = Vault(vault, source)
    assert len(opened.verify()) == 2
