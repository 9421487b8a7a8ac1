"""Sizes known from the literature or by hand, dropout, and specs that are refused; what every model must do: test_contract.py."""

from typing import Any

import numpy as np
import pytest

from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model
from fedlm.models.registry import build_model
from fedlm.training.trainer import LocalTrainer
from tests.support.models import VARIANTS

pytestmark = pytest.mark.slow
VOCAB, STEPS = 11, 7


def ids(seed: int, rows: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, VOCAB, (rows, STEPS)).astype(np.int32)


@pytest.mark.parametrize(
    ("spec", "vocab_size", "count"),
    [
        ("lstm", 90, 820_522),  # McMahan et al. 2017
        ("lstm(units=670, layers=1, embedding=96, projection=96)", 10_004, 4_050_748),  # Reddi et al. 2021
        # by hand: embedding 5 * 3, W 3 * 4, U 4 * 4, b 4, V 4 * 5, c 5
        ("rnn(units=4, layers=1, embedding=3)", 5, 15 + 12 + 16 + 4 + 20 + 5),
        ("lstm(units=4, layers=1, embedding=3, cifg=True)", 5, 15 + 3 * (12 + 16 + 4) + 20 + 5),
        ("gru(units=4, layers=1, embedding=3, tied=True)", 5, 15 + 3 * (12 + 16 + 8) + (12 + 3)),
    ],
)
def test_parameter_counts(spec: str, vocab_size: int, count: int) -> None:
    assert build_model(spec, vocab_size, 20).count_params() == count


@pytest.mark.parametrize("spec", ["lstm(units=8)", *(v for v in VARIANTS if "dropout" in v)])
def test_dropout_is_off_in_evaluation_and_seeded_in_training(spec: str, tiny_config: Any) -> None:
    trainer = LocalTrainer(tiny_config(model=spec, client_optimizer="sgd(learning_rate=0.1)"))
    start = trainer.weights

    def update(seed: int) -> list[bytes]:
        return [u.tobytes() for u in trainer.train(start, ["hello world"], np.random.default_rng(seed))[0]]

    first = update(1)
    assert trainer.evaluate(start, ["hello"]) == trainer.evaluate(start, ["hello"])
    update(2)
    assert update(1) == first
    one_row = [u.tobytes() for u in trainer.train(start, ["hi"], np.random.default_rng(1))[0]]
    other = [u.tobytes() for u in trainer.train(start, ["hi"], np.random.default_rng(2))[0]]
    assert (one_row == other) == ("dropout" not in spec)  # one row cannot be shuffled: only masks differ
    assert trainer.traces == 1


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm", "lstm(cifg=True)"])
def test_recurrent_dropout_alone_changes_training(model: str, tiny_config: Any) -> None:
    name, _, options = model.rstrip(")").partition("(")
    spec = f"{name}(units=8, recurrent_dropout={{}}{', ' if options else ''}{options})"
    without, half = (LocalTrainer(tiny_config(model=spec.format(rate))) for rate in (0.0, 0.5))
    rng = np.random.default_rng
    assert any(
        a.tobytes() != b.tobytes()
        for a, b in zip(
            without.train(without.weights, ["hi"], rng(1))[0], half.train(half.weights, ["hi"], rng(1))[0], strict=True
        )
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("elmo", "There is no model 'elmo': use bert, gpt2, gru, lstm, rnn, transformer"),
        ("lstm(size=3)", "its options are: units, layers"),
        ("rnn(units='x')", "is not a whole number"),
        ("rnn(units=True)", "is not a whole number"),
        ("gru(dropout='x')", "is not a number"),
        ("gru(dropout=1.0)", "not a share of at least 0 and below 1"),
        ("lstm(recurrent_dropout=-0.1)", "not a share of at least 0 and below 1"),
        ("rnn(units=0)", "is below 1"),
        ("rnn(projection=-1)", "is below 0"),
        ("gpt2(lora_alpha=0.0)", "not a positive number"),
    ],
)
def test_wrong_specs_name_the_right_ones(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_model(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "lstm(tied=True, projection=3)",
        "transformer(width=10, heads=3)",
        "transformer(width=6, heads=2, positions='rotary')",
        "transformer(positions='none')",
    ],
)
def test_values_out_of_range(spec: str) -> None:
    with pytest.raises(ConfigError, match="cannot be built: Expected"):
        build_model(spec, VOCAB, STEPS)


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("narrow", r"\(None, 5, 8\)"),
        ("last_only", r"\(None, 9\)"),
        ("two_outputs", r"\[\(None, 5, 9\), \(None, 5, 9\)\]"),
        ("nothing", "NoneType"),
    ],
)
def test_a_model_whose_outputs_are_no_logits_is_refused(name: str, got: str) -> None:
    with pytest.raises(ConfigError, match=rf"logits of shape \(batch, 5, 9\), not {got}\."):
        build_model(f"tests.support.odd_models:{name}", 9, 5)
