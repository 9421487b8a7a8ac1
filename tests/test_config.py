"""A configuration is written as it is read."""

from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError


@pytest.mark.parametrize("text", ["plain", "quo\"te \\ 'n", "snow ☃ and beyond \U0001f600", "del \x7f tab \t"])
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    config = RunConfig.checked({"partition": text, "l2": 1e-300, "seed": 2**62})
    (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
    assert RunConfig.load(tmp_path / "c.toml") == config


@pytest.mark.parametrize(
    "value", ["timeout=inf", "timeout=1e10", "timeout=nan", "epsilon_budget=inf", "clip_norm=nan", "l2=inf"]
)
def test_numbers_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=value.split("=")[0]):
        RunConfig.load(None, [value])
