"""Models by name: the file's name is the model's name, options stand in the spec string."""

from importlib import import_module
from pathlib import Path
from typing import Any

import keras

from fedlm.errors import ConfigError
from fedlm.layers.coupled_lstm import CoupledLSTM
from fedlm.layers.pretrained import pretrained_part
from fedlm.models.catalog import check_model


def build_model(spec: str, vocab_size: int, seq_len: int, seed: int = 0) -> keras.Model:
    """Builds a model with initial weights drawn from `seed`.

    Raises:
      ConfigError: there is no such model, or an option does not do.
    """
    parsed = check_model(spec)
    keras.utils.set_random_seed(seed % 2**32)
    try:
        return import_module(f"fedlm.models.{parsed.name}").build(
            vocab_size=vocab_size, seq_len=seq_len, **parsed.options
        )
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The model {spec!r} does not build: {error}") from None


def plain_copy(model: keras.Model) -> keras.Model:
    """Returns the same model and weights from Keras' own layers, for users without this package."""
    weights: list[Any] = []

    def plain(layer: Any) -> Any:
        if isinstance(layer, CoupledLSTM):
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
