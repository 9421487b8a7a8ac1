"""A key file behind a link, and one that several vaults share while one of them fails."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedlm.cli.main import app
from fedlm.errors import ConfigError, VaultError
from fedlm.preparation.vault import prepare
from fedlm.vault.keyfile import KeyFile, StoredKeys, create_key_file, make_key_file
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from tests.vault.test_change import RULES, content, corpus, make, texts


def linked(folder: Path) -> tuple[Path, KeySource]:
    """Returns a key file's place on another medium, and the source that names a link to it."""
    (folder / "stick").mkdir()
    (folder / "v.key").symlink_to(folder / "stick" / "v.key")
    return folder / "stick" / "v.key", KeySource(folder / "v.key")


def test_behind_a_link_the_key_is_made_and_replaced_where_the_link_points_to(tmp_path: Path) -> None:
    stick, source = linked(tmp_path)
    vault, _ = make(tmp_path, texts("a", "b", "c"))
    first = stick.read_text()
    rotate(vault, source)
    second = stick.read_text()
    forget(vault, source, "a")
    assert len({first, second, stick.read_text()}) == 3
    assert (tmp_path / "v.key").is_symlink() and list(stick.parent.iterdir()) == [stick]
    assert set(content(vault, source)) == {"b", "c"}


def test_a_vault_that_fails_takes_its_key_from_behind_a_link(tmp_path: Path) -> None:
    stick, source = linked(tmp_path)
    with pytest.raises(RuntimeError):
        prepare(corpus(tmp_path / "c.jsonl", texts("a", "b")), tmp_path / "v.db", source, RULES, _fail)
    assert not stick.exists() and (tmp_path / "v.key").is_symlink()


def test_a_link_to_the_vault_is_no_key_file(tmp_path: Path) -> None:
    (tmp_path / "k").symlink_to(tmp_path / "v.db")
    made = corpus(tmp_path / "c.jsonl", texts("a", "b"))
    error = CliRunner().invoke(app, ["prepare", made, str(tmp_path / "v.db"), "--key-file", str(tmp_path / "k")])
    assert isinstance(error.exception, ConfigError) and "itself" in str(error.exception)
    assert not (tmp_path / "v.db").exists()


def _fail(done: int, total: int) -> None:
    raise RuntimeError


def test_a_vault_that_fails_leaves_the_keys_of_others_in_the_file_that_it_made(tmp_path: Path) -> None:
    source = KeySource(tmp_path / "k")
    made = corpus(tmp_path / "c.jsonl", texts("a", "b"))

    def meanwhile(done: int, total: int) -> None:
        if not (tmp_path / "other.db").exists():
            prepare(made, tmp_path / "other.db", source, RULES, lambda *_: None)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        prepare(made, tmp_path / "v.db", source, RULES, meanwhile)
    assert set(content(tmp_path / "other.db", source)) == {"a", "b"}
    assert len(json.loads((tmp_path / "k").read_text())["vaults"]) == 1


def test_a_vault_that_fails_leaves_a_key_file_that_was_there_as_it_was(tmp_path: Path) -> None:
    create_key_file(tmp_path / "k")
    before = (tmp_path / "k").read_text()
    with pytest.raises(RuntimeError):
        prepare(
            corpus(tmp_path / "c.jsonl", texts("a", "b")), tmp_path / "v.db", KeySource(tmp_path / "k"), RULES, _fail
        )
    assert (tmp_path / "k").read_text() == before and not (tmp_path / "v.db").exists()


def test_of_two_that_make_a_key_file_at_once_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k"
    assert make_key_file(path)
    kept = StoredKeys(KeyFile(path))
    key = kept.create(b"v" * 16, b"")
    monkeypatch.setattr(Path, "exists", lambda _: False)  # it looked before the other one made it
    assert not make_key_file(path)
    assert kept.keys(b"v" * 16, b"") == [key]


def test_a_key_file_that_another_process_is_only_just_making_takes_a_key(tmp_path: Path) -> None:
    (tmp_path / "k").touch(mode=0o600)
    kept = StoredKeys(KeyFile(tmp_path / "k"))
    assert [kept.create(b"v" * 16, b"")] == kept.keys(b"v" * 16, b"")


def test_a_key_file_that_goes_while_another_process_waits_for_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key_file(tmp_path / "k")
    monkeypatch.setattr("fedlm.system.locks.fcntl.flock", lambda *_: (tmp_path / "k").unlink())
    with pytest.raises(VaultError, match="is missing"):
        StoredKeys(KeyFile(tmp_path / "k")).create(b"v" * 16, b"")


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"fedlm-key": 2, "vaults": {}}'])
def test_a_file_that_is_no_key_is_not_blamed_for_its_mode(tmp_path: Path, text: str) -> None:
    """Who follows the advice to run chmod on it would learn only then that it is the wrong file."""
    (tmp_path / "k").write_text(text)
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(VaultError, match="is not a key file of fedlm"):
        KeyFile(tmp_path / "k").load(b"v")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create_key_file(tmp_path / "k")
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        KeyFile(tmp_path / "k").load(b"v")
