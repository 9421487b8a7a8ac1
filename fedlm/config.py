"""The configuration of a run: one frozen, validated model. Keys are snake_case, unknown keys are refused."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from fedlm.aggregation.registry import build_aggregation
from fedlm.algorithms.registry import build_algorithm
from fedlm.artifacts import is_here, preset_of
from fedlm.config_values import CLIENT_OPTIMIZERS as CLIENT_OPTIMIZERS
from fedlm.config_values import PRESET_VOCABULARY as PRESET_VOCABULARY
from fedlm.config_values import (
    check_optimizer,
    check_vocabulary,
    check_weighting,
    first_mistake,
    read_toml,
    with_new_names,
    with_overrides,
)
from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, is_pretrained
from fedlm.privacy.mechanisms.registry import mechanism_traits
from fedlm.privacy.settings import PrivacySettings
from fedlm.schedules import check_schedule
from fedlm.spec import Spec, parse_spec
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import Vocabulary

_CHECKS: dict[str, Callable[[str], object]] = {
    "model": check_model,
    "vocabulary": check_vocabulary,
    "client_optimizer": check_optimizer,
    "client_schedule": check_schedule,
    "server_schedule": check_schedule,
    "weighting": check_weighting,
}
"""What checks the spec string of a key."""


class RunConfig(BaseModel):
    """Every key of a run. The defaults are the published Shakespeare setting (Reddi et al. 2021).

    Adaptive Federated Optimization, https://arxiv.org/abs/2003.00295

    Raises:
      ConfigError: a key is unknown, or a value is invalid.

    >>> config = RunConfig(rounds=2, model="lstm(units=16)")
    >>> config.cohort_size
    10
    >>> RunConfig(rounds=-1)
    Traceback (most recent call last):
    fedlm.errors.ConfigError: Invalid value for rounds: -1 is below 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # run
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the initial weights, client sampling, batches, dropout and partition",
    )
    rounds: int = Field(
        default=100, ge=0, description="rounds in total; a resumed run counts those that it already has"
    )
    cohort_size: int = Field(
        default=10, ge=1, description="clients sampled per round; under differential privacy, their expected number"
    )
    eval_every: int = Field(default=20, ge=1, description="rounds between evaluations on held-out text")
    eval_clients: int = Field(default=0, ge=0, description="clients in an evaluation; 0 evaluates all clients")
    workers: int = Field(default=0, ge=0, description="worker processes; 0 starts one per core")
    checkpoint_every: int = Field(
        default=1, ge=1, description="rounds between checkpoints; each one replaces the one before it"
    )
    keep_every: int = Field(
        default=50, ge=1, description="rounds between checkpoints that are kept, from which fedlm forget can restart"
    )
    timeout: float = Field(default=3600.0, gt=0, le=1e8, description="seconds that a round may take")
    patience: int = Field(
        default=0, ge=0, description="evaluations without an improvement before the run stops; 0 never stops early"
    )
    min_gain: float = Field(
        default=0.0, ge=0, description="smallest improvement that counts for patience, in nats per held-out token"
    )
    quorum: float = Field(
        default=0.0, ge=0, le=1, description="share of the cohort that must finish a round; otherwise the run stops"
    )
    # client
    model: str = Field(default="lstm", description="a model of fedlm models, with options (docs/models.md)")
    vocabulary: str = Field(
        default="chars", description="chars, bytes, words, bpe or private, with options (docs/models.md)"
    )
    vocabulary_text: str = Field(
        default="", exclude=True, description="content of a learned vocabulary's file", repr=False
    )
    seq_len: int = Field(default=80, ge=1, description="symbols per row; a document is cut into rows of this length")
    batch_size: int = Field(default=4, ge=1, description="rows of one client in a training step")
    local_epochs: int = Field(default=1, ge=1, description="passes over a client's training text per round")
    client_optimizer: str = Field(default="sgd(learning_rate=1.0)", description="sgd, adam or adagrad, with options")
    client_schedule: str = Field(
        default="constant",
        description="factor of the client's learning rate by round: constant, step, exponential, linear or "
        "cosine, with options (docs/models.md)",
    )
    proximal_mu: float = Field(
        default=0.0,
        ge=0,
        description="FedProx: adds mu / 2 times the squared distance to the global weights to the loss",
    )
    l1: float = Field(default=0.0, ge=0, description="factor of the sum of |w| over the kernels, added to the loss")
    l2: float = Field(default=0.0, ge=0, description="factor of the sum of w^2 over the kernels, added to the loss")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="weight of the uniform distribution in the training targets"
    )
    client_patience: int = Field(
        default=0, ge=0, description="local epochs without an improvement before a client stops; 0 never stops early"
    )
    client_holdout: float = Field(
        default=0.2, gt=0, lt=1, description="share of a client's training rows that client_patience watches"
    )
    # server
    strategy: str = Field(
        default="FedAvg", description="a strategy of Flower by its name, or your own by its import path, with options"
    )
    server_schedule: str = Field(
        default="constant",
        description="share of the strategy's step that is taken, by round; the same schedules as the client's",
    )
    weighting: str = Field(
        default="tokens", description="weight of a client in the mean: tokens, uniform or capped(tokens=N)"
    )
    algorithm: str = Field(
        default="fedavg", description="a file of fedlm/algorithms, or package.module:Class of your own, with options"
    )
    aggregation: str = Field(
        default="open", description="how the sums of nodes become one: a file of fedlm/aggregation, with options"
    )
    drift: bool = Field(
        default=False,
        description="records the norm of the updates and their cosine to the mean; costs a second sum per round",
    )
    # privacy
    mechanism: str = Field(
        default="none", description="a file of fedlm/privacy/mechanisms, with options (docs/differential-privacy.md)"
    )
    clip_norm: float = Field(
        default=0.0,
        ge=0,
        description="L2 bound of a client's update; under adaptive clipping, the bound of the first round",
    )
    noise_multiplier: float = Field(
        default=0.0, ge=0, description="standard deviation of the noise divided by the sensitivity"
    )
    sampling_rate: float = Field(
        default=0.0, ge=0, le=1, description="probability that a client takes part in a round (Poisson sampling)"
    )
    population_weight: float = Field(
        default=0.0, ge=0, description="public estimate of the sum of min(tokens, cap) over all clients"
    )
    noise_cohort_size: int = Field(
        default=0, ge=0, description="cohort size of the deployment that a simulation represents; 0 is cohort_size"
    )
    delta: float = Field(
        default=1e-5, gt=0, lt=1, description="delta at which epsilon is stated; choose it well below 1 / clients"
    )
    epsilon_budget: float = Field(
        default=0.0, ge=0, description="privacy budget: the run stops before epsilon exceeds it; 0 sets no budget"
    )
    reproducible: bool = Field(
        default=False, description="derives the noise from the seed; the run then has no privacy guarantee"
    )
    # preparation
    scrub: str = Field(default="full", description="full, patterns or none, with options (docs/scrubbing.md)")
    partition: str = Field(
        default="",
        description="how documents are distributed over new clients, such as dirichlet(alpha=0.1); empty keeps the users",
    )
    max_clients: int = Field(default=0, ge=0, description="clients that are kept, drawn by the seed; 0 keeps all")
    min_documents: int = Field(default=2, ge=1, description="documents that a client must have to be kept")
    holdout_fraction: float = Field(
        default=0.2, ge=0, lt=1, description="share of a client's documents, the last ones, that is held out"
    )
    pseudonym_key: str = Field(
        default="",
        description="a key file, seed or random; empty is seed for a built-in corpus and random for your own",
    )

    if not TYPE_CHECKING:  # a type checker sees the constructor that Pydantic derives from the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise first_mistake(error, type(self).model_fields) from None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Gives renamed keys their new names, and a pretrained model the vocabulary of its preset."""
        if not isinstance(values, dict):
            return values
        values = with_new_names(values)
        model = values.get("model")
        if isinstance(model, str) and is_pretrained(check_model(model).name):
            return {"vocabulary": PRESET_VOCABULARY, **values}
        return values

    @field_validator(*_CHECKS)
    @classmethod
    def _is_known(cls, value: str, about: ValidationInfo) -> str:
        _CHECKS[str(about.field_name)](value)
        return value

    @field_validator("vocabulary_text")
    @classmethod
    def _is_the_vocabulary(cls, value: str, others: ValidationInfo) -> str:
        if value and "vocabulary" in others.data:
            vocabulary(others.data["vocabulary"], value)
        return value

    @model_validator(mode="after")
    def _vocabulary_fits(self) -> Self:
        if (self.vocabulary == PRESET_VOCABULARY) != is_pretrained(self.spec("model").name):
            raise ConfigError(
                f"The vocabulary {self.vocabulary!r} does not fit the model {self.spec('model').name}: a pretrained model "
                "uses the vocabulary of its preset (omit the key), and no other model does."
            )
        return self

    @model_validator(mode="after")
    def _releases_are_covered(self) -> Self:
        """Under differential privacy, refuses what would depend on figures that are released without noise."""
        self.privacy.check()
        for key, reads in (("patience", "held-out figures"), ("quorum", "the number of clients trained")):
            if self.privacy.on and getattr(self, key):
                raise ConfigError(f"{key} reads {reads} without noise: leave it 0 under differential privacy.")
        if self.privacy.on and self.drift:
            raise ConfigError("drift is not covered by noise: leave it off under differential privacy.")
        algorithm = build_algorithm(self.spec("algorithm"))
        if self.privacy.on and algorithm.sends:
            raise ConfigError(
                f"algorithm={self.algorithm} sends sums that no noise covers: choose another under differential privacy."
            )
        build_aggregation(self.spec("aggregation"))
        return self

    @property
    def privacy(self) -> PrivacySettings:
        """The keys of differential privacy, with their meaning."""
        keys = [f.name for f in fields(PrivacySettings) if f.name not in ("mechanism", "traits", "weighting")]
        return PrivacySettings(
            mechanism=self.spec("mechanism"),
            traits=mechanism_traits(self.spec("mechanism")),
            weighting=self.spec("weighting"),
            **{k: getattr(self, k) for k in keys},
        )

    @classmethod
    def load(cls, base: "Path | RunConfig | None" = None, overrides: Sequence[str] = ()) -> Self:
        """Reads a configuration and `key=value` overrides.

        Args:
          base: a TOML file, or a configuration; None starts from the defaults. Files that it names (a vocabulary, a
            preset) are found from the TOML file's folder, those of overrides from the working directory.
          overrides: `key=value`, each value as text.

        Raises:
          ConfigError: the file is missing or not TOML, a key is unknown, or a value is invalid.

        >>> RunConfig.load(None, ["rounds=3"]).rounds
        3
        """
        folder = base.parent if isinstance(base, Path) else Path()
        values = base.given() if isinstance(base, RunConfig) else {} if base is None else read_toml(base)
        config = cls.checked(with_overrides(values, overrides, folder))
        if config.vocabulary == PRESET_VOCABULARY and is_here(config.spec("model")):
            config.vocab  # noqa: B018 - a damaged preset is reported before anything is made
        return config

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Returns the configuration of some values, which may come from a remote machine.

        Raises:
          ConfigError: they are no mapping, a key is unknown, or a value is invalid.
        """
        if not isinstance(values, Mapping):
            raise ConfigError("A configuration is a mapping from keys to values.")
        return cls(**values)

    def given(self) -> dict[str, Any]:
        """Returns the keys that were set, not those left at their defaults, and a learned vocabulary's content."""
        text = {"vocabulary_text": self.vocabulary_text} if self.vocabulary_text else {}
        return {**self.model_dump(exclude_unset=True), **text}

    @property
    def num_workers(self) -> int:
        """Worker processes to start."""
        return self.workers or os.cpu_count() or 1

    @property
    def vocab(self) -> Vocabulary:
        """The vocabulary, opened."""
        if self.vocabulary == PRESET_VOCABULARY:
            return preset_of(self.spec("model"), self.seq_len).vocabulary
        return vocabulary(self.vocabulary, self.vocabulary_text)

    def to_settings(self) -> str:
        """Returns what a node needs, as JSON: the configuration, and the content of a learned vocabulary."""
        return json.dumps({**self.model_dump(), "vocabulary_text": self.vocabulary_text})

    def spec(self, key: str) -> Spec:
        """Returns the parsed spec string of a key."""
        return parse_spec(getattr(self, key))

    def to_toml(self) -> str:
        """Returns the configuration as TOML, every key in the order of this class."""
        import tomli_w

        return tomli_w.dumps(self.model_dump())
