"""Rotation, deletion and addition leave what they say, and nothing else."""

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedlm.cli.main import app
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, VaultError
from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.parts import COLUMNS
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import check_receipt

RULES = RunConfig.checked({"scrub": "none", "holdout_fraction": 0.25, "validation_fraction": 0.25})


def corpus(path: Path, texts: dict[str, list[str]]) -> str:
    path.write_text("".join(json.dumps({"user": u, "text": t}) + "\n" for u, ts in texts.items() for t in ts))
    return str(path)


def texts(*users: str, first: int = 0, last: int = 5) -> dict[str, list[str]]:
    return {u: [f"{u} says {i}, and that is it." for i in range(first, last)] for u in users}


def make(folder: Path, content: dict[str, list[str]], name: str = "v") -> tuple[Path, KeySource]:
    vault, source = folder / f"{name}.db", KeySource(folder / f"{name}.key")
    prepare(corpus(folder / f"{name}.jsonl", content), vault, source, RULES, lambda *_: None)
    return vault, source


def content(vault: Path, source: KeySource) -> dict[str, tuple[list[str], list[str], list[str], int, int, int]]:
    """Each client's documents in its three parts, and the targets in each."""
    opened = Vault(vault, source)
    assert opened.verify() == [] and opened.strangers() == 0
    found = {}
    for name, _ in opened.names():
        client = opened.pseudonym(name)
        train, validation, held_out = (opened.documents(client, p) for p in COLUMNS)
        found[name] = (train, validation, held_out, *(opened.tokens(client, p) for p in COLUMNS))
    opened.close()
    return found


def key_of(source: KeySource) -> str:
    assert source.file is not None
    (entry,) = json.loads(source.file.read_text())["vaults"].values()
    assert set(entry) == {"key", "epoch"}
    return str(entry["key"])


def test_rotation_changes_the_key_and_no_text(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    before, old_key, old_file = content(vault, source), key_of(source), vault.read_bytes()
    said = rotate(vault, source)
    assert content(vault, source) == before and said["epoch"] == 2 and said["old_key"] != said["new_key"]
    assert key_of(source) != old_key
    vault.write_bytes(old_file)
    with pytest.raises(VaultError, match="does not open"):
        Vault(vault, source)


def test_added_in_two_parts_is_as_if_it_came_at_once(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", last=3))
    more = {**texts("a", first=3), **texts("c"), "few": ["one"]}
    done = add(corpus(tmp_path / "more.jsonl", more), vault, source, lambda *_: None)
    assert (done.clients, done.left_out, done.documents) == (2, 1, 7)
    assert content(vault, source) == content(*make(tmp_path, {**texts("a", "c"), **texts("b", last=3)}, "at-once"))
    about = Vault(vault, source).about
    assert (about["clients"], about["documents"], about["additions"]) == (3, 13, 1)


def test_added_text_takes_a_new_data_key(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    before = Vault(vault, source).index["wrapped"].tolist()
    add(corpus(tmp_path / "more.jsonl", texts("b", first=5, last=6)), vault, source, lambda *_: None)
    after = Vault(vault, source).index["wrapped"].tolist()
    assert sorted(x == y for x, y in zip(before, after, strict=True)) == [False, True]


def test_forgotten_client_is_gone_and_the_receipt_says_so(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    before, old_key = content(vault, source), key_of(source)
    sealed = _sealed(vault)
    receipt = forget(vault, source, "b")
    assert content(vault, source) == {k: v for k, v in before.items() if k != "b"}
    assert key_of(source) != old_key
    gone = sealed[receipt["row_id"]]
    assert not any(piece in vault.read_bytes() for piece in gone)
    assert not [p.name for p in tmp_path.iterdir() if p.name.endswith(("-wal", "-shm", "-journal"))]
    opened = Vault(vault, source)
    check_receipt(receipt, opened.public_key)
    assert '"b"' not in json.dumps(receipt) and receipt["verification"]["free_pages"] == 0
    with pytest.raises(VaultError, match="altered"):
        check_receipt({**receipt, "when": "2000-01-01T00:00:00Z"}, opened.public_key)
    other, other_source = make(tmp_path, texts("a", "b"), "other")
    with pytest.raises(VaultError, match="another key"):
        check_receipt(receipt, Vault(other, other_source).public_key)


def _sealed(vault: Path) -> dict[str, tuple[bytes, ...]]:
    db = sqlite3.connect(vault)
    rows = db.execute("SELECT row_id, wrapped_key, train, held_out FROM client NATURAL JOIN shard").fetchall()
    db.close()
    return {r[0].hex(): tuple(blob[9:40] for blob in r[1:]) for r in rows}


def test_forgetting_again_changes_nothing_and_strangers_are_refused(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    first = forget(vault, source, "b")
    assert forget(vault, source, "b") == first
    with pytest.raises(VaultError, match="no client of this name"):
        forget(vault, source, "nobody")


def test_forgotten_client_does_not_come_back_with_new_text(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    forget(vault, source, "b")
    done = add(corpus(tmp_path / "more.jsonl", texts("b", "d")), vault, source, lambda *_: None)
    assert (done.clients, done.left_out) == (1, 1)
    assert Counter(content(vault, source).keys()) == Counter("acd")


def test_counts_are_those_of_what_is_left(tmp_path: Path) -> None:
    """As if the forgotten had never come; a client that does not open can be forgotten too, and stays counted."""
    vault, source = make(tmp_path, {**texts("a", "b", "d"), "c": ["long " * 40, "short"]})
    add(corpus(tmp_path / "more.jsonl", texts("c", first=5, last=8)), vault, source, lambda *_: None)
    forget(vault, source, "c")
    keys = ("clients", "documents", "characters")
    left, never = Vault(vault, source), Vault(*make(tmp_path, texts("a", "b", "d"), "never"))
    assert (
        [left.about[k] for k in keys]
        == [never.about[k] for k in keys]
        == [3, 15, 3 * 5 * len("a says 0, and that is it.")]
    )
    assert [sum(x) for x in zip(*(left.size(int(p)) for p in left.pseudonyms), strict=True)] == [
        15,
        never.about["characters"],
    ]
    left.close()
    with sqlite3.connect(vault) as db:
        db.execute("UPDATE shard SET train = x'00'")
    forget(vault, source, "a")
    damaged = Vault(vault, source)
    assert (damaged.about["clients"], damaged.about["documents"], len(damaged.verify())) == (2, 15, 2)


def test_last_client_can_be_forgotten(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    forget(vault, source, "a")
    forget(vault, source, "b")
    assert content(vault, source) == {}


def test_two_vaults_share_a_key_file_and_one_rotates(tmp_path: Path) -> None:
    first, source = make(tmp_path, texts("a", "b"))
    second = tmp_path / "second.db"
    prepare(str(tmp_path / "v.jsonl"), second, source, RULES, lambda *_: None)
    rotate(first, source)
    assert content(second, source) == content(first, source)


def test_rotation_with_a_passphrase_takes_a_new_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS", "correct horse")
    vault, source = tmp_path / "v.db", KeySource(passphrase_env="PASS")
    prepare(corpus(tmp_path / "c.jsonl", texts("a", "b")), vault, source, RULES, lambda *_: None)
    before = content(vault, source)
    said = rotate(vault, source)
    assert said["old_key"] != said["new_key"] and content(vault, source) == before


def test_key_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VKEY", "11" * 32)
    vault, source = tmp_path / "v.db", KeySource(provider="env(VKEY)")
    prepare(corpus(tmp_path / "c.jsonl", texts("a", "b")), vault, source, RULES, lambda *_: None)
    with pytest.raises(ConfigError, match="VKEY_NEXT"):
        rotate(vault, source)
    monkeypatch.setenv("VKEY_NEXT", "22" * 32)
    rotate(vault, source)
    monkeypatch.setenv("VKEY", "22" * 32)
    monkeypatch.delenv("VKEY_NEXT")
    assert set(content(vault, source)) == {"a", "b"}


def test_rotation_over_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedlm.vault.writer.BLOCK_CLIENTS", 2)
    monkeypatch.setattr("fedlm.vault.index.BLOCK_CLIENTS", 2)
    vault, source = make(tmp_path, texts(*"abcdefg"))
    add(corpus(tmp_path / "more.jsonl", texts(*"hijk")), vault, source, lambda *_: None)
    forget(vault, source, "c")
    forget(vault, source, "d")
    rotate(vault, source)
    assert set(content(vault, source)) == set("abefghijk")


@pytest.mark.parametrize("place", ["itself", "nowhere/r.json"])
def test_a_receipt_goes_over_no_file_and_nothing_is_forgotten_for_one_that_cannot_be_written(
    tmp_path: Path, place: str
) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    before, receipt = vault.read_bytes(), vault if place == "itself" else tmp_path / place
    words = ["vault", "forget", str(vault), "b", "--key-file", str(source.file), "--receipt", str(receipt)]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, ConfigError) and "for the receipt" in str(error)
    assert vault.read_bytes() == before


def test_without_a_file_the_receipt_alone_goes_to_stdout(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    told = CliRunner().invoke(app, ["vault", "forget", str(vault), "b", "--key-file", str(source.file)])
    check_receipt(json.loads(told.stdout), Vault(vault, source).public_key)
    assert "backups" in told.stderr


def test_a_key_file_is_never_the_vault_and_a_folder_is_no_vault(tmp_path: Path) -> None:
    made = corpus(tmp_path / "c.jsonl", texts("a"))
    own = tmp_path / "new.db"
    error = CliRunner().invoke(app, ["prepare", str(made), str(own), "--key-file", str(own)]).exception
    assert isinstance(error, ConfigError) and "itself" in str(error)
    assert not own.exists()
    error = CliRunner().invoke(app, ["vault", "rotate", "."]).exception
    assert isinstance(error, ConfigError) and "folder" in str(error)


def test_a_pseudonym_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    made, key = corpus(tmp_path / "c.jsonl", texts("a", "b")), tmp_path / "pseudonym.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    words = ["prepare", str(made), str(tmp_path / "v.db"), "--scrub", "none", "--pseudonym-key", str(key)]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, ConfigError) and "chmod 600" in str(error)
    key.chmod(0o600)
    assert CliRunner().invoke(app, words).exception is None


def test_clients_with_few_documents_are_counted_whether_they_lost_them_in_scrubbing_or_before(tmp_path: Path) -> None:
    clients = {**texts("a", "b"), "one": ["hello"], "none": [" ", " ", "x"], "other": ["hi"]}
    made = corpus(tmp_path / "c.jsonl", clients)
    rules = RULES.model_copy(update={"min_documents": 2})
    done = prepare(made, tmp_path / "v.db", KeySource(tmp_path / "k"), rules, lambda *_: None)
    assert (done.clients, done.left_out) == (2, 3)  # one and other before scrubbing, none after it
    shared = prepare(made, tmp_path / "w.db", KeySource(tmp_path / "k"), rules, lambda *_: None, lambda n: n in "a one")
    assert (shared.clients, shared.left_out) == (1, 1)  # another node answers for the others


@pytest.mark.parametrize("folder", ["no/such", "file"])
def test_no_folder_is_made_for_a_vault_or_its_key(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("mine")
    made = corpus(tmp_path / "c.jsonl", texts("a", "b"))
    for vault, key in ((tmp_path / folder / "v.db", tmp_path / "k"), (tmp_path / "v.db", tmp_path / folder / "k")):
        with pytest.raises(ConfigError, match="folder"):
            prepare(made, vault, KeySource(key), RULES, lambda *_: None)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "c.jsonl"}
