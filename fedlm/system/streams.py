"""The output of a command whose reader is gone: `fedlm prepare ... | head -1` seals the vault all the same."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from typing import Any

_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)  # the reader has ended, or the terminal was closed
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Outlet(io.FileIO):
    """Writes to a descriptor; after the first error, what is written there is dropped, also by native code.

    Attributes:
      error: the first one.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Returns the number of bytes written or dropped."""
        try:
            return super().write(data) or 0
        except BlockingIOError:
            raise
        except OSError as error:
            self.error = self.error or error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(data)


def _open(stream: Any) -> _Outlet | None:
    """Returns an outlet and has a standard stream write to it; None for a stream that is no file of the system."""
    try:
        number = stream.fileno()
        stream.flush()
        outlet = _Outlet(number, "wb", closefd=False)
    except (AttributeError, OSError, ValueError):
        return None
    is_live = number == 2 or outlet.isatty()
    text = io.TextIOWrapper(io.BufferedWriter(outlet), encoding="utf-8", errors="replace", line_buffering=is_live)
    setattr(sys, "stdout" if number == 1 else "stderr", text)
    return outlet


def run_to_the_end(command: Callable[[], object]) -> int:
    """Runs a command, also if nobody reads what it prints.

    Returns:
      0, or 4 where its output was lost otherwise than by a reader's end, for instance on a full
      disk; then stderr says so.
    """
    outlet = _open(sys.stdout)
    _open(sys.stderr)
    command()
    sys.stdout.flush()
    error = None if outlet is None else outlet.error
    if error is None or error.errno in _GONE:
        return 0
    sys.stderr.write(f"fedlm: the command is done, but its output could not be written ({error.strerror}).\n")
    return 4


def shown(text: str) -> str:
    r"""Returns a sentence without what steers a terminal: names of files and people may hold escape codes.

    >>> shown("a\x1b[31mb.txt cannot be read")
    'a\\x1b[31mb.txt cannot be read'
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
