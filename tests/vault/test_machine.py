"""A full disk, a limit, a missing permission: told as themselves, never as damage, and the vault stays as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.support.machine import as_nobody, limited, remount, small_disk
from tests.vault.test_change import RULES, content, corpus, make, texts

Change = Callable[[Path, KeySource], object]
CHANGES: dict[str, Change] = {
    "rotate": rotate,
    "forget": lambda vault, source: forget(vault, source, "b"),
    "add": lambda vault, source: add(str(vault.with_name("more.jsonl")), vault, source, lambda *_: None),
    "prepare": lambda vault, source: prepare(
        str(vault.with_name("more.jsonl")), vault.with_name("w.db"), source, RULES, lambda *_: None
    ),
}


def told(said: str, why: str) -> None:
    """Asserts that the sentence is about the machine."""
    assert said.startswith(("StorageError: ", "ConfigError: ")) and why in said, said
    for word in ("altered", "damaged", "backup", "does not open", "Operational"):
        assert word not in said


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, KeySource]:
    (tmp_path / "v").mkdir()
    vault, source = make(tmp_path / "v", texts("a", "b", "c", last=40))
    corpus(vault.with_name("more.jsonl"), texts("b", "d", first=40, last=300))
    return vault, source


def state(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize("size", [10, 400, 5_000, 20_000, 28_672, 30_000, 50_000])
@pytest.mark.parametrize("what", CHANGES)
def test_a_limit_on_files_at_any_size(sealed: tuple[Path, KeySource], what: str, size: int) -> None:
    vault, source = sealed
    before, files = content(vault, source), state(vault.parent)
    said = limited(size, lambda: CHANGES[what](vault, source))
    if said.startswith("StorageError"):
        told(said, "limit on the size of files")
        if "The change is made" not in said:
            assert content(vault, source) == before
            assert state(vault.parent).keys() == files.keys()  # the key file may have proposed a key
    else:
        assert "Error" not in said, said
    Vault(vault, source).close()
    CHANGES[what](vault, source) if what != "prepare" or not vault.with_name("w.db").exists() else None


@pytest.mark.parametrize("what", CHANGES)
def test_a_full_disk(sealed: tuple[Path, KeySource], tmp_path: Path, what: str) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        for file in sealed[0].parent.iterdir():
            (disk / file.name).write_bytes(file.read_bytes())
            (disk / file.name).chmod(0o600)
        vault, source = disk / "v.db", KeySource(disk / "v.key")
        files = state(disk)
        with pytest.raises(OSError, match="No space"), (disk / "fill").open("wb", buffering=0) as fill:
            while True:
                fill.write(bytes(4096))
        filled = (disk / "fill").stat().st_size
        for room in range(0, 1_000_000, 20_480):  # the disk is full at every step of the change
            with (disk / "fill").open("r+b") as fill:
                fill.truncate(max(filled - room, 0))
            try:
                CHANGES[what](vault, source)
            except Exception as error:  # noqa: BLE001 - every type of error is judged
                told(f"{type(error).__name__}: {error}", "the disk is full")
                assert {p.name for p in disk.iterdir()} - {"v.db-wal", "v.db-shm"} == {*files, "fill"}
                continue
            break
        else:
            pytest.fail("the change needs too much room")
        assert room > 0
        Vault(vault, source).close()
        (disk / "fill").unlink()
        files = state(disk)
        remount(disk, "ro")
        for name, change in CHANGES.items():
            if name != "prepare":
                with pytest.raises(Exception, match="read-only"):
                    change(vault, source)
        assert Vault(vault, source).verify() == []
        assert state(disk) == files
        remount(disk, "rw")


@pytest.mark.parametrize("what", CHANGES)
def test_a_folder_that_may_not_be_written(sealed: tuple[Path, KeySource], what: str) -> None:
    vault, source = sealed
    before, files = content(vault, source), state(vault.parent)

    def work() -> object:
        vault.parent.chmod(0o555)
        assert content(vault, source) == before
        return CHANGES[what](vault, source)

    said = as_nobody(vault.parent, work)
    told(said, "not writable" if what == "prepare" else "permission was denied")
    assert state(vault.parent) == files


@pytest.mark.parametrize("name", ["v.db", "v.key", "v.db-wal", "v.db.use"])
def test_a_file_that_may_not_be_read(sealed: tuple[Path, KeySource], name: str) -> None:
    vault, source = sealed
    files = state(vault.parent)
    if name not in files:
        (vault.parent / name).write_bytes(b"x" * 100)

    def work() -> object:
        (vault.parent / name).chmod(0)
        return content(vault, source)

    told(as_nobody(vault.parent, work), "permission was denied")
    (vault.parent / name).chmod(0o600)
    assert {**state(vault.parent), name: b""} == {**files, name: b""}
