"""Errors that a caller can act on. Each carries the exit code of the command line."""

import math
from collections.abc import Mapping
from typing import Any


class FedLMError(Exception):
    """Base of all errors of fedlm: one sentence that says what, where, and what to do. Exit code 4: the run failed."""

    exit_code = 4

    @property
    def told(self) -> str:
        """The sentence that may leave a node."""
        return str(self)


class ConfigError(FedLMError, ValueError):
    """Invalid usage or configuration: an option, a key, a file that a key names, or an output that exists already."""

    exit_code = 2


class UnknownOption(ConfigError):
    """A plug-in has no option of this name.

    Args:
      option: the name.
      sentence: names the plug-in and its options.
    """

    def __init__(self, option: str, sentence: str) -> None:
        super().__init__(sentence)
        self.option = option


class DataError(FedLMError):
    """What a command reads is missing, damaged, or not what it should be, such as the folder of a run."""

    exit_code = 3


class PluginError(ConfigError):
    """Code of the user's own does not load.

    Args:
      sentence: quotes the exception.
      told: the same without the exception's text, for other machines.
    """

    def __init__(self, sentence: str, told: str = "") -> None:
        super().__init__(sentence)
        self._told = told

    @property
    def told(self) -> str:
        """The sentence that may leave a node."""
        return self._told or str(self)


class PluginFailure(FedLMError):
    """A method of the user's own raised an exception or returned something else than it must; quotes no exception's text."""


class CorpusError(DataError):
    """The corpus is missing, empty or malformed."""


class VaultError(DataError):
    """The vault, its key or one of its parts does not open."""


class StorageError(FedLMError):
    """The machine does not read or write a file: full disk, no permission, failing disk. What the file holds is not in doubt."""


class MachineError(FedLMError):
    """The machine gives a process too little memory, or too few threads or open files."""


class InUseError(VaultError):
    """Another process holds the vault; the same command succeeds later."""


class CohortError(FedLMError):
    """A round has too few clients to continue."""


class DivergedError(CohortError):
    """Training diverged: the update of every client of a round, or the new weights, were not finite."""


class BudgetError(FedLMError):
    """The next release would exceed the privacy budget."""


class FedLMWarning(FutureWarning):
    """What a user should know of: a round that released nothing, or the old name of a key, which the next version refuses."""


class FailedUpdates(UserWarning):
    """Updates of clients failed in a run and were left out."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> counted(1, "node"), counted(1200, "client")
    ('1 node', '1,200 clients')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def error_of_code(code: int, sentence: str) -> FedLMError:
    """Returns another process' error as the class of ours that has this exit code."""
    kinds: dict[int, type[FedLMError]] = {kind.exit_code: kind for kind in (ConfigError, VaultError, CohortError)}
    return kinds.get(code, FedLMError)(sentence)


_INVALID = {  # Pydantic's type of error -> what is wrong with the value
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float", "int_parsing_size"), "is not a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "is not a number"),
    "finite_number": "is not a finite number",
    **dict.fromkeys(("bool_parsing", "bool_type"), "is neither true nor false"),
    "string_type": "is not text",
    "greater_than": "is not above {gt}",
    "greater_than_equal": "is below {ge}",
    "less_than": "is not below {lt}",
    "less_than_equal": "is above {le}",
}
_LONGEST = 200  # characters of another library's sentence
_SHOWN = 80  # characters of an invalid value; a remote one may be long


def invalid_value(key: str, mistake: Mapping[str, Any]) -> ConfigError:
    """Returns the sentence about an invalid value of a key.

    Args:
      key: as the user wrote it.
      mistake: an entry of `pydantic.ValidationError.errors()`. A ConfigError that a validator raised is returned as it is.

    >>> print(invalid_value("rounds", {"type": "int_parsing", "input": "abc"}))
    Invalid value for rounds: 'abc' is not a whole number.
    """
    context = mistake.get("ctx", {})
    if isinstance(ours := context.get("error"), ConfigError):
        return ours
    problem = _INVALID.get(mistake["type"])
    shown = repr(mistake["input"])
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    detail = f"{shown} {problem.format(**context)}" if problem else str(context.get("error") or mistake["msg"])
    return ConfigError(f"Invalid value for {key}: {detail}." if key else f"Invalid configuration: {detail}.")


def check_number(
    name: str,
    value: float,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> None:
    """Checks that a value is a finite number within bounds: at least `ge`, above `gt`, at most `le`, below `lt`.

    Args:
      name: of the option or key, as the user wrote it.
      value: the number.

    Raises:
      ConfigError: it is not; the sentence names the option and the whole range.

    >>> check_number("temperature", -1.0, ge=0)
    Traceback (most recent call last):
    fedlm.errors.ConfigError: Invalid value for temperature: -1.0 is not a number >= 0.
    """
    low, high = ge if gt is None else gt, le if lt is None else lt
    right = math.isfinite(value)
    right = right and (low is None or value > low or (gt is None and value == low))
    if not (right and (high is None or value < high or (lt is None and value == high))):
        signs = ((">=", ge), (">", gt), ("<=", le), ("<", lt))
        bounds = " and ".join(
            f"{sign} {'2^63' if limit == 2**63 else f'{limit:g}'}" for sign, limit in signs if limit is not None
        )
        number = "a number" if math.isfinite(value) else "a finite number"
        raise ConfigError(f"Invalid value for {name}: {value!r} is not {number} {bounds}".rstrip() + ".")


def first_sentence(error: BaseException) -> str:
    """Returns the first sentence of another library's error, on one line and without its full stop.

    >>> first_sentence(ValueError("Alpha should be above zero. Instead it is [-1.\\n -1.]"))
    'Alpha should be above zero'
    """
    text = " ".join(str(error).split()).partition(". ")[0].rstrip(".:")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
