"""Opens a corpus by name or path and yields its documents one by one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedlm.data.builtin import read_shakespeare, read_sotu
from fedlm.data.files import read_path
from fedlm.data.hub import read_hub
from fedlm.data.planted import READERS
from fedlm.data.synthetic import read_synthetic
from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
from fedlm.types import Document

PUBLIC = ("shakespeare", "sotu", "synthetic")
"""Corpora of public text: pseudonyms may derive from the seed, and samples of their models may be shown."""


def is_public(corpus: str) -> bool:
    """Returns whether `open_corpus` opens one of the built-in corpora under this name; never of a file or folder."""
    name = corpus.partition("(")[0]
    if name in READERS:  # something planted in other corpora: as public as they are
        try:
            options = parse_spec(corpus).options
        except ConfigError:  # `mix(1).jsonl`
            return False
        inner = options.get("corpora") or [options.get("corpus", "shakespeare")]
        return all(is_public(str(c)) for c in inner)
    if name == "synthetic":
        return corpus == name or corpus.endswith(")")
    return corpus in PUBLIC


def is_of_public_text(about: Mapping[str, Any]) -> bool:
    """Returns whether all text of a vault is of built-in corpora, by what was noted in it.

    Vaults of before this was noted are known by the corpus' name only: a built-in one, and nothing was added.
    """
    if "public" in about:
        return about["public"] is True
    return is_public(str(about["corpus"])) and not about.get("additions")


def open_corpus(corpus: str) -> Iterator[Document]:
    """Yields the documents of `shakespeare`, `sotu`, `synthetic(...)`, `hf:NAME`, a file or a folder.

    Raises:
      CorpusError: missing, empty or malformed; the sentence names the file and the line.
    """
    if corpus == "shakespeare":
        return read_shakespeare()
    if corpus == "sotu":
        return read_sotu()
    if corpus.partition("(")[0] == "synthetic":
        options = parse_spec(corpus).options
        try:
            return read_synthetic(**options)
        except TypeError as error:
            raise ConfigError(f"{corpus} does not do: {error}.") from None
    if corpus.partition("(")[0] in READERS:
        parsed = parse_spec(corpus)
        try:
            return READERS[parsed.name](open_corpus, **parsed.options)
        except TypeError as error:
            raise ConfigError(f"{corpus} does not do: {error}.") from None
    if corpus.startswith("hf:"):
        return read_hub(corpus.removeprefix("hf:"))
    return read_path(Path(corpus))
