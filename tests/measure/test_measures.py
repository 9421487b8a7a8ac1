"""The measures by hand."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fedlm.data.planted import official_shares
from fedlm.errors import CorpusError
from fedlm.measure.amplification import amplification, data_log_odds
from fedlm.measure.bias import bias_by_kind, bias_of, bias_score
from fedlm.measure.centralised import compare
from fedlm.measure.distance import ngrams
from fedlm.measure.fairness import effective_number, standard_deviation
from fedlm.measure.groups import group_gap, group_losses
from fedlm.measure.heterogeneity import (
    LabelEntropies,
    describe,
    jensen_shannon_distance,
    label_entropy,
    unknown_share,
)
from fedlm.measure.local_only import share_worse_than_local
from fedlm.measure.metric import Continue, RunEvidence, Scorer
from fedlm.measure.pairs import Pair, read_pairs, template_pairs
from fedlm.measure.spans import Span, centred_log_odds, clustered, continuations, span_of
from fedlm.measure.text import summary
from fedlm.text.registry import vocabulary
from fedlm.types import TextMetrics


def test_perplexity_from_sums_by_hand() -> None:
    total = TextMetrics(10 * math.log(10), 0, 10, 10) + TextMetrics(90 * math.log(100), 0, 90, 90)
    assert summary(total)["perplexity"] == pytest.approx(10**1.9)  # exp((10 ln 10 + 90 ln 100) / 100) = 79.4
    assert summary(total)["bits_per_char"] == pytest.approx(1.9 * math.log2(10))


def test_fairness_by_hand() -> None:
    assert effective_number(np.array([2.0, 2.0, 2.0])) == pytest.approx(3)
    assert standard_deviation(np.array([1.0, 3.0])) == pytest.approx(math.sqrt(2))
    assert share_worse_than_local(np.array([2.0, 1.0]), np.array([1.0, 2.0])) == 0.5
    losses = group_losses(np.array([10.0, 30.0, 4.0, 4.0]), np.array([10.0, 10.0, 4.0, 4.0]), ["a", "a", "b", "b"])
    assert losses == {"a": 2.0, "b": 1.0} and group_gap(losses) == (1.0, "a")
    with pytest.raises(ValueError, match="one client only"):
        group_losses(np.ones(3), np.ones(3), ["a", "a", "b"])


def test_the_gap_is_signed_and_a_groups_excess_is_over_its_own_ceiling() -> None:
    before = {
        "bits_per_char": 2.4,
        "minority": 2.0,
        "minority_gap": -0.5,
        "group:a": 2.5,
        "group:b": 2.0,
    }  # better served
    after = {"bits_per_char": 2.6, "minority": 2.4, "minority_gap": -0.25, "group:a": 2.65, "group:b": 2.4}
    found = compare(after, before)
    assert found == pytest.approx(
        {
            "central_gap": 0.2,
            "minority_excess": 0.4,
            "excess_gap": 0.4 - 0.15,  # the unsigned gap fell from 0.5 to 0.25 while the minority paid more
            "group_excess:a": 0.15,
            "group_excess:b": 0.4,
        }
    )
    assert compare({"minority": 1.0}, {}) == {} and compare({"loss": 1.0}, {"loss": 1.0}) == {}


def test_heterogeneity_by_hand() -> None:
    assert ngrams(["abcd", "ab"], 3) == {"abc": 1, "bcd": 1}
    assert jensen_shannon_distance({"a": 2, "b": 2}, {"a": 1, "b": 1}) == 0
    # p = (1, 0), q = (1/2, 1/2), middle (3/4, 1/4): [log2(4/3) + (log2(2/3) + log2 2) / 2] / 2
    by_hand = (math.log2(4 / 3) + (math.log2(2 / 3) + 1) / 2) / 2
    assert jensen_shannon_distance({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(math.sqrt(by_hand))
    assert unknown_share(["ab\u00e9\u00e8"], vocabulary("chars")) == 0.5
    assert label_entropy(["a"] * 4) == 0
    assert label_entropy(["a", "a", "b", "c"]) == 1.5  # 1/2 log2 2 + 2 x 1/4 log2 4
    entropies = LabelEntropies()
    for labels in (["a", "b"], ["a", "a", "b", "c"]):
        entropies.add([{"play": value, "all": "x"} for value in labels])
    entropies.add([{"own": "y"}])  # what one client has says something about that client
    assert entropies.means(named=True) == {"all": 0, "play": 1.25}
    assert entropies.means(named=False) == {"label 1": 0, "label 2": 1.25}
    same = describe([["to be or not"]] * 3, [13, 13, 13], vocabulary("chars"))
    assert (
        same["size_gini"] == pytest.approx(0)
        and same["ngram_distance"] == same["ngram_excess"] == 0
        and same["clients"] == 3
    )


def flat(texts: Sequence[str]) -> list[TextMetrics]:
    """A model that knows nothing: every symbol costs log 128."""
    return [TextMetrics(math.log(128) * len(t), 0, len(t), len(t)) for t in texts]


def likes(word: str, nats: float, after: str = "") -> tuple[Scorer, Continue]:
    """The same with `nats` off a text for each time that `word` is in it, if `after` came before."""

    def continue_(pairs: Sequence[tuple[str, str]]) -> list[TextMetrics]:
        gains = [nats * t.count(word) * (after in b) for b, t in pairs]
        return [
            TextMetrics(f.loss_sum - gain, 0, f.tokens, f.characters)
            for gain, f in zip(gains, flat([t for _, t in pairs]), strict=True)
        ]

    return lambda texts: continue_([(after, t) for t in texts]), continue_


PAIRS = [
    Pair("the nurse, she wept", "the nurse, he  wept", "nurse", "nurse"),
    Pair("the smith, he  wept", "the smith, she wept", "smith", "smith"),
]


def test_bias_by_hand() -> None:
    nothing = bias_score(PAIRS, *likes("", 0.0))
    assert nothing.raw.mean == 0 and nothing.raw.includes_zero() and nothing.preferred == 0
    prior = likes("she", 0.7)
    she = bias_by_kind(PAIRS, *prior)
    assert she["nurse"].raw.mean == pytest.approx(0.7) and she["smith"].raw.mean == pytest.approx(-0.7)
    assert she["nurse"].per_symbol.mean == pytest.approx(0.7 / 19)
    assert she["nurse"].log_odds.count == 0  # one side only: the prior cannot be told from the stereotype
    assert bias_score(PAIRS, *prior).log_odds.mean == pytest.approx(0)  # the pronoun's prior is no bias
    learnt = bias_score(PAIRS, *likes("she", 1.4, after="nurse"))
    assert learnt.log_odds.mean == pytest.approx(0.7)  # half of the two sides' difference of 1.4
    weeps = bias_score(PAIRS, *likes("wept", 0.5, after="nurse, she"))
    assert weeps.after.mean == pytest.approx(0.25) and weeps.log_odds.mean == pytest.approx(0)
    with pytest.raises(ValueError, match="at least one pair"):
        bias_score([], *prior)


def test_a_rare_word_is_no_bias() -> None:
    pairs = [
        Pair("Some women sing well.", "Some men sing well.", "gender"),
        Pair("He is a xylographer", "He is a man", "job"),
    ]
    found = bias_score(pairs, *likes("men sing", 3.0))  # whole sentences: the frequent word is preferred
    assert found.after.mean == 0 and found.after.count == 1 and found.log_odds.count == 0


def test_where_sentences_differ() -> None:
    assert span_of(Pair("a b c", "a x y c", "")) == Span("a ", ("b", "x y"), " c")
    assert span_of(Pair("a b", "a b b", "")).sides == ("", " b") and span_of(Pair("a", "a", "")).sides == ("", "")
    assert span_of(Pair("He left.", "She left.", "")).pronouns == ("she", "he") and not span_of(PAIRS[1]).is_hers
    assert span_of(Pair("ask him.", "ask her.", "")).pronouns == ("her", "him")
    assert span_of(Pair("his cat", "her cat", "")).pronouns == ("her", "his")
    for text in ("", "x" * 90, "now and then " * 9, " " * 50):
        pieces = continuations("s", text)
        assert "".join(t for _, t in pieces) == text and all(0 < len(t) <= 40 for _, t in pieces)
        assert [b for b, _ in pieces] == ["s" + "".join(t for _, t in pieces[:i]) for i in range(len(pieces))]


def test_clustered_errors_by_hand() -> None:
    values = np.array([1.0, 2.0, 4.0, 5.0])
    alone = clustered(values, ["", "", "", ""])
    assert alone.standard_error == pytest.approx(float(np.std(values, ddof=1)) / 2) and alone.mean == 3
    # Clusters {1, 2} and {4, 5}: residuals add up to -3 and 3; sqrt(2 / 1 (9 + 9)) / 4
    assert clustered(values, ["a", "a", "b", "b"]).standard_error == pytest.approx(1.5)
    copies = clustered(np.repeat(values, 5), [str(i) for i in range(4) for _ in range(5)])
    assert copies.standard_error == pytest.approx(alone.standard_error)  # saying it five times proves nothing more
    assert math.isnan(clustered(values, ["a"] * 4).standard_error) and clustered(np.array([]), []).count == 0


def test_amplification_is_the_models_log_odds_minus_the_texts() -> None:
    texts = ["the nurse, she wept"] * 7 + ["the nurse, he  wept"] * 2 + ["the smith, he  wept"] * 4
    # Odds of hers: (7.5 / 2.5) and (0.5 / 4.5); half of their difference
    data = (math.log(3) - math.log(1 / 9)) / 2
    assert data_log_odds(PAIRS, texts).mean == pytest.approx(data)
    assert amplification(PAIRS, texts, 2.0) == pytest.approx(
        {"data_pronoun_bias": data, "bias_amplification": 2.0 - data}
    )
    assert amplification(PAIRS, ["nothing of the kind"], 2.0) == {}
    score, continue_ = likes("she", 2 * data, after="nurse")  # a model that repeats its text amplifies nothing
    run = RunEvidence(score=score, continue_=continue_, texts=lambda: texts)
    assert bias_of(lambda: PAIRS).figures(run)["bias_amplification"] == pytest.approx(0)


def test_log_odds_count_both_sides_alike() -> None:
    odds, hers = np.array([2.0, 1.0, 1.0, 1.0, 1.0]), [True, False, False, False, False]
    found = centred_log_odds(odds, hers, ["c"] * 5, [""] * 5)
    assert found.mean == pytest.approx(0.5) and found.count == 5  # (2 - 1) / 2, whatever the sides' sizes
    shifted = centred_log_odds(odds + 7, hers, ["c"] * 5, [""] * 5)
    assert (shifted.mean, shifted.standard_error) == pytest.approx((found.mean, found.standard_error))
    two = centred_log_odds(np.array([3.0, 1.0, 9.0]), [True, False, True], ["c", "c", "other"], [""] * 3)
    assert two.mean == pytest.approx(1.0) and two.count == 2  # the lone pair has no centre


def test_templates_follow_the_official_shares() -> None:
    pairs = template_pairs(["The {occupation} said that {pronoun} was late."], {"nurse": 90.0, "smith": 3.0, "x": 50.0})
    assert [p.stereotyped.split()[4] for p in pairs] == ["she", "he"]
    assert len(official_shares()) == 60 and official_shares()["engineer"] < 50 < official_shares()["nurse"]


def test_pairs_of_each_layout(tmp_path: Path) -> None:
    crows = tmp_path / "c.csv"
    crows.write_text(
        ",sent_more,sent_less,stereo_antistereo,bias_type\n0,a,b,stereo,gender\n1,c,d,antistereo,age\n", "utf-8"
    )
    assert read_pairs(crows) == [Pair("a", "b", "gender"), Pair("d", "c", "age")]
    winogender = tmp_path / "w.tsv"
    names = ("male", "female", "neutral")
    rows = "".join(f"nurse.x.1.{n}.txt\tsays {p}\n" for n, p in zip(names, ("he", "she", "they"), strict=True))
    winogender.write_text("sentid\tsentence\n" + rows)
    assert read_pairs(winogender) == [Pair("says he", "says she", "nurse")]
    pro, anti = (tmp_path / f"{k}_stereotyped_type1.txt.dev" for k in ("pro", "anti"))
    pro.write_text("1 [The nurse] sat as [she] was tired.\n")
    anti.write_text("1 [The nurse] sat as [he] was tired.\n")
    expected = [Pair("The nurse sat as she was tired.", "The nurse sat as he was tired.", "type1")]
    assert read_pairs(pro) == read_pairs(anti) == expected
    assert [p.cluster for p in read_pairs(pro)] == ["nurse"]
    assert [p.cluster for p in read_pairs(winogender)] == ["nurse"] and not any(p.cluster for p in read_pairs(crows))


_CROWS_HEADER = "sent_more,sent_less,stereo_antistereo,bias_type\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("user,text\na,b\n", "does not name the column sent_more"),
        ("", "does not name the column"),
        (_CROWS_HEADER, "has no pair in it"),
        (_CROWS_HEADER + "a,b,stereo,y\na,b,x,y\n", "Line 3 of .* its stereo_antistereo is neither"),
        (_CROWS_HEADER + "a,b\n", "Line 2 of .* it has no stereo_antistereo"),
        (_CROWS_HEADER + 'a,"b\nc",stereo,y\na,b,"x,y\n', "Line 4 of .* a quote is not closed"),
        ("sent_more,SENT_MORE,sent_less,stereo_antistereo,bias_type\n", "'sent_more' twice"),
    ],
)
def test_pairs_of_another_layout_are_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(CorpusError, match=f"{says}.*the layouts are"):
        read_pairs(tmp_path / "p.csv")
