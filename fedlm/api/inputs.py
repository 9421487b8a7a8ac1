"""What the functions of the Python API take: paths, configurations, keys."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedlm.config import RunConfig
from fedlm.errors import ConfigError

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource

PathLike = str | os.PathLike[str]
Config = RunConfig | PathLike | None
"""A configuration, a TOML file, or None for the defaults."""


def base_of(config: Config) -> RunConfig | Path | None:
    """Returns what `RunConfig.load` starts from."""
    return config if config is None or isinstance(config, RunConfig) else Path(config)


def as_text(overrides: Mapping[str, object]) -> list[str]:
    """Returns overrides as the command line writes them.

    >>> as_text({"rounds": 3, "drift": True})
    ['rounds=3', 'drift=True']
    """
    return [f"{key}={value}" for key, value in overrides.items()]


def run_folder(corpus: str) -> Path:
    """Returns the default folder of a run: runs/TIME-CORPUS."""
    name = (
        "vault"
        if Path(corpus).suffix == ".db"
        else corpus.partition("(")[0].removeprefix("hf:").removeprefix("parliament:")
    )
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(name).stem}"


def key_source(vault: Path, key: "KeySource | PathLike | None" = None) -> "KeySource":
    """Returns where a vault's key is: as given, or in VAULT.key beside the vault.

    Raises:
      ConfigError: the vault is a folder without a name, or its own key file.
    """
    from fedlm.vault.keys import KeySource

    if not vault.name:
        raise ConfigError(f"{vault} is a folder; name the vault's file.")
    if isinstance(key, KeySource):
        return key
    file = vault.with_name(vault.name + ".key") if key is None else Path(key)
    if os.path.realpath(file) == os.path.realpath(vault):
        raise ConfigError(f"The key file {file} is the vault itself; name another file.")
    return KeySource(file=file)
