"""The signed receipt of an unlearning: what it states, and what it leaves out.

It names the client by its row id, which the deletion receipt of the vault has too. The pseudonym would lead to the client's
figures and cohorts in the run's folder; the row id stands in the vault only. Under differential privacy the rounds are left
out, since they tell when the client took part and cohorts are secret.
"""

import contextlib
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import UNLEARNING
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder
from server.unlearning import Plan
from server.unlearning_person import Unlearned

_WHAT = "the run's model was trained again without the client, from the last checkpoint that did not depend on it"
_WHAT_NOT = "the client trained in no round of the run, so no round was trained again"


def unlearning_receipt(
    run: Path,
    vault: Path,
    source: KeySource,
    name: str,
    plan: Plan,
    after: str,
    reference: str = "",
    others: Sequence[Unlearned] = (),
) -> dict[str, Any]:
    """Returns the receipt of an unlearning that is complete; repeated, it states the same of the run as it was.

    Args:
      run, vault, source: the run, its vault and where the key is.
      name: the client.
      plan: of the unlearning.
      after: SHA-256 of the weights now.
      reference: the words of who asked for it.
      others: further clients of the run that are the same person, in the order in which they were removed.
    """
    plans, noted = [plan, *(other.plan for other in others)], Forgotten.read(run).before
    before = noted.get(plan.client)
    costs = [(b.restart, b.rounds) if (b := noted.get(p.client)) else (p.restart, p.rounds) for p in plans]
    restart, rounds = min(r for r, _ in costs), max(r for _, r in costs)
    config = RunFolder.open(run).config
    content: dict[str, Any] = {
        "what": _WHAT if rounds else _WHAT_NOT,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config_sha256": hashlib.sha256((run / "config.toml").read_bytes()).hexdigest(),
        "weights_sha256_before": before.weights_sha256 if before else "",
        "weights_sha256_after": after,
        "remains": list(dict.fromkeys(note for p in plans for note in p.notes)),
    }
    if config.privacy.on:
        content["what"] = "the run's model does not depend on the client: rounds that did were trained again without it"
    else:
        content |= {"first_round_again": restart + 1 if rounds else 0, "rounds_again": rounds}
    with contextlib.closing(Vault(vault, source)) as opened:
        rows = [opened.row_id(n).hex() for n in (name, *(other.name for other in others))]
        named = {"vault_id": opened.vault_id.hex(), "row_id": rows[0], "in_vault": any(p.in_vault for p in plans)}
        if others:
            named["clients"] = rows
        return opened.receipt(UNLEARNING, {**content, **named}, reference)
