"""Presets of pretrained models, read without Keras: a folder that KerasHub has saved, or a name on a hub.

A preset's artifact hash covers what decides its outputs: configuration, weights and vocabulary. A
run's configuration holds it, so that every node that adds to a sum has the same frozen weights.
"""

import ast
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.spec import parsed_source
from fedlm.system.storage import MISSING, reading
from fedlm.text.preset_vocabulary import PieceVocabulary, byte_pairs, word_pieces

PRESETS = "FEDLM_PRESETS"
"""The variable in which a node's owner names the folder of its presets; then no preset is looked for elsewhere."""

_WORD_OPTIONS = ("lowercase", "strip_accents")
_HASHED = ("config.json", "tokenizer.json", "*.weights.h5", "model.weights.json", "assets/tokenizer/*")


@dataclass(frozen=True)
class PresetKind:
    """The presets that a pretrained model takes; its file states them as `PRESET` (see `fedlm.models.catalog`).

    Attributes:
      name: of the model, and of KerasHub's folder that lists its built-in presets.
      backbone: class that a preset's configuration names.
      tokenizer: "byte pairs" (GPT-2's) or "word pieces" (BERT's).
    """

    name: str
    backbone: str
    tokenizer: str


@dataclass(frozen=True)
class Preset:
    """One preset on this machine.

    Attributes:
      folder: where it is.
      kind: which model takes it.
      sha256: its artifact hash.
      vocab_size, positions: of the backbone's embeddings.
      has_head: it has weights for a language model's head (`task.weights.h5`).
    """

    folder: Path
    kind: PresetKind
    sha256: str
    vocab_size: int
    positions: int
    has_head: bool

    @property
    def vocabulary(self) -> PieceVocabulary:
        """Its tokens under our ids.

        Raises:
          ConfigError: its tokenizer is missing, damaged, or of another size than its embeddings.
        """
        found = _vocabulary(self.folder, self.kind.tokenizer)
        if len(found.order) - found.order.count(-1) != self.vocab_size:
            raise ConfigError(f"The preset {self.folder.name} has a tokenizer that does not fit its embeddings.")
        return found


def open_preset(kind: PresetKind, name: str, sha256: str = "", seq_len: int = 1) -> Preset:
    """Opens a preset.

    Args:
      kind: of the model.
      name: a folder, a built-in name of KerasHub (`gpt2_base_en`), `kaggle://...` or `hf://...`.
      sha256: the artifact hash that the run requires; "" accepts any.
      seq_len: the run's rows, which must fit the model's positions.

    Raises:
      ConfigError: KerasHub is not installed, or the preset is missing, of another kind, has another
        hash than the run's, or fewer positions than seq_len.
    """
    if find_spec("keras_hub") is None:
        raise ConfigError(f"The model {kind.name} needs KerasHub: pip install fedlm[hub].")
    if not name:
        raise ConfigError(
            f"The model {kind.name} needs a preset: {kind.name}(preset='...'), a folder or the name of one on a hub."
        )
    preset = _read(kind, name, os.environ.get(PRESETS, ""))
    if sha256 not in ("", preset.sha256):
        raise ConfigError(
            f"The preset {preset.folder.name} here has SHA-256 {preset.sha256[:16]}..., not the run's {sha256[:16]}...: "
            "every node must hold the same frozen weights."
        )
    if seq_len > preset.positions:
        raise ConfigError(f"seq_len={seq_len} is longer than the {preset.positions} positions of the preset {name}.")
    return preset


@cache
def _read(kind: PresetKind, name: str, owned: str) -> Preset:
    folder = _locate(kind, name, owned)
    try:
        with reading(folder / "config.json"):
            content = json.loads((folder / "config.json").read_text())
        class_name, config = content["class_name"], content["config"]
        sizes = int(config["vocabulary_size"]), int(config["max_sequence_length"])
    except (*MISSING, ValueError, KeyError, TypeError):
        raise ConfigError(f"{folder.name} is not a preset's folder: it has no config.json of KerasHub.") from None
    if class_name != kind.backbone:
        raise ConfigError(f"The preset {folder.name} is of a {class_name}; {kind.name} takes a {kind.backbone}.")
    weights = ("model.weights.h5", "model.weights.json")
    if not any((folder / file).is_file() for file in weights):
        raise ConfigError(f"The preset {folder.name} has no weights (model.weights.h5).")
    return Preset(folder, kind, _sha256(folder), *sizes, has_head=(folder / "task.weights.h5").is_file())


def _locate(kind: PresetKind, name: str, owned: str) -> Path:
    if owned:
        folder = Path(owned) / Path(name).name  # a server must not choose a path on this machine
        if not folder.is_dir():
            raise ConfigError(
                f"This node has no preset {folder.name!r}: its owner must put it into the node's folder of presets."
            )
        return folder
    if Path(name).is_dir():
        return Path(name)
    handle = name if "://" in name else _built_in(kind.name).get(name, "")
    if not handle.startswith(("kaggle://", "hf://")):
        raise ConfigError(
            f"There is no preset {name!r}: it is neither a folder nor the name of a {kind.name} preset of KerasHub."
        )
    return _fetch(handle)


def _built_in(model: str) -> dict[str, str]:
    """Returns the handle of each built-in preset, read from KerasHub's source, since importing it loads TensorFlow."""
    origin = getattr(find_spec("keras_hub"), "origin", None)
    file = Path(str(origin)).parent / "src" / "models" / model / f"{model}_presets.py"
    known: dict[str, dict[str, Any]] = {}
    for node in parsed_source(file.read_text(encoding="utf-8")).body if file.is_file() else []:
        if isinstance(node, ast.Assign):
            known = ast.literal_eval(node.value)
    return {name: about["kaggle_handle"] for name, about in known.items()}


def _fetch(handle: str) -> Path:
    """Downloads a preset, or finds it in the cache of an earlier download."""
    scheme, _, path = handle.partition("://")
    try:
        if scheme == "kaggle":
            import kagglehub

            return Path(kagglehub.model_download(path))
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(path))
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = type(error).__name__
        raise ConfigError(
            f"The preset {handle} could not be downloaded ({reason}): check the network, or name a folder that holds it."
        ) from None


def _sha256(folder: Path) -> str:
    """Returns SHA-256 over a line `NAME SHA256` for each file, in the order of names."""
    lines = []
    for file in sorted({f for pattern in _HASHED for f in folder.glob(pattern)}):
        with file.open("rb") as opened:
            lines.append(f"{file.relative_to(folder).as_posix()} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def _vocabulary(folder: Path, tokenizer: str) -> PieceVocabulary:
    assets = folder / "assets" / "tokenizer"
    try:
        with reading(assets):
            return _tokenizer(folder, assets, tokenizer)
    except (*MISSING, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"The preset {folder.name} has no tokenizer ({tokenizer}) that can be read.") from None


def _tokenizer(folder: Path, assets: Path, tokenizer: str) -> PieceVocabulary:
    if tokenizer == "byte pairs":
        ids = json.loads((assets / "vocabulary.json").read_text(encoding="utf-8"))
        lines = (assets / "merges.txt").read_text(encoding="utf-8").split("\n")
        return byte_pairs(ids, [line for line in lines if line and not line.startswith("#version")])
    config = json.loads((folder / "tokenizer.json").read_text())["config"]
    tokens = (assets / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    return word_pieces([t.rstrip() for t in tokens if t], **{k: bool(config.get(k)) for k in _WORD_OPTIONS})
