"""Reads a user's own files: JSONL, CSV, LEAF's JSON, TensorFlow Federated's HDF5, a folder of text files. One document at a time."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from fedlm.data.chat import ACCEPTED, chat_text
from fedlm.data.folder import read_folder
from fedlm.data.hdf5 import read_hdf5
from fedlm.data.lines import json_of, numbered_lines, read_text, suffix_of
from fedlm.data.names import client_name, whole
from fedlm.data.reading import Reading
from fedlm.data.tables import read_rows
from fedlm.errors import CorpusError, counted
from fedlm.system.plain_text import RepeatedKey, read_json
from fedlm.types import Document

_SENT140 = 6  # texts in a row of LEAF's sent140
_JSON_TYPES = {NoneType: "null", bool: "true or false", float: "a fraction", list: "a list", dict: "an object"}
_LEAF_MARKS = ("<BOS>", "<EOS>", "<PAD>")
_PACKED = (".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz", ".rar")


def read_path(path: Path, reading: Reading | None = None) -> Iterator[Document]:
    """Yields the documents of a file or folder, with the users as they are written there.

    Args:
      path: a .jsonl, .csv, .tsv, LEAF .json or .h5 file, each also packed with gzip (.gz), or a folder.
      reading: takes counts of files that are passed over.

    Raises:
      CorpusError: missing, empty or malformed; the sentence names the file and the line.
    """
    if path.is_dir() and str(path) != ".":  # an empty name is a mistake, not the working directory
        return read_folder(path, Reading() if reading is None else reading)
    readers: dict[str, Callable[[Path], Iterator[Document]]] = {
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".json": _read_leaf,
        ".h5": read_hdf5,
        ".hdf5": read_hdf5,
    }
    suffix = suffix_of(path)
    if suffix not in readers:
        packed = " Unpack it first; only gzip files are read as they are." if suffix in _PACKED else ""
        raise CorpusError(
            f"{str(path)!r} is not a corpus: name shakespeare, sotu, synthetic(...), hf:NAME, parliament:PATH, "
            f"a .jsonl, .csv, .tsv, LEAF .json or TensorFlow Federated .h5 file, or a folder.{packed}"
        )
    if not path.is_file():
        raise CorpusError(f"There is no file {path}.")
    if path.stat().st_size == 0:
        raise CorpusError(f"The file {path} is empty.")
    return readers[suffix](path)


def field(record: object, key: str, where: str) -> str:
    """Returns a record's `user` as it is written, or its `text`: text, or a whole number; for `text` also a chat.

    Raises:
      CorpusError: the record is not an object, or its value is of another type; `where` names its place.
    """
    if not isinstance(record, Mapping):
        raise CorpusError(f"{where} is not a JSON object.")
    if key not in record:
        other = next((k for k in record if isinstance(k, str) and client_name(k).casefold() == key), None)
        raise CorpusError(f"{where} has no key {key!r}{'' if other is None else f', only {other!r}'}.")
    value = record[key]
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value) if key == "user" else whole(str(value))
    if key == "text" and (chat := chat_text(value)) is not None:
        return whole(chat)
    found = _JSON_TYPES.get(type(value), "of another type")
    accepted = ACCEPTED if key == "text" and isinstance(value, list | dict) else "text or a whole number"
    raise CorpusError(f"{where} has the key {key!r}, but its value is {found}, not {accepted}.")


def labels_of(record: Mapping[str, Any], where: str, *others: str) -> dict[str, str]:
    """Returns a record's labels: all keys but `others`, without those that have no value; a list or object as JSON.

    Raises:
      CorpusError: two keys are one label, because they differ in their Unicode form or in invisible characters only.
    """
    found = dict[str, str]()
    for key, value in record.items():
        if key not in others and value is not None:
            name = client_name(key)
            if name in found:
                raise CorpusError(f"{where} has the label {name!r} twice, in two spellings: keep one of them.")
            found[name] = client_name(_label(value))
    return found


def _label(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, list | dict) else str(value)


def _document(record: Any, where: str) -> Document:
    user, text = field(record, "user", where), field(record, "text", where)  # refuses what is not an object
    return Document(user, text, labels_of(record, where, "user", "text"), place=where)


def _read_jsonl(path: Path) -> Iterator[Document]:
    for number, line in numbered_lines(path, "JSON"):
        if line.strip():
            where = f"Line {number} of {path}"
            yield _document(json_of(line, where), where)


def _read_csv(path: Path) -> Iterator[Document]:
    for where, cells in read_rows(path):
        yield _document(cells, where)


def _read_leaf(path: Path) -> Iterator[Document]:
    layout = f"{path} is not JSON in LEAF's layout (users, user_data with x)"
    try:
        content = read_json(read_text(path))
        users = content["user_data"]
        samples = [(user, sample) for user, data in users.items() for sample in data["x"] or [""]]
        known = set(map(client_name, users))
        missing = sum(client_name(user) not in known for user in content.get("users") or ())
    except RepeatedKey as error:  # its keys are users, so places are named
        raise CorpusError(
            f"{layout}: keys {error.places[0]:,} and {error.places[1]:,} of an object are the same."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorpusError(f"{layout}.") from None
    if missing:
        raise CorpusError(
            f"{path} names {counted(missing, 'user')} in users that user_data does not have: the file is incomplete."
        )
    for number, (user, sample) in enumerate(samples, 1):
        text = _leaf_text(sample)
        if text is None:
            raise CorpusError(
                f"Sample {number} of {path} is neither a text nor a row of LEAF's sent140 (six texts) or reddit (lists of "
                "tokens): write user and text into a .jsonl."
            )
        yield Document(user, whole(text), place=f"Sample {number} of {path}")


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
