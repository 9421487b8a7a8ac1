"""Reads a corpus into a spool, client by client, and counts who has too little text; deals documents by a partition."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from fedlm.config import RunConfig
from fedlm.data.corpus import open_corpus
from fedlm.data.partition import deal
from fedlm.data.reading import Reading
from fedlm.measure.heterogeneity import LabelEntropies
from fedlm.preparation.left_out import Cause, Lost, positive, told
from fedlm.types import Document
from fedlm.vault.spool import Spool

Keep = Callable[[str], bool] | None
"""Decides by a client's name whether it goes into this vault; None keeps all."""
_NAMED = 100  # clients without documents that are named


@dataclass
class Preparation:
    """What was prepared; counts only.

    Attributes:
      clients: clients in the vault.
      causes: clients that are not in it, by `Cause`.
      documents, characters: scrubbed and sealed.
      unknown: of the characters, those outside the vocabulary in which tokens are counted.
      documents_left_out: documents that are not in it, by `Lost`.
      without_held_out: clients in it that have no held-out text.
      without_validation: clients in it that train and have no validation text, where the configuration asks for some.
      evaluated_only: clients in it that have given test text only.
      dealt_nothing: names of clients to which a partition gave no document; the first of them.
      reading: what reading the corpus joined and passed over.
      findings: pieces of personal data found, per kind.
      entropies: of the labels of each client's documents.
      train_tokens: training targets of each client; the order does not identify clients.
      made_key: the key file is new.
    """

    clients: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    characters: int = 0
    unknown: int = 0
    documents_left_out: Counter[str] = field(default_factory=Counter)
    without_held_out: int = 0
    without_validation: int = 0
    evaluated_only: int = 0
    dealt_nothing: list[str] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    findings: Counter[str] = field(default_factory=Counter)
    entropies: LabelEntropies = field(default_factory=LabelEntropies)
    train_tokens: "array[int]" = field(default_factory=lambda: array("Q"))
    made_key: bool = False

    @property
    def left_out(self) -> int:
        """Clients of the corpus that are not in the vault, for whatever cause."""
        return self.causes.total()

    def told(self, least: int) -> tuple[str, ...]:
        """Returns lines about who and what is not in the vault, and what reading the corpus joined and passed over.

        Args:
          least: the fewest documents that a client had to have.
        """
        lost = positive(self.documents_left_out)
        left_out = told(
            positive(self.causes),
            lost,
            self.without_held_out,
            self.dealt_nothing,
            least,
            without_validation=self.without_validation,
            evaluated_only=self.evaluated_only,
        )
        return (*left_out, *self.reading.sentences())


def gather(
    spool: Spool, corpus: str, config: RunConfig, keep: Keep, done: Preparation, test: str = ""
) -> tuple[list[bytes], list[bytes]]:
    """Reads the corpus, and test text if it is given, into the spool; counts the clients that are left out.

    Returns:
      The clients that go into the vault, in order: those that train, and those that are only evaluated.
    """

    def kept(handles: Iterable[bytes]) -> list[bytes]:
        return list(handles) if keep is None else [u for u in handles if keep(spool.name(u))]

    for document in _documents(corpus, config, keep, done):
        spool.add(document)
    for document in open_corpus(test, done.reading) if test else ():
        spool.add(replace(document, held_out=True))
    least = max(config.min_documents, 1)
    users, enough = spool.clients(least, config.max_clients, config.seed), spool.clients(least, 0, 0)
    without_text = len(kept(spool.short_clients(1)))
    done.causes[Cause.NO_TEXT] += without_text
    done.causes[Cause.FEW_DOCUMENTS] += len(kept(spool.short_clients(least))) - without_text
    if len(users) < len(enough):
        done.causes[Cause.NOT_SAMPLED] += len(kept(set(enough) - set(users)))
    return kept(users), kept(spool.test_clients(config.max_clients, config.seed))


def _documents(corpus: str, config: RunConfig, keep: Keep, done: Preparation) -> Iterator[Document]:
    """Yields the corpus' documents, assigned to new clients if the configuration sets a partition."""
    if not config.partition:
        yield from open_corpus(corpus, done.reading)
        return
    # Two passes: the first reads labels and lengths only, so that no text is kept in memory.
    first = open_corpus(corpus, done.reading)
    labels = ({**d.labels, "user": d.user, "characters": str(len(d.text))} for d in first)
    parts, count = deal(config.partition, labels, config.seed)
    nothing = [
        name for name in map(_part, sorted(set(range(count)) - set(parts.tolist()))) if keep is None or keep(name)
    ]
    done.causes[Cause.NO_DOCUMENTS] += len(nothing)
    done.dealt_nothing = nothing[:_NAMED]
    done.documents_left_out[Lost.NOT_DEALT] += int((parts < 0).sum())
    for document, part in zip(open_corpus(corpus), parts, strict=True):
        if part >= 0:
            yield Document(_part(part), document.text, document.labels, document.place)


def _part(number: int) -> str:
    """Returns the name of a client that a partition makes."""
    return f"part-{number:05d}"
