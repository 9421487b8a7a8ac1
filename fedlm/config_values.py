"""Where a configuration's values come from, and what they may be: files, overrides, renamed keys, spec strings."""

import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedlm.artifacts import with_preset, with_vocabulary
from fedlm.errors import ConfigError, FedLMWarning, UnknownOption, invalid_value
from fedlm.privacy.vocabulary import NAME, check_private
from fedlm.spec import parse_spec
from fedlm.system.plain_text import NotSettings, read_settings
from fedlm.text.registry import vocabulary

CLIENT_OPTIMIZERS = {
    "sgd": {"learning_rate": 1.0, "momentum": 0.0, "clip_norm": 0.0},
    "adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "clip_norm": 0.0},
    "adagrad": {"learning_rate": 0.01, "initial": 0.1, "epsilon": 1e-7, "clip_norm": 0.0},
}
"""The client optimizers, their options and defaults."""

PRESET_VOCABULARY = "preset"
"""The vocabulary of a pretrained model: its preset's."""

RENAMED: dict[str, str] = {}
"""Old keys and their new names. An old key works for one version, with a warning."""


def check_optimizer(text: str) -> None:
    """Checks a client optimizer's spec.

    Raises:
      ConfigError: there is no such optimizer or option, or a value is not a number >= 0.

    >>> check_optimizer("sgd(learning_rate=0.5, momentum=0.9)")
    """
    spec = parse_spec(text)
    if spec.name not in CLIENT_OPTIMIZERS:
        raise ConfigError(f"There is no client optimizer {spec.name!r}: use {', '.join(CLIENT_OPTIMIZERS)}.")
    known = CLIENT_OPTIMIZERS[spec.name]
    for name, number in spec.options.items():
        if name not in known:
            raise UnknownOption(name, f"{spec.name} has no option {name!r}; its options are: {', '.join(known)}.")
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
            raise ConfigError(f"Invalid value for {name} of {spec.name}: {number!r} is not a number >= 0.")


def check_weighting(text: str) -> None:
    """Checks a weighting's spec.

    Raises:
      ConfigError: it is none of `tokens`, `uniform` and `capped(tokens=N)` with N >= 1.
    """
    spec = parse_spec(text)
    if spec.name in ("tokens", "uniform") and spec.options:
        option = next(iter(spec.options))
        raise UnknownOption(
            option, f"The weighting {spec.name} has no option {option!r}; only capped(tokens=N) has one."
        )
    cap = spec.options.get("tokens")
    is_capped = spec.name == "capped" and set(spec.options) == {"tokens"} and isinstance(cap, int) and cap >= 1
    if not is_capped and spec.name not in ("tokens", "uniform"):
        raise ConfigError(f"Invalid value for weighting: {text!r} is none of tokens, uniform and capped(tokens=N).")


def check_vocabulary(text: str) -> None:
    """Checks a vocabulary's spec; the file of a learned vocabulary is checked when it is read.

    Raises:
      ConfigError: there is no such vocabulary or option.
    """
    spec = parse_spec(text)
    is_file = spec.name in ("words", "bpe") and set(spec.options) - {"sha256"} == {"file"}
    if spec.name == NAME:
        check_private(text)
    elif text != PRESET_VOCABULARY and not is_file:
        vocabulary(text)


def with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values with each renamed key under its new name; warns of each.

    Raises:
      ConfigError: a key is given by its old and by its new name.
    """
    found = dict(values)
    for old, new in RENAMED.items():
        if old not in found:
            continue
        if new in found:
            raise ConfigError(f"{old} is the old name of {new}: give {new} only.")
        found[new] = found.pop(old)
        sentence = f"The configuration key {old} is now called {new}; the next version will not accept {old}."
        warnings.warn(sentence, FedLMWarning, stacklevel=2)
    return found


_LONGEST_KEY = 60  # characters of an unknown key that are compared and shown; a remote one may be long


def first_mistake(error: ValidationError, known: Iterable[str]) -> ConfigError:
    """Returns the sentence about the first of Pydantic's mistakes; `known` are the valid keys."""
    mistake = error.errors()[0]
    key = ".".join(map(str, mistake["loc"]))[:_LONGEST_KEY]
    if mistake["type"] != "extra_forbidden":
        return invalid_value(key, mistake)
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return ConfigError(f"There is no configuration key {key!r}; {hint}fedlm config lists all keys.")


def read_toml(file: Path) -> dict[str, Any]:
    """Returns the content of a TOML file.

    Raises:
      ConfigError: the file is missing or not TOML.
    """
    try:
        return read_settings(file)
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {file}.") from None
    except (IsADirectoryError, NotADirectoryError):
        raise ConfigError(f"{file} is not a file: name a TOML file with configuration keys.") from None
    except NotSettings as error:
        raise ConfigError(f"{file} is not TOML: {error}.") from None


def overrides_of(overrides: Sequence[str]) -> dict[str, str]:
    """Returns the values of `key=value` overrides, as the command line has them; keys in kebab-case are accepted.

    >>> overrides_of(["eval-every=3"])
    {'eval_every': '3'}
    """
    found = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override!r} does not have the form key=value.")
        found[key.strip().replace("-", "_")] = value.strip()
    return found


def with_overrides(values: Mapping[str, Any], overrides: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Returns values with overrides, and with the content or the hash of the files that they name.

    Args:
      values: of a configuration or a file.
      overrides: new values of keys.
      folder: where files that `values` name are found; those of overrides are found from the working directory.
    """
    found, folders = dict(values), dict.fromkeys(("vocabulary", "model"), folder)
    for key, value in overrides.items():
        found[key], folders[key] = value, Path()
        if key == "vocabulary":
            found.pop("vocabulary_text", None)  # of the vocabulary that is replaced
    if not found.get("vocabulary_text"):
        found = with_vocabulary(found, folders["vocabulary"])
    return with_preset(found, folders["model"])
