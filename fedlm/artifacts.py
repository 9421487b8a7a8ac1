"""What a configuration names that lies in files, pinned by its hash: a learned vocabulary, the preset of a pretrained model."""

import hashlib
import os
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, is_pretrained
from fedlm.spec import Spec, parse_spec
from fedlm.text.presets import PRESETS, Preset, open_preset
from fedlm.text.registry import vocabulary

VOCABULARY_FILE = "vocabulary.json"
"""Where a run's folder keeps a learned vocabulary."""


def with_vocabulary(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Reads the file of a learned vocabulary; it is found from `folder`, and must be the one of `sha256` if that is given."""
    text = values.get("vocabulary", "")
    spec = parse_spec(text) if isinstance(text, str) and text.startswith(("words", "bpe")) else Spec("", {})
    name = spec.options.get("file")
    if not isinstance(name, str):
        return values
    try:
        content = (folder / name).read_bytes()
        decoded = content.decode()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"There is no vocabulary file {folder / name}; make one with fedlm vocabulary.") from None
    digest = hashlib.sha256(content).hexdigest()
    if spec.options.get("sha256", digest) != digest:
        raise ConfigError(f"The vocabulary file {folder / name} is not the one that this run was made with.")
    kept = f"{spec.name}(file={VOCABULARY_FILE!r}, sha256={digest!r})"  # as in the run's folder
    vocabulary(kept, decoded)
    return {**values, "vocabulary_text": decoded, "vocabulary": kept}


def with_preset(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Pins the preset of a pretrained model by its hash; a preset's folder is found from `folder`.

    A run that names the hash needs no preset of its own where it is only coordinated: nodes check theirs.
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
    """Returns whether a preset must be on this machine: where only its hash is known, nodes alone have it."""
    name = str(spec.options.get("preset", ""))
    return "sha256" not in spec.options or Path(name).is_dir() or PRESETS in os.environ


def preset_of(spec: Spec, seq_len: int = 1) -> Preset:
    """Opens the preset that a model's spec names."""
    return open_preset(spec.name, spec.options.get("preset", ""), spec.options.get("sha256", ""), seq_len)
