"""Analysis in several processes: Presidio's patterns hold the interpreter's lock, so threads alone use one core.

Texts go to a process and findings come back as lines of JSON over pipes: nothing is pickled and nothing is written to
disk. Of an error only its type comes back, because its message could quote the text.
"""

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict

from fedlm.errors import CorpusError
from fedlm.scrub.kinds import Kind
from fedlm.scrub.profile import Profile
from fedlm.system.processes import Process, child_environment, die_with_parent, module_command, start

Result = tuple[int, int, str, float]
WORTH_CHARACTERS = 200_000  # with fewer characters a process takes longer to start than it saves


def worth(characters: int) -> int:
    """Returns how many processes suit a corpus of so many characters; 0 means this process only."""
    cores = os.cpu_count() or 1
    return cores if characters >= WORTH_CHARACTERS and cores > 1 else 0


class Processes:
    """An analyzer over several processes. As many threads as there are processes may use it at once.

    Args:
      profile: what each process looks for.
      count: how many processes.
    """

    def __init__(self, profile: Profile, count: int) -> None:
        settings = asdict(profile) | {"kinds": {kind.name: value for kind, value in profile.kinds.items()}}
        self._command = module_command("fedlm.scrub.processes", json.dumps(settings))
        self._idle: queue.SimpleQueue[Process] = queue.SimpleQueue()
        self._all: list[Process] = []
        self._lock, self._closed = threading.Lock(), False
        for _ in range(count):
            self._idle.put(self._start())

    def _start(self) -> Process:
        with self._lock:
            if self._closed:
                raise CorpusError("The scrubbing was stopped.")
            self._all.append(self._started())
            return self._all[-1]

    def _started(self) -> Process:
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}  # `extra` may be a module on our path only
        return start(self._command, child_environment(path), piped=True)

    def analyze_all(self, texts: Sequence[str]) -> list[list[Result]]:
        """Returns (start, end, entity, score), as `presidio.Analyzer` does; a process that crashed is replaced once.

        Raises:
          CorpusError: a text cannot be analysed, or crashes two processes.
        """
        process = self._idle.get()
        try:
            reply = _ask(process, texts)
            if reply is None:
                _end(process)
                process = self._start()
                reply = _ask(process, texts)
        finally:
            self._idle.put(process)
        if not isinstance(reply, list):
            raise CorpusError(f"{_which(texts)} could not be scrubbed: {reply or 'the process crashed'}.")
        return [[(int(a), int(b), str(label), float(score)) for a, b, label, score in found] for found in reply]

    def close(self) -> None:
        """Ends the processes, also those that are working."""
        with self._lock:
            self._closed = True
        for process in self._all:
            _end(process)


def _which(texts: Sequence[str]) -> str:
    """Returns what is said of texts that cannot be scrubbed: never their content."""
    characters = f"{sum(map(len, texts)):,} characters"
    return f"A text of {characters}" if len(texts) == 1 else f"One of {len(texts)} texts of {characters} together"


def _ask(process: Process, texts: Sequence[str]) -> object:
    """Returns the findings, an error's type, or None if the process has crashed."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("the process has no pipes")
    try:
        process.stdin.write(json.dumps(texts).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        return None
    return json.loads(line) if line.endswith(b"\n") else None


def _end(process: Process) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # buffered bytes have no reader any more
                pipe.close()


def main() -> None:
    """Answers lines of texts until the input or the parent process ends."""
    die_with_parent()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be read as a reply
    settings = json.loads(sys.argv[1])
    kinds = {Kind[name]: value for name, value in settings.pop("kinds").items()}
    from fedlm.scrub.presidio import Analyzer

    analyzer = Analyzer(Profile(**settings, kinds=kinds))
    for line in sys.stdin.buffer:
        try:
            reply: object = analyzer.analyze_all(json.loads(line))
        except Exception as error:  # noqa: BLE001 - any recogniser's error: its message may quote the text
            reply = type(error).__name__
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
