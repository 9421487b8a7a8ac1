"""A block of the sealed index: an entry, a name and labels of each client (docs/vault-format.md)."""

import json

import numpy as np
import numpy.typing as npt

from fedlm.errors import VaultError
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, seal, unseal
from fedlm.vault.tables import FORMAT, VaultKeys, as_bytes

BLOCK_CLIENTS = 4096
_FIELDS = [("row_id", "V16"), ("pseudonym", "<u8"), ("train", "<u4"), ("held_out", "<u4"), ("wrapped", "V16")]
ENTRY = np.dtype([*_FIELDS, ("documents", "<u4")])
_ENTRY_1 = np.dtype(_FIELDS)  # of format 1

Names = list[tuple[str, dict[str, str]]]
"""Names and labels of a block's clients."""


def seal_block(keys: VaultKeys, vault_id: bytes, number: int, entries: bytes, names: Names) -> tuple[int, bytes, bytes]:
    """Returns a row of `block`; the entries are of ENTRY."""
    plain = json.dumps([[name, labels] for name, labels in names]).encode()
    return (
        number,
        seal(keys.index, Place(vault_id, Part.INDEX, sequence=number), bytes([FORMAT]) + entries),
        seal(keys.index, Place(vault_id, Part.NAMES, sequence=number), plain),
    )


def unseal_entries(keys: VaultKeys, vault_id: bytes, number: int, blob: object) -> npt.NDArray[np.void]:
    """Returns a block's entries, of ENTRY; in one that was written in format 1, no client has documents."""
    plain = unseal(keys.index, Place(vault_id, Part.INDEX, sequence=number), as_bytes(blob))
    if len(plain) % 4:  # entries of both formats are whole fours; before those of format 2 stands its number
        if plain[0] != FORMAT:
            raise VaultError(DOES_NOT_OPEN)
        return np.frombuffer(plain, ENTRY, offset=1)
    known = np.frombuffer(plain, _ENTRY_1)
    entries = np.zeros(len(known), ENTRY)
    for name in known.dtype.names or ():
        entries[name] = known[name]
    return entries


def unseal_names(keys: VaultKeys, vault_id: bytes, number: int, blob: object) -> Names:
    """Returns a block's names and labels."""
    plain = unseal(keys.index, Place(vault_id, Part.NAMES, sequence=number), as_bytes(blob))
    try:
        return [(str(name), dict(labels)) for name, labels in json.loads(plain)]
    except (ValueError, TypeError):
        raise VaultError(DOES_NOT_OPEN) from None
