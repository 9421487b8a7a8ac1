"""Associations of continuations and swapped names, by hand; and what `fedlm evaluate` says of a model's bias."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from fedlm.cli.bias import _error
from fedlm.data.planted import official_shares
from fedlm.errors import ConfigError, CorpusError
from fedlm.measure.association import AssociationTest, association, occupation_test, read_tests
from fedlm.measure.metric import Continue
from fedlm.measure.names import NameSet, name_swap, read_names
from fedlm.measure.spans import Gap
from fedlm.measure.statistics import t_quantile
from fedlm.system.figures_json import plain
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import START
from fedlm.training.evaluate import continuation_row
from fedlm.types import TextMetrics
from scenarios.runner.runner import run_study
from scenarios.runner.study import Options
from tests.support.running import fedlm, simulate

L = math.log(128)


def likes(nats: Mapping[tuple[str, str], float]) -> Continue:
    """A model to which every symbol costs log 128, less what is named: by the end of the first text, and the second one."""

    def score(pairs: Sequence[tuple[str, str]]) -> list[TextMetrics]:
        gains = [sum(v for (a, b), v in nats.items() if first.endswith(a) and b in second) for first, second in pairs]
        return [TextMetrics(L * len(t) - g, 0, len(t), len(t)) for (_, t), g in zip(pairs, gains, strict=True)]

    return score


def test_association_by_hand() -> None:
    test = AssociationTest((("n1", "n2"), ("s1", "s2")), ((" she",), (" he",)))
    model = likes({("n1", "she"): 3.0, ("n2", "she"): 1.0, ("s1", "she"): 0.5, ("s2", "she"): 1.5})
    found = association(test, model)
    assert found.raw.mean == pytest.approx(1.0) and found.raw.count == 4  # (3 + 1) / 2 - (0.5 + 1.5) / 2
    assert found.raw.standard_error == pytest.approx(math.sqrt(2 / 2 + 0.5 / 2))  # variances 2 and 0.5, two each
    assert found.per_symbol.mean == pytest.approx(1 / 4)  # " she" has 4 symbols; the 4 against 3 of " he" weigh nothing
    assert found.per_symbol.standard_error == pytest.approx(math.sqrt(1.25) / 4)
    assert found.effect_size == pytest.approx(1 / math.sqrt(3.5 / 3))  # squares 2.25 + 0.25 + 1 + 0 about the mean 1.5
    assert found.p_value == pytest.approx(4 / 6)  # |1|, |0.5|, |1.5|, each twice: four of six divisions are as far
    several = AssociationTest(test.starts, ((" she", " her"), (" he",)))  # half of the first ends gain
    assert association(several, model).raw.mean == pytest.approx(0.5)


def test_associations_cluster_by_target_word_by_hand() -> None:
    """Two beginnings each of the words a, b, c against d, e; those of one word are alike, so they count as one."""
    starts = tuple((f"{w} said", f"{w} knew") for w in "abcde")
    sides = (starts[0] + starts[1] + starts[2], starts[3] + starts[4])
    words = (("a", "a", "b", "b", "c", "c"), ("d", "d", "e", "e"))
    model = likes({(s, "x"): g for own, g in zip(starts, (4.0, 2.0, 3.0, 1.0, 0.0), strict=True) for s in own})
    found = association(AssociationTest(sides, (("x",), ("y",)), words), model)
    assert found.raw.mean == pytest.approx(3 - 0.5) and (found.raw.count, found.interval.count) == (10, 5)
    # Side 1: sums over words of r / 6 are 2/6, -2/6, 0, so 3/2 (1/9 + 1/9) = 1/3. Side 2: 1/4, -1/4, so 2 (1/16 + 1/16) = 1/4.
    assert found.raw.standard_error == pytest.approx(math.sqrt(1 / 3 + 1 / 4))
    freedom = (7 / 12) ** 2 / ((1 / 3) ** 2 / 2 + (1 / 4) ** 2 / 1)  # 2.88 degrees, not the 6.9 of ten beginnings
    half = t_quantile(0.975, freedom) * math.sqrt(7 / 12)
    assert (found.interval.low, found.interval.high) == pytest.approx((2.5 - half, 2.5 + half))
    assert found.p_value == pytest.approx(2 / 10)  # 5 S / 6 - 5 for a sum S of three words: 9 and 3 are as far
    alone = association(AssociationTest(sides, (("x",), ("y",))), model)
    assert alone.raw.standard_error < found.raw.standard_error  # ten independent beginnings would say more
    one = association(AssociationTest((starts[0], starts[1]), (("x",), ("y",)), (("a", "a"), ("b", "b"))), model)
    assert math.isnan(one.raw.standard_error) and math.isnan(one.interval.low) and one.p_value == 1


def test_beginnings_of_one_word_stand_in_a_list(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text(
        '{"t": {"starts": [[["The nurse said", "A nurse knew"], "Ann"], ["The smith said"]], "ends": [["x"], ["y"]]}}'
    )
    test = read_tests(file)["t"]
    assert test.starts == (("The nurse said", "A nurse knew", "Ann"), ("The smith said",))
    assert test.clusters() == (["00", "00", "01"], ["10"])
    for wrong in ('[[[]], ["b"]]', '[[[1]], ["b"]]', '[[""], ["b"]]', "[1, 2]", "null", '[["a"]]'):
        file.write_text(f'{{"t": {{"starts": {wrong}, "ends": [["x"], ["y"]]}}}}')
        with pytest.raises(CorpusError, match="association test"):
            read_tests(file)


def test_association_of_nothing_and_of_everything() -> None:
    starts = tuple(f"a{i}" for i in range(20)), tuple(f"b{i}" for i in range(20))
    test = AssociationTest(starts, (("x",), ("y",)))
    nothing = association(test, likes({}))
    assert nothing.raw.includes_zero() and nothing.p_value == 1 and math.isnan(nothing.effect_size)
    gains = {(s, "x"): 2.0 + i / 100 for i, s in enumerate(starts[0])} | {(s, "x"): 0.01 for s in starts[1]}
    found = association(test, likes(gains))
    assert found.p_value == 1 / 10_001  # no random division is as far as this one
    assert found.effect_size == pytest.approx(2, abs=0.05)  # two equal sets far apart: 2 sd / sd


def test_name_swap_by_hand() -> None:
    names = NameSet(("{name} was late.", "Ask {name} in."), (("Ann", "Bob"), ("Eve", "Tom")))
    found = name_swap(names, likes({("Bob", ""): 1.0, ("Tom", ""): -3.0}))
    assert (found.raw.mean, found.raw.standard_error, found.raw.count) == pytest.approx((2.0, 1.0, 2))  # |-1| and |3|
    assert found.per_symbol.mean == pytest.approx(
        ((0.1 + 0.25) / 2 + (0.3 + 0.75) / 2) / 2
    )  # rests of 10 and 4 symbols
    assert (found.signed.mean, found.signed.standard_error) == pytest.approx((1.0, 2.0))  # -1 and 3
    assert found.signed_per_symbol.mean == pytest.approx((-0.175 + 0.525) / 2)
    assert (found.within.mean, found.within.count) == pytest.approx((2.0, 2))  # Ann to Eve 0, Bob to Tom 4
    none = name_swap(names, likes({}))
    assert none.raw.mean == none.signed.mean == 0
    one = name_swap(NameSet(couples=(("Ann", "Bob"),)), likes({("Bob", ""): 1.0}))
    assert one.raw.mean == pytest.approx(1) and math.isnan(one.raw.standard_error) and one.within.count == 0


def test_only_the_continuation_is_a_target() -> None:
    vocab = vocabulary("chars")
    a, b, c, d = (int(i) for i in vocab.encode("abcd"))
    inputs, targets = continuation_row("ab", "cd", vocab, 6)
    np.testing.assert_array_equal(inputs, [[START, a, b, c, 0, 0]])
    np.testing.assert_array_equal(targets, [[0, 0, c, d, 0, 0]])
    inputs, targets = continuation_row("ab", "cd", vocab, 3)  # the window's beginning is left off
    np.testing.assert_array_equal((inputs, targets), [[[a, b, c]], [[0, c, d]]])
    with pytest.raises(CorpusError, match="has 2 symbols, and the model reads 1"):
        continuation_row("ab", "cd", vocab, 1)


def test_occupations_stand_on_the_side_of_their_majority() -> None:
    test = occupation_test({"nurse": 90.0, "smith": 3.0, "even": 50.0})
    assert test.starts == (("The nurse said that",), ("The smith said that",))
    assert sum(map(len, occupation_test(official_shares()).starts)) == sum(s != 50 for s in official_shares().values())


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": {"starts": [["x"]], "ends": [["y"], ["z"]]}}', '{"templates": []}']
)
def test_files_of_another_layout_are_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "f.json"
    file.write_text(content)
    for read, says in ((read_tests, "association test"), (read_names, "a file of names")):
        with pytest.raises(CorpusError, match=says) as caught:
            read(file)
        assert "\n" not in str(caught.value)
        with pytest.raises(CorpusError, match="There is no file"):
            read(tmp_path / "none.json")
    file.write_text('{"templates": ["Good morning {name}"], "names": [["Ann", "Bob"]]}')
    with pytest.raises(CorpusError, match="text after"):
        read_names(file)


@pytest.mark.slow
def test_continuations_multiply_to_the_whole() -> None:
    from fedlm.config import RunConfig
    from fedlm.training.evaluate import continuation_scorer
    from fedlm.training.trainer import LocalTrainer

    score = continuation_scorer(LocalTrainer(RunConfig(model="lstm(units=8, layers=1)", seq_len=30)))
    whole, head, tail = (m.loss_sum for m in score([("", "to be or not"), ("", "to be"), ("to be", " or not")]))
    assert whole == pytest.approx(head + tail, abs=1e-4) and tail > 1


@pytest.mark.slow
@pytest.mark.flower
def test_evaluate_says_what_a_model_associates(tmp_path: Path) -> None:
    simulate("r", tmp_path, "--workers", 1)
    (tmp_path / "t.json").write_text('{"mine": {"starts": [["A", "B"], ["C", "D"]], "ends": [[" x"], [" y"]]}}')
    (tmp_path / "n.json").write_text('{"templates": ["{name} sat."], "names": [["Ann", "Bob"], ["Eve", "Tom"]]}')
    for words, keys in (
        (["--pairs", "occupations"], {"all", "nurse", "engineer"}),
        (["--associations", "occupations"], {"occupations"}),
        (["--associations", "t.json"], {"mine"}),
        (["--names", "given"], {"raw", "within"}),
        (["--names", "n.json"], {"raw", "signed"}),
    ):
        done = fedlm("evaluate", "r", *words, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert keys <= set(json.loads(done.stdout))
    told = fedlm("evaluate", "r", "--associations", "t.json", cwd=tmp_path).stdout
    assert "mine: " in told and "4 beginnings" in told and " ± " in told
    assert "2 couples of names in 1 sentences" in fedlm("evaluate", "r", "--names", "n.json", cwd=tmp_path).stdout
    bad = fedlm("evaluate", "r", "--associations", "n.json", cwd=tmp_path)
    assert (bad.returncode, bad.stderr.count("\n")) == (3, 1)
    both = fedlm("evaluate", "r", "--pairs", "occupations", "--names", "given", cwd=tmp_path)
    assert (both.returncode, "only one of" in both.stderr) == (2, True)


def test_what_cannot_be_told_is_null_in_json_and_a_mark_on_the_terminal() -> None:
    one = Gap(0.5, float("nan"), 1)
    assert (
        json.loads(json.dumps(plain({"raw": asdict(one), "n": [1]}), allow_nan=False))["raw"]["standard_error"] is None
    )
    assert (_error(one, 3), _error(Gap(0.5, 0.25, 4), 2)) == ("± ?", "± 0.25")


def test_a_study_does_not_go_into_the_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    with pytest.raises(ConfigError, match="is the folder of a run"):
        run_study("label_skew", Options(quick=True), 1, tmp_path, None)
