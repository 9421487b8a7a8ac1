"""One person is one client, however a corpus writes the name; nobody's name is refused with its place."""

import gzip
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.data.corpus import PUBLIC, open_corpus
from fedlm.data.names import client_name, forms
from fedlm.data.reading import Reading
from fedlm.errors import CorpusError
from fedlm.preparation.vault import Preparation, prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault

NAMES = (
    "ann",
    "\u00c1lvaro",
    "\uac00\ub098",
    "\u1e69\u0323",
    "\u0928\u093f\u0930\u093e",
    "Zo\u00eb \u00c5ngstr\u00f6m",
)
SHOWS_NOTHING = [
    c
    for c in map(chr, range(sys.maxunicode + 1))
    if c.isspace() or unicodedata.category(c) in {"Cf", "Cc", "Zs", "Zl", "Zp"}
]


def test_whatever_shows_nothing_at_the_ends_is_no_part_of_a_name() -> None:
    assert len(SHOWS_NOTHING) > 200
    for mark in SHOWS_NOTHING:
        assert client_name(mark + "ann") == client_name("ann" + mark) == client_name(f"{mark} ann{mark}\t") == "ann"
        assert client_name(mark) == client_name(mark * 3) == ""


@pytest.mark.parametrize("name", NAMES)
def test_unicode_forms_of_a_name_are_one_name(name: str) -> None:
    normal = client_name(name)
    assert normal == unicodedata.normalize("NFC", name) and client_name(normal) == normal
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, name)
        assert client_name(written) == client_name(f"\ufeff{written}\u00a0") == normal
        assert {written, name, normal, f"{normal} ", f"\u200b{normal}"} <= set(forms(name)) == set(forms(name))


def test_normalising_has_nothing_left_to_do() -> None:
    """A mark that stripping leaves at the start composes with nothing; half a surrogate pair is replaced."""
    for name in (
        " \u0301a",
        "\ufeff\u0301 x",
        "a\u200d\u0301 ",
        "\ud83d ",
        "\u1100\u1161 \u1160",
        "e\u0301\u200b\u0327",
    ):
        assert client_name(client_name(name)) == client_name(name) != ""


@pytest.mark.parametrize(
    "pair", [("Ann", "ann"), ("ann", "ann2"), ("a b", "a\u00a0b"), ("\u0645\u06cc\u200c\u0646", "\u0645\u06cc\u0646")]
)
def test_case_and_what_is_inside_a_name_tell_people_apart(pair: tuple[str, str]) -> None:
    assert client_name(pair[0]) != client_name(pair[1])


WRITTEN = ("ann", "ann ", "\u00a0ann", "ann\u200b", "\ufeffann", "Jos\u00e9", "Jose\u0301", "Jose\u0301\u202f")


def jsonl(path: Path, users: tuple[object, ...]) -> Path:
    path.write_text("".join(json.dumps({"user": u, "text": f"text {i}"}) + "\n" for i, u in enumerate(users)))
    return path


def csv(path: Path, users: tuple[object, ...]) -> Path:
    path.write_text("user,text\n" + "".join(f'"{u}",text {i}\n' for i, u in enumerate(users)))
    return path


def leaf(path: Path, users: tuple[object, ...]) -> Path:
    path.write_text(json.dumps({"user_data": {str(u): {"x": [f"text {i}"]} for i, u in enumerate(users)}}))
    return path


def folder(path: Path, users: tuple[object, ...]) -> Path:
    path.mkdir()
    for i, user in enumerate(users):
        (path / f"{user}.txt").write_text(f"text {i}")
    return path


def packed(path: Path, users: tuple[object, ...]) -> Path:
    path.write_bytes(gzip.compress(jsonl(path.with_name("plain.jsonl"), users).read_bytes()))
    return path


FILES = [(jsonl, "a.jsonl"), (csv, "a.csv"), (leaf, "a.json"), (folder, "a"), (packed, "a.jsonl.gz")]


@pytest.mark.parametrize(("write", "name"), FILES, ids=[n for _, n in FILES])
def test_every_reader_joins_spellings_and_counts_them(tmp_path: Path, write: object, name: str) -> None:
    reading = Reading()
    users = [d.user for d in open_corpus(str(write(tmp_path / name, WRITTEN)), reading)]  # type: ignore[operator]
    assert set(users) == {"ann", "Jos\u00e9"} and len(users) == len(WRITTEN)
    assert reading.spellings.joined() == (2, 8)
    (said,) = reading.sentences()
    assert "8 of 2 names" in said and "ann" not in said


@pytest.mark.parametrize(("write", "name"), FILES, ids=[n for _, n in FILES])
@pytest.mark.parametrize("nobody", ["", " ", "\u00a0", "\u200b\ufeff", "\t"])
def test_an_empty_user_is_refused_with_its_place(tmp_path: Path, write: object, name: str, nobody: str) -> None:
    if write is folder and not nobody:
        pytest.skip("a file without a name is hidden")
    corpus = write(tmp_path / name, ("ann", nobody))  # type: ignore[operator]
    with pytest.raises(CorpusError, match="has an empty user") as error:
        list(open_corpus(str(corpus)))
    place = {"a.csv": "Line 3 of", "a.json": "Sample 2 of", "a": ".txt"}.get(name, "Line 2 of")
    assert place in str(error.value) and str(corpus) in str(error.value) and "text 1" not in str(error.value)


def test_a_name_that_is_written_in_one_way_is_not_joined(tmp_path: Path) -> None:
    reading = Reading()
    users = [d.user for d in open_corpus(str(jsonl(tmp_path / "a.jsonl", (" ann", " ann", "bob", 7, "7"))), reading)]
    assert users == ["ann", "ann", "bob", "7", "7"] and reading.sentences() == ()


@pytest.mark.parametrize(
    "corpus", [*PUBLIC[:1], "synthetic(clients=3, messages=3)", "mix(corpora=['synthetic(clients=2)'])"]
)
def test_built_in_corpora_keep_their_names(corpus: str) -> None:
    reading = Reading()
    assert all(d.user == client_name(d.user) for d in open_corpus(corpus, reading))
    assert reading.sentences() == ()


def test_a_mix_of_own_files_joins_too(tmp_path: Path) -> None:
    path, reading = jsonl(tmp_path / "a.jsonl", ("ann", "ann ")), Reading()
    users = [d.user for d in open_corpus(f"mix(corpora=[{str(path)!r}])", reading)]
    assert len(set(users)) == 1 and reading.spellings.joined() == (1, 2)


def sealed(tmp_path: Path, corpus: Path) -> tuple[Preparation, dict[str, dict[str, str]]]:
    config, source = RunConfig.checked({"scrub": "none", "vocabulary": "bytes"}), KeySource(tmp_path / "k")
    done = prepare(str(corpus), tmp_path / "v.db", source, config, lambda *_: None)
    vault = Vault(tmp_path / "v.db", source)
    try:
        return done, dict(vault.names())
    finally:
        vault.close()


def test_a_vault_has_one_client_a_person(tmp_path: Path) -> None:
    done, names = sealed(tmp_path, jsonl(tmp_path / "a.jsonl", WRITTEN))
    assert set(names) == {"ann", "Jos\u00e9"} and (done.clients, done.documents, done.left_out) == (2, 8, 0)


def test_labels_are_normalised_as_names_are(tmp_path: Path) -> None:
    rows = [
        {"user": u, "text": "x", k: v}
        for u, k, v in (("a", "r\u00e9gion", "S\u00e3o "), ("a", "re\u0301gion ", "Sa\u0303o"))
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [d.labels for d in open_corpus(str(tmp_path / "a.jsonl"))] == [{"r\u00e9gion": "S\u00e3o"}] * 2
