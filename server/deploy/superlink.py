"""Flower's SuperLink with a patient database: SQLite waits a minute for a lock instead of five seconds.

On a busy machine, five seconds can pass; the SuperLink then responds with an internal error, and the
message is lost.
"""

from flwr.supercore import sql_mixin
from flwr.supercore.constant import SQLITE_PRAGMAS
from flwr.superlink.cli.flower_superlink import flower_superlink

_BUSY_MILLISECONDS = 60_000


def patient_pragmas() -> tuple[tuple[str, str], ...]:
    """Returns Flower's SQLite settings with a longer wait for a lock."""
    return tuple((n, str(_BUSY_MILLISECONDS) if n == "busy_timeout" else v) for n, v in SQLITE_PRAGMAS)


def main() -> None:
    """Runs the SuperLink that the command line describes."""
    setattr(sql_mixin, "SQLITE_PRAGMAS", patient_pragmas())  # noqa: B010 - private to Flower, with a type of its own
    flower_superlink()


if __name__ == "__main__":
    main()
