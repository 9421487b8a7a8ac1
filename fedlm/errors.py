"""Errors that a caller can act on. Each carries the exit code of the command line."""

from collections.abc import Mapping
from typing import Any


class FedLMError(Exception):
    """Base of all errors of fedlm: one sentence that says what, where, and what to do. Exit code 4: the run failed."""

    exit_code = 4


class ConfigError(FedLMError, ValueError):
    """Invalid usage or configuration."""

    exit_code = 2


class CorpusError(FedLMError):
    """The corpus is missing, empty or malformed."""

    exit_code = 3


class VaultError(FedLMError):
    """The vault, its key or one of its parts does not open."""

    exit_code = 3


class CohortError(FedLMError):
    """A round has too few clients to continue."""


class BudgetError(FedLMError):
    """The next release would exceed the privacy budget."""


class FedLMWarning(FutureWarning):
    """Something that works in this version and not in the next, such as the old name of a renamed key."""


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
    detail = f"{shown} {problem.format(**context)}" if problem else str(mistake["msg"])
    return ConfigError(f"Invalid value for {key}: {detail}.")
