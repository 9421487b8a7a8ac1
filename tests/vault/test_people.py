"""Vaults of earlier versions kept names as written: a person is found, added to and forgotten under every spelling."""

import json
import sqlite3
import unicodedata
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import VaultError
from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.scrub.engine import Scrubber
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource, make_key_file
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import ClientShard, Vault, VaultWriter
from fedlm.vault.receipts import check_receipt

NFD = unicodedata.normalize("NFD", "Jos\u00e9")
SPELLINGS = ("ann", "ann ", "\u00a0ann", "ann\u200b", "Jos\u00e9", NFD, f"{NFD}\t", "", " ", "bob", "Ann")
ABOUT = {"corpus": "old.jsonl", "documents": 22, "characters": 66, "left_out": 0, "findings": {}, "scrub": "none"}


def made_before(folder: Path, names: tuple[str, ...] = SPELLINGS) -> tuple[Path, KeySource]:
    """A vault as a version wrote it that did not normalise: each spelling is a client."""
    vault, source, scrub = folder / "old.db", KeySource(folder / "k"), Scrubber("none").scrub
    make_key_file(folder / "k")
    writer = VaultWriter(vault, source)
    for place, name in enumerate(names):
        writer.add(ClientShard(name, [scrub(f"t{place:02d}")], [scrub(f"h{place:02d}")], 4, 4))
    writer.finish({**ABOUT, "clients": len(names)})
    return vault, source


def left(vault: Path, source: KeySource) -> set[str]:
    opened = Vault(vault, source)
    try:
        assert opened.verify() == [] and opened.strangers() == 0
        assert opened.about["documents"] == 2 * len(opened.pseudonyms)
        return {name for name, _ in opened.names()}
    finally:
        opened.close()


PEOPLE = [
    ("ann", 4),
    ("ann ", 4),
    ("\u2003ann\ufeff", 4),
    ("Jos\u00e9", 3),
    (NFD, 3),
    (" " + NFD, 3),
    ("", 2),
    ("\u200b", 2),
    ("Ann", 1),
    ("bob", 1),
]


@pytest.mark.parametrize(("name", "clients"), PEOPLE)
def test_forgetting_destroys_every_client_of_a_person(tmp_path: Path, name: str, clients: int) -> None:
    vault, source = made_before(tmp_path)
    before = vault.read_bytes()
    receipt = forget(vault, source, name)
    remains = left(vault, source)
    assert len(remains) == len(SPELLINGS) - clients
    opened = Vault(vault, source)
    check_receipt(receipt, opened.public_key)
    destroyed = receipt.get("clients", [{"row_id": receipt["row_id"], "destroyed_key": receipt["destroyed_key"]}])
    gone = set(SPELLINGS) - remains
    assert {each["row_id"] for each in destroyed} == {opened.row_id(n).hex() for n in gone}
    assert len({each["destroyed_key"] for each in destroyed}) == clients == opened.forgotten()
    assert sorted(opened.names_of(name)) == sorted(gone)  # as tombstones
    opened.close()
    assert before != vault.read_bytes() and forget(vault, source, name) == receipt
    assert name not in receipt.values() or not name


def test_a_stranger_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    vault, source = made_before(tmp_path, ("ann ", "bob"))
    for name in ("Ann", "an", "ann\u200bx", ""):
        with pytest.raises(VaultError, match="no client of this name"):
            forget(vault, source, name)
    opened = Vault(vault, source)
    assert (left_names(vault, source), opened.epoch, opened.forgotten()) == ({"ann ", "bob"}, 1, 0)
    opened.close()


def added(folder: Path, vault: Path, source: KeySource, *users: str) -> tuple[int, int]:
    path = folder / "more.jsonl"
    path.write_text("".join(json.dumps({"user": u, "text": f"new {i}"}) + "\n" for u in users for i in range(2)))
    done = add(str(path), vault, source, lambda *_: None)
    return done.clients, done.left_out


@pytest.mark.parametrize("held", [("ann ",), ("\u00a0ann", "ann "), ("ann ", "ann"), (NFD,)])
def test_new_text_joins_the_client_that_the_vault_has(tmp_path: Path, held: tuple[str, ...]) -> None:
    vault, source = made_before(tmp_path, (*held, "bob"))
    user = "ann" if "ann" in held[0] else "Jos\u00e9"
    assert added(tmp_path, vault, source, user, f" {user}") == (1, 0)
    opened = Vault(vault, source)
    sizes = {name: opened.size(opened.pseudonym(name))[0] for name, _ in opened.names()}
    opened.close()
    joined = "ann" if "ann" in held else held[0]
    assert sizes == {**dict.fromkeys((*held, "bob"), 2), joined: 6}


@pytest.mark.parametrize("stored", ["ann ", "\u202fann", "ann\u2060", "ann\x1f\u2029", "\u3164ann\U000e0001"])
def test_a_forgotten_person_does_not_come_back_under_the_plain_name(tmp_path: Path, stored: str) -> None:
    """The last spellings are none that anybody would try: the deletion leaves a tombstone of the plain name too."""
    vault, source = made_before(tmp_path, (stored, "bob"))
    forget(vault, source, "ann")
    assert added(tmp_path, vault, source, "ann", "dave") == (1, 1)
    assert left_names(vault, source) == {"bob", "dave"}
    assert forget(vault, source, "ann")["verification"]["row"] == "gone"


def left_names(vault: Path, source: KeySource) -> set[str]:
    opened = Vault(vault, source)
    try:
        return {name for name, _ in opened.names()}
    finally:
        opened.close()


def test_many_blocks_rotation_and_a_second_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedlm.vault.writer.BLOCK_CLIENTS", 2)
    vault, source = made_before(tmp_path)
    rotate(vault, source)
    for name in ("ann", "Jos\u00e9", ""):
        forget(vault, source, name)
    assert left(vault, source) == {"bob", "Ann"}
    with VaultEditor(vault, source) as editor:
        assert [len(editor.people.tombstones(n)) for n in ("ann", NFD, "", "bob")] == [4, 3, 2, 0]


@pytest.mark.parametrize("version", [1, 2])
def test_vaults_of_every_version_are_searched(tmp_path: Path, version: int) -> None:
    vectors = Path(__file__).parents[1] / "vectors"
    vault, key = tmp_path / "v.db", tmp_path / "k"
    vault.write_bytes((vectors / f"format-{version}.vault").read_bytes())
    key.write_bytes((vectors / f"format-{version}.vaultkey").read_bytes())
    key.chmod(0o600)
    source = KeySource(key)
    name = sorted(left_names(vault, source))[0]
    opened = Vault(vault, source)
    assert opened.names_of(f"\u00a0{name}\t") == [name]
    opened.close()
    forget(vault, source, f"{name} ")
    assert name not in left_names(vault, source)


def labelled(folder: Path, **rows: tuple[str, ...]) -> tuple[Path, KeySource]:
    lines = [
        {"user": u, "text": f"x {i}", "dialect": d, "sex": "f"} for u, ds in rows.items() for i, d in enumerate(ds)
    ]
    (folder / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vault, source = folder / "v.db", KeySource(folder / "k")
    prepare(str(folder / "mine.jsonl"), vault, source, RunConfig.checked({"scrub": "none"}), lambda *_: None)
    return vault, source


def test_names_of_labels_are_sealed_and_survive_every_change(tmp_path: Path) -> None:
    vault, source = labelled(tmp_path, ann=("north", "south"), bob=("north", "north"), eve=("east", "east"))
    for change in (lambda: None, lambda: rotate(vault, source), lambda: forget(vault, source, "eve")):
        change()
        opened = Vault(vault, source)
        assert opened.label_entropy == {"dialect": pytest.approx(1 / 3, abs=1e-4), "sex": 0}
        assert opened.about["label_entropy"].keys() == {"label 1", "label 2"}  # what anybody may read
        opened.close()
        assert not any(word in vault.read_bytes() for word in (b"dialect", b"north", b"sex"))


def test_a_vault_without_names_of_labels_numbers_them(tmp_path: Path) -> None:
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "k")
    make_key_file(tmp_path / "k")
    writer = VaultWriter(vault, source)
    writer.finish({**ABOUT, "clients": 0, "label_entropy": {"label 1": 0.5}})
    opened = Vault(vault, source)
    assert opened.label_entropy == {"label 1": 0.5}
    opened.close()


def test_label_names_of_another_vault_do_not_open(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first, source = labelled(tmp_path / "one", ann=("a", "b"), bob=("a", "a"))
    second, _ = labelled(tmp_path / "two", ann=("a", "b"), bob=("a", "a"))
    with sqlite3.connect(second) as db:
        (labels,) = db.execute("SELECT value FROM meta WHERE key = 'labels'").fetchone()
    with sqlite3.connect(first) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'labels'", (labels,))
    with pytest.raises(VaultError, match="does not open"):
        Vault(first, source)
