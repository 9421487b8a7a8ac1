"""The same amount of test text of every client, for figures over clients.

The mean loss of a short text varies more than that of a long one, so the spread of the loss over clients, and its worst
tenth, would measure how little text clients have. Documents' ends are symbols: their loss counts, and so do they.
"""

from collections.abc import Callable, Mapping, Sequence

from fedlm.types import TextMetrics


def excerpt(documents: Sequence[str], symbols: int) -> list[str] | None:
    """Returns the beginning of a client's documents with so many symbols, ends included; None if it has fewer.

    The last piece is cut where the number is reached, so one of a client's ends may be none of the client's own.

    >>> excerpt(["to be", "or not"], 9)
    ['to be', 'or']
    """
    pieces, left = list[str](), symbols
    for document in documents:
        if left > 1:  # a character and its end
            pieces.append(document[: left - 1])
            left -= len(pieces[-1]) + 1
    return pieces if left <= 1 else None


def equal_sums(
    held_out: Mapping[int, Sequence[str]], symbols: int, score: Callable[[Sequence[str]], Sequence[TextMetrics]]
) -> dict[int, TextMetrics]:
    """Returns the sums over so many symbols of each client's test text; clients with less are left out.

    Args:
      held_out: each client's held-out documents.
      symbols: characters and ends of documents.
      score: sums over each text, under the run's model.

    Returns:
      By client.
    """
    pieces = {client: found for client, texts in held_out.items() if (found := excerpt(texts, symbols))}
    figures = iter(score([text for own in pieces.values() for text in own]) if pieces else [])
    return {client: sum((next(figures) for _ in own), TextMetrics()) for client, own in pieces.items()}
