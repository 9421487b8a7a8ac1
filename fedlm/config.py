"""The configuration of a run: one frozen, validated model. Keys are snake_case, unknown keys are refused."""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from fedlm.aggregation.registry import build_aggregation
from fedlm.algorithms.registry import build_algorithm
from fedlm.artifacts import is_here, preset_of, with_preset, with_vocabulary
from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, is_pretrained
from fedlm.privacy.mechanisms.registry import mechanism_traits
from fedlm.privacy.settings import PrivacySettings
from fedlm.privacy.vocabulary import NAME, check_private
from fedlm.schedules import check_schedule
from fedlm.spec import Spec, parse_spec
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import Vocabulary

CLIENT_OPTIMIZERS = {
    "sgd": {"learning_rate": 1.0, "momentum": 0.0, "clip_norm": 0.0},
    "adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "clip_norm": 0.0},
    "adagrad": {"learning_rate": 0.01, "initial": 0.1, "epsilon": 1e-7, "clip_norm": 0.0},
}
"""The client optimizers, their options and defaults."""

PRESET_VOCABULARY = "preset"
"""The vocabulary of a pretrained model: its preset's."""


class RunConfig(BaseModel):
    """Defaults are the published Shakespeare setting (Reddi et al. 2021, https://arxiv.org/abs/2003.00295)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # run
    seed: int = Field(0, ge=0, lt=2**63, description="of first weights, cohorts, batches, dropout and partition")
    rounds: int = Field(100, ge=0, description="rounds in all, with those before a --resume")
    cohort_size: int = Field(10, ge=1, description="clients drawn a round; under privacy, clients expected")
    eval_every: int = Field(20, ge=1, description="rounds between evaluations")
    eval_clients: int = Field(0, ge=0, description="clients evaluated; 0 is all")
    workers: int = Field(0, ge=0, description="worker processes; 0 is one per core")
    checkpoint_every: int = Field(1, ge=1, description="rounds between checkpoints; each takes the last one's place")
    keep_every: int = Field(50, ge=1, description="rounds between checkpoints that stay, for fedlm forget")
    timeout: float = Field(3600.0, gt=0, le=1e8, description="seconds that a round may take")
    patience: int = Field(0, ge=0, description="evaluations without a gain before the run stops; 0 never stops early")
    min_gain: float = Field(0.0, ge=0, description="smallest gain that counts, nats per held-out token")
    quorum: float = Field(0.0, ge=0, le=1, description="share of a cohort that must be trained, or the run stops")
    # client
    model: str = Field("lstm", description="a name of fedlm models, with options (docs/models.md)")
    vocabulary: str = Field("chars", description="chars, bytes, words, bpe or private, with options (docs/models.md)")
    vocabulary_text: str = Field(
        "", exclude=True, description="content of the file of a learned vocabulary", repr=False
    )
    seq_len: int = Field(80, ge=1, description="symbols a row; a document is cut into rows")
    batch_size: int = Field(4, ge=1, description="rows of a client in a training step")
    local_epochs: int = Field(1, ge=1, description="passes over a client's text a round")
    client_optimizer: str = Field("sgd(learning_rate=1.0)", description="sgd, adam or adagrad, with options")
    client_schedule: str = Field("constant", description="factor of its learning rate by round (fedlm/schedules.py)")
    proximal_mu: float = Field(
        0.0, ge=0, description="FedProx: mu / 2 times the squared distance to the global weights"
    )
    l1: float = Field(0.0, ge=0, description="times the sum of |w| over kernels")
    l2: float = Field(0.0, ge=0, description="times the sum of w * w over kernels")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the uniform distribution in the targets")
    client_patience: int = Field(0, ge=0, description="local epochs without a gain before a client stops; 0 never")
    client_holdout: float = Field(0.2, gt=0, lt=1, description="share of a client's rows that client_patience watches")
    # server
    strategy: str = Field("FedAvg", description="Flower's, by name, or one's own by import path, with options")
    server_schedule: str = Field("constant", description="share of the strategy's step that is taken, by round")
    weighting: str = Field("tokens", description="of a client in the mean: tokens, uniform or capped(tokens=N)")
    algorithm: str = Field("fedavg", description="a file of fedlm/algorithms, or package.module:Class, with options")
    aggregation: str = Field("open", description="how nodes' sums become one: open, or per_client")
    drift: bool = Field(False, description="measure norm and cosine of updates to their mean, by a second sum a round")
    # privacy (docs/differential-privacy.md)
    mechanism: str = Field("none", description="none, gaussian, adaptive (with options) or local")
    clip_norm: float = Field(0.0, ge=0, description="L2 bound of a client's update; under adaptive, in the first round")
    noise_multiplier: float = Field(0.0, ge=0, description="standard deviation of the noise over the sensitivity")
    sampling_rate: float = Field(0.0, ge=0, le=1, description="under privacy, each client's probability a round")
    population_weight: float = Field(0.0, ge=0, description="public estimate of all min(tokens, cap) together")
    noise_cohort_size: int = Field(0, ge=0, description="the cohort that a simulation stands for; 0 is cohort_size")
    delta: float = Field(1e-5, gt=0, lt=1, description="where epsilon is stated; choose it below 1 / clients")
    epsilon_budget: float = Field(0.0, ge=0, description="the run stops before it is passed; 0 is no budget")
    reproducible: bool = Field(False, description="noise from the seed; the ledger then says: no guarantee")
    # preparation
    scrub: str = Field("full", description="full, patterns or none, with options (docs/scrubbing.md)")
    partition: str = Field("", description="how documents are split among clients anew; empty keeps their users")
    max_clients: int = Field(0, ge=0, description="clients kept, drawn by the seed; 0 is all")
    min_documents: int = Field(2, ge=1, description="clients with fewer documents are left out")
    holdout_fraction: float = Field(0.2, ge=0, lt=1, description="share of a client's documents, the last, held out")
    pseudonym_key: str = Field("", description="a key file, seed or random; empty: seed if built in, else random")

    @model_validator(mode="before")
    @classmethod
    def _vocabulary_of_a_preset(cls, values: Any) -> Any:
        model = values.get("model") if isinstance(values, dict) else None
        if isinstance(model, str) and is_pretrained(check_model(model).name):
            return {"vocabulary": PRESET_VOCABULARY, **values}
        return values

    @field_validator("model")
    @classmethod
    def _known_model(cls, value: str) -> str:
        check_model(value)
        return value

    @field_validator("vocabulary")
    @classmethod
    def _known_vocabulary(cls, value: str) -> str:
        spec = parse_spec(value)
        if value == PRESET_VOCABULARY:
            return value
        if spec.name == NAME:
            check_private(value)
        elif not (spec.name in ("words", "bpe") and set(spec.options) - {"sha256"} == {"file"}):
            vocabulary(value)
        return value

    @field_validator("vocabulary_text")
    @classmethod
    def _right_vocabulary(cls, value: str, others: ValidationInfo) -> str:
        if value and "vocabulary" in others.data:
            vocabulary(others.data["vocabulary"], value)
        return value

    @field_validator("client_optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        spec = parse_spec(value)
        if spec.name not in CLIENT_OPTIMIZERS:
            raise ConfigError(f"the client optimizers are: {', '.join(CLIENT_OPTIMIZERS)}")
        known = CLIENT_OPTIMIZERS[spec.name]
        for name, number in spec.options.items():
            if name not in known:
                raise ConfigError(f"{spec.name} has no option {name!r}; its options are: {', '.join(known)}")
            if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
                raise ConfigError(f"{name}={number!r} is not a number >= 0")
        return value

    @field_validator("client_schedule", "server_schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        check_schedule(value)
        return value

    @field_validator("weighting")
    @classmethod
    def _known_weighting(cls, value: str) -> str:
        spec = parse_spec(value)
        capped = spec.name == "capped" and isinstance(spec.options.get("tokens"), int) and spec.options["tokens"] >= 1
        if not (capped or (spec.name in ("tokens", "uniform") and not spec.options)):
            raise ConfigError("weighting is tokens, uniform or capped(tokens=N)")
        return value

    @model_validator(mode="after")
    def _vocabulary_fits(self) -> Self:
        if (self.vocabulary == PRESET_VOCABULARY) != is_pretrained(self.spec("model").name):
            raise ConfigError(
                f"The vocabulary {self.vocabulary!r} does not go with the model {self.spec('model').name}: "
                "pretrained models have that of their preset (leave the key away), and others never have."
            )
        return self

    @model_validator(mode="after")
    def _private_or_not(self) -> Self:
        self.privacy.check()
        for key, reads in (("patience", "held-out figures"), ("quorum", "the number of clients trained")):
            if self.privacy.on and getattr(self, key):
                raise ConfigError(f"{key} reads {reads} without noise: leave it 0 under differential privacy.")
        if self.privacy.on and self.drift:
            raise ConfigError("drift is a figure that no noise covers: leave it off under differential privacy.")
        algorithm = build_algorithm(self.spec("algorithm"))
        if self.privacy.on and algorithm.sends:
            raise ConfigError(f"algorithm={self.algorithm} sends sums that no noise covers: not under a mechanism.")
        build_aggregation(self.spec("aggregation"))
        return self

    @property
    def privacy(self) -> PrivacySettings:
        """The privacy part."""
        keys = [f.name for f in fields(PrivacySettings) if f.name not in ("mechanism", "traits", "weighting")]
        return PrivacySettings(
            mechanism=self.spec("mechanism"),
            traits=mechanism_traits(self.spec("mechanism")),
            weighting=self.spec("weighting"),
            **{k: getattr(self, k) for k in keys},
        )

    @classmethod
    def load(cls, file: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Reads a TOML file and `key=value` overrides.

        Raises:
          ConfigError: the file is missing or not TOML, a key is unknown, or a value is out of range.
        """
        values: dict[str, Any] = {}
        folders = dict.fromkeys(("vocabulary", "model"), Path() if file is None else file.parent)
        if file is not None:
            try:
                values = tomllib.loads(file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise ConfigError(f"There is no configuration file {file}.") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{file} is not TOML: {error}.") from None
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise ConfigError(f"--set {override!r} is not key=value.")
            values[key.strip().replace("-", "_")] = value.strip()
            folders[key.strip()] = Path()  # where the command is given
        config = cls.checked(with_preset(with_vocabulary(values, folders["vocabulary"]), folders["model"]))
        if config.vocabulary == PRESET_VOCABULARY and is_here(config.spec("model")):
            config.vocab  # noqa: B018 - what is wrong with a preset is said before anything is made
        return config

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Validates values; the first mistake becomes one sentence."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise ConfigError(f"There is no configuration key {key!r}; the keys are: {known}.") from None
            if isinstance(ours := first.get("ctx", {}).get("error"), ConfigError):
                raise ours from None
            raise ConfigError(f"{key}={first['input']} does not do: {first['msg']}.") from None

    @property
    def num_workers(self) -> int:
        """Worker processes to start."""
        return self.workers or os.cpu_count() or 1

    @property
    def vocab(self) -> Vocabulary:
        """The vocabulary."""
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
        """Returns the configuration as TOML."""
        lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in self.model_dump().items())
        return "".join(lines).replace("\x7f", "\\u007f")  # the one character that JSON leaves as it is and TOML refuses
