"""Reads a user's own files: JSONL, CSV, LEAF's JSON, a folder of text files. One document at a time."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedlm.errors import CorpusError
from fedlm.types import Document

_SENT140 = 6  # texts in a row of LEAF's sent140
_LEAF_MARKS = ("<BOS>", "<EOS>", "<PAD>")


def read_path(path: Path) -> Iterator[Document]:
    """Yields the documents of a file or folder.

    Raises:
      CorpusError: missing, empty or malformed; the sentence names the file and the line.
    """
    if path.is_dir() and str(path) != ".":  # an empty name is a mistake, not the working directory
        return _read_folder(path)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".json": _read_leaf}
    if path.suffix not in readers:
        raise CorpusError(
            f"{str(path)!r} is not a corpus: name shakespeare, sotu, synthetic(...), hf:NAME, "
            "a .jsonl, .csv or LEAF .json file, or a folder."
        )
    if not path.is_file():
        raise CorpusError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise CorpusError(f"The file {path} is empty.")
    return readers[path.suffix](path)


def whole(text: str) -> str:
    """Returns a text that UTF-8 can encode: surrogate pairs are joined, a single half becomes U+FFFD.

    JSON (`"\\ud83d"`) and file names can hold halves. spaCy, encoders and hashes refuse them, or confuse two names.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def field(record: object, key: str, where: str) -> str:
    """Returns a record's `user` or `text`: text, or a whole number written as text.

    Raises:
      CorpusError: the record is not an object, or its value is of another type; `where` names its place.
    """
    if not isinstance(record, dict):
        raise CorpusError(f"{where} is not a JSON object.")
    if not isinstance(value := record.get(key), str | int) or isinstance(value, bool):
        raise CorpusError(f"{where} has no key {key!r} with text or a whole number in it.")
    return whole(str(value))


def _document(record: Any, where: str) -> Document:
    user, text = field(record, "user", where), field(record, "text", where)  # refuses what is not an object
    labels = {whole(k): whole(str(v)) for k, v in record.items() if k not in ("user", "text") and v is not None}
    return Document(user, text, labels)


def _read_jsonl(path: Path) -> Iterator[Document]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"Line {number} of {path}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # its message would quote the line
                raise CorpusError(f"{where} is not JSON in UTF-8.") from None
            yield _document(record, where)


def _read_csv(path: Path) -> Iterator[Document]:
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            if not {"user", "text"} <= set(rows.fieldnames or ()):
                raise CorpusError(
                    f"The first line of {path} does not name the columns user and text, separated by a comma."
                )
            for record in rows:
                if None in record:
                    raise CorpusError(f"Line {rows.line_num} of {path} has more cells than the first line names.")
                yield _document({k: v for k, v in record.items() if k}, f"Line {rows.line_num} of {path}")
        except (UnicodeDecodeError, csv.Error):
            raise CorpusError(
                f"Line {rows.line_num + 1} of {path} is not CSV in UTF-8, or a quote is not closed."
            ) from None


def _read_leaf(path: Path) -> Iterator[Document]:
    try:
        users = json.loads(path.read_bytes())["user_data"]
        samples = [(user, sample) for user, data in users.items() for sample in data["x"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorpusError(f"{path} is not JSON in LEAF's layout (users, user_data with x).") from None
    for number, (user, sample) in enumerate(samples, 1):
        text = _leaf_text(sample)
        if text is None:
            raise CorpusError(
                f"Sample {number} of {path} is neither a text nor a row of LEAF's sent140 (six texts) or reddit (lists of "
                "tokens): write user and text into a .jsonl."
            )
        yield Document(whole(user), whole(text))


def _leaf_text(sample: object) -> str | None:
    """Returns the text of a sample in one of LEAF's layouts; None for any other layout."""
    if isinstance(sample, str):
        return sample
    if not isinstance(sample, list) or not sample:
        return None
    if len(sample) == _SENT140 and all(isinstance(cell, str) for cell in sample):
        return str(sample[4])  # after id, date, query and user; LEAF appends "training" or "test"
    if all(isinstance(chunk, list) and all(isinstance(token, str) for token in chunk) for chunk in sample):
        return " ".join(token for chunk in sample for token in chunk if token not in _LEAF_MARKS)
    return None


def _read_folder(path: Path) -> Iterator[Document]:
    """Yields paragraphs as documents; a client is a file, or a sub-folder of files."""
    files = sorted(p for p in path.rglob("*.txt") if p.is_file())
    if not files:
        raise CorpusError(f"The folder {path} has no .txt file.")
    for file in files:
        relative = file.relative_to(path)
        user = relative.parts[0] if len(relative.parts) > 1 else relative.stem
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise CorpusError(f"{file} is not text in UTF-8.") from None
        for paragraph in re.split(r"\n\s*\n", text):
            if paragraph.strip():
                yield Document(whole(user), paragraph.strip())
