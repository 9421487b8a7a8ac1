"""`fedlm prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.cli.options import KeyFile, KeyProvider, PassphraseEnv, key_source

if TYPE_CHECKING:
    from fedlm.config import RunConfig
    from fedlm.preparation.vault import Preparation
    from fedlm.vault.keys import KeySource


def prepare(
    corpus: Annotated[str, typer.Argument(help="A file, a folder, hf:NAME, or a built-in corpus; see the README.")],
    vault: Annotated[Path, typer.Argument(help="The vault to make.")],
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    partition: Annotated[
        str, typer.Option(help="Split anew, e.g. 'dirichlet(alpha=0.1)'; by default, one client a user.")
    ] = "",
    scrub: Annotated[str, typer.Option(help="full, patterns, or none.")] = "full",
    pseudonym_key: Annotated[
        str,
        typer.Option(
            help="A file of 32 bytes or more, seed, or random; by default seed for built-in corpora, random for your own."
        ),
    ] = "",
    max_clients: Annotated[int, typer.Option(help="Clients kept, drawn by the seed; 0 is all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the split and of that draw.")] = 0,
) -> None:
    """Scrubs a corpus and seals it into a vault."""
    from fedlm.config import RunConfig

    config = RunConfig.checked(
        {
            "partition": partition,
            "scrub": scrub,
            "pseudonym_key": pseudonym_key,
            "max_clients": max_clients,
            "seed": seed,
        }
    )
    prepare_vault(corpus, vault, key_source(vault, key_file, passphrase_env, key_provider), config)


def prepare_vault(corpus: str, vault: Path, source: "KeySource", config: "RunConfig", *, quiet: bool = False) -> None:
    """Makes a vault, shows progress and says what was found."""
    from fedlm.preparation.vault import prepare as make_vault
    from fedlm.system.terminal import ClientProgress

    new_key = source.file is not None and not source.file.exists()
    with ClientProgress("scrubbing and sealing", quiet=quiet) as progress:
        done = make_vault(corpus, vault, source, config, progress.update)
    if quiet:
        return
    found = ", ".join(f"{n} {kind.lower().replace('_', ' ')}" for kind, n in done.findings.most_common(5)) or "none"
    typer.echo(
        f"sealed {done.clients:,} clients, {done.documents:,} documents, {done.characters:,} characters in {vault}"
    )
    typer.echo(f"personal data found ({config.scrub}): {found}")
    typer.echo(f"heterogeneity: {_heterogeneity(done, corpus)}")
    if done.left_out:
        typer.echo(f"clients left out for too little text after scrubbing: {done.left_out:,}")
    if new_key:
        typer.echo(f"made the key file {source.file}: who takes both has the text")


def _heterogeneity(done: "Preparation", corpus: str) -> str:
    """Returns in words what is known of it without opening a text again; `fedlm vault show --heterogeneity` has the rest."""
    from fedlm.data.corpus import is_public
    from fedlm.measure.heterogeneity import describe_sizes

    sizes = describe_sizes(done.train_tokens)
    found = f"Gini of sizes {sizes['size_gini']:.2f}, as uneven as {sizes['size_effective_number']:,.1f} equal clients"
    labels = ", ".join(f"{key} {bits:.2f}" for key, bits in done.entropies.means(named=is_public(corpus)).items())
    return found + (f"; entropy of labels within a client, bits: {labels}" if labels else "")
