"""`fedlm prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.cli.options import KeyFile, KeyProvider, PassphraseEnv, Test, key_source
from fedlm.errors import counted

if TYPE_CHECKING:
    from fedlm.api import Prepared
    from fedlm.config import RunConfig
    from fedlm.vault.keys import KeySource


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A file, a folder, hf:NAME, parliament:PATH, or a built-in corpus: shakespeare, sotu or synthetic(...)."
        ),
    ],
    vault: Annotated[Path, typer.Argument(help="The vault to make.")],
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    partition: Annotated[
        str, typer.Option(help="Distribute the documents over new clients, such as 'dirichlet(alpha=0.1)'.")
    ] = "",
    scrub: Annotated[str, typer.Option(help="full, patterns or none, with options; see docs/scrubbing.md.")] = "full",
    pseudonym_key: Annotated[
        str,
        typer.Option(
            help="A file of at least 32 bytes, seed, or random; by default seed for a built-in corpus, random for your own."
        ),
    ] = "",
    max_clients: Annotated[int, typer.Option(help="Clients to keep, sampled by the seed; 0 keeps all.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the partition and of the sampled clients.")] = 0,
    test: Test = "",
    holdout_fraction: Annotated[
        float | None,
        typer.Option(help="Share of each client's documents, the last ones, that is held out; by default 0.2."),
    ] = None,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of each client's documents, before the held-out ones, that steers training.")
    ] = 0.0,
) -> None:
    """Scrubs personal data from a corpus and seals each client's text into a vault."""
    from fedlm.config import RunConfig

    settings = {"partition": partition, "scrub": scrub, "pseudonym_key": pseudonym_key, "max_clients": max_clients}
    split = {} if holdout_fraction is None else {"holdout_fraction": holdout_fraction}
    config = RunConfig.checked({**settings, **split, "validation_fraction": validation_fraction, "seed": seed})
    prepare_vault(corpus, vault, key_source(vault, key_file, passphrase_env, key_provider), config, test)


def prepare_vault(
    corpus: str, vault: Path, source: "KeySource", config: "RunConfig", test: str = "", *, quiet: bool = False
) -> None:
    """Makes a vault, shows the progress and prints what was found."""
    from fedlm.api import prepare as make_vault
    from fedlm.system.terminal import ClientProgress

    with ClientProgress("scrubbing and sealing", quiet=quiet) as progress:
        done = make_vault(corpus, vault, config, key=source, progress=progress.update, test=test or None)
    if not quiet:
        _report(done, config.scrub, config.min_documents)
        if done.made_key:
            typer.echo(f"made the key file {source.file}: anyone with this file and the vault can read the text")


def _report(done: "Prepared", scrub: str, least: int) -> None:
    from fedlm.preparation.left_out import told
    from fedlm.system.streams import shown

    sealed = ", ".join(
        counted(n, what)
        for n, what in ((done.clients, "client"), (done.documents, "document"), (done.characters, "character"))
    )
    typer.echo(f"sealed {sealed} in {done.vault}")
    found = [f"{count} {kind.lower().replace('_', ' ')}" for kind, count in list(done.findings.items())[:5]]
    typer.echo(f"personal data found ({scrub}): {', '.join(found) or 'none'}")
    typer.echo(f"heterogeneity: {_heterogeneity(done)}")
    left_out = (done.left_out_causes, done.documents_left_out, done.without_held_out, done.dealt_nothing)
    lines = told(*left_out, least, without_validation=done.without_validation, evaluated_only=done.evaluated_only)
    for line in (*lines, *done.notes):
        typer.echo(shown(line))


def _heterogeneity(done: "Prepared") -> str:
    """Returns what is known without opening a text again; `fedlm vault show --heterogeneity` measures the rest."""
    sizes = f"Gini of client sizes {done.size_gini:.2f}"
    sizes += f", effective number of clients {done.size_effective_number:,.1f}"
    labels = ", ".join(f"{key} {bits:.2f}" for key, bits in done.label_entropy.items())
    return sizes + (f"; label entropy within a client, in bits: {labels}" if labels else "")
