"""BERT learns a planted sequence: all its weights from random ones, and only its adapters once it is pretrained.

A row of seven letters hides one of them, so its neighbours say which it is. (A text without blanks
would be one unknown word.) Beside random frozen weights adapters need some five times the steps:
what they adapt should have learned something.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.layers.pretrained import pretrained_part
from fedlm.training.trainer import LocalTrainer
from tests.support.presets import save_bert

pytestmark = pytest.mark.slow
ROUNDS, REPEATS = 8, 5


def learned(preset: Path, options: str, text: str) -> LocalTrainer:
    """Trains one client for some rounds, asserts that it fills what is hidden, and returns the trainer."""
    config = RunConfig.checked(
        {
            "model": f"bert(preset={str(preset)!r}, dropout=0.0{options})",
            "seq_len": 9,
            "batch_size": 8,
            "local_epochs": 10,
            "client_optimizer": "adam(learning_rate=0.01)",
            "client_schedule": f"cosine(rounds={ROUNDS})",
        }
    )
    trainer, documents = LocalTrainer(config), [text] * REPEATS
    assert len(config.vocab.encode(text)) == 200 and config.vocab.mask not in config.vocab.encode(text)
    weights = trainer.weights
    before = trainer.evaluate(weights, documents)
    for place in range(ROUNDS):
        update, training = trainer.train(weights, documents, np.random.default_rng(place), place + 1)
        weights = tuple(w + u for w, u in zip(weights, update, strict=True))
    after = trainer.evaluate(weights, documents)
    assert before.tokens == after.tokens == REPEATS * 29  # one of every row of seven, and of the last four
    assert before.correct / before.tokens < 0.5 and after.correct / after.tokens > 0.95  # chance is 0.2
    assert training.tokens == 10 * after.tokens  # ten other draws of masks
    assert training.correct / training.tokens > 0.95
    assert trainer.traces == 1
    return trainer


def test_bert_learns_a_planted_sequence_and_its_adapters_another(tmp_path: Path) -> None:
    first, second = save_bert(tmp_path / "random"), tmp_path / "pretrained"
    whole = pretrained_part(learned(first, ", lora_rank=0", "a b c d e " * 40).model)
    assert whole is not None
    shutil.copytree(first, second)
    whole.task.save_to_preset(str(second))
    adapted = learned(second, ", targets='query value attention_output feedforward_output_dense'", "b d a c e " * 40)
    part = pretrained_part(adapted.model)
    assert part is not None and len(part.adapters) == 4
    for frozen, pretrained in zip(part.task.variables, whole.task.variables, strict=True):
        np.testing.assert_array_equal(frozen, pretrained)  # only adapters have moved
