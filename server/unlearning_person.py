"""Unlearns a person: every client of the run's vault whose name a corpus takes for the same person (`fedlm.data.names`).

A vault has one such client, unless an earlier version made it: then `ann` and `ann ` may be two.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.store.forgotten import Forgotten
from server.store.run_folder import CONFIG, recorded_config
from server.unlearning import Plan, delete, plan


@dataclass(frozen=True)
class Unlearned:
    """A client that was removed from a run: its name in the vault, and what that cost."""

    name: str
    plan: Plan


def unlearn(
    run: Path, vault: Path, source: KeySource, name: str, tell: Callable[[Plan], object] = lambda plan: None
) -> list[Unlearned]:
    """Deletes every file of a run that depends on a person; what has to be trained again is the most that a plan says.

    Args:
      run, vault, source: the run, its vault and where the key is.
      name: of the person.
      tell: called with each client's plan before its files are deleted.

    Raises:
      ConfigError: the vault is another one, or the run cannot be unlearned; nothing was deleted.
      VaultError: the vault is missing, does not open, or never held the person.
    """
    if (run / CONFIG).is_file():  # `plan` says that it is no run
        recorded_config(run)  # first: it may name code that the user did not
    with contextlib.closing(Vault(vault, source)) as opened:
        names = opened.names_of(name) or [name]  # `plan` says that there is no such client
        pseudonyms = {n: opened.pseudonym(n) for n in names}
    state = Forgotten.read(run)
    if state.pending >= 0:  # an interrupted deletion is completed first
        names.sort(key=lambda n: pseudonyms[n] != state.client)
    else:
        for each in names:  # each is checked before the first deletes anything
            plan(run, vault, source, each)
    done = []
    for each in names:
        cost = plan(run, vault, source, each)
        tell(cost)
        delete(run, cost)
        done.append(Unlearned(each, cost))
    return done
