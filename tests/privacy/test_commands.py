"""`fedlm privacy plan` and `fedlm privacy RUN`."""

import json
import math
import time
from pathlib import Path
from typing import Any

import dp_accounting as dp
import pytest
from dp_accounting import pld

from fedlm.config import RunConfig
from fedlm.privacy.accounting import Release
from fedlm.privacy.ledger import Ledger
from server.store.run_folder import RunFolder
from tests.support.running import fedlm

PLAN = ["privacy", "plan", "--rounds", "500", "--population", "100000", "--cohort", "200", "--delta", "1e-6"]


def test_plan_prints_keys_that_a_run_takes_and_what_it_will_cost(tmp_path: Path) -> None:
    started = time.process_time()
    told = fedlm(*PLAN, "--epsilon", "2", cwd=tmp_path)
    assert time.process_time() - started < 3  # half a second on an idle core, besides the start
    assert told.returncode == 0 and told.stderr == ""
    (tmp_path / "run.toml").write_text(told.stdout + "clip_norm = 0.5\n")
    config = RunConfig.load(tmp_path / "run.toml")
    assert (config.sampling_rate, config.rounds, config.delta) == (0.002, 500, 1e-6)
    assert config.noise_multiplier == pytest.approx(0.6525, abs=2e-4) and "# epsilon 2 after all rounds" in told.stdout
    about = json.loads(fedlm(*PLAN, "--epsilon", "2", "--json", cwd=tmp_path).stdout)
    assert about["noise_multiplier"] == config.noise_multiplier and 1.99 < about["epsilon"] <= 2


@pytest.mark.parametrize("epsilon", ["-1", "0", "nan", "inf"])
def test_an_epsilon_that_is_none_is_one_sentence(epsilon: str, tmp_path: Path) -> None:
    told = fedlm(*PLAN, "--epsilon", epsilon, cwd=tmp_path)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"fedlm: Invalid value for --epsilon: {float(epsilon):g} is not a finite number above 0.\n"


@pytest.mark.parametrize(("epsilon", "says"), [("1e9", "below 0.2"), ("1e-300", "above 1e+06")])
def test_an_epsilon_that_no_noise_reaches_is_one_sentence(epsilon: str, says: str, tmp_path: Path) -> None:
    told = fedlm(*PLAN[:-1], "1e-13", "--epsilon", epsilon, cwd=tmp_path)
    assert told.returncode == 2 and says in told.stderr and told.stderr.count("\n") == 1


@pytest.mark.parametrize("delta", ["0", "1", "nan", "-1"])
def test_a_delta_out_of_range_is_one_sentence(delta: str, tmp_path: Path) -> None:
    told = fedlm(*PLAN[:-1], delta, "--epsilon", "1", cwd=tmp_path)
    assert told.returncode == 2 and "Invalid value for --delta" in told.stderr and told.stderr.count("\n") == 1


def run(tmp_path: Path, **more: Any) -> Path:
    """Makes the folder of a private run with 50 releases."""
    values = {
        "mechanism": "gaussian",
        "weighting": "uniform",
        "clip_norm": 1.0,
        "noise_multiplier": 1.0,
        "max_client_tokens": 10**6,
    }
    config = RunConfig.checked({**values, "sampling_rate": 0.02, "cohort_size": 10, "delta": 2e-6, **more})
    RunFolder.create(tmp_path / "run", config)
    ledger = Ledger.open(tmp_path / "run" / "ledger.json", config.privacy)
    for server_round in range(1, 51):
        ledger.charge(Release(server_round, "gaussian", 0.02, 1.0, 1.0, 1, 10, 2**24))
    return tmp_path / "run"


def test_show_has_epsilon_as_a_function_of_delta_and_for_whom_it_holds(tmp_path: Path) -> None:
    folder = run(tmp_path, noise_cohort_size=1000, partition="iid(num_partitions=9)")
    about = json.loads(fedlm("privacy", folder, "--json", cwd=tmp_path).stdout)
    by_delta = dict(map(tuple, about["epsilon_by_delta"]))
    assert len(by_delta) == 9 and by_delta[2e-6] == about["epsilon"] < about["epsilon_rdp"]
    assert list(by_delta.values()) == sorted(set(by_delta.values()))
    for delta in (1e-4, 1e-9):
        shown = json.loads(fedlm("privacy", folder, "--json", "--delta", delta, cwd=tmp_path).stdout)
        assert (shown["epsilon"], shown["delta"]) == (by_delta[delta], delta)
    assert about["epsilon_over_rounds"][-1] == [50, about["epsilon"]]
    text = fedlm("privacy", folder, cwd=tmp_path).stdout
    assert text.startswith("simulated (") and text.count("for simulated parts of a partition") == 3
    assert "a larger federation, not the clients of this run" in text and "not a person" in text


def test_show_exports_events_that_another_accountant_reads(tmp_path: Path) -> None:
    folder = run(tmp_path)
    told = json.loads(fedlm("privacy", folder, "--events", cwd=tmp_path).stdout)
    (composed,) = told["event"]["events"]
    sampled = composed["event"]
    gaussian = dp.GaussianDpEvent(sampled["event"]["noise_multiplier"])
    event = dp.PoissonSampledDpEvent(sampled["sampling_probability"], gaussian)
    theirs = pld.PLDAccountant().compose(event, composed["count"]).get_epsilon(2e-6 - told["delta_added"])
    about = json.loads(fedlm("privacy", folder, "--json", cwd=tmp_path).stdout)
    assert about["epsilon"] == pytest.approx(theirs + told["epsilon_added"], rel=2e-3)


def test_a_run_without_a_guarantee_shows_no_epsilon_and_exports_none(tmp_path: Path) -> None:
    folder = run(tmp_path, reproducible=True)
    about = json.loads(fedlm("privacy", folder, "--json", cwd=tmp_path).stdout)
    assert (about["epsilon"], about["epsilon_rdp"], about["epsilon_by_delta"]) == ("none", "none", [])
    assert not [v for v in about.values() if isinstance(v, float) and math.isnan(v)]
    told = fedlm("privacy", folder, "--events", cwd=tmp_path)
    assert told.returncode == 2 and "has no guarantee to export" in told.stderr


def test_private_text_is_not_selected_by_comparing_clients(tmp_path: Path) -> None:
    lines = [{"user": f"u{i}", "text": f"tea {n}"} for i in range(5) for n in range(2)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    private = [
        "mechanism=gaussian",
        "weighting=uniform",
        "clip_norm=0.5",
        "noise_multiplier=1",
        "sampling_rate=0.5",
        "max_client_tokens=1000000",
    ]
    for sets in (private, ["vocabulary=private(epsilon=1.0)"]):
        words = [w for s in [*sets, "max_clients=3", "scrub=none"] for w in ("--set", s)]
        told = fedlm("simulate", "mine.jsonl", *words, "--out", "run", cwd=tmp_path)
        assert told.returncode == 2 and "max_clients=3 would let one client's presence decide" in told.stderr
        assert not (tmp_path / "run").exists()
