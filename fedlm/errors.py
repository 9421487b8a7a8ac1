"""Errors that a caller can act on. Each carries the exit code of the command line."""


class FedLMError(Exception):
    """Base of our errors: one sentence that says what, where, and what to do. Exit code 4: the run failed."""

    exit_code = 4


class ConfigError(FedLMError, ValueError):
    """Wrong usage or configuration."""

    exit_code = 2


class CorpusError(FedLMError):
    """The corpus is missing, empty or malformed."""

    exit_code = 3


class VaultError(FedLMError):
    """The vault, its key or one of its parts does not open."""

    exit_code = 3


class CohortError(FedLMError):
    """A round has too few clients to go on."""


class BudgetError(FedLMError):
    """The next release would pass the privacy budget."""


def error_of_code(code: int, sentence: str) -> FedLMError:
    """Returns another process' error as ours, with the exit code that it has there."""
    kinds: dict[int, type[FedLMError]] = {kind.exit_code: kind for kind in (ConfigError, VaultError, CohortError)}
    return kinds.get(code, FedLMError)(sentence)
