import json
import math
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlm.aggregation.exact import ExactSum
from fedlm.config import RunConfig
from fedlm.errors import BudgetError, ConfigError, FedLMError
from fedlm.privacy.accounting import epsilon
from fedlm.privacy.guarantee import check_selection, epsilon_note
from fedlm.privacy.ledger import Ledger
from fedlm.privacy.vocabulary import ledger_release, plan_words
from server.run.release import PrivateRelease

POPULATION = np.arange(1, 201, dtype=np.uint64)
WEIGHTS = (np.zeros((30, 4), np.float32), np.zeros((), np.float32))


def config(**more: Any) -> RunConfig:
    values = {
        "mechanism": "gaussian",
        "weighting": "uniform",
        "max_client_tokens": 10**6,
        "clip_norm": 1.0,
        "noise_multiplier": 1.0,
    }
    return RunConfig.checked({**values, "sampling_rate": 0.05, "cohort_size": 10, **more})


def rounds(folder: Path, **more: Any) -> PrivateRelease:
    return PrivateRelease(config(**more), folder, POPULATION, WEIGHTS)


def test_charge_is_on_disk_before_noise_and_a_round_run_again_is_charged_again(tmp_path: Path) -> None:
    first = rounds(tmp_path)
    for server_round in (1, 2):
        first.charge(server_round, first.sample(server_round))
    del first  # killed before the checkpoint of round 2
    again = rounds(tmp_path)
    again.charge(2, again.sample(2))
    again.charge(3, again.sample(3))
    written = json.loads((tmp_path / "ledger.json").read_text())
    assert [r["round"] for r in written["releases"]] == [1, 2, 2, 3]
    assert written["epsilon"] == pytest.approx(epsilon([again.ledger.releases[0]] * 4, 1e-5))


def test_round_run_again_draws_other_clients_and_goes_on_as_without_the_crash(tmp_path: Path) -> None:
    """Two noises over one sample cost more than the two independent releases that are charged."""
    run = rounds(tmp_path)
    first = run.sample(1)
    run.charge(1, first)
    again = rounds(tmp_path)
    second = again.sample(1)
    assert not np.array_equal(first, second) and not np.array_equal(second, again.sample(2))
    assert np.array_equal(run.sample(2), again.sample(2))
    one = [again.ledger.releases[0]]
    same_sample = epsilon([replace(one[0], noise_multiplier=1 / math.sqrt(2))], 1e-5)
    assert same_sample > epsilon(one * 2, 1e-5)  # why it matters
    again.charge(1, second)
    assert not np.array_equal(rounds(tmp_path).sample(1), second)


def test_resume_without_its_ledger_or_with_an_old_one_is_refused(tmp_path: Path) -> None:
    run = rounds(tmp_path)
    run.charge(1, run.sample(1))
    old = (tmp_path / "ledger.json").read_text()
    run.charge(2, run.sample(2))
    rounds(tmp_path).restore(2, {})
    for content in (old, None):
        (tmp_path / "ledger.json").unlink()
        if content:
            (tmp_path / "ledger.json").write_text(content)
        with pytest.raises(FedLMError, match="lacks rounds"):
            rounds(tmp_path)
        assert (tmp_path / "ledger.json").is_file() == bool(content)  # no fresh one that would state epsilon 0


def test_ledger_that_is_gone_is_refused_where_only_round_0_has_a_checkpoint(tmp_path: Path) -> None:
    rounds(tmp_path)
    (tmp_path / "checkpoint" / "latest.safetensors").touch()
    rounds(tmp_path)
    (tmp_path / "ledger.json").unlink()
    with pytest.raises(FedLMError, match="is missing"):
        rounds(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("noise_multiplier", -1.0), ("sampling_rate", 7), ("compositions", "x"), ("delta", 1.0)]
)
def test_release_that_makes_no_sense_is_damage(tmp_path: Path, key: str, value: object) -> None:
    run = rounds(tmp_path)
    run.charge(1, run.sample(1))
    content = json.loads((tmp_path / "ledger.json").read_text())
    content["releases"][0][key] = value
    (tmp_path / "ledger.json").write_text(json.dumps(content))
    with pytest.raises(FedLMError, match="damaged"):
        rounds(tmp_path)


@pytest.mark.parametrize("mechanism", ["gaussian", "local"])
def test_cohort_key_that_is_gone_is_refused_once_a_round_was_charged(tmp_path: Path, mechanism: str) -> None:
    run = rounds(tmp_path, mechanism=mechanism)
    (tmp_path / "checkpoint" / "cohort.key").unlink()
    run = rounds(tmp_path, mechanism=mechanism)  # nothing was drawn with it
    run.charge(1, run.sample(1))
    (tmp_path / "checkpoint" / "cohort.key").unlink()
    with pytest.raises(FedLMError, match="is missing"):
        rounds(tmp_path, mechanism=mechanism)


@pytest.mark.parametrize("content", [b"", bytes(31)])
def test_cohort_key_that_was_cut_off_is_refused(tmp_path: Path, content: bytes) -> None:
    rounds(tmp_path)
    (tmp_path / "checkpoint" / "cohort.key").write_bytes(content)
    with pytest.raises(FedLMError, match=r"cohort key .* is damaged"):
        rounds(tmp_path)


def test_weights_of_another_run_stand_in_statement_and_list_also_after_resume(tmp_path: Path) -> None:
    run = rounds(tmp_path)
    assert "another run" not in run.ledger.statement()
    run.ledger.starts_from_another_run()
    again = rounds(tmp_path).ledger
    assert again.statement().endswith("counted from weights of another run, which this ledger does not cover")
    assert again.as_dict()["not_covered"][0].startswith("initial weights")


def test_simulated_cohort_of_capped_weights_has_noise_and_denominator_of_the_larger_one(tmp_path: Path) -> None:
    capped = {"weighting": "capped(tokens=500)", "population_weight": 4e4, "noise_multiplier": 1.5}
    run = rounds(tmp_path, noise_cohort_size=1000, **capped)
    # z cap C / (q W): nothing of it depends on the cohort that is simulated
    assert run.noise_on_mean() == pytest.approx(1.5 * 500 * 1.0 / (0.05 * 4e4), rel=1e-4)
    assert run.settings.denominator == pytest.approx(0.05 * 4e4 * 10 / 1000)


def test_cohorts_are_secret_random_and_the_same_after_resume(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    one, other = rounds(tmp_path / "a"), rounds(tmp_path / "b")
    assert any(not np.array_equal(one.sample(n), other.sample(n)) for n in range(5))
    assert all(np.array_equal(one.sample(n), rounds(tmp_path / "a").sample(n)) for n in range(5))
    key = tmp_path / "a" / "checkpoint" / "cohort.key"
    assert (stat.S_IMODE(key.stat().st_mode), key.stat().st_size) == (0o600, 32)
    sizes = [len(one.sample(n)) for n in range(400)]
    assert len(set(sizes)) > 5
    assert abs(np.mean(sizes) - 10) < 5 * math.sqrt(200 * 0.05 * 0.95 / 400)


def test_budget_stops_before_the_release_that_would_pass_it(tmp_path: Path) -> None:
    event = rounds(tmp_path)._mechanism.event(1, POPULATION[:0])
    budget = epsilon([event] * 3, 1e-5) + 1e-6
    run = rounds(tmp_path, epsilon_budget=budget)
    for server_round in (1, 2, 3):
        assert run.affords(server_round)
        run.charge(server_round, run.sample(server_round))
    assert not run.affords(4)
    with pytest.raises(BudgetError, match="nothing was released"):
        run.charge(4, run.sample(4))
    assert len(run.ledger.releases) == 3


def test_mean_has_the_fixed_denominator_and_the_noise_of_the_ledger(tmp_path: Path) -> None:
    run = rounds(tmp_path)
    squares, repeats = 0.0, 200
    for _ in range(repeats):
        event = run.ledger.releases[0] if run.ledger.releases else run.charge(1, run.sample(1))
        mean = run.mean(event, ExactSum.zeros_like(WEIGHTS), WEIGHTS)
        squares += sum(float((m.astype(float) ** 2).sum()) for m in mean)
    variance = squares / (repeats * run.dimension) / run.noise_on_mean() ** 2
    assert abs(variance - 1) < 5 * math.sqrt(2 / (repeats * run.dimension))
    assert run.noise_on_mean() == pytest.approx(1.0 / 10, rel=1e-5)


def test_reproducible_and_noiseless_runs_state_no_guarantee(tmp_path: Path) -> None:
    run = rounds(tmp_path, reproducible=True)
    event = run.charge(1, run.sample(1))
    means = [run.mean(event, ExactSum.zeros_like(WEIGHTS), WEIGHTS) for _ in range(2)]
    assert means[0][0].tobytes() == means[1][0].tobytes()
    assert run.ledger.statement().startswith("no guarantee")
    assert Ledger(None, config(noise_multiplier=0).privacy).statement().startswith("no guarantee")
    assert not run.public()["epsilon"]


def test_simulated_cohort_is_said_to_be_and_scales_the_noise(tmp_path: Path) -> None:
    run = rounds(tmp_path, noise_cohort_size=1000)
    assert run.ledger.statement().startswith("simulated ")
    assert any("SIMULATED" in a for a in run.ledger.as_dict()["assumptions"])
    assert run.public()["covers"] == run.ledger.as_dict()["covers"] == "simulated clients"
    assert run.noise_on_mean() == pytest.approx(1.0 / 1000, rel=1e-4)


def test_a_partition_and_a_selection_are_said_beside_every_epsilon(tmp_path: Path) -> None:
    for name, more, label in (
        ("a", {}, "clients"),
        ("b", {"partition": "iid(clients=20)"}, "parts of a partition"),
        ("c", {"partition": "iid(clients=20)", "noise_cohort_size": 100}, "simulated parts of a partition"),
    ):
        (tmp_path / name).mkdir()
        ledger = rounds(tmp_path / name, **more).ledger
        assert json.loads((tmp_path / name / "ledger.json").read_text())["covers"] == label
        assert ("not a person" in ledger.statement()) == ("partition" in label)
        assert any("the text of one person may be in many parts" in c for c in ledger.as_dict()["coverage"]) == (
            "partition" in label
        )
        assert epsilon_note(rounds(tmp_path / name, **more).public()) == f"epsilon 0 for {label}"
    (tmp_path / "d").mkdir()
    assert any("max_clients=5" in c for c in rounds(tmp_path / "d", max_clients=5).ledger.as_dict()["coverage"])


def test_a_vocabulary_that_no_release_paid_for_is_not_covered() -> None:
    learned = replace(config().privacy, vocabulary="words(file='mine.json')")
    paid = [ledger_release(plan_words(6.0, 1e-6, 4))]
    for settings, releases, said in ((learned, [], True), (learned, paid, False), (config().privacy, [], False)):
        lines = Ledger(None, settings, releases).as_dict()["not_covered"]
        assert any("words(file='mine.json'), if it was learned from the clients' text" in v for v in lines) == said


def test_a_vault_whose_clients_were_compared_with_each_other_is_refused() -> None:
    """With max_clients, one more client in the corpus takes another one's place: neighbours would differ in two."""
    selected = {"max_clients": 3, "public": False, "corpus": "mine.jsonl"}
    with pytest.raises(ConfigError, match="max_clients=3 would let one client's presence decide about another's"):
        check_selection(config().privacy, selected)
    with pytest.raises(ConfigError, match="max_clients=3"):
        check_selection(RunConfig().privacy, selected, has_private_vocabulary=True)
    for about in ({"max_clients": 0, "public": False}, {"max_clients": 3, "public": True}, {"public": False}):
        check_selection(config().privacy, about)
    for more in ({"noise_cohort_size": 100}, {"reproducible": True}, {"noise_multiplier": 0.0}):
        check_selection(config(**more).privacy, selected)  # states nothing about the vault's clients
    check_selection(RunConfig().privacy, selected)


def test_local_charges_the_worst_off_client_by_hand(tmp_path: Path) -> None:
    run, drawn = rounds(tmp_path, mechanism="local"), dict.fromkeys(map(int, POPULATION), 0)
    for server_round in range(1, 31):
        cohort = run.sample(server_round)
        run.charge(server_round, cohort)
        for c in cohort:
            drawn[int(c)] += 1
    assert sum(r.compositions for r in run.ledger.releases) == max(drawn.values()) < 30
    assert {(r.sampling_rate, r.distance) for r in run.ledger.releases} == {(1.0, 2.0)}  # nothing is amplified
    again = rounds(tmp_path, mechanism="local")
    drawn_again = again.sample(31)
    expected = max(0, max((drawn[int(c)] + 1 for c in drawn_again), default=0) - max(drawn.values()))
    assert again.charge(31, drawn_again).compositions == expected


@pytest.mark.parametrize("mechanism", ["gaussian", "local"])
def test_a_ledger_from_before_distances_were_written_costs_the_same(tmp_path: Path, mechanism: str) -> None:
    run = rounds(tmp_path, mechanism=mechanism)
    run.charge(1, POPULATION[:3])
    content = json.loads((tmp_path / "ledger.json").read_text())
    for release in content["releases"]:
        assert release.pop("distance") == (2.0 if mechanism == "local" else 1.0)
    (tmp_path / "ledger.json").write_text(json.dumps(content))
    assert rounds(tmp_path, mechanism=mechanism).ledger.epsilon() == run.ledger.epsilon()


def test_a_round_that_was_not_charged_releases_nothing(tmp_path: Path) -> None:
    with pytest.raises(FedLMError, match="not charged"):
        rounds(tmp_path).mean(None, ExactSum.zeros_like(WEIGHTS), WEIGHTS)


def test_damaged_ledger_is_not_started_anew(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text('{"releases": [{"round": 1}]}')
    with pytest.raises(FedLMError, match="damaged"):
        rounds(tmp_path)
