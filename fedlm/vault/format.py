"""Seals and opens single blobs: AES-256-GCM with an authenticated header (docs/vault-format.md).

    blob = header (9) || nonce (12) || ciphertext || tag (16)
    header = "FLM1" || part (u8) || sequence (u32);   authenticated: header || vault id (16) || row id (16)

A blob therefore opens only as the part, in the row and in the vault that it was sealed for: one
that is moved elsewhere fails like one that was altered.
"""

import os
import struct
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedlm.errors import VaultError

MAGIC = b"FLM1"
NO_ROW = bytes(16)
KEY_BYTES = 32
_HEADER = struct.Struct("<4sBI")
_NONCE_BYTES = 12

# One sentence for every cause: which of them it was would help whoever tries keys or alters files.
DOES_NOT_OPEN = (
    "A part of the vault does not open: the key is not this vault's, or the file was damaged or altered; "
    "run fedlm vault verify to see how much of it opens."
)


class Part(IntEnum):
    """What a blob holds."""

    DATA_KEY = 1
    TRAIN = 2
    HELD_OUT = 3
    INDEX = 4
    NAMES = 5
    ROOT = 6
    SECRETS = 7
    LABELS = 8
    VALIDATION = 9


@dataclass(frozen=True)
class Place:
    """Where a blob belongs; it opens nowhere else."""

    vault_id: bytes
    part: Part
    row_id: bytes = NO_ROW
    sequence: int = 0

    @property
    def header(self) -> bytes:
        """The nine bytes at the start of the blob."""
        return _HEADER.pack(MAGIC, self.part, self.sequence)


def seal(key: bytes, place: Place, plain: bytes) -> bytes:
    """Returns header, nonce, ciphertext and tag."""
    nonce = os.urandom(_NONCE_BYTES)  # random: a key seals far fewer than 2**32 blobs (NIST SP 800-38D, 8.3)
    cipher = AESGCM(key).encrypt(nonce, plain, place.header + place.vault_id + place.row_id)
    return place.header + nonce + cipher


def unseal(key: bytes, place: Place, blob: bytes) -> bytes:
    """Returns what `seal` was given.

    Raises:
      VaultError: one and the same sentence, whatever is wrong.
    """
    body = memoryview(blob)[len(place.header) :]  # slices of bytes copy; two copies cost more than decrypting
    if not blob.startswith(place.header) or len(body) < _NONCE_BYTES:
        raise VaultError(DOES_NOT_OPEN)
    try:
        aad = place.header + place.vault_id + place.row_id
        return AESGCM(key).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], aad)
    except InvalidTag:
        raise VaultError(DOES_NOT_OPEN) from None


def derive(key: bytes, purpose: str) -> bytes:
    """Returns HKDF-SHA256(key, purpose), 32 bytes."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def pack_documents(documents: list[str]) -> bytes:
    """Returns documents as 4-byte lengths and UTF-8."""
    encoded = [d.encode("utf-8", "replace") for d in documents]
    return b"".join(struct.pack("<I", len(e)) + e for e in encoded)


def unpack_documents(plain: bytes) -> list[str]:
    """Returns what `pack_documents` was given.

    Raises:
      VaultError: the bytes are not of this form.
    """
    documents, at = [], 0
    try:
        while at < len(plain):
            (size,) = struct.unpack_from("<I", plain, at)
            at += 4 + size
            if at > len(plain):
                raise VaultError(DOES_NOT_OPEN)
            documents.append(plain[at - size : at].decode())
    except (struct.error, UnicodeDecodeError):
        raise VaultError(DOES_NOT_OPEN) from None
    return documents
