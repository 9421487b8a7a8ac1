"""`fedlm vault add`."""

from typing import Annotated

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, VaultFile, key_source
from fedlm.cli.vault.printing import print_table


def add(
    vault: VaultFile,
    corpus: Annotated[str, typer.Argument(help="The corpus to add; see fedlm prepare.")],
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Scrubs a corpus and adds it: new clients, and new documents of clients in the vault."""
    from fedlm.preparation.add import add as change
    from fedlm.preparation.left_out import positive
    from fedlm.system.streams import shown
    from fedlm.system.terminal import ClientProgress

    with ClientProgress("scrubbing and sealing", quiet=as_json) as progress:
        done = change(corpus, vault, key_source(vault, key_file, passphrase_env, key_provider), progress.update)
    counts: dict[str, object] = {
        "clients": done.clients,
        "left_out": done.left_out,
        "left_out_causes": positive(done.causes),
    }
    counts |= {"documents": done.documents, "documents_left_out": positive(done.documents_left_out)}
    read = done.reading.counts() if as_json else {}
    print_table({**counts, "characters": done.characters, "findings": dict(done.findings), **read}, as_json)
    if not as_json:
        for sentence in done.reading.sentences():
            typer.echo(shown(sentence))
