"""`fedlm vault show|verify|rotate|forget|add`: one file per command."""

import typer

from fedlm.cli.vault.add import add
from fedlm.cli.vault.forget import forget
from fedlm.cli.vault.rotate import rotate
from fedlm.cli.vault.show import show
from fedlm.cli.vault.verify import verify

app = typer.Typer(no_args_is_help=True, help="Inspects a vault and changes it.")
for command in (show, verify, rotate, forget, add):
    app.command()(command)
