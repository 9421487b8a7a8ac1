"""The policy of a node's owner, a file on the owner's machine; the worker checks every message against it."""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import tomli_w
from flwr.app import Message, RecordDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.contract.questions import review_questions
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMWarning, invalid_value
from fedlm.messages.discovery import DiscoveryRequest, ExportRequest
from fedlm.messages.evaluation import EvaluateRequest, ScoreRequest
from fedlm.messages.fields import Malformed, metrics_in
from fedlm.messages.training import TrainRequest
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.system.plain_text import NotSettings, read_settings
from fedlm.types import Pseudonyms

REFUSED = ConfigError.exit_code
# Complete names: Flower treats `train.default` as `train`. Reference models exist in simulations only, without a policy.
REQUESTS = {
    request.kind: request
    for request in (TrainRequest, EvaluateRequest, DiscoveryRequest, ExportRequest, ScoreRequest, VocabularyRequest)
}
ANSWERED = tuple(REQUESTS)
PLUGINS = ("model", "algorithm", "aggregation", "mechanism")
"""The configuration keys that may name code outside fedlm, as `package.module:Class`."""


class Policy(BaseModel):
    """A node's rules.

    Attributes:
      min_chunk_clients: the smallest number of clients in a message of training without differential privacy, so that a sum
        is not one client's update. Under differential privacy it does not apply: one client could decide whether its chunk
        is large enough, and thereby whether the others are in the sum.
      max_local_epochs: the largest number of passes over a client's text in one round.
      clipping_required: refuse to train without a clip norm.
      largest_norm: the largest clip norm; 0 allows any, a positive value makes clipping required.
      smallest_noise: the smallest noise multiplier for noise that this node adds itself; 0 requires none.
      tells_counts: whether token counts, document counts and held-out sums per client may leave.
      min_group: the smallest number of clients with held-out text in an evaluation, unless `tells_counts`.
      max_message_bytes: the largest message in either direction.
      vocabulary_epsilon, vocabulary_delta: limits on the total cost of vocabularies from this vault; 0 allows none.
      bundles: SHA-256 of the Flower app bundles that the owner allows.
      plugins: classes outside fedlm, `package.module:Class`, that a run's configuration may name.
      max_left_out: how many of the vault's clients a run may leave out, because another node holds them too.
      max_runs: how many runs the node joins without asking its owner, if nothing in them needs a review (`questions`); 0
        asks for every run.
      models: models that need no review; empty means all of fedlm's own that start from the run's seed.
      max_size: the largest whole-number option of such a model.
      min_batch_size: the smallest batch that needs no review.
      min_learning_rate, max_learning_rate: the learning rates that need no review, in every round.
      vocabularies: SHA-256 of the learned vocabularies that need no review.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_chunk_clients: int = Field(2, ge=1)
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
    max_left_out: int = Field(0, ge=0)
    max_runs: int = Field(0, ge=0)
    models: tuple[str, ...] = ()
    max_size: int = Field(4096, ge=1)
    min_batch_size: int = Field(2, ge=1)
    min_learning_rate: float = Field(1e-5, ge=0, allow_inf_nan=False)
    max_learning_rate: float = Field(10.0, ge=0, allow_inf_nan=False)
    vocabularies: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
          ConfigError: it is missing or invalid.
        """
        try:
            return cls.checked(read_settings(path))
        except FileNotFoundError:
            raise ConfigError(f"There is no policy file {path}: restore it.") from None
        except (ConfigError, NotSettings) as error:
            keys = ", ".join(cls.model_fields)
            raise ConfigError(
                f"The policy {path} is invalid ({str(error).rstrip('.')}); its keys are {keys}."
            ) from None

    @classmethod
    def checked(cls, values: Mapping[str, object]) -> Self:
        """Validates values; the first mistake becomes one sentence."""
        if "smallest_cohort" in values:
            warnings.warn("The policy key smallest_cohort is now called min_chunk_clients.", FedLMWarning, stacklevel=2)
            values = {("min_chunk_clients" if k == "smallest_cohort" else k): v for k, v in values.items()}
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
        """Returns why a message is refused before it reaches the worker; empty if it is not.

        Args:
          bundle: SHA-256 of the app bundle that the message belongs to.
          size_bytes: the size of the message.
        """
        if bundle not in self.bundles:
            return f"The node's owner has not allowed the app bundle with SHA-256 {bundle}."
        if size_bytes > self.max_message_bytes:
            return f"The message has {size_bytes} bytes; this node's policy allows {self.max_message_bytes}."
        return ""

    def check(self, message: Message) -> tuple[Any, RunConfig]:
        """Returns a message's request and the run's configuration.

        Raises:
          ConfigError: the owner does not allow it, with the reason. Malformed: the message does not have the layout of its
            kind.
        """
        kind = message.metadata.message_type
        if kind not in REQUESTS:
            raise ConfigError(
                f"A deployment's node does not answer messages of type {kind}, only {', '.join(ANSWERED)}."
            )
        if not message.has_content():
            raise Malformed("it has no content")
        request = REQUESTS[kind].read(message.content)
        settings = self._settings(request.settings)
        self._check_noise(settings)
        if isinstance(request, TrainRequest | EvaluateRequest | VocabularyRequest):
            self._check_clients(request.clients)
        if isinstance(request, TrainRequest):
            self._check_training(settings, request)
        if isinstance(request, EvaluateRequest) and settings.privacy.traits.node_noise:
            raise ConfigError(
                f"Under mechanism={settings.privacy.mechanism.name} nothing without noise leaves this node, so it does not "
                "evaluate its clients' text."
            )
        return request, settings

    def check_reply(self, request: Any, config: RunConfig, content: RecordDict) -> None:
        """Refuses a sum over too few clients: with crafted weights, the others' updates may not be finite and be left out.

        Raises:
          ConfigError: with the reason.
        """
        if not isinstance(request, TrainRequest) or config.privacy.on:
            return
        summed = metrics_in(content).get("clients")
        if not isinstance(summed, int) or summed < self.min_chunk_clients:
            raise ConfigError(
                f"Fewer than {self.min_chunk_clients} clients of the message could be trained (min_chunk_clients); their sum stays "
                "at the node."
            )

    def questions(self, config: RunConfig, vocabulary_sha256: str = "") -> list[str]:
        """Returns what in a run's configuration the owner should review, a sentence each; none for a run of the usual kind.

        Args:
          config: of the run.
          vocabulary_sha256: of a learned vocabulary's content, as in the manifest.
        """
        return [question for question in review_questions(self, config, vocabulary_sha256) if question]

    def _settings(self, text: str) -> RunConfig:
        """Returns the run's configuration, after a check that reading it loads no code outside fedlm.

        Raises:
          ConfigError: it names a class that the owner has not allowed, or is not a valid configuration.
        """
        try:
            values = json.loads(text)
            named = [str(values.get(key, "")).partition("(")[0].strip() for key in PLUGINS]
        except (ValueError, AttributeError, RecursionError):  # JSON from a remote party may be nested thousands deep
            raise Malformed("the field 'settings' is not a configuration as JSON") from None
        if foreign := [name for name in named if ":" in name and name not in self.plugins]:
            raise ConfigError(f"This node's policy does not allow the plug-in {foreign[0]} (plugins).")
        return RunConfig.checked(values)

    def _check_noise(self, settings: RunConfig) -> None:
        """Checks a run in which nodes add the noise themselves: against the server, nothing else may be told."""
        if not settings.privacy.traits.node_noise:
            return
        if settings.reproducible:
            raise ConfigError(
                "With reproducible=true the noise of this node would follow from the run's seed: set reproducible=false."
            )
        if self.tells_counts:
            raise ConfigError(
                f"This node's policy tells counts of its clients, which mechanism={settings.privacy.mechanism.name} does not "
                "cover: set tells_counts=false."
            )

    def _check_clients(self, clients: Pseudonyms) -> None:
        if len(np.unique(clients)) != len(clients):
            raise ConfigError(
                "The message names a client more than once; this node accepts each client once per message."
            )

    def _check_training(self, settings: RunConfig, request: TrainRequest) -> None:
        if not settings.privacy.on and len(request.clients) < self.min_chunk_clients:
            raise ConfigError(
                f"This node's policy requires at least {self.min_chunk_clients} clients per message (min_chunk_clients)."
            )
        clip_norm = math.inf
        if settings.privacy.on:
            if request.clip_norm is None:
                raise Malformed("the field 'clip-norm' is missing")
            clip_norm = request.clip_norm
        if settings.local_epochs > self.max_local_epochs:
            raise ConfigError(
                f"This node's policy allows {self.max_local_epochs} local epochs, not {settings.local_epochs}."
            )
        if (self.clipping_required or self.largest_norm) and not settings.privacy.on:
            raise ConfigError("This node's policy requires clipping: set mechanism and clip_norm.")
        if self.largest_norm and not clip_norm <= self.largest_norm:  # also true for NaN
            raise ConfigError(
                f"This node's policy allows a clip norm of at most {self.largest_norm:g}, not {clip_norm:g} (largest_norm)."
            )
        noise = settings.noise_multiplier if settings.privacy.traits.node_noise else 0.0
        if noise < self.smallest_noise:
            raise ConfigError(
                "This node's policy requires a mechanism whose noise the node adds itself, with a noise_multiplier of at least "
                f"{self.smallest_noise:g} (smallest_noise)."
            )
        if settings.privacy.on:
            settings.privacy.check_clip_norm(clip_norm)
