"""The command line: one file per command. Heavy packages load when a command needs them."""

import errno
import io
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from fedlm.cli import (
    config,
    deploy,
    evaluate,
    forget,
    generate,
    models,
    prepare,
    privacy,
    receipt,
    report,
    scrub,
    simulate,
    study,
    tune,
    vault,
    vocabulary,
)
from fedlm.errors import ConfigError, FedLMError, FedLMWarning
from fedlm.plugins.trust import use_plugins
from fedlm.system.processes import DEBUG
from fedlm.system.shortage import shortage
from fedlm.system.storage import reason_of
from fedlm.system.streams import shown

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (
    prepare.prepare,
    simulate.simulate,
    evaluate.evaluate,
    generate.generate,
    report.report,
    models.models,
    vocabulary.vocabulary,
    config.config,
    scrub.scrub,
    forget.forget,
    study.study,
    tune.tune,
):
    app.command()(command)
for name, group in (("vault", vault.app), ("receipt", receipt.app), ("deploy", deploy.app), ("privacy", privacy.app)):
    app.add_typer(group, name=name)


@app.callback()
def _fedlm(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, in workers too.")] = False,  # noqa: ARG001 - read before the command line is parsed
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            help="Code of your own: FILE.py, or package.module:Class that a run's folder or a vault may load; may be repeated."
        ),
    ] = None,
) -> None:
    """Trains language models on private text by federated learning, and measures what privacy costs."""
    use_plugins(*(plugin or []))


class Terminated(SystemExit):
    """The end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@dataclass(frozen=True)
class Ending:
    """How the program ends after one type of error.

    Attributes:
      error: the type, subclasses included.
      code: the exit code; None is the error's own.
      describe: returns what stderr shows, from the error and the command's arguments.
      is_bug: `--debug` shows the traceback instead.
    """

    error: type[BaseException]
    code: int | None
    describe: Callable[[Any, list[str]], str]
    is_bug: bool = True


_CLICK = (  # parts of click's sentences, and how ours say it
    (re.compile(r"is not a valid integer( range)?"), "is not a whole number"),
    (re.compile(r"is not a valid float( range)?"), "is not a number"),
    (re.compile(r"is not in the range x>=(\S+)$"), r"is not a number >= \1"),
    (re.compile(r"is not in the range (\S+)<=x<=(\S+)$"), r"is not a number >= \1 and <= \2"),
    (re.compile(r"'(-\S+|[A-Z][\w|./]*)'(?=:| requires|$)"), r"\1"),  # an option or argument needs no quotes
)


def _usage(error: click.ClickException, _: list[str]) -> str:
    """Returns click's error as one sentence that names the help; a command without its subcommand shows the help."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        shown = io.StringIO()
        error.show(file=shown)
        return shown.getvalue()
    said = " ".join(error.format_message().split()).rstrip(".")
    for theirs, ours in _CLICK:
        said = theirs.sub(ours, said)
    return f"fedlm: {said}; see {context.command_path if context else 'fedlm'} --help.\n"


def _system(error: OSError, arguments: list[str]) -> str:
    what, cure = reason_of(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE):
        where = f" The file is {os.fsdecode(error.filename)}." if isinstance(error.filename, str | bytes) else ""
        more = _continues(arguments).removeprefix("; ")
        return f"fedlm: {what}; {cure}.{where}" + (f" {more[0].upper()}{more[1:]}.\n" if more else "\n")
    return f"fedlm: {error.strerror or 'input or output failed'}: {error.filename or 'no file is named'}.\n"


def _unexpected(error: Exception, _: list[str]) -> str:
    """Returns the place of a bug. The error's own message may quote a document, so only --debug shows it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
    return f"fedlm: unexpected error, {where}. Run the command again with fedlm --debug to see the traceback.\n"


_CONTINUES = {
    "simulate": "; a run that has begun to train continues with --resume",
    "study": "; the same command continues",
    "tune": "; the same command continues",
    "forget": "; the same command continues",
    "deploy run": "; the run continues from its last checkpoint with --out and --resume",
    "deploy up": "; fedlm deploy down stops what was started",
}


def _continues(arguments: list[str]) -> str:
    """Returns how an interrupted command continues."""
    names = (" ".join(arguments[:count]) for count in (2, 1))
    return next((_CONTINUES[name] for name in names if name in _CONTINUES), "")


ENDINGS = (  # the first that fits counts
    Ending(FedLMError, None, lambda error, _: f"fedlm: {error}\n"),
    Ending(Terminated, None, lambda end, given: f"fedlm: terminated by {end.name}{_continues(given)}.\n", is_bug=False),
    Ending(KeyboardInterrupt, 130, lambda _, given: f"fedlm: interrupted{_continues(given)}.\n", is_bug=False),
    Ending(click.Abort, 130, lambda *_: "", is_bug=False),
    Ending(click.ClickException, ConfigError.exit_code, _usage),
    Ending(PermissionError, ConfigError.exit_code, _system),
    Ending(OSError, FedLMError.exit_code, _system),
    Ending(Exception, FedLMError.exit_code, _unexpected),
)


def main() -> None:
    """Runs the command line; an error is one sentence on stderr, and a traceback only with --debug."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    _end_on_signals()
    if debug:
        os.environ[DEBUG] = "1"  # of the processes that this one starts
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _run(_with_plugins_first(arguments))
    except tuple(ending.error for ending in ENDINGS) as error:
        ending = next(e for e in ENDINGS if isinstance(error, e.error))
        if debug and ending.is_bug:
            raise
        sys.stderr.write(shown(_ends(ending, error, arguments)))
        code = getattr(error, "exit_code", getattr(error, "code", None)) if ending.code is None else ending.code
        raise SystemExit(code) from None


def _ends(ending: Ending, error: BaseException, arguments: list[str]) -> str:
    """Returns what stderr shows; of an exception that a shortage of the machine has caused, the shortage."""
    found = shortage(error) if ending.describe is _unexpected or isinstance(error, BlockingIOError) else None
    return ending.describe(error, arguments) if found is None else f"fedlm: {found}\n"


def _with_plugins_first(arguments: list[str]) -> list[str]:
    """Returns arguments with each `--plugin NAME` before the command, wherever it stood."""
    first, rest, left = list[str](), list[str](), iter(arguments)
    for argument in left:
        if argument == "--plugin":
            first += [argument, *([name] if (name := next(left, None)) is not None else [])]
        elif argument.startswith("--plugin="):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]


def _run(arguments: list[str]) -> None:
    code = app(arguments, prog_name="fedlm", standalone_mode=False)
    if code == 130:  # typer returns the code of an interrupt
        raise KeyboardInterrupt
    if code:
        raise SystemExit(code)


def _end_on_signals() -> None:
    """Makes SIGTERM and SIGHUP stop the program like an interrupt, so that no incomplete file remains."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, _terminate)


def _terminate(number: int, _: object) -> None:
    raise Terminated(number)


_show_any_warning = warnings.showwarning


def _show_warning(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
    """Shows a warning of ours as a sentence, any other as Python does."""
    if issubclass(category, FedLMWarning):
        sys.stderr.write(shown(f"fedlm: {message}\n"))
    else:
        _show_any_warning(message, category, *where, **more)
