"""Who is not in a vault, and why: counts by cause, in words for the user."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

_NAMED = 10  # clients that a partition gave nothing


class Cause(StrEnum):
    """Why a client of the corpus is not in the vault."""

    NO_DOCUMENTS = "no_documents"
    NO_TEXT = "no_text"
    FEW_DOCUMENTS = "few_documents"
    FEW_AFTER_SCRUBBING = "few_after_scrubbing"
    NOT_SAMPLED = "not_sampled"
    FORGOTTEN = "forgotten"


class Lost(StrEnum):
    """Why a document of the corpus is not in the vault, although its client is, or although no client got it."""

    NO_TEXT = "no_text"
    NOT_DEALT = "not_dealt"


_CLIENTS = {
    Cause.NO_DOCUMENTS: "got no document from the partition",
    Cause.NO_TEXT: "without any text",
    Cause.FEW_DOCUMENTS: "with fewer than {} documents",
    Cause.FEW_AFTER_SCRUBBING: "with fewer than {} documents after scrubbing",
    Cause.NOT_SAMPLED: "not drawn by max_clients",
    Cause.FORGOTTEN: "forgotten before",
}
_DOCUMENTS = {
    Lost.NO_TEXT: "without text, before or after scrubbing",
    Lost.NOT_DEALT: "given to no client by the partition",
}


def clients_in_words(causes: Mapping[str, int], least: int) -> str:
    """Returns the causes for which clients were left out, with counts.

    >>> clients_in_words({"few_documents": 33, "no_text": 1}, 2)
    '1 without any text, 33 with fewer than 2 documents'
    """
    return ", ".join(f"{causes[c]:,} {words.format(least)}" for c, words in _CLIENTS.items() if causes.get(c))


def documents_in_words(causes: Mapping[str, int]) -> str:
    """Returns the causes for which documents were left out, with counts."""
    return ", ".join(f"{causes[c]:,} {words}" for c, words in _DOCUMENTS.items() if causes.get(c))


def cause_of(with_text: int, after_scrubbing: int, least: int) -> Cause | None:
    """Returns why a client is left out; None if it is not.

    Args:
      with_text: its documents that are not blank in the corpus.
      after_scrubbing: those that are not blank after scrubbing.
      least: the fewest that a client must have; at least one is always needed.
    """
    least = max(least, 1)
    if with_text == 0:
        return Cause.NO_TEXT
    if with_text < least:
        return Cause.FEW_DOCUMENTS
    return Cause.FEW_AFTER_SCRUBBING if after_scrubbing < least else None


def positive(counts: Counter[str]) -> dict[str, int]:
    """Returns the counts that are not zero, by plain text keys."""
    return {str(key): count for key, count in counts.items() if count}


def told(
    causes: Mapping[str, int],
    documents: Mapping[str, int],
    without_held_out: int,
    dealt_nothing: Sequence[str],
    least: int,
    *,
    without_validation: int = 0,
    evaluated_only: int = 0,
) -> Iterator[str]:
    """Yields a line for each way in which something of a corpus is not in the vault, or not held out."""
    if clients := sum(causes.values()):
        yield f"clients left out: {clients:,} ({clients_in_words(causes, least)})"
    if dealt_nothing:
        names = ", ".join(dealt_nothing[:_NAMED])
        yield f"without a document from the partition: {names}{', ...' if len(dealt_nothing) > _NAMED else ''}"
    if total := sum(documents.values()):
        yield f"documents left out: {total:,} ({documents_in_words(documents)})"
    if without_held_out:
        yield f"clients without held-out text, which train and are not evaluated: {without_held_out:,}"
    if without_validation:
        yield f"clients without validation text, which evaluation during training leaves out: {without_validation:,}"
    if evaluated_only:
        yield f"clients of the test corpus only, which are evaluated and never train: {evaluated_only:,}"
