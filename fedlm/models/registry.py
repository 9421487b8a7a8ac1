"""Builds a model from its spec string, and saves it without this package's own layers."""

import contextlib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from fedlm.errors import ConfigError
from fedlm.layers.pretrained import pretrained_part
from fedlm.models.catalog import check_model
from fedlm.plugins.calls import load_module, loading, running
from fedlm.rng import Purpose, stream
from fedlm.spec import parse_spec


def build_model(spec: str, vocab_size: int, seq_len: int, seed: int = 0) -> keras.Model:
    """Builds a model with initial weights drawn from `seed`.

    Args:
      spec: a name of `fedlm models` or an import path, with options: `lstm(units=64)`,
        `mine.models:build(units=8)`.
      vocab_size, seq_len: shapes.
      seed: of the initial weights.

    Returns:
      A model from ids (batch, seq_len) int32 to logits (batch, seq_len, vocab_size) float32.

    Raises:
      ConfigError: there is no such model, an option is invalid, or what was built has other outputs.
    """
    parsed = check_model(spec)
    module, colon, function = parsed.name.partition(":")
    build = getattr(_module(parsed.name), function or "build")
    keras.utils.set_random_seed(int(stream(seed, Purpose.INITIAL_WEIGHTS).integers(2**32)))  # Keras takes 32 bits
    try:
        with loading(f"The model {spec!r} cannot be built", module) if colon else contextlib.nullcontext():
            model = build(vocab_size=vocab_size, seq_len=seq_len, **parsed.options)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The model {spec!r} cannot be built: {error}") from None
    shape = getattr(model, "output_shape", None) if isinstance(model, keras.Model) else None
    if not isinstance(shape, tuple) or len(shape) != 3 or shape[1] not in (None, seq_len) or shape[2] != vocab_size:
        raise ConfigError(
            f"The model {spec!r} cannot be built: build() must return a Keras model with logits of shape "
            f"(batch, {seq_len}, {vocab_size}), not {shape if shape else type(model).__name__}."
        )
    return model


def own_decoder(spec: str, model: keras.Model) -> Any:
    """Returns what the model's file says reads it symbol by symbol (its `decoder`), or None."""
    name = parse_spec(spec).name
    decoder = getattr(_module(name), "decoder", None)
    if decoder is None:
        return None
    with running(f"model {name}", "decoder", name.partition(":")[0]):
        return decoder(model)


def plain_copy(model: keras.Model) -> keras.Model:
    """Returns the same model and weights from Keras' own layers, for users without this package."""
    weights: list[Any] = []

    def plain(layer: Any) -> Any:
        if hasattr(layer, "plain_layer"):  # a layer of other weights than Keras' own
            weights.extend(layer.plain_weights())
            return layer.plain_layer()
        weights.extend(v.numpy() for v in getattr(layer, "trainable_variables", []))  # operations have none
        return getattr(layer, "plain", type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=plain)
    for variable, value in zip(copy.trainable_variables, weights, strict=True):
        variable.assign(value)
    return copy


def save_model(model: keras.Model, path: Path) -> None:
    """Writes a `.keras` file that opens without this package; of a pretrained model it is KerasHub's own task."""
    if (pretrained := pretrained_part(model)) is not None:
        pretrained.save(path)
    else:
        plain_copy(model).save(path)


def _module(name: str) -> ModuleType:
    """Returns the module of a model; `check_model` has found its source before."""
    module, colon, _ = name.partition(":")
    return load_module("model", name, module) if colon else import_module(f"fedlm.models.{module}")
