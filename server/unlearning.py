"""Exact unlearning: a run goes back to the last kept checkpoint before a client, and trains on without it.

Bourtoule et al., Machine Unlearning, IEEE S&P 2021, for exactness by retraining. https://arxiv.org/abs/1912.03817
Cohorts are drawn by hash, so taking a client out changes the rounds that it was in and no other; recorded failures are
replayed. The weights have the bits of a run in which the client never was (tests/server/test_unlearning.py).
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedlm.errors import BudgetError, ConfigError, FedLMError, VaultError
from fedlm.measure.text import summary
from fedlm.privacy.ledger import FILE as LEDGER
from fedlm.privacy.ledger import Ledger
from fedlm.system.files import replacing
from fedlm.types import TextMetrics
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.run.participation import ParticipationLedger
from server.store.checkpoint import LATEST
from server.store.forgotten import FILE, Forgotten
from server.store.run_folder import DEPLOYED, RunFolder

_OUTCOMES = ("model.keras", "sample.txt", "summary.json", "report.html", "private/summary.json")


@dataclass(frozen=True)
class Plan:
    """What forgetting a client costs.

    Attributes:
      client: its pseudonym.
      first: the round from which the model depends on it; 0 if on nothing before round 1 but through early stopping or
        adaptive clipping on all; -1 if it never took part.
      restart: the round whose checkpoint training goes on from.
      rounds: to be trained again, at most.
      why: a sentence for the user.
      in_vault: whether the vault still holds the client's text.
      lost: failures to replay.
    """

    client: int
    first: int
    restart: int
    rounds: int
    why: str
    in_vault: bool
    lost: dict[int, frozenset[int]]


def plan(run: Path, vault: Path, source: KeySource, name: str) -> Plan:
    """Returns what forgetting costs; changes nothing.

    Raises:
      ConfigError: it is not a run's folder, not its vault, or a run that cannot be unlearned.
      VaultError: the vault is missing, does not open, or never held the client.
    """
    folder = RunFolder.open(run, forgetting=True)
    if (run / DEPLOYED).is_file():
        raise ConfigError(f"{run} is a deployment's run: forget the client at its node and start a new run.")
    charged = Ledger.open(run / LEDGER, folder.config.privacy) if folder.config.privacy.on else None
    ledger = ParticipationLedger(run)
    header, entries = ledger.header(), ledger.rounds()
    if header["init"]:
        raise ConfigError(f"{run} started from another run's weights: forget the client there and start it anew.")
    client, held = _find(vault, source, name, header["vaults"])
    state = Forgotten.read(run)
    if state.pending >= 0 and state.client != client:
        raise ConfigError(f"Another client of {run} is being forgotten and that was interrupted: repeat that first.")
    if state.pending >= 0:
        restart, first, why = state.pending, state.pending + 1, "the interrupted unlearning goes on"
    else:
        took_part = [e.round for e in entries if client in e.clients]
        restart, first, why = _restart(folder, took_part, known=client in state.clients)
    later = [e for e in entries if e.round > restart]
    if any(e.lost is None for e in later):
        raise FedLMError(f"Which clients failed in {run} is not recorded: start a new run without the client.")
    lost = state.lost | {e.round: e.lost - {client} for e in later if e.lost}
    if charged is not None and charged.releases:
        _check_budget(charged, folder.config.rounds - restart)
    return Plan(client, first, restart, max(folder.config.rounds - restart, 0), why, held, lost)


def _check_budget(charged: Ledger, rounds: int) -> None:
    """Refuses what would end in a model that is not trained: the rounds are charged again, and the budget ends them."""
    again = Ledger(None, charged.settings, charged.releases)
    try:
        for _ in range(rounds):
            again.charge(charged.releases[-1])
    except BudgetError:
        budget = charged.settings.epsilon_budget
        raise ConfigError(
            f"{rounds} rounds to be trained again would pass epsilon_budget={budget:g}; nothing was deleted. Start a new run "
            "without the client, and delete this one."
        ) from None


def _find(vault: Path, source: KeySource, name: str, vaults: list[str]) -> tuple[int, bool]:
    """Returns a client's pseudonym and whether the vault still holds it."""
    opened = Vault(vault, source)
    try:
        if opened.vault_id.hex() not in vaults:
            raise ConfigError(f"{vault} is not the vault that the run was trained on: name that one with --vault.")
        client = opened.pseudonym(name)
        held = client in set(map(int, opened.pseudonyms))
        if not held and not opened.has_forgotten(name):
            raise VaultError(f"The vault {vault} holds no client of this name, and has forgotten none.")
        return client, held
    finally:
        opened.close()


def _restart(folder: RunFolder, took_part: list[int], *, known: bool) -> tuple[int, int, str]:
    """Returns the round to go back to, the first that depended on the client, and why."""
    latest = folder.load_checkpoint().round if folder.has_checkpoint else 0
    config = folder.config
    if known:
        return latest, -1, "the run has forgotten this client before"
    if config.patience:
        return 0, 0, "early stopping looked at the client's held-out text, so that every round depends on it"
    if not took_part:
        return latest, -1, "the client never took part; only evaluation figures are rewritten"
    first = min(took_part)
    if config.privacy.traits.moves_norm:
        return (
            0,
            first,
            f"the model depends on the client from round {first}, and so does the clip norm: from the start",
        )
    kept = [int(p.stem.removeprefix("round-")) for p in (folder.path / "checkpoint").glob("round-*.safetensors")]
    restart = max((k for k in [*kept, latest] if k < first), default=0)
    return restart, first, f"the model depends on the client from round {first}; round {restart} is the last one kept"


def delete(run: Path, plan: Plan) -> None:
    """Deletes and rewrites all that depended on the client; killed at any moment, it can be repeated.

    Until it is done, `forgotten.json` says so, and the run neither resumes nor is evaluated.
    """
    folder, before = RunFolder.open(run, forgetting=True), Forgotten.read(run)
    if plan.client in before.clients and before.pending < 0:
        return
    after = Forgotten(before.clients | {plan.client}, plan.lost, plan.restart, plan.client)
    folder.write_text(FILE, after.as_json())
    for name in _OUTCOMES:
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(folder.figures / "events", ignore_errors=True)
    _go_back(run / "checkpoint", plan.restart)
    drop_client(folder, plan.client, plan.restart)
    ParticipationLedger(run).keep_until(plan.restart, without=plan.client)
    folder.write_text(FILE, replace(after, pending=-1, client=0).as_json())


def _go_back(checkpoints: Path, restart: int) -> None:
    """Makes a kept checkpoint the latest and deletes what came after; round 0 is trained from the seed anew."""
    kept = checkpoints / f"round-{restart:06d}.safetensors"
    latest = checkpoints / LATEST
    if restart > 0 and kept.is_file():  # a client that never took part leaves the latest one as it is
        with replacing(latest) as beside:
            shutil.copyfile(kept, beside)
    for file in [*checkpoints.glob("*.safetensors"), *checkpoints.glob(".*.safetensors.new")]:
        number = file.stem.removeprefix("round-")
        keeps = restart > 0 and (file == latest or (number.isdigit() and int(number) <= restart))
        if not keeps:
            file.unlink()


def drop_client(folder: RunFolder, client: int, last_round: int) -> None:
    """Rewrites metrics.jsonl and clients.parquet without a client and without rounds after `last_round`.

    A line whose figures per client are not kept loses its evaluation: it could not be told apart from the client's.
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
    """Returns the sums of each evaluation that is left, added in the order of pseudonyms as `Federation` does."""
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
