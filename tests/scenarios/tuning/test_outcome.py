"""What is said of the runs of a search, from made-up results and hand-worked numbers."""

import csv
import json
import math
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.text.learned import learn
from scenarios.runner.record import RunRecord
from scenarios.tuning.axes import read_axes
from scenarios.tuning.grid import Grid, build_grid
from scenarios.tuning.outcome import UNUSABLE, Budget, Outcome, Status, chosen_config, compare
from scenarios.tuning.output import content, file_name, lines, write_outcome

SEEDS = (1_000_000, 1_000_001, 1_000_002)
NAN = math.nan
RATES = ("client_optimizer.learning_rate=0.3,1,3",)


def grid(*texts: str, per: str = "") -> Grid:
    return build_grid(RunConfig.checked({"rounds": 5}), read_axes(texts), per)


def record(bits: float, unusable: float = 0) -> RunRecord:
    return RunRecord("key", "", "", None, 0, "f", 1.0, "", {"bits_per_char": bits, "accuracy": 0.5, UNUSABLE: unusable})


def found(of: Grid, *bits: list[float | None], others: int = 0) -> Outcome:
    records = {
        s.words: [None if b is None else record(b) for b in own] for s, own in zip(of.settings, bits, strict=True)
    }
    return compare(of, records, Budget("shakespeare", 5, SEEDS[: len(bits[0])]), others)


def test_the_lowest_mean_is_chosen_with_its_interval() -> None:
    outcome = found(grid(*RATES), [3.0, 3.2, 3.4], [2.0, 2.1, 2.2], [2.6, 2.5, 2.4])
    (method,) = outcome.methods
    best, second, last = method.rows
    assert best.setting.values == {"client_optimizer.learning_rate": "1"} and best.status is Status.CHOSEN
    half = 4.302653 * 0.1 / math.sqrt(3)  # t(0.975, 2) s / sqrt(n), s of 2.0, 2.1, 2.2
    assert (best.bits.mean, best.bits.low) == pytest.approx((2.1, 2.1 - half))
    assert last.difference is not None and last.difference.mean == pytest.approx(1.1)
    assert last.status is Status.WORSE  # pairs 1.0, 1.1, 1.2
    assert second.status is Status.WITHIN_NOISE  # pairs 0.6, 0.4, 0.2: 0.4 -+ 4.303 * 0.2 / sqrt(3) = 0.4 -+ 0.497
    (note,) = method.notes
    assert note == (
        "Within noise of the best: client_optimizer.learning_rate=3 (+0.400 bits, interval -0.097 to +0.897)."
    )


@pytest.mark.parametrize(
    ("texts", "bits", "says"),
    [
        (
            RATES,
            [1.0, 2.0, 3.0],
            "The best client_optimizer.learning_rate, 0.3, is the smallest of the grid: widen it.",
        ),
        (RATES, [3.0, 2.0, 1.0], "The best client_optimizer.learning_rate, 3, is the largest of the grid: widen it."),
        (RATES, [3.0, 1.0, 2.0], None),
        (RATES, [3.0, 1.0, NAN], None),  # 3 was tried, so 1 is not the edge
        (("client_optimizer.momentum=0,0.5,0.9",), [1.0, 2.0, 3.0], None),  # nothing is below 0
        (("local_epochs=1,2,4",), [1.0, 2.0, 3.0], None),  # nor below one epoch
        (("local_epochs=2,3,4",), [1.0, 2.0, 3.0], "The best local_epochs, 2, is the smallest of the grid: widen it."),
        (("strategy=FedAvg,FedAdam,FedYogi",), [1.0, 2.0, 3.0], None),  # no numbers
        (("client_optimizer.learning_rate=10,9,2",), [1.0, 2.0, 3.0], "10, is the largest of the grid"),
    ],
)
def test_a_best_value_on_the_edge_of_the_grid_is_told(
    texts: tuple[str, ...], bits: list[float], says: str | None
) -> None:
    outcome = found(grid(*texts), *([b + d / 100 for d in range(3)] for b in bits))
    edges = [note for note in outcome.methods[0].notes if "of the grid" in note]
    assert (edges == []) if says is None else (says in edges[0])


def test_a_setting_with_a_diverged_or_failed_run_is_never_chosen() -> None:
    outcome = found(grid(*RATES), [1.0, NAN, 1.0], [2.0, 2.1, 2.2], [1.0, None, 1.0])
    (method,) = outcome.methods
    assert [row.status for row in method.rows] == [Status.CHOSEN, Status.DIVERGED, Status.FAILED]
    assert method.rows[0].setting.values == {"client_optimizer.learning_rate": "1"}
    assert "1 of 3 settings diverged under at least one seed, and cannot be chosen." in method.notes
    assert "1 of 3 settings failed under at least one seed, and cannot be chosen." in method.notes
    of = grid(*RATES)
    records = {s.words: [record(2.0, unusable=3.0), record(2.0)] for s in of.settings}
    assert compare(of, records, Budget("x", 5, SEEDS[:2])).best is None  # an update was not finite


def test_nothing_is_chosen_where_all_diverged(tmp_path: Path) -> None:
    of = grid(*RATES)
    outcome = found(of, *([NAN, NAN, math.inf] for _ in range(3)))
    assert outcome.best is None and outcome.methods[0].chosen is None
    write_outcome(outcome, of, tmp_path)
    assert not (tmp_path / "tuned.toml").exists()
    assert json.loads((tmp_path / "tuned.json").read_text())["methods"][0]["chosen"] is None
    with pytest.raises(ConfigError, match="Nothing was chosen"):
        chosen_config(outcome)
    assert "diverged" in "\n".join(lines(outcome, of))


def test_methods_are_chosen_separately_and_the_best_of_all_is_tuned_toml(tmp_path: Path) -> None:
    of = grid("strategy=FedAvg,FedAdam", "strategy.eta=0.01,0.1", per="strategy")
    outcome = found(of, [2.5, 2.5, 2.5], [3.0, 3.1, 3.0], [2.0, 2.1, 2.0])
    assert [m.name for m in outcome.methods] == ["FedAvg", "FedAdam"]
    assert outcome.notes == (
        "FedAvg has no option eta, so strategy.eta is left out for it.",
        "Methods have different numbers of settings (FedAvg 1, FedAdam 2): the one with more had more chances.",
    )
    (tmp_path / "tuned-Old.toml").write_text("")
    write_outcome(outcome, of, tmp_path)
    assert {p.name for p in tmp_path.glob("*.toml")} == {"tuned.toml", "tuned-FedAvg.toml", "tuned-FedAdam.toml"}
    configs = {p.stem: RunConfig.load(p) for p in tmp_path.glob("*.toml")}
    assert (
        configs["tuned"] == configs["tuned-FedAdam"] == RunConfig.checked({"rounds": 5, "strategy": "FedAdam(eta=0.1)"})
    )
    assert configs["tuned-FedAvg"].strategy == "FedAvg" and chosen_config(outcome, "FedAvg") == configs["tuned-FedAvg"]
    with pytest.raises(ConfigError, match="no method 'Krum'; its methods are: FedAvg, FedAdam"):
        chosen_config(outcome, "Krum")


def test_a_learned_vocabulary_lies_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(learn(["the cat sat on the mat"] * 3, "words", 110))
    base = RunConfig.load(None, [f"vocabulary=words(file='{tmp_path / 'mine.json'}')"])
    of = build_grid(base, read_axes(["local_epochs=1,2"]))
    (tmp_path / "out").mkdir()
    write_outcome(found(of, [1.0, 1.0], [2.0, 2.0]), of, tmp_path / "out")
    (tmp_path / "mine.json").unlink()
    read = RunConfig.load(tmp_path / "out" / "tuned.toml")
    assert read.vocabulary_text == base.vocabulary_text and read.vocab.size == base.vocab.size


def test_two_methods_never_share_a_file() -> None:
    of = grid("strategy=FedAdam(eta=0.1),FedAdam(eta=-0.1),FedAvg", per="strategy")
    names = [file_name(m, of) for m in of.methods]
    assert len(set(names)) == 3 and names[2] == "FedAvg"


def test_the_table_as_csv_and_json_has_no_nan(tmp_path: Path) -> None:
    of = grid(*RATES)
    outcome = found(of, [1.0, NAN], [2.0, 2.5], [None, 1.0], others=4)
    write_outcome(outcome, of, tmp_path)
    rows = list(csv.DictReader((tmp_path / "tuned.csv").open()))
    assert [r["client_optimizer.learning_rate"] for r in rows] == ["1", "0.3", "3"]
    assert (rows[0]["mean"], rows[0]["status"], rows[1]["mean"], rows[1]["status"]) == (
        "2.25",
        "chosen",
        "",
        "diverged",
    )
    assert "nan" not in (tmp_path / "tuned.csv").read_text().lower()
    text = (tmp_path / "tuned.json").read_text()
    read = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert read == content(outcome, of) and read["methods"][0]["settings"][1]["by_seed"] == {
        "1000000": 1.0,
        "1000001": None,
    }
    assert read["notes"] == [
        "The folder has 4 finished runs of other grids, budgets or data; they are not in the table."
    ]


def test_one_seed_says_nothing_about_noise() -> None:
    outcome = found(grid(*RATES), [1.0], [2.0], [3.0])
    assert [row.status for row in outcome.methods[0].rows] == [Status.CHOSEN, Status.WORSE, Status.WORSE]
    assert "With one seed nothing is known about noise: use --seeds 3 or more." in outcome.notes


def test_the_terminal_table_is_aligned() -> None:
    of = grid(*RATES)
    text = list(lines(found(of, [3.0, 3.2, 3.4], [2.0, 2.1, 2.2], [NAN, 1.0, 1.0]), of))
    table = text[2:6]
    assert table[0].split() == ["client_optimizer.learning_rate", "bits", "interval", "difference", "accuracy"]
    assert table[1].split() == ["1", "2.100", "1.852", "to", "2.348", "-", "0.5000", "chosen"]
    assert table[1].index("2.100") == table[2].index("3.200") and table[3].endswith("diverged")
