"""CSV as programs write it: separators, heads and line ends; a fault names the line of the file on which its record begins."""

import gzip
from pathlib import Path

import pytest

from fedlm.data.corpus import open_corpus
from fedlm.errors import CorpusError

GOOD = [("ann", "one"), ("bob", "two, with; a|comma")]


def read(path: Path) -> list[tuple[str, str]]:
    return [(d.user, d.text) for d in open_corpus(str(path))]


def refused(path: Path) -> str:
    with pytest.raises(CorpusError) as error:
        read(path)
    said = str(error.value)
    assert "secret" not in said and "\n" not in said and str(path) in said
    return said


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "head",
    ["user{}text", "User{}Text", "USER{}TEXT", " user {}\ttext", "user\u00a0{}text", '"user"{}"Text"', "text{}user"],
)
def test_heads_and_separators(tmp_path: Path, separator: str, end: str, mark: str, head: str) -> None:
    names = head.format(separator)
    if separator == "\t":
        names = names.replace("\t\t", "\t")
    rows = [(u, t) if head != "text{}user" else (t, u) for u, t in GOOD]
    lines = [names, *(separator.join(f'"{c}"' for c in row) for row in rows)]
    (tmp_path / "a.csv").write_bytes((mark + end.join(lines) + end).encode())
    assert read(tmp_path / "a.csv") == GOOD


@pytest.mark.parametrize("name", ["S.CSV", "s.Csv", "s.tsv", "S.TSV", "s.csv.gz", "S.CSV.GZ"])
def test_names_of_files(tmp_path: Path, name: str) -> None:
    content = b"user\ttext\tdialect\nann\tone\tnorth\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    (document,) = open_corpus(str(tmp_path / name))
    assert (document.user, document.text, document.labels) == ("ann", "one", {"dialect": "north"})


def test_a_separator_line_and_blank_lines_before_the_head(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\nsep=;\n\nuser;text\n\nann;one\n;\n ; \nbob;two; or three\n")
    assert "Line 9 of" in refused(tmp_path / "a.csv")  # four lines that say nothing are no records


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("name,text", "2 cells separated by a comma, with no user, text"),
        ("user;words;x", "3 cells separated by a semicolon, with user, no text"),
        ("secret: hello there", "one cell, with no user, no text"),
        ("secret, and more", "2 cells separated by a comma, with no user, no text"),
        ("user text", "one cell"),
        ("user:text", "one cell"),
        ("user,text,text", "names the column 'text' twice"),
        ("user,text,Text", "names the column 'text' twice"),
        ("user,text,User ", "names the column 'user' twice"),
        ("user,text,region,region", "names the column 'region' twice"),
    ],
)
def test_heads_that_are_refused_say_what_was_seen(tmp_path: Path, head: str, says: str) -> None:
    (tmp_path / "a.csv").write_text(head + "\na,secret,b,c\n")
    assert says in refused(tmp_path / "a.csv")


def test_columns_without_a_name_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",user,text,\n0,ann,one,\n1,bob,two,x\n")
    assert [d.labels for d in open_corpus(str(tmp_path / "a.csv"))] == [{}, {}]


LONG = 'ann,"a\nb\n\nc"\r\n'  # one record of four lines


@pytest.mark.parametrize("records", [0, 1, 3])
@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize(
    ("bad", "says", "offset"),
    [
        ("bob,secret,more\n", "more cells", 0),
        ("bob\n", "fewer cells than the first line names: it has no text", 0),
        ('bob,"secret\n\nand\n', "a quote is not closed", 0),
        ('bob,"secret" tail\n', "text follows a closing quote", 0),
        ('bob,"secret\nsays "so" twice"\n', "text follows a closing quote", 0),
        (" ,secret\n", "has an empty user", 0),
        ('bob,"secret\n\x00"\n', "NUL byte (byte 1)", 1),
    ],
)
def test_a_fault_names_the_line_on_which_its_record_begins(
    tmp_path: Path, records: int, blank: int, bad: str, says: str, offset: int
) -> None:
    content = "user,text\n" + LONG * records + "\n" * blank + bad
    (tmp_path / "a.csv").write_bytes(content.encode())
    said = refused(tmp_path / "a.csv")
    assert says in said and f"Line {2 + 4 * records + blank + offset} of" in said


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift-jis"])
def test_another_encoding_is_refused_with_line_and_byte_or_its_name(tmp_path: Path, name: str, encoding: str) -> None:
    line = '{"user": "ann", "text": "caf\u00e9"}' if encoding != "shift-jis" else '{"user": "ann", "text": "\u30c6"}'
    rows = (
        [line] if name == "a.jsonl" else ["user,text", "ann," + ("\u30c6" if encoding == "shift-jis" else "caf\u00e9")]
    )
    (tmp_path / name).write_bytes("\n".join(rows).encode(encoding))
    said = refused(tmp_path / name)
    assert "save it as UTF-8" in said and ("byte" in said or "it is UTF-" in said) and "Line " in said


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "a.csv"])
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:20], lambda b: b[:30] + b"\xff\xff" + b[32:]])
def test_a_damaged_gzip_file_is_one_sentence(tmp_path: Path, name: str, damage: object) -> None:
    content = gzip.compress("".join(f"ann,secret {i * 7919}\n" for i in range(500)).encode())
    (tmp_path / name).write_bytes(damage(content))  # type: ignore[operator]
    said = refused(tmp_path / name)
    assert "cut off or damaged" in said or "first line" in said or "is not JSON" in said


@pytest.mark.parametrize("name", ["a.zip", "a.jsonl.bz2", "a.tar", "a.csv.xz", "a.tgz"])
def test_other_packed_files_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"secret")
    assert "Unpack it first" in refused(tmp_path / name)


@pytest.mark.parametrize("content", [b"\n\n", b"\xef\xbb\xbf", b"\r\n"])
def test_a_file_of_blank_lines_is_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert "is empty" in refused(tmp_path / "a.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["S.JSONL", "s.jsonl", "s.Jsonl"])
def test_jsonl_of_every_line_end_with_and_without_a_mark(tmp_path: Path, end: str, name: str) -> None:
    rows = ['{"user": "ann", "text": "a\\r\\nb"}', "", '{"user": "bob", "text": "c\u2028d\u0085e"}', "{"]
    (tmp_path / name).write_bytes(("\ufeff" + end.join(rows[:3])).encode())
    assert read(tmp_path / name) == [("ann", "a\r\nb"), ("bob", "c\u2028d\u0085e")]
    (tmp_path / name).write_bytes(("\ufeff" + end.join(rows)).encode())
    assert "Line 4 of" in refused(tmp_path / name)


def test_a_key_in_another_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"User": "ann", "text": "secret"}\n')
    assert "has no key 'user', only 'User'." in refused(tmp_path / "a.jsonl")
