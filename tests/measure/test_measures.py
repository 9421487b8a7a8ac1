"""The measures by hand."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fedlm.data.planted import official_shares
from fedlm.errors import CorpusError
from fedlm.measure.bias import bias_by_kind, bias_score
from fedlm.measure.fairness import effective_number, standard_deviation
from fedlm.measure.groups import group_gap, group_losses
from fedlm.measure.heterogeneity import (
    LabelEntropies,
    describe,
    jensen_shannon_distance,
    label_entropy,
    ngrams,
    unknown_share,
)
from fedlm.measure.local_only import share_worse_than_local
from fedlm.measure.pairs import Pair, read_pairs, template_pairs
from fedlm.measure.statistics import bootstrap_mean, bootstrap_ratio, paired_difference
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
    assert same["size_gini"] == pytest.approx(0) and same["ngram_distance"] == 0 and same["clients"] == 3


def test_intervals() -> None:
    values = np.random.default_rng(0).normal(5, 1, 400)
    interval = bootstrap_mean(values)
    assert interval.covers(float(values.mean()))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20, rel=0.15)  # normal theory: 1.96 sd / sqrt(n)
    assert math.isnan(bootstrap_mean([1.0]).low) and math.isnan(bootstrap_mean([]).mean)
    ratio = bootstrap_ratio(np.array([20.0, 60.0]), np.array([10.0, 10.0]))
    assert (ratio.mean, ratio.low, ratio.high) == (4.0, 2.0, 6.0)


def test_paired_difference_sees_what_seeds_hide() -> None:
    seeds = np.array([0.0, 10.0, 20.0, 30.0, 40.0])  # a spread over seeds much larger than the effect
    found = paired_difference(list(seeds + np.array([1.0, 1.1, 0.9, 1.0, 1.0])), list(seeds))
    assert found.excludes_zero and found.same_sign == 5 and found.interval.mean == pytest.approx(1.0)
    assert found.effect_size == pytest.approx(1.0 / math.sqrt(0.02 / 4))
    assert paired_difference([1.0, 1.0], [1.0, 1.0]).effect_size == 0
    assert not paired_difference([1.0], [2.0]).excludes_zero


def flat(texts: Sequence[str]) -> list[TextMetrics]:
    """A model that knows nothing: every symbol costs log 128."""
    return [TextMetrics(math.log(128) * len(t), 0, len(t), len(t)) for t in texts]


def likes(word: str, nats: float) -> object:
    """The same with `nats` off a text for each time that `word` is in it."""
    return lambda texts: [
        TextMetrics(f.loss_sum - nats * t.count(word), 0, f.tokens, f.characters)
        for t, f in zip(texts, flat(texts), strict=True)
    ]


PAIRS = [Pair("the nurse, she", "the nurse, he ", "nurse"), Pair("the smith, he ", "the smith, she", "smith")]


def test_bias_by_hand() -> None:
    nothing = bias_score(PAIRS, flat)
    assert nothing.raw.mean == 0 and nothing.raw.includes_zero() and nothing.preferred == 0
    she = bias_by_kind(PAIRS, likes("she", 0.7))  # type: ignore[arg-type]
    assert she["nurse"].raw.mean == pytest.approx(0.7) and she["smith"].raw.mean == pytest.approx(-0.7)
    assert she["nurse"].per_symbol.mean == pytest.approx(0.7 / 14)


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


_CROWS_HEADER = "sent_more,sent_less,stereo_antistereo,bias_type\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("user,text\na,b\n", "pair 1 has no sent_more"),
        ("", "has no pair in it"),
        (_CROWS_HEADER + "a,b,stereo,y\na,b,x,y\n", "pair 2 has the direction 'x'"),
        (_CROWS_HEADER + "a,b\n", "pair 1 has no stereo_antistereo"),
    ],
)
def test_pairs_of_another_layout_are_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(CorpusError, match=f"{says}.*the layouts are"):
        read_pairs(tmp_path / "p.csv")
