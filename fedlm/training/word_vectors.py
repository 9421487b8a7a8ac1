"""The word vectors of a trained model: the rows of its embedding, by word."""

import os
from collections.abc import Iterable

import numpy as np

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.measure.metric import WordVectors
from fedlm.models.catalog import model_about
from fedlm.system.terminal import quiet_stderr
from fedlm.text.learned import WordVocabulary
from fedlm.types import Weights


def word_vectors(config: RunConfig, weights: Weights, texts: Iterable[str] | None) -> WordVectors:
    """Returns the vector of each word in the form that follows a space, which most of its occurrences have.

    Args:
      config: of the run.
      weights: of its model, in Keras order.
      texts: training documents, in which the words are counted; None where they are not at hand.

    Raises:
      ConfigError: the model predicts hidden tokens, its vocabulary is not one of words, or it has no embedding of its own.
    """
    check_words(config)
    vocab = config.vocab
    matrix = weights[_place(config, vocab.size)]
    ids = {symbol[1:]: i for i, symbol in enumerate(vocab.symbols) if symbol[:1] == " " and symbol[1:]}
    vectors = {word: matrix[i] for word, i in ids.items()}
    if texts is None:
        return WordVectors(vectors)
    counts = np.zeros(vocab.size, np.int64)
    for text in texts:
        counts += np.bincount(vocab.encode(text), minlength=vocab.size)
    return WordVectors(vectors, {word: int(counts[i]) for word, i in ids.items()})


def check_words(config: RunConfig) -> None:
    """Refuses a model that has no vectors of words.

    Raises:
      ConfigError: see `word_vectors`.
    """
    if model_about(config.spec("model").name).is_masked:
        raise ConfigError(
            f"The model {config.model} predicts masked words; word vectors are compared of models that continue a text."
        )
    if not isinstance(config.vocab, WordVocabulary):
        raise ConfigError(
            f"The vocabulary {config.vocabulary} is not one of words, so the model has no vectors of words: train with "
            "vocabulary=words(file=...)."
        )


def _place(config: RunConfig, size: int) -> int:
    """Which of the weights is the embedding of the symbols, (size, width)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():  # TensorFlow's start-up lines
        import keras

        from fedlm.models.registry import build_model

        model = build_model(config.model, size, config.seq_len, config.seed)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding) and layer.input_dim == size]
    owned = {id(v) for layer in layers for v in layer.trainable_variables}
    places = [i for i, v in enumerate(model.trainable_variables) if id(v) in owned and v.shape[0] == size]
    if len(places) != 1:
        raise ConfigError(
            f"The model {config.model} has {len(places)} embeddings of its vocabulary; its word vectors are not known."
        )
    return places[0]
