"""Runs a command when the process that started it is gone, however it ended: `kill -9` of pytest leaves no deployment behind."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def guard(command: list[str], cwd: Path) -> Iterator[None]:
    """Runs the command if the block ends with an exception, or this process before it; otherwise the caller cleans up."""
    words = [sys.executable, __file__, *command]
    with subprocess.Popen(words, cwd=cwd, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        yield
        assert watcher.stdin is not None
        watcher.stdin.write(b"done")
        watcher.stdin.close()


if __name__ == "__main__":
    if not sys.stdin.buffer.read():  # the other end of the pipe closed without a word
        subprocess.run(sys.argv[1:], check=False)
