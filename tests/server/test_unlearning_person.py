"""A person whom a vault of an earlier version holds twice: every client is unlearned, and one receipt names them all."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedlm.errors import VaultError
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import check_receipt
from server import unlearning
from server.run.participation import Participation, ParticipationLedger
from server.store.checkpoint import Checkpoint
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder
from server.unlearning_person import unlearn
from server.unlearning_receipt import unlearning_receipt
from tests.support.unlearned import settings
from tests.vault.test_people import NFD, made_before

AFTER = "ab" * 32


def run_on(folder: Path, vault: Path, source: KeySource, rounds: dict[str, list[int]]) -> Path:
    """A run of six rounds, each kept, in whose files the named clients took part; nothing was trained."""
    run, opened = RunFolder.create(folder / "run", settings(rounds=6)), Vault(vault, source)
    for number in range(7):
        run.save_checkpoint(Checkpoint(number, (np.zeros(2, np.float32),)), keep=True)
    ledger = ParticipationLedger(folder / "run")
    ledger.start([opened.vault_id], init=False)
    for number in range(1, 7):
        clients = {opened.pseudonym(name) for name, own in rounds.items() if number in own}
        ledger.add(Participation(number, frozenset(clients), frozenset()))
    opened.close()
    return folder / "run"


@pytest.mark.parametrize("name", ["ann", " ann", "ann\u200b"])
@pytest.mark.parametrize(
    ("rounds", "restart"),
    [
        ({"ann": [5], "ann ": [3], "\u00a0ann": []}, 2),
        ({"ann": [2], "ann ": [6], "\u00a0ann": [4]}, 1),
        ({"bob": [1]}, 6),
    ],
)
@pytest.mark.parametrize("in_vault", [True, False])
def test_all_clients_of_a_person_are_unlearned(
    tmp_path: Path, name: str, rounds: dict[str, list[int]], restart: int, in_vault: bool
) -> None:
    vault, source = made_before(tmp_path, ("ann", "ann ", "\u00a0ann", "bob"))
    run = run_on(tmp_path, vault, source, rounds)
    rows, pseudonyms = set[str](), set[int]()
    opened = Vault(vault, source)
    for each in ("ann", "ann ", "\u00a0ann"):
        rows.add(opened.row_id(each).hex())
        pseudonyms.add(opened.pseudonym(each))
    opened.close()
    if not in_vault:
        forget(vault, source, "ann")
    told: list[object] = []
    done = unlearn(run, vault, source, name, told.append)
    assert len(told) == len(done) == 3
    state = Forgotten.read(run)
    assert state.clients == pseudonyms and state.pending == -1
    assert RunFolder.open(run).load_checkpoint().round == restart
    assert all(not e.clients & pseudonyms for e in ParticipationLedger(run).rounds())
    first = done[0]
    receipt = unlearning_receipt(run, vault, source, first.name, first.plan, AFTER, "", done[1:])
    opened = Vault(vault, source)
    check_receipt(receipt, opened.public_key)
    opened.close()
    assert set(receipt["clients"]) == rows and receipt["in_vault"] is in_vault
    assert (receipt["rounds_again"], receipt["first_round_again"]) == ((6 - restart), restart + 1 if restart < 6 else 0)
    again = unlearn(run, vault, source, name)
    repeated = unlearning_receipt(run, vault, source, again[0].name, again[0].plan, AFTER, "", again[1:])
    unsigned = [
        {k: v for k, v in r.items() if k not in ("signature", "when", "clients", "row_id")} for r in (receipt, repeated)
    ]
    assert unsigned[0] == unsigned[1] and "ann" not in json.dumps(receipt)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_interrupted_deletion_is_completed_whichever_client_it_was_at(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, source = made_before(tmp_path, ("ann", "ann ", "\u00a0ann", "bob"))
    run = run_on(tmp_path, vault, source, {"ann": [5], "ann ": [3], "\u00a0ann": [4]})
    seen: list[int] = []
    real = unlearning.drop_client

    def stop(folder: RunFolder, client: int, last: int) -> None:
        if len(seen) == at:
            raise KeyboardInterrupt
        seen.append(client)
        real(folder, client, last)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(unlearning, "drop_client", stop)
        unlearn(run, vault, source, "ann")
    assert Forgotten.read(run).pending >= 0
    unlearn(run, vault, source, "ann")
    assert len(Forgotten.read(run).clients) == 3 and RunFolder.open(run).load_checkpoint().round == 2


def test_a_stranger_costs_nothing_and_one_client_is_one_client(tmp_path: Path) -> None:
    vault, source = made_before(tmp_path, (NFD, "bob"))
    run = run_on(tmp_path, vault, source, {NFD: [4]})
    with pytest.raises(VaultError, match="no client of this name"):
        unlearn(run, vault, source, "carol")
    assert RunFolder.open(run).load_checkpoint().round == 6
    (done,) = unlearn(run, vault, source, "Jos\u00e9")
    receipt = unlearning_receipt(run, vault, source, done.name, done.plan, AFTER)
    assert done.name == NFD and "clients" not in receipt and receipt["first_round_again"] == 4
