"""Small instances of every model, and a trainer of one."""

from typing import Any

import pytest

from fedlm.config import RunConfig

TINY = {
    "rnn": "rnn(units=16, layers=1)",
    "gru": "gru(units=12, layers=1)",
    "lstm": "lstm(units=16, layers=1)",
    "transformer": "transformer(width=16, layers=2, heads=2)",
}
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
