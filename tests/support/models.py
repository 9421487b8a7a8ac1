"""Small instances of every model, and configurations of small shapes."""

from pathlib import Path
from typing import Any

import pytest

from fedlm.config import RunConfig
from fedlm.models.catalog import is_pretrained, model_names, model_options, preset_kind
from fedlm.spec import Spec

TOY = "tests.support.toys.toy_model:build"  # a model of one's own, in one file outside fedlm
MODELS = [*model_names(), TOY]


def small(name: str) -> str:
    """Returns the spec of a small instance: widths (8 or more by default) are at most 16, numbers of parts at most 1."""
    sizes = {k: v for k, v in model_options(name).items() if type(v) is int}
    return str(Spec(name, {k: min(v, 16 if v >= 8 else 1) for k, v in sizes.items()}))


def contract_spec(name: str, presets: Path) -> str:
    """Returns the spec of a small instance of any model; a pretrained one comes from a random preset, saved in `presets`."""
    if not is_pretrained(name):
        return small(name)
    from tests.support.presets import save_preset

    folder = presets / name
    if not folder.exists():
        save_preset(preset_kind(name), folder)
    return str(Spec(name, {"preset": str(folder), "lora_rank": 2}))


TINY = {name: small(name) for name in MODELS if not is_pretrained(name)}
VARIANTS = [
    *TINY.values(),
    "lstm(units=12, layers=2)",
    "lstm(units=8, layers=1, projection=6, embedding=5)",
    "lstm(units=8, layers=1, tied=True, cifg=True)",
    "gru(units=8, layers=1, tied=True, dropout=0.2, input_dropout=0.1, recurrent_dropout=0.3)",
    "lstm(units=8, cifg=True, dropout=0.2, recurrent_dropout=0.3)",
    "lstm(units=8, dropout=0.2, recurrent_dropout=0.3)",
    "rnn(units=8, layers=2, tied=True)",
    "transformer(width=8, layers=1, heads=2, positions='rotary', tied=True, dropout=0.1)",
]


@pytest.fixture
def tiny_config() -> Any:
    """Returns a configuration of small shapes, with other values on top."""

    def make(**values: object) -> RunConfig:
        return RunConfig.checked({"seq_len": 10, "batch_size": 2, "vocabulary": "chars(placeholders=0)", **values})

    return make
