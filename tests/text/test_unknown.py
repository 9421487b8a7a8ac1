"""A model gains nothing from text that its vocabulary cannot write."""

import math
import sys
import unicodedata
import warnings

import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.errors import FedLMWarning
from fedlm.measure.text import summary
from fedlm.text.learned import learn
from fedlm.text.preset_vocabulary import word_pieces
from fedlm.text.registry import vocabulary
from fedlm.text.rows import whole_rows
from fedlm.text.unknown import LONGEST_SPELLING, spelling, unknown_characters, warn_of_unknown
from fedlm.text.vocabulary import UNKNOWN, Vocabulary
from fedlm.training.trainer import LocalTrainer
from fedlm.types import TextMetrics

WORDS = "words(file='v.json')"
CHARS, BYTES = vocabulary("chars"), vocabulary("bytes")


def words() -> Vocabulary:
    return vocabulary(WORDS, learn(["the cat sat on the mat ."], "words", 60))


def pairs() -> Vocabulary:
    return vocabulary("bpe(file='v.json')", learn(["the cat sat on the mat ."], "bpe", 320))


SCRIPTS = {unicodedata.name(chr(c), "CJK").split()[0]: chr(c) for c in range(0x370, sys.maxunicode) if chr(c).isalpha()}


@pytest.mark.parametrize("letter", SCRIPTS.values(), ids=SCRIPTS)
def test_a_letter_of_any_script_costs_its_bytes(letter: str) -> None:
    for vocab in (CHARS, words()):
        found = spelling([f"a{letter}"], vocab)
        assert found.loss_sum == pytest.approx(8 * math.log(2) * len("".join(vocab.unknown(f"a{letter}")).encode()))
    assert spelling([letter], BYTES) == spelling([letter], pairs()) == TextMetrics()


def test_by_hand() -> None:
    # "да" is two letters of two bytes; the vocabulary of words has no " да", which is a space and four bytes.
    assert spelling(["да", "x"], CHARS) == TextMetrics(loss_sum=4 * 8 * math.log(2))
    found = spelling(["the да"], words())
    assert (found.loss_sum, found.characters) == (5 * 8 * math.log(2), 2)  # three characters, one counted by its id
    assert (unknown_characters(["the да"], words()), unknown_characters(["the да"], CHARS)) == (3, 2)


@pytest.mark.parametrize("vocab", [CHARS, BYTES, words(), pairs()], ids=lambda v: v.name)
@pytest.mark.parametrize("text", ["", "plain", "да, the кот sat", "\U0001f600" * 3, "x\ud800y", "\ue000\n\r\u2028"])
def test_pieces_are_the_ids_that_are_unknown(vocab: Vocabulary, text: str) -> None:
    if "\ud800" in text and vocab in (BYTES, pairs()):
        pytest.skip("no vault holds text that is no UTF-8")
    assert len(vocab.unknown(text)) == int((vocab.encode(text) == UNKNOWN).sum())


def test_a_long_word_stays_within_the_bounds_of_replies() -> None:
    found = spelling(["ы" * (LONGEST_SPELLING + 500)], words())
    assert found.characters == LONGEST_SPELLING - 1
    assert found.loss_sum == pytest.approx(LONGEST_SPELLING * 2 * 8 * math.log(2))


def test_word_pieces_leave_unknown_words_out() -> None:
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    vocab = word_pieces([*specials, "the", "##m"], lowercase=True, strip_accents=True)
    text = "the \U0001f600 \u16a0"
    assert len(vocab.unknown(text)) == int((vocab.encode(text) == UNKNOWN).sum()) > 0
    inputs, targets = whole_rows([text], vocab, 8)
    assert UNKNOWN in inputs
    assert UNKNOWN not in targets


def test_a_model_that_knows_nothing_but_unknown_scores_badly() -> None:
    """All the probability on the unknown symbol: 0 nats by its id, and every character of Russian text at 16 bits."""
    trainer = LocalTrainer(RunConfig.checked({"model": "lstm(units=4, layers=1)", "seq_len": 8, "batch_size": 2}))
    *rest, bias = (np.zeros_like(w) for w in trainer.weights)
    bias[UNKNOWN] = 50.0
    found = trainer.evaluate((*rest, bias), ["привет"])  # and the end symbol, at 50 nats
    assert (found.correct, found.tokens, found.characters) == (0, 7, 7)
    assert summary(found)["bits_per_char"] == pytest.approx((6 * 16 + 50 / math.log(2)) / 7, rel=1e-4)


@pytest.mark.parametrize(
    ("unknown", "characters", "told"), [(0, 0, False), (1, 100, False), (2, 100, True), (5, 5, True)]
)
def test_a_user_is_told(unknown: int, characters: int, told: bool) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_unknown(unknown, characters, "chars(placeholders=0)")
        warn_of_unknown(unknown, characters, WORDS)
    assert [w.category for w in found] == [FedLMWarning] * told
