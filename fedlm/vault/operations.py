"""`rotate` and `forget`, and the signed receipt of a deletion.

rotate    rewrap, commit: the old vault key is destroyed, texts and data keys stay.
forget    remove, rewrap, commit, purge: the client's text was sealed under a data key that was deleted, and copies of that
          data key open only under a vault key that is destroyed. Everyone else is rewrapped under
          the new one.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedlm.errors import VaultError
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault


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


def forget(path: Path, source: KeySource, name: str) -> dict[str, Any]:
    """Destroys a client's key and text and rewraps the rest under a new vault key; repeated, it only checks and purges.

    Returns:
      The signed receipt. It names the client by its row id only.

    Raises:
      VaultError: the vault never held such a client, or another process reads it.
    """
    with VaultEditor(path, source) as editor:
        # With a tombstone, an earlier call committed the deletion; it may have been killed before
        # it purged.
        if editor.forgotten(name) is None:
            if not editor.has(name):
                raise VaultError(f"The vault {path} has no client of this name, and never forgot one.")
            editor.remove(name, int(time.time()))
            editor.rewrap()
            editor.commit()
        when, destroyed = editor.forgotten(name) or (0, "")
        editor.purge()
        inner = editor.head.secrets
    vault = Vault(path, source)
    try:
        receipt = {
            "what": "the client's data key and sealed text were destroyed, and the vault key was replaced",
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
            "vault_id": vault.vault_id.hex(),
            "row_id": inner.row_id(name).hex(),  # HMAC of the name: whoever has vault and name can compare
            "destroyed_key": destroyed,
            "vault_key": vault.key_fingerprint,
            "verification": _verification(vault, inner.row_id(name), inner.pseudonym(name)),
            "public_key": inner.public_key.hex(),
        }
    finally:
        vault.close()
    return {**receipt, "signature": inner.signer.sign(_signed(receipt)).hex()}


def _verification(vault: Vault, row_id: bytes, pseudonym: int) -> dict[str, Any]:
    """Checks the deletion through a new connection."""
    if vault.holds_row(row_id) or pseudonym in set(map(int, vault.pseudonyms)):
        raise VaultError(f"The client is still in {vault.path}: it was added again while it was being forgotten.")
    free_pages = vault.free_pages()
    return {"row": "gone", "index": "gone", "tombstone": "there", "free_pages": free_pages, "epoch": vault.epoch}


def _signed(receipt: Mapping[str, Any]) -> bytes:
    content = {k: v for k, v in receipt.items() if k != "signature"}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def check_receipt(receipt: Mapping[str, Any], public_key: bytes) -> None:
    """Checks a receipt's signature.

    Args:
      receipt: as `forget` returned it.
      public_key: the vault's, from `fedlm vault show`; never taken from the receipt.

    Raises:
      VaultError: the receipt was altered, or another vault signed it.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(receipt["signature"]), _signed(receipt))
    except (InvalidSignature, KeyError, TypeError, ValueError):
        raise VaultError("The receipt was altered, or another vault signed it.") from None
