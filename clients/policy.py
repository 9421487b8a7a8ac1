"""What a node allows, whatever the server asks: its owner's own file, checked by the worker for every message."""

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import tomli_w
from flwr.app import Message
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedlm.config import RunConfig
from fedlm.errors import ConfigError, invalid_value
from fedlm.messages.discovery import DiscoveryRequest, ExportRequest
from fedlm.messages.evaluation import EvaluateRequest, ScoreRequest
from fedlm.messages.fields import Malformed
from fedlm.messages.training import TrainRequest
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.types import Pseudonyms

REFUSED = ConfigError.exit_code
# Whole names: Flower takes `train.default` for `train`. Reference models are a simulation's, which has no policy.
REQUESTS = {
    request.kind: request
    for request in (TrainRequest, EvaluateRequest, DiscoveryRequest, ExportRequest, ScoreRequest, VocabularyRequest)
}
ANSWERED = tuple(REQUESTS)
PLUGINS = ("model", "algorithm", "aggregation", "mechanism")
"""The keys of a configuration that may name code outside of fedlm, as `package.module:Class`."""


class Policy(BaseModel):
    """A node's rules.

    Attributes:
      smallest_cohort: clients that a message must name at least, so that a sum is not one person's update; above 1 the
        node takes part in no run with differential privacy.
      max_local_epochs: passes over a client's text in one round.
      clipping_required: refuse to train without a clip norm.
      largest_norm: to which updates are clipped at most; 0 is any, otherwise clipping is required.
      smallest_noise: the smallest noise multiplier of the noise that this node adds itself; 0 asks for none.
      tells_counts: whether numbers of tokens and documents, and held-out sums, per client may leave.
      min_group: clients that a histogram must cover.
      max_message_bytes: largest message in or out.
      vocabulary_epsilon, vocabulary_delta: what vocabularies from this vault's text may cost in all; 0 allows none.
      bundles: SHA-256 of the Flower app bundles that the owner allows.
      plugins: classes outside of fedlm, `package.module:Class`, that a run's configuration may name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smallest_cohort: int = Field(1, ge=1)
    max_local_epochs: int = Field(5, ge=1)
    clipping_required: bool = False
    largest_norm: float = Field(0.0, ge=0, allow_inf_nan=False)
    smallest_noise: float = Field(0.0, ge=0, allow_inf_nan=False)
    tells_counts: bool = False
    min_group: int = Field(5, ge=1)
    max_message_bytes: int = Field(2**29, ge=1024)
    vocabulary_epsilon: float = Field(0.0, ge=0)
    vocabulary_delta: float = Field(1e-5, ge=0, lt=1)
    bundles: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
          ConfigError: it is missing or invalid.
        """
        try:
            return cls.checked(tomllib.loads(path.read_text()))
        except FileNotFoundError:
            raise ConfigError(f"There is no policy {path}.") from None
        except (ConfigError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            keys = ", ".join(cls.model_fields)
            raise ConfigError(
                f"The policy {path} is invalid ({str(error).rstrip('.')}); its keys are {keys}."
            ) from None

    @classmethod
    def checked(cls, values: Mapping[str, object]) -> Self:
        """Validates values; the first mistake becomes one sentence."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            mistake = error.errors()[0]
            key = ".".join(map(str, mistake["loc"]))
            if mistake["type"] == "extra_forbidden":
                raise ConfigError(f"There is no policy key {key!r}.") from None
            raise invalid_value(key, mistake) from None

    def to_toml(self) -> str:
        """Returns the policy as TOML."""
        return tomli_w.dumps(self.model_dump())

    def refusal(self, bundle: str, size_bytes: int) -> str:
        """Returns why a message is not handed to the worker at all; empty if it is.

        Args:
          bundle: SHA-256 of the app bundle that it belongs to.
          size_bytes: of the message.
        """
        if bundle not in self.bundles:
            return f"The node's owner has not allowed the app bundle with SHA-256 {bundle}."
        if size_bytes > self.max_message_bytes:
            return f"The message has {size_bytes} bytes; this node's policy allows {self.max_message_bytes}."
        return ""

    def check(self, message: Message) -> None:
        """Refuses a message that asks for more than the owner allows.

        Raises:
          ConfigError: with the reason. Malformed: the message is not laid out as one of its kind.
        """
        kind = message.metadata.message_type
        if kind not in REQUESTS:
            raise ConfigError(f"A deployment's node answers no message of type {kind}, only {', '.join(ANSWERED)}.")
        if not message.has_content():
            raise Malformed("it has no content")
        request = REQUESTS[kind].read(message.content)
        settings = self._settings(request.settings)
        if settings.privacy.on and self.smallest_cohort > 1:
            # One client could decide whether its chunk is large enough, and so whether the others are in the sum.
            raise ConfigError(
                "This node's policy asks for smallest_cohort > 1, under which no guarantee can be stated."
            )
        if isinstance(request, TrainRequest | EvaluateRequest | VocabularyRequest):
            self._check_clients(request.clients, counts=not isinstance(request, VocabularyRequest))
        if isinstance(request, TrainRequest):
            self._check_training(settings, request)

    def _settings(self, text: str) -> RunConfig:
        """Returns the run's configuration, once it is certain that reading it loads no code but fedlm's own.

        Raises:
          ConfigError: it names a class that the owner has not allowed, or is not a valid configuration.
        """
        try:
            values = json.loads(text)
            named = [str(values.get(key, "")).partition("(")[0].strip() for key in PLUGINS]
        except (ValueError, AttributeError, RecursionError):  # a stranger's JSON may be nested thousands deep
            raise Malformed("the field 'settings' is wrong: it is not JSON of a configuration") from None
        if foreign := [name for name in named if ":" in name and name not in self.plugins]:
            raise ConfigError(f"This node's owner has not allowed the plug-in {foreign[0]} (plugins of the policy).")
        return RunConfig.checked(values)

    def _check_clients(self, clients: Pseudonyms, *, counts: bool) -> None:
        if len(np.unique(clients)) != len(clients):
            raise ConfigError("The message names a client more than once; this node's policy allows each one once.")
        if counts and len(clients) < self.smallest_cohort:
            raise ConfigError(
                f"This node's policy asks for at least {self.smallest_cohort} different clients in a message."
            )

    def _check_training(self, settings: RunConfig, request: TrainRequest) -> None:
        told_norm = math.inf
        if settings.privacy.on:
            if request.clip_norm is None:
                raise Malformed("the field 'clip-norm' is missing")
            told_norm = request.clip_norm
        if settings.local_epochs > self.max_local_epochs:
            raise ConfigError(
                f"This node's policy allows {self.max_local_epochs} local epochs, not {settings.local_epochs}."
            )
        if (self.clipping_required or self.largest_norm) and not settings.privacy.on:
            raise ConfigError("This node's policy asks for clipping: set mechanism and clip_norm.")
        if self.largest_norm and not told_norm <= self.largest_norm:  # NaN is not
            raise ConfigError(
                f"This node's policy allows clipping to {self.largest_norm:g} at most, not {told_norm:g}."
            )
        noise = settings.noise_multiplier if settings.privacy.traits.node_noise else 0.0
        if noise < self.smallest_noise:
            raise ConfigError(
                "This node's policy asks for a mechanism whose noise the node draws itself, with a noise_multiplier of "
                f"{self.smallest_noise:g} or more."
            )
        if settings.privacy.on:
            settings.privacy.check_told_norm(told_norm)
