"""Files that a configuration names, and their artifact hashes: a learned vocabulary, the preset of a pretrained model.

A run's configuration holds the SHA-256 of each artifact, so that all who take part use the same one.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, is_pretrained, preset_kind
from fedlm.spec import Spec, parse_spec
from fedlm.system.plain_text import NotText, decoded
from fedlm.system.storage import MISSING, reading
from fedlm.text.presets import PRESETS, Preset, open_preset
from fedlm.text.registry import vocabulary

VOCABULARY_FILE = "vocabulary.json"
"""Where a run's folder keeps a learned vocabulary."""


def with_vocabulary(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns a configuration's values with the content and the hash of its learned vocabulary, if it names one.

    Args:
      values: of the configuration.
      folder: from which the vocabulary's file is found.

    Raises:
      ConfigError: there is no such file, it holds no vocabulary, or its hash is not the one that
        the values give.
    """
    text = values.get("vocabulary", "")
    spec = parse_spec(text) if isinstance(text, str) and text.startswith(("words", "bpe")) else Spec("", {})
    name = spec.options.get("file")
    if not isinstance(name, str):
        return values
    content = read_vocabulary(folder / name)
    digest = hashlib.sha256(content.encode()).hexdigest()
    if spec.options.get("sha256", digest) != digest:
        raise ConfigError(
            f"The vocabulary file {folder / name} is not the one that this run was made with: restore it."
        )
    kept = f"{spec.name}(file={VOCABULARY_FILE!r}, sha256={digest!r})"  # as in the run's folder
    vocabulary(f"{spec.name}(file={str(folder / name)!r})", content)  # a mistake names the user's file
    return {**values, "vocabulary_text": content, "vocabulary": kept}


def read_vocabulary(file: Path) -> str:
    """Returns the content of a vocabulary's file, without a byte-order mark.

    Raises:
      ConfigError: there is no such file, or it is not text in UTF-8.
    """
    try:
        with reading(file):
            return decoded(file.read_bytes())
    except MISSING:
        raise ConfigError(f"There is no vocabulary file {file}: make one with `fedlm vocabulary`.") from None
    except NotText as error:
        raise ConfigError(f"The vocabulary file {file} is not text in UTF-8: {error}.") from None


def with_preset(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns a configuration's values with the hash of its model's preset, if it is a pretrained one.

    If the values contain the hash, a coordinator needs no copy of the preset: nodes check
    theirs.

    Args:
      values: of the configuration.
      folder: from which the preset's folder is found.

    Raises:
      ConfigError: the preset does not open, see `fedlm.text.presets.open_preset`.
    """
    text = values.get("model")
    spec = check_model(text) if isinstance(text, str) else Spec("", {})
    if not (spec.name and is_pretrained(spec.name)):
        return values
    name = str(spec.options.get("preset", ""))
    if name and (folder / name).is_dir():
        spec.options["preset"] = str((folder / name).resolve())
    if is_here(spec):
        spec.options["sha256"] = preset_of(spec).sha256
    return {**values, "model": str(spec)}


def is_here(spec: Spec) -> bool:
    """Returns whether this machine must have the preset; where the spec gives its hash, the nodes' copies are enough."""
    name = str(spec.options.get("preset", ""))
    return "sha256" not in spec.options or Path(name).is_dir() or PRESETS in os.environ


def preset_of(spec: Spec, seq_len: int = 1) -> Preset:
    """Opens the preset that a model's spec names."""
    return open_preset(preset_kind(spec.name), spec.options.get("preset", ""), spec.options.get("sha256", ""), seq_len)
