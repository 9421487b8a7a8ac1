"""`fedlm privacy show` and `fedlm privacy plan`: one file per command."""

from typing import Any

import typer
from typer.core import TyperGroup

from fedlm.cli.privacy.plan import plan
from fedlm.cli.privacy.show import show


class PrivacyGroup(TyperGroup):
    """Accepts `fedlm privacy RUN` for `fedlm privacy show RUN`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Treats a first word that is not a command as a run's folder."""
        if args and args[0] not in self.commands:
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=PrivacyGroup, help="Shows what a run's privacy cost, and plans a run.")
app.command()(show)
app.command()(plan)
