"""Signed receipts: of a client's deletion from a vault, and of its unlearning from a run's model.

    signature = Ed25519(vault's signing key, JSON of the other fields: keys sorted, no spaces)

A receipt is checked against a public key that was fetched before, from the vault's owner (`fedlm receipt key`). It holds
no key of its own: a key that travels with a receipt proves nothing. It proves that the holder of the signing key said so,
not that it is so (docs/unlearning.md, "Receipts").
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedlm.errors import ConfigError, VaultError
from fedlm.system.files import write_atomic
from fedlm.system.plain_text import read_json
from fedlm.system.storage import MISSING, reading, storing
from fedlm.vault.tables import Secrets

DELETION, UNLEARNING = "deletion", "unlearning"
LARGEST = 64 * 1024
"""Bytes of a receipt that are read; ours have about one thousand."""
LONGEST_REFERENCE = 200
_KEY_BYTES = 32
_ALTERED = "The receipt was altered, or another key signed it."


def signed(secrets: Secrets, kind: str, content: Mapping[str, Any], reference: str = "") -> dict[str, Any]:
    """Returns a receipt: the content, what identifies it, and the signature.

    Args:
      secrets: the vault's.
      kind: DELETION or UNLEARNING.
      content: what it states; text, whole numbers, booleans, and mappings of them.
      reference: the words of who asked for it, so that no earlier receipt can stand for this one.

    Raises:
      ConfigError: the reference is too long.
    """
    check_reference(reference)
    receipt = {"receipt": kind, **content, "signer": fingerprint(secrets.public_key)}
    if reference:
        receipt["reference"] = reference
    return {**receipt, "signature": secrets.signer.sign(_message(receipt)).hex()}


def check_reference(reference: str) -> None:
    """Raises a ConfigError for a reference that a receipt cannot hold."""
    if len(reference) > LONGEST_REFERENCE or not reference.isprintable():
        raise ConfigError(f"A receipt's reference is one line of at most {LONGEST_REFERENCE} characters.")


def write_receipt(file: Path, receipt: Mapping[str, Any]) -> None:
    """Writes a receipt as JSON, whole or not at all."""
    with storing(file):
        write_atomic(file, json.dumps(receipt, indent=2) + "\n")


def fingerprint(public_key: bytes) -> str:
    """Returns what names a public key in a receipt: the first sixteen bytes of its SHA-256, hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def read_receipt(file: Path) -> dict[str, Any]:
    """Reads a receipt from a stranger; see `parse_receipt`.

    Raises:
      VaultError: it is missing, or not a receipt.
    """
    try:
        with reading(file), file.open("rb") as opened:
            return parse_receipt(opened.read(LARGEST + 1))
    except (*MISSING, VaultError):
        raise VaultError(
            f"{file} is not a receipt: name the JSON file that fedlm vault forget or fedlm forget wrote."
        ) from None


def parse_receipt(content: bytes) -> dict[str, Any]:
    """Returns a receipt of JSON that has one meaning only.

    Raises:
      VaultError: it is too large, not a JSON object, has a key twice, or a number that JSON does not have.
    """
    try:
        found = read_json(content[: LARGEST + 1].decode("utf-8"), is_strict=True)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, NaN; with a key twice, two readers may see two receipts
        found = None
    if len(content) > LARGEST or not isinstance(found, dict):
        raise VaultError("This is not a receipt: it is not a JSON object, or it is too large.")
    return found


def check_receipt(receipt: Mapping[str, Any], public_key: bytes) -> None:
    """Checks a receipt's signature.

    Args:
      receipt: as `signed` or `read_receipt` returned it.
      public_key: the vault's, 32 bytes, fetched beforehand; never taken from the receipt.

    Raises:
      VaultError: the receipt was altered, or another key signed it.
    """
    signature = receipt.get("signature")
    if not isinstance(signature, str) or not re.fullmatch("[0-9a-f]{128}", signature):
        raise VaultError(_ALTERED)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(signature), _message(receipt))
    except (InvalidSignature, TypeError, ValueError, RecursionError):
        raise VaultError(_ALTERED) from None


def check_answers(receipt: Mapping[str, Any], reference: str) -> None:
    """Raises a VaultError unless a genuine receipt answers a request: an earlier receipt has another reference, or none."""
    if receipt.get("reference") != reference:
        raise VaultError("The receipt is genuine, but it does not answer this request: its reference is another.")


def _message(receipt: Mapping[str, Any]) -> bytes:
    content = {k: v for k, v in receipt.items() if k != "signature"}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read_public_key(given: str) -> bytes:
    """Returns a public key, given as a file or itself, in hexadecimal or base64.

    Raises:
      ConfigError: it is neither.
    """
    text = given
    try:
        if Path(given).is_file():
            with reading(given), Path(given).open("rb") as opened:
                text = opened.read(LARGEST).decode("ascii")
        text = text.strip()
        key = bytes.fromhex(text) if len(text) == 2 * _KEY_BYTES else base64.b64decode(text, validate=True)
    except (OSError, ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            "The public key has 32 bytes, in hexadecimal or base64, or is a file that holds it: the vault's owner exports "
            "it with fedlm receipt key."
        )
    return key
