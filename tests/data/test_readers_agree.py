"""Every reader of people's files takes the same text: byte-order marks, line ends, encodings, and keys that are given twice."""

import codecs
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.policy import Policy
from fedlm.artifacts import with_vocabulary
from fedlm.cli.vocabulary import _texts
from fedlm.config_values import read_toml
from fedlm.data.corpus import open_corpus
from fedlm.errors import ConfigError, CorpusError, FedLMError
from fedlm.measure.association import read_tests
from fedlm.measure.names import read_names
from fedlm.measure.pairs import read_pairs
from fedlm.scrub.files import score_file, scrub_file
from fedlm.system.plain_text import RepeatedKey, decoded, read_json

PARTS = "\u2028\u2029\x85"  # end a line for str.splitlines, and for no file
CONTROLS = "\v\f\x1c\x1d\x1e"  # the same; JSON and TOML allow them as escapes only


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_row(*cells: str, delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return out.getvalue()


def documents(path: Path) -> list[tuple[str, str]]:
    return [(d.user, d.text) for d in open_corpus(str(path))]


def folder(path: Path) -> list[tuple[str, str]]:
    path.rename((path.parent / "f").mkdir() or path.parent / "f" / path.name)
    found = documents(path.parent / "f")
    (path.parent / "f" / path.name).rename(path)
    (path.parent / "f").rmdir()
    return found


def scrubbed(path: Path) -> list[Any]:
    out = path.with_name("out.jsonl")
    out.unlink(missing_ok=True)
    scrub_file(path, out, "none", spans=False)
    return [json.loads(line)["text"] for line in out.read_text().split("\n")[:-1]]


def scored(path: Path) -> int:
    return score_file(path, "patterns").rows()[-1]["gold"]  # type: ignore[return-value]


@dataclass(frozen=True)
class Reader:
    """A file and who reads it: `content` writes a value into a file, `read` returns what comes out."""

    name: str
    content: Callable[[str], str]
    read: Callable[[Path], Any]
    takes_controls: bool = False
    kind: type[FedLMError] = CorpusError


WORDS = {"format": "fedlm vocabulary 1", "kind": "words"}
READERS = (
    Reader(
        "a.jsonl", lambda v: as_json({"user": "ann", "text": v}) + "\n" + as_json({"user": "b", "text": "x"}), documents
    ),
    Reader("a.csv", lambda v: as_row("user", "text") + as_row("ann", v) + as_row("b", "x"), documents, True),
    Reader(
        "a.tsv", lambda v: as_row("user", "text", delimiter="\t") + as_row("ann", v, delimiter="\t"), documents, True
    ),
    Reader("a.json", lambda v: as_json({"users": ["ann"], "user_data": {"ann": {"x": [v]}}}), documents),
    Reader("ann.txt", lambda v: f"one {v} two\n\nthree", folder, True),
    Reader("in.jsonl", lambda v: as_json({"user": "ann", "text": v}), scrubbed),
    Reader("gold.jsonl", lambda v: as_json({"text": v, "spans": [{"start": 0, "end": 1, "label": "AGE"}]}), scored),
    Reader("public.txt", lambda v: f"one {v} two\n\nthree", lambda p: _texts(str(p)), True),
    Reader("names.json", lambda v: as_json({"templates": ["{name} " + v], "names": [["Ann", "Bob"]]}), read_names),
    Reader("tests.json", lambda v: as_json({v: {"starts": [["a"], ["b"]], "ends": [["c"], ["d"]]}}), read_tests),
    Reader(
        "crows.csv",
        lambda v: as_row("sent_more", "sent_less", "stereo_antistereo", "bias_type") + as_row(v, "b", "stereo", "age"),
        read_pairs,
        True,
    ),
    Reader(
        "winogender.tsv",
        lambda v: "sentid\tsentence\n" + as_row("a.x.1.male.txt", v, delimiter="\t") + "a.x.1.female.txt\tshe\n",
        read_pairs,
        True,
    ),
    Reader("c.toml", lambda v: f'scrub = "{v}"\nrounds = 2\n', read_toml, kind=ConfigError),
    Reader("policy.toml", lambda v: f'min_chunk_clients = 2\nmodels = ["{v}"]\n', Policy.load, kind=ConfigError),
)
VALUE = "caf\u00e9 \u0141ukasz"
each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda r: r.name)


def put(folder: Path, reader: Reader, content: bytes) -> Path:
    (folder / reader.name).write_bytes(content)
    return folder / reader.name


@each_reader
def test_a_byte_order_mark_and_other_line_ends_change_nothing(tmp_path: Path, reader: Reader) -> None:
    text = reader.content(VALUE)
    plain = reader.read(put(tmp_path, reader, text.encode()))
    assert plain
    assert reader.read(put(tmp_path, reader, codecs.BOM_UTF8 + text.encode())) == plain
    ends = ("\r\n",) if reader.name.endswith(".toml") else ("\r\n", "\r")
    for end in ends:
        for mark in ("", "\ufeff"):
            written = reader.read(put(tmp_path, reader, (mark + text.replace("\n", end)).encode()))
            assert written == plain, (end, mark)


@each_reader
def test_only_the_ends_of_a_file_s_lines_end_a_line(tmp_path: Path, reader: Reader) -> None:
    for sign in PARTS + (CONTROLS if reader.takes_controls else ""):
        value = f"caf{sign}\u00e9"
        found = reader.read(put(tmp_path, reader, reader.content(value).encode()))
        if not isinstance(found, int):
            assert ascii(value)[1:-1] in ascii(found), ascii(sign)
        other = reader.read(put(tmp_path, reader, reader.content(VALUE).encode()))
        if isinstance(other, list | int):
            assert found == other if isinstance(found, int) else len(found) == len(other)


@each_reader
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "utf-16-le"])
def test_another_encoding_is_named_or_its_byte(tmp_path: Path, reader: Reader, encoding: str) -> None:
    text = reader.content("caf\u00e9")
    with pytest.raises(reader.kind) as caught:
        reader.read(put(tmp_path, reader, text.encode(encoding)))
    said = str(caught.value)
    named = {"utf-16": "it is UTF-16", "utf-32": "it is UTF-32"}.get(encoding, "")
    assert reader.name in said and "\n" not in said and "caf" not in said and "codec" not in said
    if not reader.name.endswith(".toml") or encoding != "utf-16-le":  # TOML's reader refuses the NUL byte
        assert "save it as UTF-8" in said and named in said


TWICE = {
    "a.jsonl": (
        '{"user": "a", "text": "x"}\n{"user": "a", "text": "x", "text": "secret"}',
        "Line 2 of .* key 'text' twice",
    ),
    "b.jsonl": (
        '{"user": "a", "text": [{"role": "u", "content": "x", "content": "secret"}]}',
        "Line 1 .* 'content' twice",
    ),
    "c.jsonl": (
        '{"user": "a", "text": "x", "\u00e9": 1, "e\u0301 ": 2}',
        "Line 1 of .* label '\u00e9' twice, in two spell",
    ),
    "d.json": (
        '{"user_data": {"ann": {"x": ["x"]}, "bob": {"x": []}, "ann": {"x": ["secret"]}}}',
        "keys 1 and 3 of an obj",
    ),
    "e.csv": ("user,text,Text\na,x,secret\n", "names the column 'text' twice"),
    "f.csv": ("user,text,\u00e9,e\u0301\na,x,1,secret\n", "names the column '\u00e9' twice"),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_key_that_is_given_twice_in_a_corpus_is_refused(tmp_path: Path, name: str) -> None:
    content, says = TWICE[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=says) as caught:
        documents(tmp_path / name)
    assert "secret" not in str(caught.value) and "ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (read_names, '{"templates": ["{name} x"], "names": [["A", "B"]], "names": [["C", "D"]]}'),
        (read_tests, '{"a": {"starts": [["x"], ["y"]], "ends": [["c"], ["d"]], "ends": [["e"], ["f"]]}}'),
        (lambda p: scrub_file(p, p.with_name("o"), "none", spans=False), '{"text": "a", "names": 1, "names": 2}'),
        (lambda p: score_file(p, "patterns"), '{"text": "a", "spans": [], "names": 1, "names": 2}'),
        (
            lambda p: with_vocabulary({"vocabulary": f"words(file={p.name!r})"}, p.parent),
            as_json(WORDS)[:-1] + ', "kind": "bpe"}',
        ),
    ],
)
def test_a_key_that_is_given_twice_is_refused_by_every_reader_of_json(
    tmp_path: Path, read: Callable[[Path], object], content: str
) -> None:
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(FedLMError, match=r"f\.json"):
        read(tmp_path / "f.json")


@pytest.mark.parametrize(("read", "key"), [(read_toml, "rounds"), (Policy.load, "min_chunk_clients")])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nseed = 1\n"])
def test_a_setting_that_is_given_twice_is_refused_with_line_and_key(
    tmp_path: Path, read: Callable[[Path], object], key: str, end: str
) -> None:
    (tmp_path / "c.toml").write_bytes(f"\ufeff{key} = 2\n{key} = 7773{end}".encode())
    with pytest.raises(ConfigError, match=f"line 2 gives the key {key} a second time") as caught:
        read(tmp_path / "c.toml")
    assert "7773" not in str(caught.value)


def test_a_user_of_leaf_without_data_is_missed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"users": ["ann", "bob"], "user_data": {"ann": {"x": ["x"]}}}')
    with pytest.raises(CorpusError, match="names 1 user in users that user_data does not have") as caught:
        documents(tmp_path / "a.json")
    assert "bob" not in str(caught.value)


def test_a_vocabulary_with_a_byte_order_mark_has_the_hash_of_its_text(tmp_path: Path) -> None:
    content = as_json({"format": "fedlm vocabulary 1", "kind": "words", "symbols": ["a", "b", "\u2028"]})
    found = []
    for mark in ("", "\ufeff"):
        (tmp_path / "v.json").write_text(mark + content, "utf-8")
        found.append(with_vocabulary({"vocabulary": "words(file='v.json')"}, tmp_path))
    assert found[0] == found[1] and found[0]["vocabulary_text"] == content
    (tmp_path / "v.json").write_bytes(content.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"v\.json is not text in UTF-8: it is UTF-16"):
        with_vocabulary({"vocabulary": "words(file='v.json')"}, tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_without_a_repeated_key_is_what_python_reads(value: object) -> None:
    text = as_json(value)
    assert read_json(text) == read_json(decoded(text.encode())) == json.loads(text)
    with pytest.raises(RepeatedKey) as caught:
        read_json(f'[{{"a": {text}, "b": 1, "a": {text}}}]')
    assert (caught.value.key, caught.value.places) == ("a", (1, 3))
