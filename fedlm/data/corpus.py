"""Opens a corpus by name or path and yields its documents one by one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fedlm.data.builtin import read_shakespeare, read_sotu
from fedlm.data.files import read_path
from fedlm.data.hub import read_hub
from fedlm.data.names import client_name, normal
from fedlm.data.parliament import read_parliament
from fedlm.data.planted import READERS
from fedlm.data.reading import Reading
from fedlm.data.synthetic import read_synthetic
from fedlm.errors import ConfigError, CorpusError, check_number
from fedlm.plugins.options import check_arguments
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


def open_corpus(corpus: str, reading: Reading | None = None) -> Iterator[Document]:
    """Yields the documents of `shakespeare`, `sotu`, `synthetic(...)`, `hf:NAME`, `parliament:PATH`, a file or a folder.

    Here alone a corpus gets its clients: names are normalised (`client_name`), so that one person is one client.

    Args:
      corpus: a name or path.
      reading: takes counts of what was joined and passed over, while documents are yielded.

    Raises:
      ConfigError: an option of a built-in corpus is unknown or out of range.
      CorpusError: the corpus is missing, empty or malformed, or a document has no user; the sentence names the file and
        the line.

    >>> next(open_corpus("shakespeare")).labels["genre"]
    'comedies'
    """
    reading = Reading() if reading is None else reading
    return _with_names(
        _opened(corpus, reading), reading
    )  # opened at once: a missing file is told before the first document


def _with_names(documents: Iterator[Document], reading: Reading) -> Iterator[Document]:
    damaged = dict[str, str]()  # names that UTF-8 cannot write, by the name that stands for them
    for document in documents:
        name, place = client_name(document.user), document.place or "A document"
        if not name:
            raise CorpusError(f"{place} has an empty user: name who wrote it, or remove it.")
        written = normal(document.user)
        if "\ufffd" in name and damaged.setdefault(name, written) != written:
            raise CorpusError(
                f"{place} has a user who cannot be told from another: both names have characters that are not Unicode "
                "at the same place; rename one."
            )
        reading.spellings.add(document.user, name)
        yield document if name == document.user else replace(document, user=name)


def _opened(corpus: str, reading: Reading) -> Iterator[Document]:
    name = corpus.partition("(")[0]
    if corpus in _PLAIN:
        return _PLAIN[corpus]()
    if name in _WITH_OPTIONS:
        return _with_options(corpus, _WITH_OPTIONS[name])
    if name in READERS:
        return _with_options(corpus, READERS[name], partial(open_corpus, reading=reading))
    if corpus.startswith("hf:"):
        return read_hub(corpus.removeprefix("hf:"))
    if corpus.startswith("parliament:"):
        return read_parliament(corpus.removeprefix("parliament:"))
    if not corpus:
        raise CorpusError("The name of the corpus is empty: name a built-in corpus, a file or a folder.")
    return read_path(Path(corpus), reading)


def _with_options(corpus: str, read: Callable[..., Iterator[Document]], *opener: object) -> Iterator[Document]:
    spec = parse_spec(corpus)
    check_arguments("corpus", spec, read, beside=("open_corpus",))
    check_number(f"seed of {spec.name}", spec.options.get("seed", 0), ge=0, lt=2**63)
    return read(*opener, **spec.options)
