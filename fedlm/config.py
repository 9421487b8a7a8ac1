"""The configuration of a run: one frozen, validated model. Keys are snake_case, unknown keys are refused."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from fedlm.aggregation.registry import build_aggregation
from fedlm.algorithms.registry import build_algorithm
from fedlm.artifacts import is_here, preset_of
from fedlm.config_keys import Keys
from fedlm.config_values import CLIENT_OPTIMIZERS as CLIENT_OPTIMIZERS
from fedlm.config_values import PRESET_VOCABULARY as PRESET_VOCABULARY
from fedlm.config_values import (
    check_optimizer,
    check_vocabulary,
    check_weighting,
    first_mistake,
    overrides_of,
    read_toml,
    with_new_names,
    with_overrides,
)
from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, is_pretrained
from fedlm.plugins.trust import check_named, name_plugins, own_code, recogniser
from fedlm.privacy.mechanisms.registry import mechanism_traits
from fedlm.privacy.settings import PrivacySettings
from fedlm.schedules import check_schedule
from fedlm.spec import Spec, parse_spec
from fedlm.system.processors import processors
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Evaluated

_CHECKS: dict[str, Callable[[str], object]] = {
    "model": check_model,
    "vocabulary": check_vocabulary,
    "client_optimizer": check_optimizer,
    "client_schedule": check_schedule,
    "server_schedule": check_schedule,
    "weighting": check_weighting,
}
"""What checks the spec string of a key."""


class RunConfig(Keys):
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

    if not TYPE_CHECKING:  # a type checker sees the constructor that Pydantic derives from the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                ours = first_mistake(error, type(self).model_fields)
                raise ours from ours.__cause__  # of a plug-in: what it raised

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
    def _work_is_bounded(self) -> Self:
        if 0 < self.max_client_tokens < self.seq_len:
            raise ConfigError(
                f"max_client_tokens={self.max_client_tokens} is below seq_len={self.seq_len}, so no row could be trained on: "
                "raise it, or set 0 for no bound."
            )
        return self

    @model_validator(mode="after")
    def _steps_are_one_rule(self) -> Self:
        if not self.local_steps:
            return self
        for key, neutral in (("local_epochs", 1), ("client_patience", 0)):
            if getattr(self, key) != neutral:
                raise ConfigError(f"local_steps and {key} both say how long a client trains: set {key}={neutral}.")
        needed = self.local_steps * self.batch_size * self.seq_len
        if 0 < self.max_client_tokens < needed:
            raise ConfigError(
                f"local_steps={self.local_steps} of {self.batch_size} rows of {self.seq_len} symbols train on {needed} symbols, more "
                f"than max_client_tokens={self.max_client_tokens}: set max_client_tokens={needed}, or fewer steps."
            )
        return self

    @model_validator(mode="after")
    def _text_is_left(self) -> Self:
        if self.holdout_fraction + self.validation_fraction >= 1:
            raise ConfigError(
                f"holdout_fraction={self.holdout_fraction:g} and validation_fraction={self.validation_fraction:g} leave no text to "
                "train on: their sum must be below 1."
            )
        return self

    @model_validator(mode="after")
    def _releases_are_covered(self) -> Self:
        """Under differential privacy, refuses what would depend on figures that are released without noise."""
        self.privacy.check()
        if self.privacy.on and not self.max_client_tokens:
            raise ConfigError(
                "Differential privacy needs max_client_tokens, a public bound on a client's work in a round: without one, "
                "a client with much text can keep others from finishing. 8000 is a usual value."
            )
        for key, reads in (("patience", "figures of an evaluation"), ("quorum", "the number of clients trained")):
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
    def load(
        cls, base: "Path | RunConfig | None" = None, overrides: Sequence[str] = (), *, recorded: bool = False
    ) -> Self:
        """Reads a configuration and `key=value` overrides.

        Args:
          base: a TOML file, or a configuration; None starts from the defaults. Files that it names (a vocabulary, a
            preset) are found from the TOML file's folder, those of overrides from the working directory.
          overrides: `key=value`, each value as text.
          recorded: the file is a run's own, perhaps somebody else's run: code that it names must have been named by the
            user too.

        Raises:
          ConfigError: the file is missing or not TOML, a key is unknown, a value is invalid, or `recorded` names code that
            the user did not.

        >>> RunConfig.load(None, ["rounds=3"]).rounds
        3
        """
        folder = base.parent if isinstance(base, Path) else Path()
        values = base.given() if isinstance(base, RunConfig) else {} if base is None else read_toml(base)
        given = overrides_of(overrides)
        name_plugins(*own_code(given), *recogniser(given.get("scrub")))
        if recorded:
            check_named(own_code(values), base if isinstance(base, Path) else Path())
        name_plugins(*own_code(values), *(() if recorded else recogniser(values.get("scrub"))))
        config = cls.checked(with_overrides(values, given, folder))
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
    def steering(self) -> Evaluated:
        """The text that evaluation during training reads, and so all that it steers."""
        return Evaluated.VALIDATION if self.validation_fraction else Evaluated.HELD_OUT

    @property
    def num_workers(self) -> int:
        """Worker processes to start."""
        return self.workers or processors()

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
