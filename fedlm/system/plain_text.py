"""Text and settings as people's files hold them: UTF-8 with or without a byte-order mark, and no key given twice.

Python's JSON reader takes the last of two values of one key, in silence. Nothing that these functions say quotes a value.
"""

import codecs
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SAVE = "save it as UTF-8"
_MARKS = {  # the longer marks first: that of UTF-32 begins as that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"PK\x05\x06": "a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"%PDF-": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"SQLite format 3\0": "a database",
}
_AT_LINE = re.compile(r"\(at line (\d+)")


class NotText(ValueError):
    """Bytes that are no UTF-8; its text says why, and what to do."""


class RepeatedKey(ValueError):
    """An object that has a key twice.

    Attributes:
      key: which.
      places: the first and the second place of the key among the object's keys, from 1.
    """

    def __init__(self, key: str, places: tuple[int, int]) -> None:
        super().__init__("a key occurs twice")
        self.key, self.places = key, places


class NotSettings(ValueError):
    """A file that is not TOML; its text says why."""


def why_not_utf_8(content: bytes, place: int) -> str:
    """Returns why bytes are no UTF-8, and what to do; `place` is the first byte that is not."""
    if (name := next((name for mark, name in _MARKS.items() if content.startswith(mark)), "")) != "":
        return f"it is {name}, {_SAVE}"
    return f"byte {place + 1:,} is 0x{content[place]:02X}; {_SAVE}"


def why_not_text(place: int) -> str:
    """Returns what a NUL byte at `place` means."""
    return f"has a NUL byte (byte {place + 1:,}): it is not text, or another encoding than UTF-8; {_SAVE}"


def format_of(content: bytes) -> str:
    """Returns what a file is that is no plain text, by its first bytes; "" if they do not tell.

    >>> format_of(b"%PDF-1.7")
    'a PDF document'
    """
    return next((name for mark, name in _FORMATS.items() if content.startswith(mark)), "")


def decoded(content: bytes) -> str:
    """Returns the text of UTF-8, without a byte-order mark.

    Raises:
      NotText: it is another encoding.

    >>> decoded("\\ufeffrounds = 3".encode())
    'rounds = 3'
    """
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise NotText(why_not_utf_8(content, error.start)) from None


def read_json(text: str, *, is_strict: bool = False) -> Any:
    """Returns the value of a JSON text.

    Args:
      text: with one meaning only.
      is_strict: NaN and Infinity, which JSON does not have, are refused.

    Raises:
      ValueError: it is not JSON, or an object has a key twice (`RepeatedKey`). RecursionError: it is nested too deep.

    >>> read_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    fedlm.system.plain_text.RepeatedKey: a key occurs twice
    """
    return json.loads(text, object_pairs_hook=_once, parse_constant=_refused if is_strict else None)


def read_settings(path: Path) -> dict[str, Any]:
    """Returns the content of a TOML file.

    Raises:
      NotSettings: it is not TOML in UTF-8, or gives a key twice; the text names the line.
      OSError: it cannot be read.
    """
    try:
        text = decoded(path.read_bytes()).replace("\r\n", "\n")
    except NotText as error:
        raise NotSettings(str(error)) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotSettings(_said(str(error), text)) from None
    except RecursionError:
        raise NotSettings("it is nested too deep") from None


def _said(error: str, text: str) -> str:
    """Returns what TOML's reader says, with the key where it names none."""
    if "overwrite a value" not in error:
        return error[:1].lower() + error[1:]
    found = _AT_LINE.search(error)
    line = int(found[1]) if found else len(text.rstrip("\n").split("\n"))
    return f"line {line} gives the key {text.split(chr(10))[line - 1].partition('=')[0].strip()} a second time"


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        first = dict[str, int]()
        for place, (key, _) in enumerate(pairs, 1):
            if first.setdefault(key, place) < place:
                raise RepeatedKey(key, (first[key], place))
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
