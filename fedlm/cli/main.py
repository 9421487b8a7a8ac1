"""The command line: one file a command in `commands/`. Heavy parts load when a command needs them."""

import errno
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli import (
    deploy,
    evaluate,
    forget,
    generate,
    models,
    prepare,
    privacy,
    report,
    scrub,
    simulate,
    study,
    vault,
    vocabulary,
)
from fedlm.errors import ConfigError, FedLMError

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
vault_app = typer.Typer(no_args_is_help=True, help="Looks into a vault and changes it.")
for command in (
    prepare.prepare,
    simulate.simulate,
    evaluate.evaluate,
    generate.generate,
    report.report,
    models.models,
    vocabulary.vocabulary,
    scrub.scrub,
    forget.forget,
    study.study,
):
    app.command()(command)
vault_app.command()(vault.show)
vault_app.command()(vault.verify)
vault_app.command()(vault.rotate)
vault_app.command()(vault.forget)
vault_app.command()(vault.add)
app.add_typer(vault_app, name="vault")
app.add_typer(deploy.app, name="deploy")
app.add_typer(privacy.app, name="privacy")


@app.callback()
def _fedlm(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Federated training of language models on private text, and the measurement of what that costs."""


def main() -> None:
    """Runs the command line; errors are one sentence on stderr, a traceback only with --debug."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # with nohup it is ignored
            signal.signal(signal.SIGHUP, _terminated)
    try:
        if code := app(arguments, standalone_mode=False):  # typer returns an exit code, that of an interrupt too
            if code == 130:
                raise KeyboardInterrupt
            raise SystemExit(code)
    except FedLMError as error:
        if debug:
            raise
        sys.stderr.write(f"fedlm: {error}\n")
        raise SystemExit(error.exit_code) from None
    except _Terminated as end:
        sys.stderr.write(f"fedlm: ended by {end.name}{_then(arguments)}.\n")
        raise
    except typer.Abort:
        raise SystemExit(130) from None
    except KeyboardInterrupt:
        sys.stderr.write(f"fedlm: interrupted{_then(arguments)}.\n")
        raise SystemExit(130) from None
    except OSError as error:
        if debug:
            raise
        what = "the disk is full; free some space. A run goes on with --resume" if error.errno == errno.ENOSPC else None
        what = what or f"{error.strerror or 'input or output failed'}: {error.filename or 'no file is named'}"
        sys.stderr.write(f"fedlm: {what}.\n")
        raise SystemExit(ConfigError.exit_code if isinstance(error, PermissionError) else 4) from None
    except Exception as error:
        if debug:
            raise
        if (show := getattr(error, "show", None)) is not None:
            show(file=sys.stderr)
            raise SystemExit(2) from None
        sys.stderr.write(f"fedlm: {_unexpected(error)}\n")
        raise SystemExit(4) from None


_AFTER_INTERRUPT = {
    "simulate": "; a run that has begun to train goes on with --resume",
    "study": "; the same command goes on",
    "forget": "; the same command goes on",
    "deploy run": "; the run goes on from its last checkpoint with --out and --resume",
    "deploy up": "; fedlm deploy down ends what has been started",
}


class _Terminated(SystemExit):
    """The end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def _then(arguments: list[str]) -> str:
    """Returns how a command that was ended goes on."""
    names = (" ".join(arguments[:count]) for count in (2, 1))
    return next((_AFTER_INTERRUPT[name] for name in names if name in _AFTER_INTERRUPT), "")


def _terminated(number: int, _: object) -> None:
    """Ends as an interrupt does, so that nothing half-made is left."""
    raise _Terminated(number)


def _unexpected(error: Exception) -> str:
    """Returns a sentence about an error of ours; its own text may quote a document, so only --debug shows it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
    return f"an error that should not happen, {where}; the same command with --debug shows all of it."
