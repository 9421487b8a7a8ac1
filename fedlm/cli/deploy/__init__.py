"""`fedlm deploy ...`: the same training as real processes over TLS (docs/deployment.md); one file per command."""

import typer

from fedlm.cli.deploy.accept import accept
from fedlm.cli.deploy.add import add
from fedlm.cli.deploy.down import down
from fedlm.cli.deploy.init import init
from fedlm.cli.deploy.node import node
from fedlm.cli.deploy.review import review
from fedlm.cli.deploy.run import run
from fedlm.cli.deploy.server import server
from fedlm.cli.deploy.status import status
from fedlm.cli.deploy.up import up

app = typer.Typer(no_args_is_help=True, help="Trains with real processes over TLS, on one machine or several.")
for command in (init, up, run, status, down, server, node, add, review, accept):
    app.command()(command)
