"""Another run's weights to start from (`--init`), after a check that they mean the same in this run."""

from pathlib import Path

from fedlm.config import PRESET_VOCABULARY, RunConfig
from fedlm.errors import ConfigError
from fedlm.models.catalog import has_positions
from fedlm.privacy.vocabulary import NAME
from fedlm.types import Weights
from server.store.run_folder import RunFolder


def initial_weights(run: Path, config: RunConfig) -> Weights:
    """Returns the final weights of a run, for a run with the configuration `config`.

    Weights whose shapes fit may still mean something else: another vocabulary of the same size
    assigns their rows to other symbols, and adapters belong to one preset. Shapes are compared
    later, when the nodes have answered.

    Raises:
      ConfigError: the runs differ in vocabulary, preset or the model's positions.
      DataError: `run` is not a run's folder.
      FedLMError: it has no weights.
    """
    folder = RunFolder.open(run)
    first, weights = folder.config, folder.final_weights()
    if first.vocabulary == config.vocabulary == PRESET_VOCABULARY:
        _check_preset(run, first, config)
    elif not _same_vocabulary(first, config):
        raise ConfigError(f"The model of {run} was trained with another vocabulary: {_way_out(run, first)}.")
    _check_positions(run, first, config)
    return weights


def _same_vocabulary(first: RunConfig, config: RunConfig) -> bool:
    if PRESET_VOCABULARY in (first.vocabulary, config.vocabulary) or config.spec("vocabulary").name == NAME:
        return False  # a private vocabulary is still to be learned, and equals no other
    return first.vocab.symbols == config.vocab.symbols


def _way_out(run: Path, first: RunConfig) -> str:
    spec = first.spec("vocabulary")
    if first.vocabulary == PRESET_VOCABULARY:
        return "use its model, which includes the vocabulary"
    kept = f"{spec.name}(file={str(run / str(spec.options['file']))!r})" if "file" in spec.options else first.vocabulary
    return f'use --set "vocabulary={kept}"'


def _check_preset(run: Path, first: RunConfig, config: RunConfig) -> None:
    ours, theirs = (c.spec("model").options.get("sha256") for c in (config, first))
    if ours != theirs:
        raise ConfigError(
            f"The model of {run} started from a preset with SHA-256 {str(theirs)[:16]}..., this run's has {str(ours)[:16]}...: "
            "use the same preset."
        )


def _check_positions(run: Path, first: RunConfig, config: RunConfig) -> None:
    spec = config.spec("model")
    if has_positions(spec) and first.spec("model") == spec and first.seq_len != config.seq_len:
        raise ConfigError(
            f"The model of {run} has positions for {first.seq_len} symbols, not for seq_len={config.seq_len}: "
            f"use seq_len={first.seq_len}."
        )
