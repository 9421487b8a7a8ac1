"""Association of word vectors, by hand; what is planted is found, what is not is not; rare words do not count."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.data.planted import official_shares
from fedlm.errors import ConfigError, CorpusError, FedLMWarning
from fedlm.measure.metric import RunEvidence, WordVectors
from fedlm.measure.permutation import division_p
from fedlm.measure.word_vectors import (
    GENDER,
    WordTest,
    effect_size,
    occupation_words,
    read_word_tests,
    similarity,
    word_association,
    words_of,
)
from tests.support.running import fedlm, simulate

SIDES = [tuple(f"{side}{i}" for i in range(8)) for side in "xyab"]
TEST = WordTest((SIDES[0], SIDES[1]), (SIDES[2], SIDES[3]))


def drawn(rng: np.random.Generator, pull: float) -> WordVectors:
    """Random vectors; targets X are pulled to where A is, Y to where B is."""
    axis = np.eye(10)[0]
    centres = dict(zip("xyab", (pull * axis, -pull * axis, 2 * axis, -2 * axis), strict=True))
    return WordVectors({w: (centres[w[0]] + rng.standard_normal(10)).astype(np.float32) for s in SIDES for w in s})


def test_four_vectors_by_hand() -> None:
    x, y, a, b = (np.array([v]) for v in ([3.0, 4.0], [4.0, 3.0], [2.0, 0.0], [0.0, 5.0]))
    values = similarity(np.concatenate([x, y]), a, b)
    assert values == pytest.approx([0.6 - 0.8, 0.8 - 0.6])  # cosines, whatever the lengths
    assert effect_size(values, 1) == pytest.approx(-0.4 / math.sqrt(2 * 0.2**2))  # over n - 1 = 1
    assert division_p(values, np.ones(2), 1, 0) == 1  # both divisions are as far from 0
    assert math.isnan(effect_size(np.array([0.2, 0.2]), 1))
    assert np.isnan(similarity(np.zeros((1, 2)), a, b)).all()


def test_the_permutation_test_by_hand() -> None:
    ones = np.ones(4)
    assert division_p(np.array([1.0, 2.0, 4.0, 5.0]), ones, 2, 0) == pytest.approx(2 / 6)  # {1, 2} and {4, 5}
    weighted = division_p(np.array([2.0, 6.0, 1.0]), np.array([1.0, 2.0, 1.0]), 1, 0)
    assert weighted == pytest.approx(1)  # of one member: |2 - 7/3| = 1/3, |3 - 3/2|, |1 - 8/3|
    many = np.arange(40.0)
    assert division_p(many, np.ones(40), 20, 3) == 1 / 10_001 == division_p(-many, np.ones(40), 20, 4)


def test_a_planted_association_is_found_and_its_absence_is_not() -> None:
    rng, found, wrong = np.random.default_rng(0), 0, 0
    for _ in range(60):
        planted, absent = word_association(TEST, drawn(rng, 1.0)), word_association(TEST, drawn(rng, 0.0))
        assert planted.effect_size is not None and planted.p_value is not None and absent.p_value is not None
        found += planted.p_value < 0.05 and planted.effect_size > 0.5
        wrong += absent.p_value < 0.05
    assert found >= 50
    assert wrong <= 8  # of 60 at 5 %: more in 0.3 % of such tests
    swapped = WordTest((SIDES[1], SIDES[0]), TEST.attributes)
    vectors = drawn(rng, 1.0)
    there, back = word_association(TEST, vectors), word_association(swapped, vectors)
    assert there.effect_size is not None and back.effect_size == pytest.approx(-there.effect_size)


def test_rare_and_unknown_words_do_not_count_and_too_few_are_told() -> None:
    vectors = drawn(np.random.default_rng(1), 1.0).vectors
    counts = dict.fromkeys(vectors, 20) | dict.fromkeys(("x0", "x1", "x2", "x3"), 19)
    enough = word_association(TEST, WordVectors(vectors, counts))
    assert enough.left == (4, 8, 8, 8) and enough.effect_size is not None and not enough.reason
    counts["x4"] = 19
    few = word_association(TEST, WordVectors(vectors, counts))
    assert few.left == (3, 8, 8, 8) and few.effect_size is None and few.p_value is None
    assert "3, 8, 8, 8" in few.reason and "20 times" in few.reason
    unknown = {w: v for w, v in vectors.items() if w[0] != "b"}
    assert "each needs 4" in word_association(TEST, WordVectors(unknown)).reason
    same = WordVectors({w: np.ones(3, np.float32) for w in vectors})
    zero = WordVectors({w: np.zeros(3, np.float32) for w in vectors})
    assert all("do not differ" in word_association(TEST, v).reason for v in (same, zero))


def test_a_study_omits_what_has_no_figure_and_says_why() -> None:
    vectors = drawn(np.random.default_rng(2), 1.0)
    found = words_of({"t": TEST}).figures(RunEvidence(words=lambda: vectors))
    assert found["words_left:t"] == 32 and found["words_d:t"] > 0.5 and found["words_p:t"] < 0.05
    with pytest.warns(FedLMWarning, match="No association of word vectors for t: Too few words"):
        none = words_of({"t": TEST}).figures(RunEvidence(words=lambda: WordVectors({})))
    assert none == {"words_left:t": 0}


def test_files_of_word_sets(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text('\ufeff{"t": {"targets": [["a", "a", "b"], ["c"]], "attributes": [["she"], ["he"]]}}')
    assert read_word_tests(file) == {"t": WordTest((("a", "b"), ("c",)), (("she",), ("he",)))}
    for content, says in (
        ("{}", "no test in it"),
        ("[]", "not a file of word sets"),
        ('{"t": {"targets": [["truck driver"], ["c"]], "attributes": [["she"], ["he"]]}}', "of single words"),
        ('{"t": {"targets": [["a"], []], "attributes": [["she"], ["he"]]}}', "not a file of word sets"),
        ('{"t": {"targets": [["a"], ["a"]], "attributes": [["she"], ["he"]]}}', "has a word in both"),
        ("[" * 100_000, "is not JSON in UTF-8"),
    ):
        file.write_text(content)
        with pytest.raises(CorpusError, match=says) as caught:
            read_word_tests(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(b"\xff{}")
    with pytest.raises(CorpusError, match="UTF-8"):
        read_word_tests(file)
    with pytest.raises(CorpusError, match="no file of word sets"):
        read_word_tests(tmp_path / "none.json")


def test_occupations_are_single_words_on_the_side_of_their_majority() -> None:
    test = occupation_words({"nurse": 90.0, "smith": 3.0, "even": 50.0, "truck driver": 5.0})
    assert test == WordTest((("nurse",), ("smith",)), GENDER)
    assert min(map(len, occupation_words(official_shares()).targets)) >= 8


@pytest.mark.parametrize("vocabulary", ["chars", "bytes"])
def test_models_without_words_are_refused(vocabulary: str) -> None:
    from fedlm.training.word_vectors import check_words

    with pytest.raises(ConfigError, match="not one of words"):
        check_words(RunConfig(vocabulary=vocabulary))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["lstm(units=8, layers=1)", "gru(units=8, layers=1)", "transformer(width=16, heads=2)"]
)
@pytest.mark.parametrize("tied", [False, True])
def test_the_vectors_are_the_rows_of_the_embedding(model: str, tied: bool) -> None:
    from fedlm.training.trainer import LocalTrainer
    from fedlm.training.word_vectors import word_vectors

    text = json.dumps({"format": "fedlm vocabulary 1", "kind": "words", "symbols": [" ", "\n", " she", " he", "she"]})
    spec = model[:-1] + ", tied=True)" if tied else model
    config = RunConfig(model=spec, vocabulary="words(file='v.json')", vocabulary_text=text, seq_len=12)
    trainer = LocalTrainer(config)
    found = word_vectors(config, trainer.weights, ["she and she", " he he"])
    assert set(found.vectors) == {"she", "he"} and found.counts == {"she": 1, "he": 2}
    ids = config.vocab.encode(" she")
    import keras

    layer = next(
        x for x in trainer.model.layers if isinstance(x, keras.layers.Embedding) and x.input_dim == config.vocab.size
    )
    np.testing.assert_array_equal(found.vectors["she"], layer(ids)[0].numpy())
    assert word_vectors(config, trainer.weights, None).count("she") == math.inf


@pytest.mark.slow
@pytest.mark.flower
def test_evaluate_prints_the_association_or_why_there_is_none(tmp_path: Path) -> None:
    words = [f" {w}" for s in SIDES for w in s]
    (tmp_path / "v.json").write_text(
        json.dumps({"format": "fedlm vocabulary 1", "kind": "words", "symbols": [" ", *words]})
    )
    lines = [json.dumps({"user": u, "text": "".join(words)}) for u in "abc" for _ in range(10)]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    sets = {"targets": [list(s) for s in SIDES[:2]], "attributes": [list(s) for s in SIDES[2:]]}
    (tmp_path / "t.json").write_text(json.dumps({"mine": sets}))
    settings = ["scrub=none", "rounds=1", "cohort_size=2", "model=lstm(units=8, layers=1)", "seq_len=20"]
    simulate("r", tmp_path, corpus="c.jsonl", settings=[*settings, "vocabulary=words(file='v.json')"])
    told = fedlm("evaluate", "r", "--words", "t.json", cwd=tmp_path).stdout
    assert "mine: d " in told and "8 + 8 target and 8 + 8 attribute words" in told and "(permutation, exact)" in told
    assert "occur 20 times and more" in told
    none = fedlm("evaluate", "r", "--words", "occupations", cwd=tmp_path).stdout
    assert "occupations: none. Too few words: of the four sets 0, 0, 0, 0" in none
    (tmp_path / "r" / "vault.db.key").rename(tmp_path / "k")
    assert "training text is not at hand" in fedlm("evaluate", "r", "--words", "t.json", cwd=tmp_path).stdout
    simulate("chars", tmp_path, corpus="c.jsonl", settings=settings)
    refused = fedlm("evaluate", "chars", "--words", "t.json", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "not one of words" in refused.stderr
