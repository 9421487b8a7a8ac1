"""A forgotten client: the weights have the bits of a run in which it never was, and nothing of the run mentions it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedlm.cli import app
from fedlm.errors import ConfigError, VaultError
from fedlm.vault.change import forget as forget_in_vault
from fedlm.vault.keys import KeySource
from fedlm.vault.store import Vault
from server.forgotten import FILE, Forgotten
from server.participation import Participation, ParticipationLedger
from server.unlearning import plan

SETS = ["scrub=none", "max_clients=6", "rounds=5", "cohort_size=3", "model=lstm(units=8)", "keep_every=1", "workers=1"]


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


def run(*words: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.flower
def test_forgotten_client_leaves_the_bits_of_a_run_without_it(tmp_path: Path) -> None:
    sets = [w for s in SETS for w in ("--set", s)]
    ran, vault = tmp_path / "run", tmp_path / "v.db"
    before = run("simulate", "shakespeare", *sets, "--out", ran)
    for suffix in ("", ".key"):
        shutil.copy(ran / f"vault.db{suffix}", tmp_path / f"v.db{suffix}")
    source = KeySource(tmp_path / "v.db.key")
    opened = Vault(vault, source)
    names = {opened.pseudonym(name): name for name, _ in opened.names()}
    opened.close()
    rounds = ParticipationLedger(ran).rounds()
    first = {c: next((e.round for e in rounds if c in e.clients), 0) for c in names}
    client = max(first, key=lambda c: (first[c], c))
    assert first[client] > 1  # else nothing is kept before it
    forget_in_vault(vault, source, names[client])
    with pytest.raises(VaultError, match="no client of this name"):
        plan(ran, vault, source, "nobody")
    told = run("forget", names[client], "--run", ran, "--vault", vault)
    assert (told["first_round"], told["restart"]) == (first[client], first[client] - 1)
    assert told["rounds"] == 5 - told["restart"]
    never = run("simulate", vault, *sets, "--out", tmp_path / "never")
    assert told["weights_sha256"] == never["weights_sha256"] != before["weights_sha256"]
    after = ParticipationLedger(ran).rounds()
    assert after == ParticipationLedger(tmp_path / "never").rounds() and all(client not in e.clients for e in after)
    again = run("forget", names[client], "--run", ran, "--vault", vault)
    assert (again["rounds"], again["weights_sha256"]) == (0, told["weights_sha256"])
