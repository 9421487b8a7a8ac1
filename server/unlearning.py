"""Exact unlearning: a run returns to the last kept checkpoint before a client took part, and continues without it.

    rounds        1 ... r | r+1 ... R            the client first took part in round r+1 or later
    plan          find r, the last kept checkpoint that does not depend on the client
    delete        mark the run, delete everything after r, remove the client from what remains, clear the mark
    retrain       r+1 ... R without the client, replaying recorded failures

Bourtoule et al., Machine Unlearning, IEEE S&P 2021 (exactness by retraining). https://arxiv.org/abs/1912.03817
Clients are sampled by hash, so removing one changes only the rounds that it took part in. The weights are bit for bit those
of a run without the client (tests/server/test_unlearning.py).
"""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedlm.errors import BudgetError, ConfigError, FedLMError
from fedlm.measure.text import summary
from fedlm.privacy.ledger import FILE as LEDGER
from fedlm.privacy.ledger import Ledger
from fedlm.privacy.vocabulary import charged_before
from fedlm.system.files import replacing
from fedlm.types import TextMetrics
from fedlm.vault.keys import KeySource
from server.run.participation import Participation, ParticipationLedger
from server.store.checkpoint import LATEST, weights_sha256
from server.store.forgotten import Before, Forgotten
from server.store.run_folder import DEPLOYED, FINAL, FINAL_CLIENTS, RunFolder
from server.store.vault_state import FoundClient, find_client

_DERIVED = (
    *("model.keras", "sample.txt", "summary.json", "report.html", "private/summary.json"),
    *(f"{folder}{name}" for folder in ("", "private/") for name in (FINAL, FINAL_CLIENTS)),
)


@dataclass(frozen=True)
class Plan:
    """What forgetting a client costs.

    Attributes:
      client: its pseudonym.
      first: the first round that depends on the client; 0 if every round does, through early stopping; -1 if it trained
        in none.
      restart: the round from whose checkpoint training continues.
      rounds: the largest number of rounds to train again.
      why: the reason for `restart`, for the user.
      in_vault: whether the vault still holds the client's text.
      lost: the failures to replay, by round.
      notes: what training again does not change, for the user.
    """

    client: int
    first: int
    restart: int
    rounds: int
    why: str
    in_vault: bool
    lost: dict[int, frozenset[int]]
    notes: tuple[str, ...] = ()


def plan(run: Path, vault: Path, source: KeySource, name: str) -> Plan:
    """Returns the cost of forgetting a client; changes nothing.

    Raises:
      ConfigError: the vault is another one, or the run cannot be unlearned.
      DataError: `run` is not a run's folder.
      VaultError: the vault is missing, does not open, or never held the client.
    """
    folder = RunFolder.open(run, forgetting=True)
    if (run / DEPLOYED).is_file():
        raise ConfigError(f"{run} is a deployment's run: forget the client at its node and start a new run.")
    charged = Ledger.open(run / LEDGER, folder.config.privacy) if folder.config.privacy.on else None
    ledger = ParticipationLedger(run)
    header, entries = ledger.header(), ledger.rounds()
    if header["init"]:
        raise ConfigError(f"{run} started from another run's weights: forget the client there, then start a new run.")
    found = find_client(run, vault, source, name, header["vaults"])
    restart, first, why = _restart_for(folder, found.client, entries)
    rounds = max(folder.config.rounds - restart, 0)
    if rounds and found.has_new_text:
        raise ConfigError(
            f"Text was added to {vault} since {run} began, so training again would mix old and new text; nothing was deleted. "
            "Start a new run without the client, and delete this one."
        )
    lost = _failures(run, found.client, [e for e in entries if e.round > restart])
    if charged is not None and charged.releases:
        _check_budget(charged, rounds)
    return Plan(found.client, first, restart, rounds, why, found.held, lost, _notes(folder, found, rounds))


def _notes(folder: RunFolder, found: FoundClient, rounds: int) -> tuple[str, ...]:
    """Returns what depends on the client and stays, and what differs from a run that never had it."""
    notes = []
    if charged_before(folder.config.vocabulary_text) is not None:
        notes.append(
            "the run's private vocabulary counted the text of all clients, the client's too; training again keeps it, and only "
            "its own epsilon covers that: a new run learns another"
        )
    elif folder.config.vocabulary_text:
        notes.append(
            "the run's vocabulary file is kept: if it was learned from the client's text, it still depends on it"
        )
    if rounds and found.others_forgotten:
        notes.append(
            f"the vault has forgotten {found.others_forgotten} other clients since the run began: the rounds trained again are "
            "without them, earlier ones are not until fedlm forget removes each of them"
        )
    return tuple(notes)


def _restart_for(folder: RunFolder, client: int, entries: Sequence[Participation]) -> tuple[int, int, str]:
    """Returns what `_restart` returns, or what an interrupted unlearning of the client had planned."""
    state = Forgotten.read(folder.path)
    if state.pending >= 0 and state.client != client:
        raise ConfigError(f"Forgetting another client of {folder.path} was interrupted: repeat that first.")
    if state.pending >= 0:
        return state.pending, state.pending + 1, "the interrupted unlearning continues"
    took_part = [e.round for e in entries if client in e.clients]
    return _restart(folder, took_part, known=client in state.clients)


def _failures(run: Path, client: int, later: Sequence[Participation]) -> dict[int, frozenset[int]]:
    """Returns the lost clients of the rounds to be trained again: without them, the weights would have other bits."""
    lost = dict(Forgotten.read(run).lost)
    for entry in later:
        if entry.lost is None:
            raise FedLMError(f"{run} does not record which clients failed: start a new run without the client.")
        if entry.lost:
            lost[entry.round] = entry.lost - {client}
    return lost


def _check_budget(charged: Ledger, rounds: int) -> None:
    """Refuses if the privacy budget does not cover the repeated rounds, since the retraining would stop early."""
    again = Ledger(None, charged.settings, charged.releases)  # in memory
    try:
        for _ in range(rounds):
            again.charge(charged.releases[-1])
    except BudgetError:
        budget = charged.settings.epsilon_budget
        raise ConfigError(
            f"Training {rounds} rounds again would exceed epsilon_budget={budget:g}; nothing was deleted. Start a new run "
            "without the client, and delete this one."
        ) from None


def _restart(folder: RunFolder, took_part: list[int], *, known: bool) -> tuple[int, int, str]:
    """Returns the round to return to, the first round that depended on the client, and the reason."""
    latest = folder.load_checkpoint().round if folder.has_checkpoint else 0
    config = folder.config
    if known:
        return latest, -1, "the run has already forgotten this client"
    if config.patience:
        words = config.steering.words
        return 0, 0, f"early stopping used the client's {words} text, so every round depends on it"
    if not took_part:
        return latest, -1, "the client trained in no round; only the evaluation figures change"
    first = min(took_part)
    depends = f"the model depends on the client from round {first}"
    if config.privacy.traits.moves_norm:
        return 0, first, f"{depends}, and so does the adaptive clip norm: training restarts from round 0"
    kept = [int(p.stem.removeprefix("round-")) for p in folder.checkpoints.glob("round-*.safetensors")]
    restart = max((k for k in [*kept, latest] if k < first), default=0)
    return restart, first, f"{depends}; the last checkpoint kept before it is that of round {restart}"


def delete(run: Path, plan: Plan) -> None:
    """Deletes or rewrites everything that depended on the client. If killed at any moment, it can be repeated.

    Until it has finished, `forgotten.json` marks the run, which can then be neither resumed nor evaluated.
    """
    folder, before = RunFolder.open(run, forgetting=True), Forgotten.read(run)
    if plan.client in before.clients and before.pending < 0:
        return
    was = {plan.client: _before(folder, plan), **before.before}  # an interrupted deletion has noted it already
    after = Forgotten(before.clients | {plan.client}, plan.lost, plan.restart, plan.client, was)
    after.write(run)  # the mark comes first: no step below can be missed after a crash
    for name in _DERIVED:
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(folder.figures / "events", ignore_errors=True)
    _go_back(folder.checkpoints, plan.restart)
    drop_client(folder, plan.client, plan.restart)
    ParticipationLedger(run).keep_until(plan.restart, without=plan.client)
    replace(after, pending=-1, client=0).write(run)


def _before(folder: RunFolder, plan: Plan) -> Before:
    """Returns what the receipt states of the run as it was."""
    weights = ""
    with contextlib.suppress(FedLMError):  # an unfinished run may have none
        weights = weights_sha256(folder.final_weights())
    return Before(weights, plan.restart, plan.rounds)


def _go_back(checkpoints: Path, restart: int) -> None:
    """Makes a kept checkpoint the latest and deletes all later ones; with round 0, training restarts from the seed."""
    kept = checkpoints / f"round-{restart:06d}.safetensors"
    latest = checkpoints / LATEST
    if restart > 0 and kept.is_file():  # for a client that never took part, the latest one is kept
        with replacing(latest) as beside:
            shutil.copyfile(kept, beside)
    for file in [*checkpoints.glob("*.safetensors"), *checkpoints.glob(".*.safetensors.new")]:
        number = file.stem.removeprefix("round-")
        keeps = restart > 0 and (file == latest or (number.isdigit() and int(number) <= restart))
        if not keeps:
            file.unlink()


def drop_client(folder: RunFolder, client: int, last_round: int) -> None:
    """Rewrites metrics.jsonl and clients.parquet without a client and without rounds after `last_round`.

    A line without stored figures per client loses its evaluation: the client's share of it cannot be subtracted.
    """
    totals = _rewrite_clients(folder, client, last_round)
    lines: list[dict[str, Any]] = []
    for line in folder.metrics():
        if line["round"] <= last_round:
            kept = {k: v for k, v in line.items() if k != "eval"}
            if "eval" in line and line["round"] in totals:
                kept["eval"] = summary(totals[line["round"]])
            lines.append(kept)
    folder.start_metrics(lines)


def _rewrite_clients(folder: RunFolder, client: int, last_round: int) -> dict[int, TextMetrics]:
    """Returns the sums of each remaining evaluation, added in the order of pseudonyms, as in `evaluation.total_of`."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder.figures / "clients.parquet"
    if not path.is_file():
        return {}
    table = parquet.read_table(path)
    rows = [r for r in table.to_pylist() if r["client"] != client and r["round"] <= last_round]
    with replacing(path) as beside:
        parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), beside)
    totals: dict[int, TextMetrics] = {}
    for r in sorted(rows, key=lambda r: (r["round"], r["client"])):
        figures = TextMetrics(r["loss_sum"], r["correct"], r["tokens"], r["characters"])
        totals[r["round"]] = totals.get(r["round"], TextMetrics()) + figures
    return totals
