"""What of a run's configuration is settled before it starts: by the vault, or by the rounds that it has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from server.store.run_folder import RunFolder, recorded_config

# Fixed when the vault is prepared.
_PREPARED = ("scrub", "partition", "holdout_fraction", "validation_fraction", "min_documents", "max_clients")
_MAY_CHANGE = {"rounds", "workers", "timeout", "quorum", "eval_every", "eval_clients", "checkpoint_every", "keep_every"}


def settled(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a vault's own values of the keys of preparation, from what its index says."""
    none = {"validation_fraction": 0.0} if about else {}  # of a vault of an earlier version
    return none | {key: about[key] for key in _PREPARED if key in about}


def without_effect(config: RunConfig, about: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each key that was set to another value than the vault was prepared with."""
    asked, default = config.model_dump(), RunConfig.checked({}).model_dump()
    return [
        f"{key}={asked[key]!r} has no effect: the vault was prepared with {value!r}."
        for key, value in settled(about).items()
        if asked[key] not in (value, default[key])
    ]


def resumed_config(out: Path, overrides: Sequence[str]) -> RunConfig:
    """Returns the configuration of a resumed run; only some keys may change, such as `rounds`.

    Raises:
      ConfigError: another key would change.
    """
    folder = RunFolder.open(out)
    config = recorded_config(out, overrides)  # first: code that the folder names may be named by an override
    fixed = folder.config.model_dump()
    # under early stopping, the evaluations say which round is best
    free = _MAY_CHANGE - ({"eval_every", "eval_clients"} if config.patience else set())
    changed = [k for k, v in config.model_dump().items() if v != fixed[k] and k not in free]
    if changed:
        raise ConfigError(f"A resumed run keeps its configuration: {changed[0]} cannot change with --resume.")
    return config
