"""A journal that is not the vault's never reaches it; a genuine one is never lost."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fedlm.errors import FedLMError, FedLMWarning, VaultError
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource
from fedlm.vault.locks import in_use
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.vault.test_change import content, key_of, make, texts

pytestmark = pytest.mark.filterwarnings("ignore::fedlm.errors.FedLMWarning")


def killed(step: Callable[[], object]) -> None:
    """Runs the step in a process that then dies."""
    if (child := os.fork()) == 0:
        try:
            step()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def rotated_without_end(vault: Path, source: KeySource, *, settles: bool) -> None:
    """Rotates up to the commit, and dies before the WAL is copied into the file."""
    editor = VaultEditor(vault, source)
    editor.rewrap()
    real = editor._db

    class Dying:
        def execute(self, *command: str) -> object:
            if "checkpoint" in command[0]:
                if settles:
                    editor._provider.settle(editor.head.vault_id, editor._keys.vault, editor.head.epoch + 1)
                os.kill(os.getpid(), signal.SIGKILL)
            return real.execute(*command)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    editor._transaction.db = Dying()  # type: ignore[assignment]
    editor.commit()


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns a vault of epoch 5, its key, and journals of its epoch 2 and of another vault."""
    folder = tmp_path_factory.mktemp("stale")
    vault, source = make(folder, texts("a", "b", "c"))
    other, key = make(folder, texts("x", "y"), "other")
    for path, where in ((vault, source), (other, key)):
        killed(lambda path=path, where=where: rotated_without_end(path, where, settles=True))  # type: ignore[misc]
    found = {
        "older": vault.with_name("v.db-wal").read_bytes(),
        "index": vault.with_name("v.db-shm").read_bytes(),
        "another": other.with_name("other.db-wal").read_bytes(),
    }
    forget(vault, source, "c")
    rotate(vault, source)
    rotate(vault, source)
    return found | {"v.db": vault.read_bytes(), "v.key": folder.joinpath("v.key").read_bytes()}


CONTENTS = ["older", "another", "index", "empty", "garbage", "truncated", "unreadable", "folder", "link"]


def put(file: Path, kind: str, stale: dict[str, bytes]) -> None:
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.with_name("elsewhere").write_bytes(stale["older"])
        file.symlink_to(file.with_name("elsewhere"))
    else:
        made = {"empty": b"", "garbage": os.urandom(9_000), "truncated": stale["older"][:5_000]}
        file.write_bytes({**stale, **made, "unreadable": stale["older"]}[kind])
        file.chmod(0 if kind == "unreadable" else 0o644)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("suffix", ["-wal", "-journal", "-shm"])
@pytest.mark.parametrize("mode", ["at rest", "as a killed change left it"])
def test_the_vault_stays_as_it_is(tmp_path: Path, stale: dict[str, bytes], suffix: str, kind: str, mode: str) -> None:
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "v.key")
    sealed = bytearray(stale["v.db"])
    if mode != "at rest":
        sealed[18:20] = b"\2\2"  # the header says that a WAL may be there
    vault.write_bytes(sealed)
    (tmp_path / "v.key").write_bytes(stale["v.key"])
    (tmp_path / "v.key").chmod(0o600)
    file = tmp_path / f"v.db{suffix}"
    put(file, kind, stale)
    for _ in range(2):
        try:
            found = content(vault, source)
            assert set(found) == {"a", "b"} and found["a"][0][0] == "a says 0, and that is it."
        except FedLMError as error:
            assert "cannot be" in str(error) and "altered" not in str(error)
        assert vault.read_bytes() == sealed
    if kind in ("folder", "link"):
        with pytest.raises(VaultError, match="move it away"):
            rotate(vault, source)
        assert vault.read_bytes() == sealed and os.path.lexists(file)
    else:
        assert rotate(vault, source)["epoch"] == 6
        assert set(content(vault, source)) == {"a", "b"} and not file.exists()


def test_who_reads_beside_a_foreign_journal_is_told(tmp_path: Path, stale: dict[str, bytes]) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    vault.with_name("v.db-wal").write_bytes(stale["another"])
    with pytest.warns(FedLMWarning, match="does not belong to this state"):
        Vault(vault, source).close()
    assert vault.with_name("v.db-wal.foreign").read_bytes() == stale["another"]


@pytest.mark.parametrize("settles", [False, True])
@pytest.mark.parametrize("reader", ["alone", "beside a run", "through a link"])
def test_a_committed_change_outlives_a_kill(tmp_path: Path, reader: str, settles: bool) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    before, key, old = content(vault, source), key_of(source), vault.read_bytes()
    killed(lambda: rotated_without_end(vault, source, settles=settles))
    vault.write_bytes(old)  # nothing of the WAL has reached the file
    read = vault
    if reader == "through a link":
        read = tmp_path / "link.db"
        read.symlink_to(vault)
    if reader == "beside a run":
        with in_use(vault):
            assert content(read, source) == before
            assert Vault(read, source).epoch == 2
            assert vault.read_bytes() == old and vault.with_name("v.db-wal").exists()
    assert content(read, source) == before
    assert Vault(read, source).epoch == 2 and not vault.with_name("v.db-wal").exists()
    assert rotate(read, source)["epoch"] == 3 and key_of(source) != key
    assert {p.name for p in tmp_path.iterdir()} - {"link.db"} == {"v.db", "v.key", "v.jsonl"}


def test_a_change_without_a_commit_leaves_nothing(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    before = content(vault, source)

    def dies() -> None:
        editor = VaultEditor(vault, source)
        editor._db.execute("PRAGMA cache_size=1")  # pages of the open transaction go into the WAL
        editor.remove("a", 0)
        editor.rewrap()

    killed(dies)
    assert content(vault, source) == before
    assert {p.name for p in tmp_path.iterdir()} == {"v.db", "v.key", "v.jsonl"}


def test_a_recovery_that_was_killed_begins_again(tmp_path: Path, stale: dict[str, bytes]) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    before = content(vault, source)
    killed(lambda: rotated_without_end(vault, source, settles=True))
    for suffix in ("", "-wal", "-journal"):  # what it may have left
        (tmp_path / f"v.db.recovery{suffix}").write_bytes(stale["another"])
    assert content(vault, source) == before and Vault(vault, source).epoch == 2
    assert {p.name for p in tmp_path.iterdir()} == {"v.db", "v.key", "v.jsonl"}


def test_a_vault_with_two_names_is_read_and_not_changed(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "name.db"
    other.hardlink_to(vault)
    before = content(vault, source)
    for path in (vault, other):
        with pytest.raises(VaultError, match="has 2 names"):
            rotate(path, source)
        assert content(path, source) == before
    other.unlink()
    shutil.copy(vault, other)
    rotate(vault, source)
