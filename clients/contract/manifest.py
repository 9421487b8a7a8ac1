"""A run's manifest: all that the run may ask of a node, as canonical JSON. Its SHA-256 is the run's name for owners.

The node computes it itself, from the configuration in each message and from what it knows of the server and of its own
software. A message of another configuration therefore belongs to another run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from fedlm.config import RunConfig
from fedlm.errors import ConfigError

VERSION = 1
SERVER_ONLY = (
    *("workers", "checkpoint_every", "keep_every", "timeout", "quorum", "patience", "min_gain", "server_schedule"),
    *("scrub", "partition", "max_clients", "min_documents", "holdout_fraction", "pseudonym_key"),
)
"""Configuration keys that change nothing at a node: a run may be resumed with other values of them."""


@dataclass(frozen=True)
class Manifest:
    """What a run asks for.

    Attributes:
      run: the id that the coordinator gave the run; two runs with one configuration have different ids.
      configuration: the configuration without `SERVER_ONLY`.
      vocabulary_sha256: of a learned vocabulary's content; empty for a built-in one, and for one that the run itself learns
        with `vocabulary=private(...)`.
      server_sha256: of the certificate of the coordinator's authority, which the owner installed.
      bundle_sha256: of the app bundle of the node's own installation.
    """

    run: str
    configuration: Mapping[str, Any]
    vocabulary_sha256: str = ""
    server_sha256: str = ""
    bundle_sha256: str = ""
    version: int = field(default=VERSION)

    @classmethod
    def of(cls, run: str, config: RunConfig, *, server_sha256: str = "", bundle_sha256: str = "") -> Self:
        """Returns the manifest of a run."""
        asked = {k: v for k, v in config.model_dump().items() if k not in SERVER_ONLY}
        learned = config.vocabulary_text if config.spec("vocabulary").name != "private" else ""
        digest = hashlib.sha256(learned.encode()).hexdigest() if learned else ""
        return cls(run, asked, digest, server_sha256, bundle_sha256)

    def canonical(self) -> str:
        """Returns it as canonical JSON: sorted keys, no spaces, ASCII."""
        return json.dumps(self.__dict__, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def sha256(self) -> str:
        """The run's name for owners, hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    @classmethod
    def read(cls, text: str) -> Self:
        """Reads what `canonical` wrote.

        Raises:
          ConfigError: it is not a manifest of this version.
        """
        try:
            manifest = cls(**json.loads(text))
            known = manifest.version == VERSION and isinstance(manifest.configuration, dict)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise ConfigError("This is not a manifest of this version of fedlm.")
        return manifest

    @property
    def config(self) -> RunConfig:
        """The configuration, with the defaults of what only the server reads, and without a learned vocabulary's content."""
        return RunConfig.checked(self.configuration)
