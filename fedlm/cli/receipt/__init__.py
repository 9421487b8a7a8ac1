"""`fedlm receipt key|verify`: one command a file."""

import typer

from fedlm.cli.receipt.key import key
from fedlm.cli.receipt.verify import verify

app = typer.Typer(no_args_is_help=True, help="Checks receipts of deletions without the vault.")
for command in (key, verify):
    app.command()(command)
