"""Whatever is done to the file: it reads as before, or says one sentence. Never other text, never another exception."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedlm.errors import VaultError
from fedlm.preparation.add import add
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, seal, unseal
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.vault.test_change import content, corpus, make, texts

VECTORS = Path(__file__).parents[1] / "vectors"
NOT_A_VAULT = "is not a vault, or it is damaged"
SENTENCES = (DOES_NOT_OPEN, NOT_A_VAULT, "was replaced by an older copy", "has the newer format")
ANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def small(folder: Path) -> tuple[Path, KeySource]:
    vault, source = make(folder, texts("a", "b", last=3))
    db = sqlite3.connect(vault)
    db.execute("PRAGMA page_size=512")
    db.execute("VACUUM")
    db.close()
    return vault, source


def survives(vault: Path, source: KeySource, before: object) -> bool:
    """Returns whether all reads as before; otherwise every failure must be one of our sentences."""
    try:
        opened = Vault(vault, source)
    except VaultError as error:
        assert any(s in str(error) for s in SENTENCES), error
        return False
    try:
        broken = opened.verify()
        if broken or opened.strangers():
            return False
    except VaultError as error:
        assert str(error) == DOES_NOT_OPEN
        return False
    finally:
        opened.close()
    assert content(vault, source) == before
    return True


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, KeySource, object, bytes]:
    vault, source = small(tmp_path_factory.mktemp("attack"))
    return vault, source, content(vault, source), vault.read_bytes()


@pytest.mark.slow
def test_every_byte_flipped(target: tuple[Path, KeySource, object, bytes]) -> None:
    vault, source, before, whole = target
    noticed = 0
    for offset in range(len(whole)):
        vault.write_bytes(whole[:offset] + bytes([whole[offset] ^ (1 << offset % 8)]) + whole[offset + 1 :])
        noticed += not survives(vault, source, before)
    assert noticed > 1500  # sealed bytes and structure; the rest is unused space


@given(st.data())
@ANY
def test_cut_extended_overwritten_swapped(target: tuple[Path, KeySource, object, bytes], data: st.DataObject) -> None:
    vault, source, before, whole = target
    a, b, size = (data.draw(st.integers(0, len(whole) - 1)) for _ in range(3))
    size = size % 64 + 1
    kind = data.draw(st.sampled_from(["cut", "extend", "overwrite", "swap", "flip"]))
    damaged = bytearray(whole)
    if kind == "cut":
        del damaged[a : a + size]
    elif kind == "extend":
        damaged[a:a] = data.draw(st.binary(min_size=1, max_size=64))
    elif kind == "overwrite":
        damaged[a : a + size] = data.draw(st.binary(min_size=size, max_size=size))
    elif kind == "swap":
        damaged[a : a + size], damaged[b : b + size] = damaged[b : b + size], damaged[a : a + size]
    else:
        damaged[a] ^= 1 << size % 8
    vault.write_bytes(damaged)
    survives(vault, source, before)


@given(st.binary(max_size=200))
@ANY
def test_no_bytes_open_as_a_blob(blob: bytes) -> None:
    place = Place(b"v" * 16, Part.TRAIN, b"r" * 16)
    for attempt in (blob, place.header + blob):
        with pytest.raises(VaultError, match="does not open"):
            unseal(b"k" * 32, place, attempt)


def rows(vault: Path) -> list[tuple[bytes, ...]]:
    with sqlite3.connect(vault) as db:
        return db.execute(
            "SELECT row_id, wrapped_key, train, held_out, validation FROM client NATURAL JOIN shard"
        ).fetchall()


def put_row(vault: Path, row: tuple[bytes, ...]) -> None:
    with sqlite3.connect(vault) as db:
        db.execute("INSERT OR REPLACE INTO client VALUES (?, ?)", row[:2])
        db.execute("INSERT OR REPLACE INTO shard VALUES (?, ?, ?, ?)", (row[0], *row[2:]))


def test_row_of_another_vault_or_client_does_not_open(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    other, _ = make(tmp_path, texts("a", "b"), "other")
    mine, theirs = rows(vault), rows(other)
    put_row(vault, (mine[0][0], *theirs[0][1:]))
    put_row(vault, (mine[1][0], *mine[0][1:]))
    assert len(Vault(vault, source).verify()) == 2


def test_older_row_does_not_open(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    old = rows(vault)
    add(corpus(tmp_path / "more.jsonl", texts("a", "b", first=5, last=7)), vault, source, lambda *_: None)
    put_row(vault, old[0])
    assert len(Vault(vault, source).verify()) == 1


def test_forgotten_clients_row_put_back_is_not_read_and_is_named(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    old = {r[0].hex(): r for r in rows(vault)}
    receipt = forget(vault, source, "b")
    put_row(vault, old[receipt["row_id"]])
    opened = Vault(vault, source)
    assert opened.strangers() == 1 and opened.verify() == []
    assert opened.pseudonym("b") not in set(map(int, opened.pseudonyms))
    with pytest.raises(VaultError, match="was restored"):
        forget(vault, source, "b")


def test_tombstone_taken_away_is_noticed(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    forget(vault, source, "b")
    with sqlite3.connect(vault) as db:
        db.execute("DELETE FROM tombstone")
    with pytest.raises(VaultError, match="does not open"):
        Vault(vault, source)


@pytest.mark.parametrize("change", ["add", "forget"])
def test_older_whole_file_put_back_is_noticed(tmp_path: Path, change: str) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    old = vault.read_bytes()
    if change == "add":
        add(corpus(tmp_path / "more.jsonl", texts("d")), vault, source, lambda *_: None)
    else:
        forget(vault, source, "c")
    vault.write_bytes(old)
    with pytest.raises(VaultError, match="older copy" if change == "add" else "does not open"):
        Vault(vault, source)


def test_wrong_key_says_what_damage_says(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    _, other = make(tmp_path, texts("a", "b"), "other")
    assert source.file is not None and other.file is not None
    content_of_key = json.loads(source.file.read_text())
    for entry in content_of_key["vaults"].values():
        entry["key"] = "00" * 32
    wrong = tmp_path / "wrong.key"
    wrong.touch(mode=0o600)
    wrong.write_text(json.dumps(content_of_key))
    said = set()
    for attempt in (KeySource(wrong), other):
        with pytest.raises(VaultError) as caught:
            Vault(vault, attempt)
        said.add(str(caught.value))
    with sqlite3.connect(vault) as db:
        db.execute("UPDATE block SET arrays = substr(arrays, 1, length(arrays) - 1)")
    with pytest.raises(VaultError) as caught:
        Vault(vault, source)
    assert said == {str(caught.value)} == {DOES_NOT_OPEN}


def test_no_nonce_comes_twice() -> None:
    place = Place(b"v" * 16, Part.TRAIN, b"r" * 16)
    nonces = {seal(b"k" * 32, place, b"")[9:21] for _ in range(10_000)}
    assert len(nonces) == 10_000


def vector(folder: Path, number: int) -> tuple[Path, KeySource]:
    """Returns a copy of the vault of a format, made when it was the newest."""
    vault, key = folder / f"format-{number}.vault", folder / f"format-{number}.vaultkey"
    for path in (vault, key):
        shutil.copy(VECTORS / path.name, path)
    key.chmod(0o600)
    return vault, KeySource(key)


def in_vectors() -> dict[str, tuple[list[str], ...]]:
    found: dict[str, tuple[list[str], ...]] = json.loads((VECTORS / "format-1.json").read_text(), object_hook=_pairs)
    return found


def in_two_parts(vault: Path, source: KeySource) -> dict[str, tuple[list[str], ...]]:
    """What the vault holds, with validation text in the training part, as the older formats have it."""
    return {
        n: (train + validation, held_out) for n, (train, validation, held_out, *_) in content(vault, source).items()
    }


@pytest.mark.parametrize(("number", "documents"), [(1, [0, 0]), (2, [2, 3]), (3, [1, 2])])
def test_a_vault_of_each_format_stays_readable(tmp_path: Path, number: int, documents: list[int]) -> None:
    vault, source = vector(tmp_path, number)
    assert in_two_parts(vault, source) == in_vectors()
    validation = {n: c[1] for n, c in content(vault, source).items()}
    assert validation == ({"ann": ["zw\u00f6lf \U0001f600"], "bob": ["b"]} if number == 3 else {"ann": [], "bob": []})
    with closing(Vault(vault, source)) as opened:
        index = opened.by_pseudonym()
    assert sorted(index["documents"].tolist()) == documents


@pytest.mark.parametrize("change", ["rotate", "forget", "add"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_changed_vault_of_an_older_format_is_of_the_newest(tmp_path: Path, number: int, change: str) -> None:
    vault, source = vector(tmp_path, number)
    expected = in_vectors()
    if change == "rotate":
        rotate(vault, source)
    elif change == "forget":
        forget(vault, source, "ann")
        del expected["ann"]
    else:
        add(corpus(tmp_path / "more.jsonl", {"cid": ["x", "y", "z"]}), vault, source, lambda *_: None)
        expected["cid"] = (["x", "y"], ["z"])
    assert in_two_parts(vault, source) == expected
    with closing(sqlite3.connect(vault)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == ("3",)
    known = {"ann": 0, "bob": 0} if number == 1 else {"ann": 3, "bob": 2}
    with closing(Vault(vault, source)) as opened:
        held = {name: int(opened.index["documents"][place]) for place, (name, _) in enumerate(opened.names())}
    assert held == {name: known.get(name, 2) for name in expected}


def _pairs(found: dict[str, list[list[str]]]) -> dict[str, tuple[list[str], ...]]:
    return {k: tuple(v) for k, v in found.items()}
