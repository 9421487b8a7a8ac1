"""Reads CSV: columns user and text, further columns are labels. A fault names the line on which its record begins."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedlm.data.lines import numbered_lines
from fedlm.data.names import client_name
from fedlm.errors import CorpusError

_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # Excel writes it before the names of the columns
_COLUMNS = ("user", "text")


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields each record's place, for messages, and its cells by column; `user` and `text` are among them.

    The delimiter is the one of comma, semicolon, tab and bar under which the first line names both columns. Spaces around
    names of columns and the case of `user` and `text` do not matter.

    Raises:
      CorpusError: the columns are not named, one is named twice, or a record is not CSV; no cell is quoted.
    """
    return rows_of(numbered_lines(path, "CSV"), str(path), _COLUMNS)


def rows_of(
    lines: Iterator[tuple[int, str]], path: str, wanted: tuple[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields records of numbered lines, as `read_rows` does.

    Args:
      lines: with their numbers.
      path: the name of the file, for messages.
      wanted: the two columns that must be there, in lower case.

    Raises:
      CorpusError: see `read_rows`.
    """
    csv.field_size_limit(2**31 - 1)
    skipped, first, delimiter = _first_line(lines, path, wanted)
    for where, cells in _table(lines, skipped, first, delimiter, wanted, path):
        yield where, {column: cell for column, cell in cells.items() if column}


def read_table(path: Path, delimiter: str, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields each record's place and its cells by column; the columns `needed` are among them.

    Raises:
      CorpusError: as `read_rows`.
    """
    csv.field_size_limit(2**31 - 1)
    lines = numbered_lines(path, "CSV")
    number, first = next(((n, line) for n, line in lines if line.strip()), (1, ""))
    yield from _table(lines, number - 1, first, delimiter, needed, str(path))


def _table(
    lines: Iterator[tuple[int, str]], skipped: int, first: str, delimiter: str, needed: Sequence[str], path: str
) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.reader(itertools.chain([first], (line for _, line in lines)), delimiter=delimiter, strict=True)
    records = _records(reader, skipped, path)
    start, header = next(records, (1, []))
    columns = _columns(header, start, path, needed)
    for number, row in records:
        where = f"Line {number} of {path}"
        if len(row) > len(columns):
            raise CorpusError(f"{where} has more cells than the first line names.")
        cells = dict(zip(columns, row, strict=False))  # a row may have fewer cells
        if missing := next((c for c in needed if c not in cells), None):
            raise CorpusError(f"{where} has fewer cells than the first line names: it has no {missing}.")
        yield where, cells


def _first_line(lines: Iterator[tuple[int, str]], path: str, wanted: tuple[str, str]) -> tuple[int, str, str]:
    """Returns how many lines come before the names of the columns, that line, and the delimiter."""
    named = ""
    for number, line in lines:
        if separator := _SEPARATOR_LINE.fullmatch(line):
            named = separator[1]
        elif line.strip():
            return number - 1, line, named or _delimiter(line, path, wanted)
    raise CorpusError(f"The file {path} is empty.")


def _delimiter(line: str, path: str, wanted: tuple[str, str]) -> str:
    cells = {delimiter: _cells(line, delimiter) for delimiter in _DELIMITERS}
    for delimiter, found in cells.items():
        if set(wanted) <= set(found):
            return delimiter
    best = max(cells, key=lambda d: (len(set(wanted) & set(cells[d])), len(cells[d])))
    seen = ", ".join(f"{'' if c in cells[best] else 'no '}{c}" for c in wanted)
    count = f"{len(cells[best])} cells separated by {_DELIMITERS[best]}" if len(cells[best]) > 1 else "one cell"
    raise CorpusError(
        f"The first line of {path} does not name the columns {wanted[0]} and {wanted[1]}, separated by a comma, semicolon, tab or bar: it "
        f"has {count}, with {seen}."
    )


def _cells(line: str, delimiter: str) -> list[str]:
    return [client_name(cell).casefold() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _columns(header: list[str], line: int, path: str, needed: Sequence[str]) -> list[str]:
    """Returns the names of the columns, the needed ones in lower case."""
    cleaned = [client_name(cell) for cell in header]
    columns = [c.casefold() if c.casefold() in needed else c for c in cleaned]
    twice = [column for column, count in Counter(filter(None, columns)).items() if count > 1]
    if twice:
        raise CorpusError(f"Line {line} of {path} names the column {twice[0]!r} twice.")
    if missing := [c for c in needed if c not in columns]:  # after `sep=`, or in a name that runs over lines
        raise CorpusError(f"The first line of {path} does not name the column {missing[0]}.")
    return columns


def _records(reader: Any, skipped: int, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line on which each record begins, counted in the file, and its cells; records of blank cells are omitted."""
    while True:
        start = skipped + reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:  # its text quotes no cell, but says little
            raise CorpusError(_fault(str(error), start, path)) from None
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield start, row


def _fault(error: str, start: int, path: str) -> str:
    where = f"Line {start} of {path} begins a record that is not CSV"
    if "end of data" in error:
        return f"{where}: a quote is not closed."
    if "expected after" in error:
        return f"{where}: text follows a closing quote; write a quote inside a cell twice."
    return f"{where}: {error}."
