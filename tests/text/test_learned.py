"""Learned vocabularies: text comes back, characters are counted, files are checked."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.scrub.kinds import Kind
from fedlm.text.learned import learn, learned_vocabulary
from fedlm.text.vocabulary import UNKNOWN, Vocabulary

TEXT = ["the cat sat on the mat; the cat isn't a dog.", "The dog sat.\nthe end"]
PERSON = Kind.PERSON.placeholder


def made(kind: str, size: int = 330) -> Vocabulary:
    return learned_vocabulary("v", kind, learn(TEXT, kind, size))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters=map(chr, range(0xE026, 0xF900)))))
def test_pairs_give_every_text_back_and_count_its_characters(text: str) -> None:
    vocab = made("bpe")
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text
    assert vocab.characters[ids].sum() == len(text)


def test_words_give_known_text_back() -> None:
    vocab = made("words")
    for text in (*TEXT, f"the {PERSON} sat"):
        ids = vocab.encode(text)
        assert vocab.decode(ids) == text and vocab.characters[ids].sum() == len(text)
    ids = vocab.encode("the zebra sat")
    assert ids.tolist().count(UNKNOWN) == 1 and vocab.characters[UNKNOWN] == 1


def test_words_are_the_most_used_ones() -> None:
    assert made("words", 4 + 38 + 5).symbols[4:9] == (" ", "\n", " cat", " dog", " sat")  # twice each, as " the"


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_placeholders_are_one_symbol_and_learning_repeats(kind: str) -> None:
    vocab = made(kind)
    assert len(vocab.encode(PERSON)) == 1 and vocab.decode(vocab.encode(PERSON)) == PERSON
    assert learn(TEXT, kind, 330) == learn(TEXT, kind, 330)
    assert learned_vocabulary("v", kind, learn(TEXT, kind, 330)).size <= 330


def test_a_run_keeps_its_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(learn(TEXT, "bpe", 330))
    (tmp_path / "c.toml").write_text("vocabulary = \"bpe(file='v.json')\"\n")
    config = RunConfig.load(tmp_path / "c.toml")
    sent = RunConfig.checked(json.loads(config.to_settings()))  # what a node sees: no file of its own is opened
    assert sent.vocab.decode(sent.vocab.encode("cats")) == "cats"
    assert config.vocabulary_text not in config.to_toml() and "vocabulary_text" not in config.model_dump()
    (tmp_path / "run.toml").write_text(config.to_toml())
    (tmp_path / "vocabulary.json").write_text(learn([*TEXT, "more text"], "bpe", 330))
    with pytest.raises(ConfigError, match="not the one that this run was made with"):
        RunConfig.load(tmp_path / "run.toml")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": "fedlm vocabulary 1", "kind": "words", "symbols": ["a"]}',
        '{"format": "fedlm vocabulary 1", "kind": "bpe", "symbols": ["a", "a"], "merges": []}',
        '{"format": "fedlm vocabulary 1", "kind": "bpe", "symbols": ["a", 1], "merges": []}',
        '{"format": "fedlm vocabulary 1", "kind": "bpe", "symbols": ["a", "b"], "merges": [["a", "b"]]}',
        '{"format": "fedlm vocabulary 1", "kind": "bpe", "symbols": ["a b"], "merges": []}',
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(ConfigError, match="fedlm vocabulary") as caught:
        RunConfig.load(None, [f"vocabulary=bpe(file='{tmp_path}/v.json')"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "size"), [("words", 44), ("bpe", 297), ("letters", 900)])
def test_sizes_that_cannot_be(kind: str, size: int) -> None:
    with pytest.raises(ConfigError, match=r"size of a .* vocabulary|no kind of vocabulary"):
        learn(TEXT, kind, size)
