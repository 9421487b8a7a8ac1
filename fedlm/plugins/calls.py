"""Loads and calls code of the user's own. What it raises becomes an error of ours with the plug-in, the file and the line.

    load   nothing private is open yet: the sentence quotes the exception, except where it leaves a node     PluginError
    run    the exception may quote a client's text: the sentence has its type and its place, nothing more    PluginFailure

The exception stays the error's cause, so `fedlm --debug` shows the whole traceback.
"""

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from fedlm.errors import ConfigError, FedLMError, PluginError, PluginFailure

_SHOWN = 300  # characters of an exception's text
_RAISED = (Exception, SystemExit)  # a script may call sys.exit() when it is imported


def load_module(what: str, name: str, module: str) -> ModuleType:
    """Imports a module of the user's own.

    Args:
      what: the kind of plug-in, for example "algorithm".
      name: the plug-in's name, as the user wrote it.
      module: its module.

    Raises:
      ConfigError: there is no such module, or it raises an exception when it is imported.
    """
    try:
        with loading(f"The {what} {name!r} cannot be loaded", module):
            return import_module(module)
    except PluginError as error:
        if is_missing(module, error):
            raise missing_module(what, name, module) from error
        raise


def is_missing(module: str, error: PluginError) -> bool:
    """Returns whether a module did not load because it is nowhere, and not because of one that it imports."""
    missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def missing_module(what: str, name: str, module: str) -> ConfigError:
    """Returns the error about a plug-in whose module is nowhere."""
    return ConfigError(
        f"There is no module {module!r} for the {what} {name!r}: install it where fedlm runs, or name its file with --plugin FILE.py."
    )


@contextmanager
def loading(sentence: str, module: str) -> Iterator[None]:
    """Turns an exception in a module that is loaded, or in what it defines, into a PluginError that begins with `sentence`."""
    try:
        yield
    except FedLMError:
        raise
    except _RAISED as error:  # whatever the user's code raises
        where, text = cause(error, module), _text(error)
        raise PluginError(f"{sentence}: {where}{text and ': '}{text}.", f"{sentence}: {where}.") from error


@contextmanager
def running(what: str, method: str, module: str, passes: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns an exception in a method of a plug-in into a PluginFailure.

    Args:
      what: the plug-in, for example "algorithm mine:Rule".
      method: the method's name.
      module: where the plug-in is defined.
      passes: exceptions that its caller reads.
    """
    try:
        yield
    except FedLMError:
        raise
    except _RAISED as error:  # whatever the user's code raises
        if isinstance(error, passes):
            raise
        raise PluginFailure(f"The {what} failed in {method}(): {cause(error, module)}.") from error


def cause(error: BaseException, module: str) -> str:
    """Returns the type of an exception, and its place in the code of a module's package: "KeyError at mine.py:12"."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} at {_base(error.filename)}:{error.lineno}"
    package, places = module.partition(".")[0], list[str]()
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            places.append(f"{_base(frame.f_code.co_filename)}:{line}")
    return f"{type(error).__name__} at {places[-1]}" if places else type(error).__name__


def unexpected(error: BaseException) -> str:
    """Returns the type of an exception that nobody foresaw, and the last line of code that it passed."""
    places = [f"{_base(frame.f_code.co_filename)}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    return f"unexpected {type(error).__name__}{' at ' if places else ''}{places[-1] if places else ''}"


def takes(function: Callable[..., Any], arguments: Sequence[str], keywords: Sequence[str] = ()) -> bool:
    """Returns whether a function can be called with these arguments; True for one whose signature is not known."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a function in C
        return True
    try:
        signature.bind(*arguments, **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def _text(error: BaseException) -> str:
    """Returns the text of an exception on one line, without a full stop."""
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...").removesuffix(".")


def _base(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2]
