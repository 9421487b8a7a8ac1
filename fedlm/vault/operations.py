"""`rotate` and `forget`, and the signed receipt of a deletion.

rotate    rewrap, commit: the old vault key is destroyed, texts and data keys stay.
forget    remove, rewrap, commit, purge: the client's text was sealed under a data key that was deleted, and copies of that
          data key open only under a vault key that is destroyed. Everyone else is rewrapped under
          the new one.
"""

import time
from pathlib import Path
from typing import Any

from fedlm.errors import VaultError
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource
from fedlm.vault.people import Tombstone
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import DELETION, check_reference, signed


def rotate(path: Path, source: KeySource) -> dict[str, Any]:
    """Wraps a vault's data keys under a new vault key and destroys the old one.

    Returns:
      Epoch, clients, and the fingerprints of the old and the new key.
    """
    with VaultEditor(path, source) as editor:
        old = editor.head.keys.fingerprint
        editor.rewrap()
        head = editor.commit()
    return {"epoch": head.epoch, "clients": head.clients, "old_key": old, "new_key": head.keys.fingerprint}


def forget(path: Path, source: KeySource, name: str, reference: str = "") -> dict[str, Any]:
    """Destroys a person's keys and text and rewraps the rest under a new vault key; repeated, it only checks and purges.

    Args:
      path, source: the vault and its key.
      name: the client, in any spelling that a corpus takes for the same person (`fedlm.data.names`). A vault of an earlier
        version may hold several such clients: all are destroyed.
      reference: the words of who asked for it, which the receipt repeats.

    Returns:
      The signed receipt. It names the client by its row id only; several clients, by the row ids of all.

    Raises:
      VaultError: the vault never held such a client, or another process reads it.
      ConfigError: the reference is too long.
    """
    check_reference(reference)  # before anything is destroyed
    with VaultEditor(path, source) as editor:
        held = editor.people.held(name)
        rows = {editor.head.secrets.row_id(n) for n in held}
        # With a tombstone, an earlier call committed the deletion; it may have been killed before
        # it purged.
        before = [t for t in editor.people.tombstones(name) if bytes.fromhex(t.row_id) not in rows]
        if not held and not before:
            raise VaultError(f"The vault {path} has no client of this name, and never forgot one.")
        gone = [*before, *(editor.remove(n, int(time.time())) for n in held)]
        if held:
            editor.rewrap()
            editor.commit()
        editor.purge()
        inner = editor.head.secrets
    gone.sort(key=lambda tombstone: tombstone.row_id)
    vault = Vault(path, source)
    try:
        content = {
            "what": "the client's data key and sealed text were destroyed, and the vault key was replaced",
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(t.when for t in gone))),
            "vault_id": vault.vault_id.hex(),
            **_named(gone),
            "vault_key": vault.key_fingerprint,
            "verification": _verification(vault, gone),
        }
    finally:
        vault.close()
    return signed(inner, DELETION, content, reference)


def _named(gone: list[Tombstone]) -> dict[str, Any]:
    """Returns what a receipt says of the clients. A row id is an HMAC of the name: whoever has vault and name can compare."""
    named: dict[str, Any] = {"row_id": gone[0].row_id, "destroyed_key": gone[0].destroyed}
    if len(gone) > 1:
        named["clients"] = [{"row_id": t.row_id, "destroyed_key": t.destroyed} for t in gone]
    return named


def _verification(vault: Vault, gone: list[Tombstone]) -> dict[str, Any]:
    """Checks the deletion through a new connection."""
    held = set(map(int, vault.pseudonyms))
    for tombstone in gone:
        if vault.holds_row(bytes.fromhex(tombstone.row_id)) or tombstone.pseudonym in held:
            raise VaultError(f"The client is still in {vault.path}: its row was restored while it was being forgotten.")
    free_pages = vault.free_pages()
    return {"row": "gone", "index": "gone", "tombstone": "there", "free_pages": free_pages, "epoch": vault.epoch}
