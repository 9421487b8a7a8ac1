"""`fedlm vault show`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, VaultFile, key_source
from fedlm.cli.vault.printing import print_table

if TYPE_CHECKING:
    from fedlm.vault.reader import Vault


def show(
    vault: VaultFile,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    heterogeneity: Annotated[
        bool,
        typer.Option("--heterogeneity", help="Open all texts, in memory, and measure how much the clients differ."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Shows what a vault holds: counts, never text."""
    from fedlm.vault.reader import Vault

    opened = Vault(vault, key_source(vault, key_file, passphrase_env, key_provider))
    about = _about(opened, heterogeneity=heterogeneity)
    opened.close()
    print_table(about, as_json)


def _about(vault: "Vault", *, heterogeneity: bool) -> dict[str, Any]:
    from fedlm.measure.heterogeneity import describe_sizes
    from fedlm.vault.reader import training_clients

    trains = training_clients(vault.index)
    return {
        **vault.about,
        **({"label_entropy": vault.label_entropy} if vault.label_entropy else {}),
        "vault_id": vault.vault_id.hex(),
        "clients": len(vault.pseudonyms),
        "forgotten": vault.forgotten(),
        "train_tokens": int(vault.index["train"].sum()),
        "validation_tokens": int(vault.index["validation"].sum()),
        "held_out_tokens": int(vault.index["held_out"].sum()),
        "without_validation": int((trains & (vault.index["validation"] == 0)).sum()),
        "without_held_out": int((vault.index["held_out"] == 0).sum()),
        "evaluated_only": int((~trains).sum()),
        **{k: v for k, v in describe_sizes(vault.index["train"][trains]).items() if k.startswith("size_")},
        **(_contents(vault) if heterogeneity else {}),
        "epoch": vault.epoch,
        "vault_key": vault.key_fingerprint,
        "public_key": vault.public_key.hex(),
    }


class _Texts:
    """A vault's training documents by client; it can be iterated any number of times."""

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault

    def __iter__(self) -> Iterator[list[str]]:
        return map(self._vault.documents, map(int, self._vault.pseudonyms))


def _contents(vault: "Vault") -> dict[str, float]:
    """Returns how much clients differ in content."""
    from fedlm.config import RunConfig
    from fedlm.measure.heterogeneity import describe
    from fedlm.preparation.split import counting_vocabulary

    config = RunConfig.checked({k: vault.about[k] for k in ("vocabulary",) if k in vault.about})
    found = describe(_Texts(vault), vault.index["train"], counting_vocabulary(config))
    return {k: v for k, v in found.items() if k not in ("clients", "tokens") and not k.startswith("size_")}
