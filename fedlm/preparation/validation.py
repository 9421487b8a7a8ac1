"""A vault for choosing settings: its held-out text is another vault's validation text, or drawn from its training text.

    source   | training text                   | validation text | held-out text |
    derived  | training text                   | held-out text   |                    <- never opened

    source   | training text                                     | held-out text |
    derived  | training text                   | held-out text   |                    <- never opened

The derived vault has its own key. It holds nothing of the source's held-out part.
"""

from pathlib import Path

from fedlm.config import RunConfig
from fedlm.errors import CorpusError
from fedlm.preparation.split import count_parts, split_texts
from fedlm.system.files import check_new_file
from fedlm.vault.format import Part
from fedlm.vault.keys import KeySource, make_key_file
from fedlm.vault.locks import being_made
from fedlm.vault.parts import Parts
from fedlm.vault.reader import Vault, VaultWriter

VALIDATION_FRACTION = 0.2  # of a client's training documents, the last ones, where the vault has no validation text


def derive_validation_vault(source: Vault, path: Path, key: Path, config: RunConfig, pseudonym_key: bytes) -> None:
    """Makes a vault whose held-out part is validation text: whole, or not at all.

    A client without validation text trains only. If the source has none at all, it is the last part of the training text, and
    a client with one training document has none. Clients that the source only evaluates are left out.

    Args:
      source: opened; its held-out parts are not read.
      path: the file to make.
      key: its key file, made if it is missing.
      config: in whose vocabulary tokens are counted.
      pseudonym_key: of the clients, 32 bytes.

    Raises:
      CorpusError: no client has validation text, or two training documents.
    """
    fraction = float(source.about.get("validation_fraction") or VALIDATION_FRACTION)
    counting = config.model_copy(update={"holdout_fraction": fraction, "validation_fraction": 0.0})
    check_new_file(path, "vault")
    with being_made(path):
        make_key_file(key)
        writer = VaultWriter(path, KeySource(file=key), pseudonym_key)
        try:
            validated = 0
            for name, labels in source.names():
                parts = _parts(source, source.pseudonym(name), counting)
                if parts.train:
                    writer.add_again(name, parts, count_parts(parts, counting), labels)
                    validated += bool(parts.held_out)
            if not validated:
                raise CorpusError(
                    "No client has validation text, or two training documents from which it can be split off: add text, or lower "
                    "holdout_fraction."
                )
            about = {k: v for k, v in source.about.items() if k not in ("test", "evaluated_only")}
            writer.finish(
                {**about, "holdout_fraction": fraction, "validation_fraction": 0.0, "clients": writer.clients}
            )
        except BaseException:
            writer.discard()
            raise


def _parts(source: Vault, client: int, config: RunConfig) -> Parts[list[str]]:
    """Returns a client's documents in the derived vault."""
    train = source.documents(client)
    if not source.about.get("validation_fraction"):
        return split_texts(train, config)
    return Parts(train, [], source.documents(client, Part.VALIDATION))
