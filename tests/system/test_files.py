"""Files are whole or absent, durable, and private where asked, whatever happens while they are written."""

import os
import stat
from pathlib import Path

import pytest

from fedlm.system.files import (
    append_durably,
    create_private,
    erase_replaced,
    is_private,
    move_into_place,
    replacing,
    write_atomic,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("content", ["", "ä\n\r\n", b"", b"\0\xff", "x" * 10**6])
def test_what_is_written_is_read(tmp_path: Path, content: str | bytes) -> None:
    write_atomic(tmp_path / "f", content)
    assert (tmp_path / "f").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("private", [True, False])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, private: bool) -> None:
    write_atomic(tmp_path / "f", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "f", private=private) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert (tmp_path / "f").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_that_nobody_wrote_is_an_error_and_keeps_the_old_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "f"):
        pass
    assert (tmp_path / "f").read_text() == "old"


def test_a_private_file_is_private_from_its_first_byte_and_replaces_a_public_one(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "f", "public")
        assert mode(tmp_path / "f") == 0o666
        (tmp_path / ".f.new").write_text("of a writer that was killed")  # its mode must not be taken over
        with replacing(tmp_path / "f", private=True) as beside:
            assert mode(beside) == 0o600 and beside.read_bytes() == b""
            beside.write_text("secret")
            assert mode(beside) == 0o600
        assert mode(tmp_path / "f") == 0o600 and is_private(tmp_path / "f")
    finally:
        os.umask(before)


def test_a_link_beside_the_file_is_removed_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / ".f.new").symlink_to(tmp_path / "theirs")
    write_atomic(tmp_path / "f", "secret", private=True)
    assert (tmp_path / "theirs").read_text() == "theirs" and not (tmp_path / "f").is_symlink()


def test_a_private_file_is_never_created_over_another_or_through_a_link(tmp_path: Path) -> None:
    create_private(tmp_path / "f", b"k")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("f", "dangling"):
        with pytest.raises(FileExistsError):
            create_private(tmp_path / name, b"other")
    assert (tmp_path / "f").read_bytes() == b"k" and not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(("bits", "expected"), [(0o600, True), (0o400, True), (0o640, False), (0o602, False)])
def test_private_means_that_group_and_others_have_no_right(tmp_path: Path, bits: int, expected: bool) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "f").chmod(bits)
    with (tmp_path / "f").open("rb") as file:
        assert is_private(tmp_path / "f") == is_private(file.fileno()) == expected


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def replaced(source: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomic(tmp_path / "f", "x")
    assert steps == ["file", "rename", "folder"]
    (tmp_path / "g").write_text("y")
    move_into_place(tmp_path / "g", tmp_path / "f")
    assert steps[3:] == ["file", "rename", "folder"] and (tmp_path / "f").read_text() == "y"


def test_the_next_writer_may_begin_once_the_rename_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a lock on the file itself gets it with the rename, before the first writer has returned."""
    (tmp_path / "f").touch()

    def next_writer(folder: Path) -> None:
        (folder / ".f.new").write_text("theirs")

    monkeypatch.setattr("fedlm.system.files.sync_folder", next_writer)
    write_atomic(tmp_path / "f", "ours")
    assert (tmp_path / ".f.new").read_text() == "theirs" and (tmp_path / "f").read_text() == "ours"


def test_lines_are_appended(tmp_path: Path) -> None:
    for line in ("a\n", "b\n"):
        append_durably(tmp_path / "f", line)
    assert (tmp_path / "f").read_text() == "a\nb\n"


def test_a_replaced_secret_is_overwritten_but_not_a_copy_of_it(tmp_path: Path) -> None:
    for name, is_copied in (("a", False), ("b", True)):
        path = tmp_path / name
        write_atomic(path, "secret", private=True)
        if is_copied:
            os.link(path, tmp_path / "copy")
        with path.open("r+b") as before:
            write_atomic(path, "next", private=True)
            erase_replaced(before.fileno())
            before.seek(0)
            assert before.read() == (b"secret" if is_copied else bytes(6))
        assert path.read_text() == "next"
