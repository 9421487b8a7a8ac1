"""How a client's documents are split into training, validation and held-out text, and the counts of each.

    n documents in order | training ... | validation | held-out |

Held-out (test) text is the last of them, validation text comes just before it, and training keeps at least one document.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.scrub.engine import ScrubbedText
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Document
from fedlm.vault.parts import Parts, joined
from fedlm.vault.reader import ClientShard

Text = TypeVar("Text")


def with_test(config: RunConfig, test: str) -> RunConfig:
    """Returns the configuration of a preparation whose held-out text is given: nothing else is held out.

    Args:
      config: of the preparation.
      test: the test corpus; without one, the configuration stays as it is.

    Raises:
      ConfigError: a key does not go with given test text.
    """
    if not test:
        return config
    if config.holdout_fraction and "holdout_fraction" in config.model_fields_set:
        raise ConfigError(
            f"holdout_fraction={config.holdout_fraction:g} does not go with a test corpus, which is the held-out text: leave it "
            "unset, or 0."
        )
    if config.partition:
        raise ConfigError(
            f"partition={config.partition} makes new clients, which a test corpus does not know: leave one of them out."
        )
    return config.model_copy(update={"holdout_fraction": 0.0})


def split(
    documents: list[Document], texts: list[ScrubbedText], config: RunConfig, test: Sequence[ScrubbedText] = ()
) -> ClientShard:
    """Returns a client's shard.

    Args:
      documents: the client's documents, for its name and labels.
      texts: their scrubbed texts that are not blank, in order.
      config: `holdout_fraction`, `validation_fraction`, `vocabulary`.
      test: given test texts, which are then the held-out part; `holdout_fraction` is 0.
    """
    parts = split_texts(texts, config)
    if test:
        parts = parts._replace(held_out=list(test))
    tokens = count_parts(Parts(*([t.text for t in part] for part in parts)), config)
    labels = shared_labels([d for d in documents if not d.held_out] or documents)
    return ClientShard(
        documents[0].user,
        parts.train,
        parts.held_out,
        tokens.train,
        tokens.held_out,
        labels,
        parts.validation,
        tokens.validation,
    )


def split_texts(texts: Sequence[Text], config: RunConfig) -> Parts[list[Text]]:
    """Returns texts by part.

    >>> split_texts("abcdefghij", RunConfig(holdout_fraction=0.2, validation_fraction=0.1))
    Parts(train=['a', 'b', 'c', 'd', 'e', 'f', 'g'], validation=['h'], held_out=['i', 'j'])
    """
    held_out = held_out_documents(len(texts), config)
    validation = validation_documents(len(texts), held_out, config)
    rest = len(texts) - held_out
    return Parts(list(texts[: rest - validation]), list(texts[rest - validation : rest]), list(texts[rest:]))


def held_out_documents(documents: int, config: RunConfig) -> int:
    """Returns how many of a client's documents, the last ones, are held out: max(1, floor(fraction n)) of n >= 2.

    >>> [held_out_documents(n, RunConfig(holdout_fraction=0.2)) for n in (1, 2, 9, 10)]
    [0, 1, 1, 2]
    """
    return max(1, int(config.holdout_fraction * documents)) if config.holdout_fraction and documents > 1 else 0


def validation_documents(documents: int, held_out: int, config: RunConfig) -> int:
    """Returns how many of a client's documents, those before the held-out ones, are for validation.

    It is max(1, floor(fraction n)) of n, as long as training keeps one document.

    >>> config = RunConfig(validation_fraction=0.1)
    >>> [validation_documents(n, held_out_documents(n, config), config) for n in (1, 2, 3, 10, 20)]
    [0, 0, 1, 1, 2]
    """
    wanted = max(1, int(config.validation_fraction * documents)) if config.validation_fraction else 0
    return max(0, min(wanted, documents - held_out - 1))


def split_again(old: Parts[list[str]], new: list[str], config: RunConfig, about: Mapping[str, Any]) -> Parts[list[str]]:
    """Returns a client's old and new documents by part, as if they had arrived at once.

    Args:
      old, new: the documents.
      config: the keys of preparation that the vault was made with.
      about: of the vault. If its held-out text was given, that text stays what it is, and new documents are not held out.
    """
    if not about.get("test"):
        return split_texts([*joined(old), *new], config)
    return split_texts([*old.train, *old.validation, *new], config)._replace(held_out=old.held_out)


def count_parts(parts: Parts[list[str]], config: RunConfig) -> Parts[int]:
    """Returns the number of targets in each part."""
    return Parts(*(count_targets(part, config) for part in parts))


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
