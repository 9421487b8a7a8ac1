"""The split of a client's documents into train and held-out, and its public counts."""

from fedlm.config import RunConfig
from fedlm.scrub.engine import ScrubbedText
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Document
from fedlm.vault.reader import ClientShard


def _split(documents: list[Document], texts: list[ScrubbedText], config: RunConfig) -> ClientShard | None:
    """Holds the last max(1, floor(fraction n)) of n >= 2 documents out; None if too few are left."""
    if len(texts) < max(config.min_documents, 1):
        return None
    kept = len(texts) - held_out_documents(len(texts), config)
    train, held_out = texts[:kept], texts[kept:]
    train_tokens, held_out_tokens = (count_targets([t.text for t in part], config) for part in (train, held_out))
    return ClientShard(documents[0].user, train, held_out, train_tokens, held_out_tokens, shared_labels(documents))


def held_out_documents(documents: int, config: RunConfig) -> int:
    """Returns how many of a client's documents, the last ones, are held out: max(1, floor(fraction n)) of n >= 2."""
    return max(1, int(config.holdout_fraction * documents)) if config.holdout_fraction and documents > 1 else 0


def count_targets(texts: list[str], config: RunConfig) -> int:
    """Returns the number of training targets in documents: their symbols, and one end each."""
    vocab = counting_vocabulary(config)
    return sum(len(vocab.encode(t)) + 1 for t in texts)


def counting_vocabulary(config: RunConfig) -> Vocabulary:
    """Returns the vocabulary that tokens are counted in before a run: `chars` where one is still to be learned."""
    return vocabulary("chars") if config.spec("vocabulary").name == "private" else config.vocab


def shared_labels(documents: list[Document]) -> dict[str, str]:
    """Returns the labels that all of a client's documents agree on; only they are the client's."""
    first = documents[0].labels
    return {k: v for k, v in first.items() if all(d.labels.get(k) == v for d in documents)}
