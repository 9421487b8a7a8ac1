"""Opens a corpus by name or path and yields its documents one by one."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
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

_PLAIN: dict[str, Callable[[], Iterator[Document]]] = {"shakespeare": read_shakespeare, "sotu": read_sotu}
_WITH_OPTIONS: dict[str, Callable[..., Iterator[Document]]] = {"synthetic": read_synthetic}
PUBLIC = (*_PLAIN, *_WITH_OPTIONS)
"""Built-in corpora. Their text is public: pseudonyms may derive from the seed, and text of their models may be shown."""


def is_public(corpus: str) -> bool:
    """Returns whether `open_corpus` opens a built-in corpus under this name; a file or folder never is one.

    >>> is_public("shakespeare"), is_public("synthetic(clients=3)"), is_public("./shakespeare"), is_public("mine.jsonl")
    (True, True, False, False)
    """
    name = corpus.partition("(")[0]
    if name in READERS:  # something planted in other corpora: as public as they are
        try:
            options = parse_spec(corpus).options
        except ConfigError:  # a file such as `mix(1).jsonl`
            return False
        inner = options.get("corpora") or [options.get("corpus", "shakespeare")]
        return all(is_public(str(c)) for c in inner)
    if name in _WITH_OPTIONS:
        return corpus == name or corpus.endswith(")")
    return corpus in PUBLIC


def is_of_public_text(about: Mapping[str, Any]) -> bool:
    """Returns whether all text of a vault comes from built-in corpora, by what its index says.

    The index of an older vault names the corpus only: it is public if this is a built-in one and nothing was added.
    """
    if "public" in about:
        return about["public"] is True
    return is_public(str(about["corpus"])) and not about.get("additions")


def open_corpus(corpus: str) -> Iterator[Document]:
    """Yields the documents of `shakespeare`, `sotu`, `synthetic(...)`, `hf:NAME`, a file or a folder.

    Raises:
      ConfigError: an option of a built-in corpus is unknown or out of range.
      CorpusError: the corpus is missing, empty or malformed; the sentence names the file and the line.

    >>> next(open_corpus("shakespeare")).labels["genre"]
    'comedies'
    """
    name = corpus.partition("(")[0]
    if corpus in _PLAIN:
        return _PLAIN[corpus]()
    if name in _WITH_OPTIONS:
        return _with_options(corpus, _WITH_OPTIONS[name])
    if name in READERS:
        return _with_options(corpus, partial(READERS[name], open_corpus))
    if corpus.startswith("hf:"):
        return read_hub(corpus.removeprefix("hf:"))
    return read_path(Path(corpus))


def _with_options(corpus: str, read: Callable[..., Iterator[Document]]) -> Iterator[Document]:
    try:
        return read(**parse_spec(corpus).options)
    except TypeError as error:  # an unknown or missing option
        raise ConfigError(f"The corpus {corpus} has invalid options: {error}.") from None
