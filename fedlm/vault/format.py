"""Sealing and opening of single blobs: AES-256-GCM with an authenticated header (docs/vault-format.md)."""

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

DOES_NOT_OPEN = "A part of the vault does not open: the key is not this vault's, or the file was damaged or altered; fedlm vault verify tells how much of it opens."


class Part(IntEnum):
    """What a blob holds."""

    DATA_KEY = 1
    TRAIN = 2
    HELD_OUT = 3
    INDEX = 4
    NAMES = 5
    ROOT = 6
    SECRETS = 7


@dataclass(frozen=True)
class Place:
    """Where a blob belongs; a blob opens in its own place only."""

    vault_id: bytes
    part: Part
    row_id: bytes = NO_ROW
    sequence: int = 0

    @property
    def header(self) -> bytes:
        """The nine bytes in front of the blob."""
        return _HEADER.pack(MAGIC, self.part, self.sequence)


def seal(key: bytes, place: Place, plain: bytes) -> bytes:
    """Returns header, nonce, ciphertext and tag."""
    nonce = os.urandom(_NONCE_BYTES)
    cipher = AESGCM(key).encrypt(nonce, plain, place.header + place.vault_id + place.row_id)
    return place.header + nonce + cipher


def unseal(key: bytes, place: Place, blob: bytes) -> bytes:
    """Returns what `seal` was given.

    Raises:
      VaultError: one and the same sentence, whatever is wrong.
    """
    body = memoryview(blob)[len(place.header) :]  # a slice of bytes copies; two copies cost more than the decryption
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
      VaultError: nothing that it returns reads like this.
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
