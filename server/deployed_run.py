"""`fedlm deploy run`: one run of a deployment, and a complete folder at its end."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from server.deployment import Deployment
from server.simulation import write_summary


def train(
    folder: Path, out: Path, overrides: Sequence[str], listener: Callable[[dict[str, Any]], None], *, resume: bool
) -> dict[str, Any]:
    """Trains; returns the content of summary.json."""
    if resume and overrides:
        raise ConfigError("A resumed run keeps its configuration: leave --set out with --resume.")
    deployment = Deployment(folder)
    settings = folder / "config.toml"
    config = RunConfig.load(settings if settings.is_file() else None, overrides)
    started = time.monotonic()
    run = deployment.run(out, config, listener, resume=resume)
    about = {"corpus": "a deployment", "deployment": True}  # what the owners did with their text is not known here
    weights = run.final_weights()
    return write_summary(run, run.config, weights, about, time.monotonic() - started, samples=False)
