"""Analysis in processes of their own: Presidio's patterns hold the interpreter's lock, so threads alone use one core.

Texts go to a process and their findings come back as lines of JSON over pipes: nothing is pickled, nothing touches disk,
and an error is told by its type, whose text could quote what was read.
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
WORTH_CHARACTERS = 200_000  # below, a process of its own takes longer to start than it saves


def worth(characters: int) -> int:
    """Returns how many processes suit a corpus of so many characters; 0 is this process alone."""
    cores = os.cpu_count() or 1
    return cores if characters >= WORTH_CHARACTERS and cores > 1 else 0


class Processes:
    """An analyzer over several processes; as many threads as there are processes may use it at once.

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
                raise CorpusError("The scrubbing was ended.")
            self._all.append(self._started())
            return self._all[-1]

    def _started(self) -> Process:
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}  # `extra` may be a module that only we find
        return start(self._command, child_environment(path), piped=True)

    def analyze_all(self, texts: Sequence[str]) -> list[list[Result]]:
        """Returns (start, end, entity, score), as `presidio.Analyzer` does; a lost process is replaced once.

        Raises:
          CorpusError: a text cannot be analysed, or costs a process its life twice.
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
            word = reply or "the process ended"
            characters = f"{sum(map(len, texts)):,} characters"
            which = (
                f"A text of {characters}" if len(texts) == 1 else f"One of {len(texts)} texts of {characters} together"
            )
            raise CorpusError(f"{which} could not be scrubbed: {word}.")
        return [[(int(a), int(b), str(label), float(score)) for a, b, label, score in found] for found in reply]

    def close(self) -> None:
        """Ends the processes, also those that are at work."""
        with self._lock:
            self._closed = True
        for process in self._all:
            _end(process)


def _ask(process: Process, texts: Sequence[str]) -> object:
    """Returns the findings, an error's type, or None if the process is gone."""
    assert process.stdin is not None and process.stdout is not None
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
            with contextlib.suppress(OSError):  # what was left to write has no reader
                pipe.close()


def main() -> None:
    """Answers texts until the input ends, or the process that sends them does."""
    die_with_parent()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no reply
    settings = json.loads(sys.argv[1])
    kinds = {Kind[name]: value for name, value in settings.pop("kinds").items()}
    from fedlm.scrub.presidio import Analyzer

    analyzer = Analyzer(Profile(**settings, kinds=kinds))
    for line in sys.stdin.buffer:
        try:
            reply: object = analyzer.analyze_all(json.loads(line))
        except Exception as error:  # noqa: BLE001 - a recogniser's error may quote the text
            reply = type(error).__name__
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
