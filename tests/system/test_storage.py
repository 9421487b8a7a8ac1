"""The machine's errors are told as themselves: which file, why, what to do."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from fedlm.errors import InUseError, StorageError
from fedlm.system.database import open_database
from fedlm.system.files import create_private
from fedlm.system.own_files import move_new_into_place, own_file
from fedlm.system.storage import MISSING, quoted_error, reading, storage_error, storing
from tests.support.machine import limited


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_has_a_sentence(number: int) -> None:
    said = str(storage_error(OSError(number, os.strerror(number)), Path("folder/v.db")))
    assert said.startswith("folder/v.db cannot be written: ") and said.endswith(", then try again.")
    assert "damaged" not in said and "altered" not in said and ";" in said


def test_an_error_without_a_number_is_told_too() -> None:
    assert "input or output failed" in str(storage_error(OSError("something"), "x"))
    assert "the disk is full" in str(storage_error(OSError("Unable to write (errno = 28, message = '...')"), "x"))
    assert (found := quoted_error(ValueError("I/O error: No space left on device (os error 28)"))) is not None
    assert found.errno == errno.ENOSPC and quoted_error(ValueError("incomplete header")) is None


def test_missing_files_are_left_to_the_caller(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "file" / "below"):
        (tmp_path / "file").touch()
        with pytest.raises(MISSING), reading(path):
            path.read_bytes()
    with pytest.raises(StorageError, match="name is too long"), reading(tmp_path / ("x" * 300)):
        (tmp_path / ("x" * 300)).read_bytes()
    with pytest.raises(StorageError, match="disk quota is used up"), storing("a file"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


def test_a_database_that_cannot_grow_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    db = open_database(path)
    db.execute("CREATE TABLE t(a)")

    def fill() -> None:
        db = open_database(path)
        for _ in range(100):
            db.execute("INSERT INTO t VALUES (randomblob(4000))")

    assert limited(40_000, fill) == (
        f"StorageError: {path} cannot be written: it reaches the limit on the size of files; raise the limit (ulimit -f), then try again."
    )
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_another_connection_in_the_way_is_told_as_such(tmp_path: Path) -> None:
    one = open_database(tmp_path / "x.db", timeout=0)
    two = open_database(tmp_path / "x.db", timeout=0)
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(InUseError, match="in use by another process"):
        two.execute("BEGIN IMMEDIATE")


def test_the_contents_fault_stays_sqlites(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    for mode in ("immutable", "rw"):
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            open_database(tmp_path / "x.db", mode).execute("SELECT * FROM sqlite_master")
    with pytest.raises(StorageError, match="no such file"):
        open_database(tmp_path / "none.db", "rw").execute("SELECT * FROM sqlite_master")


def test_immutable_reads_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a ?#%41.db"  # characters that a URI would read
    db = open_database(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t(a)")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("INSERT INTO t VALUES (1)")
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    reader = open_database(path, "immutable")
    assert reader.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
    reader.close()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files


def test_a_full_disk_leaves_no_empty_private_file(tmp_path: Path) -> None:
    assert "OSError" in limited(10, lambda: create_private(tmp_path / "key", b"x" * 100))
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_file_belongs_to_one_process(tmp_path: Path) -> None:
    path = tmp_path / "x.partial"
    path.write_bytes(b"left by a killed process")
    with own_file(path) as first, own_file(path) as second:
        assert (first.name, second.name) == ("x.partial", "x.partial.2")
        assert first.read_bytes() == second.read_bytes() == b""
        assert {oct(p.stat().st_mode & 0o777) for p in (first, second)} == {"0o600"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["folder", "link", "dangling"])
def test_an_unfinished_file_is_never_made_through_what_others_put_there(tmp_path: Path, taken: str) -> None:
    path, target = tmp_path / "x", tmp_path / "target"
    if taken == "folder":
        path.mkdir()
    else:
        path.symlink_to(target)
        if taken == "link":
            target.write_bytes(b"mine")
    with own_file(path) as own:
        own.write_bytes(b"text")
    assert os.path.lexists(path) and (taken != "link" or target.read_bytes() == b"mine")
    assert target.exists() == (taken == "link")


def test_a_finished_file_never_replaces_another(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    for target in (tmp_path / "file", tmp_path / "link"):
        target.write_bytes(b"old") if target.name == "file" else target.symlink_to("nowhere")
        with pytest.raises(FileExistsError):
            move_new_into_place(tmp_path / "new", target)
    assert (tmp_path / "file").read_bytes() == b"old" and (tmp_path / "link").is_symlink()
    move_new_into_place(tmp_path / "new", tmp_path / "free")
    assert (tmp_path / "free").read_bytes() == b"new" and not (tmp_path / "new").exists()
