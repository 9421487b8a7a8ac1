"""How a client's documents are split into training and held-out text, and the counts of both."""

from fedlm.config import RunConfig
from fedlm.scrub.engine import ScrubbedText
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Document
from fedlm.vault.reader import ClientShard


def split(documents: list[Document], texts: list[ScrubbedText], config: RunConfig) -> ClientShard | None:
    """Returns a client's shard, or None if it has fewer than `min_documents` texts.

    Args:
      documents: the client's documents, for its name and labels.
      texts: their scrubbed texts that are not blank, in order.
      config: `min_documents`, `holdout_fraction`, `vocabulary`.
    """
    if len(texts) < max(config.min_documents, 1):
        return None
    kept = len(texts) - held_out_documents(len(texts), config)
    train, held_out = texts[:kept], texts[kept:]
    train_tokens, held_out_tokens = (count_targets([t.text for t in part], config) for part in (train, held_out))
    return ClientShard(documents[0].user, train, held_out, train_tokens, held_out_tokens, shared_labels(documents))


def held_out_documents(documents: int, config: RunConfig) -> int:
    """Returns how many of a client's documents, the last ones, are held out: max(1, floor(fraction n)) of n >= 2.

    >>> [held_out_documents(n, RunConfig(holdout_fraction=0.2)) for n in (1, 2, 9, 10)]
    [0, 1, 1, 2]
    """
    return max(1, int(config.holdout_fraction * documents)) if config.holdout_fraction and documents > 1 else 0


def count_targets(texts: list[str], config: RunConfig) -> int:
    """Returns the number of targets in documents: every symbol, and one end symbol per document."""
    vocab = counting_vocabulary(config)
    return sum(len(vocab.encode(t)) + 1 for t in texts)


def counting_vocabulary(config: RunConfig) -> Vocabulary:
    """Returns the vocabulary in which tokens are counted before a run: `chars` if the run's is still to be learned."""
    return vocabulary("chars") if config.spec("vocabulary").name == "private" else config.vocab


def shared_labels(documents: list[Document]) -> dict[str, str]:
    """Returns the labels whose value is the same in all of a client's documents; only these describe the client."""
    first = documents[0].labels
    return {k: v for k, v in first.items() if all(d.labels.get(k) == v for d in documents)}
