"""Reads UTF-8 text from files as they come: any line end, a byte-order mark, gzip; a fault names its line and byte."""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from fedlm.errors import CorpusError
from fedlm.system.plain_text import NotText, RepeatedKey, decoded, format_of, read_json, why_not_text, why_not_utf_8

_GZIP = b"\x1f\x8b"
_LONGEST_KEY = 60  # characters of a key that are shown
_ESCAPED = re.compile("[\\udc80-\\udcff]")  # a byte that is not UTF-8, as `surrogateescape` reads it


def suffix_of(path: Path) -> str:
    """Returns a file's suffix in lower case, without .gz.

    >>> suffix_of(Path("A.JSONL.gz"))
    '.jsonl'
    """
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, unpacked if it is a gzip file.

    Raises:
      CorpusError: it cannot be read, or the gzip file is damaged.
    """
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == _GZIP:
                with gzip.open(file, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise CorpusError(f"The gzip file {path} is cut off or damaged.") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from None


def is_packed(path: Path) -> bool:
    """Returns whether a file is a gzip file, whatever its name.

    Raises:
      CorpusError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from None


def read_bytes(path: Path) -> bytes:
    """Returns a file's content; see `opened`."""
    with opened(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Returns a file's text, with every line end as a line feed.

    Raises:
      CorpusError: it cannot be read, or is not text in UTF-8; the sentence names the byte.
    """
    content = read_bytes(path)
    if other := format_of(content):
        raise CorpusError(f"{path} is {other}, not plain text: save it as text in UTF-8, or remove it.")
    try:
        text = decoded(content)
    except NotText as error:
        raise CorpusError(f"{path} is not text in UTF-8: {error}.") from None
    if (place := content.find(0)) >= 0:
        raise CorpusError(f"{path} {why_not_text(place)}.")
    return io.IncrementalNewlineDecoder(None, translate=True).decode(text, final=True)


def numbered_lines(path: Path, form: str) -> Iterator[tuple[int, str]]:
    """Yields each line's number and text with its end (LF, CR LF or CR), without a byte-order mark.

    Args:
      path: the file.
      form: what a line should be, for the message: `JSON` or `CSV`.

    Raises:
      CorpusError: the file cannot be read, or a line is not UTF-8 or has a NUL byte; the sentence names line and byte.
    """
    with opened(path) as file:
        yield from lines_of(file, str(path), form)


def lines_of(file: BinaryIO, place: str, form: str) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines of an open file, as `numbered_lines` does; `place` is its name in messages."""
    # newline="" splits at every line end and keeps it, which CSV needs inside quotes
    lines = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix("\ufeff")
        where = f"Line {number} of {place}"
        if (bad := _ESCAPED.search(line)) is not None:
            at = len(line[: bad.start()].encode())
            content = line.encode("utf-8", "surrogateescape")
            raise CorpusError(f"{where} is not {form} in UTF-8: {why_not_utf_8(content, at)}.")
        if "\0" in line:
            raise CorpusError(f"{where} {why_not_text(len(line[: line.index(chr(0))].encode()))}.")
        yield number, line


def json_of(text: str, where: str) -> Any:
    """Returns the value of a JSON text.

    Args:
      text: of a line or a file.
      where: its place, for the message.

    Raises:
      CorpusError: it is not JSON, or an object has a key twice; no value is quoted.
    """
    try:
        return read_json(text)
    except RepeatedKey as error:
        key = f"the key {error.key!r}" if len(error.key) <= _LONGEST_KEY else "a long key"
        raise CorpusError(f"{where} has {key} twice: keep one of them.") from None
    except (ValueError, RecursionError):  # its message would quote the line
        raise CorpusError(f"{where} is not JSON in UTF-8.") from None
