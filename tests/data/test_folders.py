"""Folders as people have them: what nobody wrote is passed over and told, what somebody wrote is never lost in silence."""

import gzip
import os
import socket
from collections import Counter
from pathlib import Path

import pytest

from fedlm.data.corpus import open_corpus
from fedlm.data.reading import AGAIN, BACKUP, HIDDEN, OTHER, SPECIAL, SYSTEM, Reading
from fedlm.errors import CorpusError

HIDDEN_NAMES = (".x.txt", "._x.txt", ".txt", ".DS_Store", ".x.txt.swp", ".~lock.x.txt#", ".#x.txt")
BACKUPS = ("x~", "x.txt~", "#x#", "#x.txt#", "x.swp", "x.txt.swo", "x.txt.bak", "x.TXT.ORIG", "~$x.txt")
SYSTEM_NAMES = ("Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r")


def read(root: Path) -> tuple[list[tuple[str, str]], Reading]:
    reading = Reading()
    return [(d.user, d.text) for d in open_corpus(str(root), reading)], reading


def made(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"text of {name}")
    return root


KINDS = [(HIDDEN, n) for n in HIDDEN_NAMES] + [(BACKUP, n) for n in BACKUPS] + [(SYSTEM, n) for n in SYSTEM_NAMES]


@pytest.mark.parametrize(("reason", "name"), KINDS)
@pytest.mark.parametrize("below", ["", "bob/"])
def test_what_nobody_wrote_is_no_client_and_is_counted(tmp_path: Path, reason: str, name: str, below: str) -> None:
    made(tmp_path / "f", "ann.txt", "bob/1.txt", below + name)
    found, reading = read(tmp_path / "f")
    assert found == [("ann", "text of ann.txt"), ("bob", "text of bob/1.txt")]
    assert reading.ignored == {reason: 1} and f"1 {reason}" in reading.sentences()[0]


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (HIDDEN, ".ipynb_checkpoints"),
        (HIDDEN, ".git"),
        (HIDDEN, ".Trash-1000"),
        (SYSTEM, "__MACOSX"),
        (SYSTEM, "__pycache__"),
        (BACKUP, "ann.bak"),
    ],
)
def test_folders_that_nobody_wrote_are_no_clients(tmp_path: Path, reason: str, name: str) -> None:
    made(tmp_path / "f", "ann.txt", f"{name}/ann.txt", f"bob/{name}/x.txt", "bob/1.txt")
    found, reading = read(tmp_path / "f")
    assert {user for user, _ in found} == {"ann", "bob"} and len(found) == 2
    assert reading.ignored == {reason: 2}


@pytest.mark.parametrize("name", ["CAROL.TXT", "CAROL.Txt", "CAROL.tXt", "CAROL/1.TXT"])
def test_a_suffix_in_capitals_is_a_suffix(tmp_path: Path, name: str) -> None:
    assert read(made(tmp_path / "f", name))[0] == [("CAROL", f"text of {name}")]


def test_other_files_are_counted_and_a_blank_file_is_a_client_without_text(tmp_path: Path) -> None:
    made(tmp_path / "f", "ann.txt", "notes.md", "photo.JPG", "letter.docx", "noend")
    (tmp_path / "f" / "bob.txt").write_text(" \n\n\t")
    found, reading = read(tmp_path / "f")
    assert found == [("ann", "text of ann.txt"), ("bob", "")] and reading.ignored == {OTHER: 4}


def test_a_folder_of_ignored_files_only_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"has no \.txt file. It has 2 hidden, 1 not \.txt\."):
        read(made(tmp_path / "f", ".a.txt", ".b", "c.md"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"has no \.txt file\.$"):
        read(tmp_path / "empty")


def test_linked_files_and_folders_outside_are_read_and_told(tmp_path: Path) -> None:
    root, out = (
        made(tmp_path / "f", "ann.txt"),
        made(tmp_path / "out", "dave/1.txt", "dave/sub/2.txt", "eve.txt", "fay.txt"),
    )
    (root / "dave").symlink_to(out / "dave")
    (root / "eve.txt").symlink_to("../out/eve.txt")
    (root / "FAY").symlink_to(out / "fay.txt")  # the target's suffix counts too
    found, reading = read(root)
    assert sorted({user for user, _ in found}) == ["FAY", "ann", "dave", "eve"] and len(found) == 5
    assert reading.links == {str(out): 2, str(out / "dave"): 1}
    assert "links followed: 3" in reading.sentences()[0] and "eve" not in reading.sentences()[0]


@pytest.mark.parametrize("target", [".", "..", "../..", "bob", "bob/1.txt", "loop", "ann.txt"])
@pytest.mark.parametrize("at", ["loop", "bob/loop"])
def test_links_that_lead_back_end_and_give_no_text_twice(tmp_path: Path, target: str, at: str) -> None:
    root = made(tmp_path / "f", "ann.txt", "bob/1.txt")
    (root / at).symlink_to(root / target)
    if root / at == root / target:
        with pytest.raises(CorpusError, match="link to nothing, or in a circle"):
            read(root)
        return
    if target == "loop":
        (root / "loop").symlink_to(root / "bob")
    found, reading = read(root)
    assert len(found) == 2 and reading.ignored[AGAIN] >= 1


def test_one_target_of_two_links_is_read_once(tmp_path: Path) -> None:
    """Otherwise a person's text would stay with another client after `forget`."""
    root, out = made(tmp_path / "f", "ann.txt"), made(tmp_path / "out", "x/1.txt", "y.txt")
    for name in ("b", "c"):
        (root / name).symlink_to(out / "x")
        (root / f"{name}{name}.txt").symlink_to(out / "y.txt")
    (root / "d").symlink_to(out)  # holds both again
    found, reading = read(root)
    assert Counter(text for _, text in found) == {"text of ann.txt": 1, "text of x/1.txt": 1, "text of y.txt": 1}
    assert reading.ignored == {AGAIN: 4}


def test_a_link_into_a_hidden_store_is_followed(tmp_path: Path) -> None:
    """As git-annex keeps files."""
    root = made(tmp_path / "f", "bob.txt", ".git/annex/SHA256-1")
    (root / "ann.txt").symlink_to(".git/annex/SHA256-1")
    assert sorted(user for user, _ in read(root)[0]) == ["ann", "bob"]


@pytest.mark.parametrize("name", ["gone.txt", "gone"])
def test_a_broken_link_is_refused(tmp_path: Path, name: str) -> None:
    root = made(tmp_path / "f", "ann.txt")
    (root / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="is a link to nothing"):
        read(root)


def test_a_pipe_is_passed_over_and_never_waited_for(tmp_path: Path) -> None:
    root = made(tmp_path / "f", "ann.txt")
    os.mkfifo(root / "pipe.txt")
    found, reading = read(root)
    assert len(found) == 1 and reading.ignored == {SPECIAL: 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"caf\xe9 au lait", r"is not text in UTF-8: byte 4 is 0xE9"),
        (b"ok\n" * 400 + b"\xff", r"byte 1,201 is 0xFF"),
        ("x".encode("utf-16"), "it is UTF-16, save it as UTF-8"),
        ("hello".encode("utf-16-be"), r"NUL byte \(byte 1\)"),
        (b"\xed\xa0\x80", "byte 1 is 0xED"),
        (b"cut \xf0\x9f\x98", "byte 5 is 0xF0"),
    ],
)
def test_a_file_of_another_encoding_is_named_with_its_byte(tmp_path: Path, content: bytes, says: str) -> None:
    root = made(tmp_path / "f", "ann.txt")
    (root / "bob.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=says) as error:
        read(root)
    assert "bob.txt" in str(error.value) and "caf" not in str(error.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_part_paragraphs_alike(tmp_path: Path, end: str) -> None:
    root = made(tmp_path / "f", "bob.txt")
    (root / "ann.txt").write_bytes(f"\ufeffone{end}still one{end}{end}two{end}".encode())
    assert [t for u, t in read(root)[0] if u == "ann"] == ["one\nstill one", "two"]


def test_a_folder_without_text_is_a_client_without_text(tmp_path: Path) -> None:
    root = made(tmp_path / "f", "ann.txt", "bob/sub/letter.docx", "carol/.hidden.txt", "dora/1.txt")
    (root / "eve").mkdir()
    (root / ".git").mkdir()
    found, reading = read(root)
    assert [(u, t) for u, t in found if not t] == [("bob", ""), ("carol", ""), ("eve", "")] and len(found) == 5
    assert reading.ignored == {OTHER: 1, HIDDEN: 2}


@pytest.mark.parametrize("name", ["#recycle", "@Recycle", "RECYCLER", "$RECYCLE.BIN", "lost+found", "@eaDir"])
def test_waste_bins_of_servers_are_no_clients(tmp_path: Path, name: str) -> None:
    found, reading = read(made(tmp_path / "f", "ann.txt", f"{name}/bob.txt"))
    assert len(found) == 1 and reading.ignored == {SYSTEM: 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04\x14\x00", "a ZIP archive or an Office document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
        (b"%PDF-1.4\nplain ASCII may follow", "a PDF document"),
        (rb"{\rtf1\ansi Dear Jane\par}", "an RTF document"),
    ],
)
def test_a_document_of_another_program_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    root = made(tmp_path / "f", "ann.txt")
    (root / "bob.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"bob\.txt is {says}, not plain text") as error:
        read(root)
    assert "Dear" not in str(error.value)


@pytest.mark.parametrize("name", ["bob.txt", "bob.txt.gz", "BOB.TXT.GZ"])
def test_a_packed_text_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    root = made(tmp_path / "f", "ann.txt")
    (root / name).write_bytes(gzip.compress(b"\xef\xbb\xbfone\r\n\r\ntwo"))
    assert [t for u, t in read(root)[0] if u.lower() == "bob"] == ["one", "two"]


def test_names_as_long_as_they_may_be_and_folders_as_deep(tmp_path: Path) -> None:
    root = made(tmp_path / "f", "a" * 251 + ".txt", "\u00e9" * 125 + ".txt", "/".join("d" * 300) + "/x.txt")
    assert {user for user, _ in read(root)[0]} == {"a" * 251, "\u00e9" * 125, "d"}


def test_two_files_of_one_name_are_one_client_and_a_socket_or_device_is_none(tmp_path: Path) -> None:
    root = made(tmp_path / "f", "Jos\u00e9.txt", "Jose\u0301.txt", "ann.txt", "ann/x.txt")
    (root / "zero.txt").symlink_to("/dev/zero")
    before = os.getcwd()
    os.chdir(root)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind("s.txt")
    finally:
        os.chdir(before)
    found, reading = read(root)
    assert {user for user, _ in found} == {"Jos\u00e9", "ann"} and reading.spellings.joined() == (1, 2)
    assert reading.ignored == {SPECIAL: 2} and not reading.links


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize(("name", "mode"), [("bob.txt", 0), ("bob", 0), ("bob", 0o600)])
def test_what_may_not_be_read_is_named(tmp_path: Path, name: str, mode: int) -> None:
    root = made(tmp_path / "f", "ann.txt", name if name.endswith(".txt") else f"{name}/x.txt")
    (root / name).chmod(mode)
    try:
        with pytest.raises(CorpusError, match=r"bob.* cannot be read: Permission denied"):
            read(root)
    finally:
        (root / name).chmod(0o700)
