"""A forgotten client: the weights have the bits of a run in which it never was, and nothing of the run mentions it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError, VaultError
from fedlm.privacy.ledger import Ledger
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server import unlearning
from server.engines.workers import KeptWorkers
from server.run.participation import Participation, ParticipationLedger
from server.store.checkpoint import Checkpoint
from server.store.forgotten import FILE, Forgotten
from server.store.run_folder import RunFolder
from server.unlearning import delete, plan
from tests.support import running
from tests.support.running import WORKERS
from tests.support.unlearned import CLIENTS, seal, settings, train


def test_ledger_keeps_rounds_of_the_checkpoint_and_drops_a_client(tmp_path: Path) -> None:
    ledger = ParticipationLedger(tmp_path)
    ledger.start([b"\x01"], init=False)
    ledger.add(Participation(1, frozenset({1, 2}), frozenset({2})))
    ledger.add(Participation(2, frozenset({2, 3}), None))
    ledger.add(Participation(3, frozenset({3})))
    with ledger.path.open("a") as file:
        file.write('{"round": 4, "torn')  # what a kill in the middle of a line leaves
    assert [e.round for e in ledger.rounds()] == [1, 2, 3]
    ledger.keep_until(2, without=2)
    assert ledger.rounds() == [Participation(1, frozenset({1}), frozenset()), Participation(2, frozenset({3}), None)]
    assert ledger.header() == {"vaults": ["01"], "init": False}
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_interrupted_deletion_is_remembered(tmp_path: Path) -> None:
    state = Forgotten(frozenset({7}), {3: frozenset({9})}, pending=2, client=7)
    (tmp_path / FILE).write_text(state.as_json())
    assert Forgotten.read(tmp_path) == state
    with pytest.raises(ConfigError, match="repeat fedlm forget"):
        Forgotten.read(tmp_path).check_done(tmp_path)
    Forgotten().check_done(tmp_path)


@pytest.fixture(scope="module")
def idle() -> KeptWorkers:
    """One worker for all runs: TensorFlow starts once."""
    return WORKERS


def names(vault: Path) -> dict[int, str]:
    opened = Vault(vault, KeySource(vault.with_name("v.db.key")))
    try:
        return {opened.pseudonym(name): name for name, _ in opened.names()}
    finally:
        opened.close()


def first_rounds(run: Path, clients: list[int]) -> dict[int, int]:
    rounds = ParticipationLedger(run).rounds()
    return {c: next((e.round for e in rounds if c in e.clients), 0) for c in clients}


@pytest.mark.slow
@pytest.mark.flower
def test_forgotten_client_leaves_the_bits_of_a_run_without_it_even_if_killed(
    tmp_path: Path, idle: KeptWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, run, config = seal(tmp_path / "all"), tmp_path / "run", settings(strategy="FedAdam")
    source, who = KeySource(vault.with_name("v.db.key")), names(vault)
    before = train(vault, run, config, idle)
    first = first_rounds(run, list(who))
    client = max(first, key=lambda c: (first[c], c))
    assert first[client] > 1  # else no checkpoint is from before it
    cost = plan(run, vault, source, who[client])
    assert (cost.first, cost.restart, cost.rounds) == (first[client], first[client] - 1, 5 - first[client])
    with pytest.raises(VaultError, match="no client of this name"):
        plan(run, vault, source, "nobody")
    for step in ("_go_back", "drop_client"):  # killed there, and repeated
        with monkeypatch.context() as patch:
            patch.setattr(unlearning, step, interrupt)
            with pytest.raises(KeyboardInterrupt):
                delete(run, plan(run, vault, source, who[client]))
        with pytest.raises(ConfigError, match="repeat fedlm forget"):
            RunFolder.open(run)
    delete(run, plan(run, vault, source, who[client]))
    after = train(vault, run, config, idle)
    rest = seal(tmp_path / "rest", [c for c in CLIENTS if c != who[client]])
    never = train(rest, tmp_path / "never", config, idle)
    assert after == never != before
    told = [(m["round"], m["cohort"], m["tokens"], m["eval"]) for m in RunFolder(run).metrics()]
    assert told == [(m["round"], m["cohort"], m["tokens"], m["eval"]) for m in RunFolder(tmp_path / "never").metrics()]
    assert client not in RunFolder(run).last_clients()
    assert ParticipationLedger(run).rounds() == ParticipationLedger(tmp_path / "never").rounds()
    again = plan(run, vault, source, who[client])
    assert (again.rounds, again.first, again.in_vault) == (0, -1, True)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.flower
def test_a_recorded_failure_is_replayed(tmp_path: Path, idle: KeptWorkers) -> None:
    vault, run, config = seal(tmp_path / "all"), tmp_path / "run", settings(strategy="FedMedian", rounds=2)
    who = names(vault)
    train(vault, tmp_path / "whole", config, idle)
    second = ParticipationLedger(tmp_path / "whole").rounds()[1].clients
    client, lost = sorted(second)[:2]
    train(vault, run, config, idle, (lost, 2))
    assert ParticipationLedger(run).rounds()[1].lost == {lost}
    delete(run, plan(run, vault, KeySource(vault.with_name("v.db.key")), who[client]))
    after = train(vault, run, config, idle)  # nothing fails this time
    rest = seal(tmp_path / "rest", [c for c in CLIENTS if c != who[client]])
    assert after == train(rest, tmp_path / "never", config, idle, (lost, 2))
    assert after != train(rest, tmp_path / "other", config, idle)


def fedlm(*words: object) -> Any:
    done = running.fedlm(*words, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.flower
def test_a_client_that_never_took_part_costs_no_rounds(tmp_path: Path) -> None:
    vault, run = seal(tmp_path / "all"), tmp_path / "run"
    sets = ["scrub=none", "model=lstm(units=8, layers=1)", "seq_len=12", "rounds=1", "cohort_size=1", "workers=1"]
    before = fedlm("simulate", vault, "--out", run, "--json", *[w for s in sets for w in ("--set", s)])
    assert [before["corpus"][k] for k in ("clients", "documents", "forgotten")] == [6, 24, 0]
    client, name = next((c, n) for c, n in names(vault).items() if not first_rounds(run, [c])[c])
    assert client in RunFolder(run).last_clients()
    told = fedlm("forget", name, "--run", run, "--vault", vault, "--json")
    receipt, weights = told.pop("receipt"), before["weights_sha256"]
    assert told == {
        "first_round": -1, "restart": 1, "rounds": 0, "in_vault": True, "weights_sha256": weights, "notes": [],
    }  # fmt: skip
    assert receipt["weights_sha256_before"] == receipt["weights_sha256_after"] == weights
    assert (receipt["rounds_again"], receipt["first_round_again"]) == (0, 0)
    assert client not in RunFolder(run).last_clients()
    assert (run / "model.keras").is_file() and (run / "report.html").is_file()
    summary, report = json.loads((run / "summary.json").read_text()), (run / "report.html").read_text()
    assert 0 < summary["final"]["tokens"] < before["final"]["tokens"]
    assert [summary["corpus"][k] for k in ("clients", "documents", "forgotten")] == [5, 20, 1]
    assert 0 < summary["corpus"]["characters"] < before["corpus"]["characters"]
    assert "5 clients with 20 documents" in report
    kept = (run / "model.keras").stat().st_mtime_ns
    again = fedlm("forget", name, "--run", run, "--vault", vault, "--json")
    assert again.pop("receipt").keys() == receipt.keys() and again == told
    assert (run / "model.keras").stat().st_mtime_ns == kept  # nothing was left to do


def pretended(folder: Path, vault: Path, config: RunConfig, took_part: list[int], client: int, kept: list[int]) -> Path:
    """A run's folder after all its rounds, as the files say: nothing was trained."""
    run = RunFolder.create(folder, config)
    weights = (np.zeros(2, np.float32),)
    if config.privacy.on:
        Ledger.open(folder / "ledger.json", config.privacy)
    for number in [*kept, config.rounds]:
        run.save_checkpoint(Checkpoint(number, weights), keep=number in kept)
    ledger = ParticipationLedger(folder)
    opened = Vault(vault, KeySource(vault.with_name("v.db.key")))
    ledger.start([opened.vault_id], init=False)
    opened.close()
    for number in range(1, config.rounds + 1):
        ledger.add(Participation(number, frozenset({client} if number in took_part else {7}), frozenset()))
    return folder


def test_training_goes_on_from_the_last_kept_round_before_the_client_or_from_the_start(tmp_path: Path) -> None:
    vault = seal(tmp_path / "all")
    source, (client, name) = KeySource(vault.with_name("v.db.key")), next(iter(names(vault).items()))
    adaptive = {"mechanism": "adaptive", "clip_norm": 1.0, "noise_multiplier": 1.0, "sampling_rate": 0.5}
    cases: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
        ({"keep_every": 2}, (4, 2, 4)),  # first in round 4, round 2 is kept, rounds 3 to 6 are to be trained
        ({"patience": 2}, (0, 0, 6)),  # early stopping looked at its held-out text
        ({**adaptive, "weighting": "uniform", "max_client_tokens": 10**6}, (4, 0, 6)),  # the clip norm depended on it
    ]
    for place, (more, expected) in enumerate(cases):
        config = settings(rounds=6, **{"keep_every": 1, **more})
        run = pretended(tmp_path / f"{place}", vault, config, [4, 6], client, [0, 2, 4])
        cost = plan(run, vault, source, name)
        assert (cost.first, cost.restart, cost.rounds) == expected, more
        delete(run, cost)
        left = sorted(p.name for p in (run / "checkpoint").glob("*.safetensors"))
        assert left == (
            ["latest.safetensors", "round-000000.safetensors", "round-000002.safetensors"] if not place else []
        )


@pytest.mark.slow
@pytest.mark.flower
def test_under_differential_privacy_forgetting_says_its_cost_and_charges_the_ledger_again(tmp_path: Path) -> None:
    vault, run = seal(tmp_path / "all"), tmp_path / "run"
    private = [
        "mechanism=gaussian",
        "weighting=uniform",
        "max_client_tokens=1000000",
        "clip_norm=0.5",
        "noise_multiplier=1.0",
        "sampling_rate=0.5",
    ]
    sets = [
        *private,
        "scrub=none",
        "model=lstm(units=8, layers=1)",
        "seq_len=12",
        "rounds=3",
        "keep_every=1",
        "workers=1",
    ]
    fedlm("simulate", vault, "--out", run, "--json", *[w for s in sets for w in ("--set", s)])
    before = json.loads((run / "ledger.json").read_text())
    who = names(vault)
    client, first = next((c, r) for c, r in first_rounds(run, list(who)).items() if r)
    done = running.fedlm("forget", who[client], "--run", run, "--vault", vault, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0].endswith(f"that of round {first - 1}: {4 - first} rounds to train")
    assert "bits differ" in told[1] and "charged again" in told[1]
    kept, ledger = (run / "model.keras").read_bytes(), run / "ledger.json"
    after = json.loads(ledger.read_text())
    ledger.rename(run / "away.json")
    other = next(n for n in who.values() if n != who[client])
    refused = running.fedlm("forget", other, "--run", run, "--vault", vault, cwd=tmp_path)
    assert (refused.returncode, "restore it" in refused.stderr) == (4, True)
    assert (run / "model.keras").read_bytes() == kept  # looked at before anything is deleted
    again = list(range(first, 4))
    assert [r["round"] for r in after["releases"]] == [1, 2, 3, *again]
    assert after["epsilon"] > before["epsilon"]
    assert all(client not in e.clients for e in ParticipationLedger(run).rounds())
