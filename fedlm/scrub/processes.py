"""Analysis in several processes: Presidio's patterns hold the interpreter's lock, so threads alone use one core.

Texts go to a process and findings come back as lines of JSON over pipes: nothing is pickled and nothing is written to
disk. Of an error only its type and its place come back, because its message could quote the text.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict

from fedlm.errors import CorpusError, FedLMError, PluginFailure, error_of_code
from fedlm.plugins.places import check_places, places_of
from fedlm.scrub.kinds import Kind
from fedlm.scrub.profile import Profile
from fedlm.system.listening import StartupErrors
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import DEBUG, child_environment, die_with_parent, end, module_command, start
from fedlm.system.processors import processors

Result = tuple[int, int, str, float]
WORTH_CHARACTERS = 200_000  # with fewer characters a process takes longer to start than it saves

_ENDS_SECONDS = 10.0  # of a process that has closed its output


def worth(characters: int) -> int:
    """Returns how many processes suit a corpus of so many characters; 0 means this process only."""
    cores = processors()
    return cores if characters >= WORTH_CHARACTERS and cores > 1 else 0


def check_recogniser(profile: Profile, characters: int) -> None:
    """Checks that the processes for so many characters can load the user's own recogniser; without one it costs nothing.

    Raises:
      FedLMError: they cannot, with their sentence.
    """
    if profile.extra and profile.scope.patterns and worth(characters):
        with contextlib.closing(Processes(profile, 1)) as asked:
            asked.analyze_all(["."])


class Processes:
    """An analyzer over several processes. As many threads as there are processes may use it at once.

    Args:
      profile: what each process looks for.
      count: how many processes.
    """

    def __init__(self, profile: Profile, count: int) -> None:
        settings = asdict(profile) | {"kinds": {kind.name: value for kind, value in profile.kinds.items()}}
        settings["places"] = places_of([profile.extra] if profile.extra else [])
        self._command = module_command("fedlm.scrub.processes", json.dumps(settings))
        self._idle: queue.SimpleQueue[_Analysing] = queue.SimpleQueue()
        self._all: list[_Analysing] = []
        self._lock, self._closed = threading.Lock(), False
        for _ in range(count):
            self._idle.put(self._start())

    def _start(self) -> "_Analysing":
        with self._lock:
            if self._closed:
                raise CorpusError("The scrubbing was stopped.")
            self._all.append(_Analysing(self._command))
            return self._all[-1]

    def analyze_all(self, texts: Sequence[str]) -> list[list[Result]]:
        """Returns (start, end, entity, score), as `presidio.Analyzer` does; a process that crashed is replaced once.

        Raises:
          CorpusError: a text cannot be analysed, or crashes two processes.
          FedLMError: a process does not start.
        """
        process = self._idle.get()
        try:
            reply = process.ask(texts)
            if reply is None:
                process.end(_ENDS_SECONDS)
                process = self._start()
                reply = process.ask(texts)
            said = "" if reply is not None else process.end(_ENDS_SECONDS)
        finally:
            self._idle.put(process)
        if said:
            sentence = f"A process that scrubs did not start: {said.removesuffix('.')}."
            raise error_of_code(process.process.returncode, sentence)
        if not isinstance(reply, list):
            raise CorpusError(f"{_which(texts)} could not be scrubbed: {reply or 'the process crashed'}.")
        return [[(int(a), int(b), str(label), float(score)) for a, b, label, score in found] for found in reply]

    def close(self) -> None:
        """Ends the processes, also those that are working."""
        with self._lock:
            self._closed = True
        for process in self._all:
            process.end()


class _Analysing:
    """One process."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = start(command, child_environment(), piped=True, errors=True)
        self._errors = StartupErrors(self.process)

    def ask(self, texts: Sequence[str]) -> object:
        """Returns the findings, an error's type, or None if the process has crashed."""
        process = self.process
        if process.stdin is None or process.stdout is None:
            raise TypeError("the process has no pipes")
        try:
            process.stdin.write(json.dumps(texts).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            return None
        if not line.endswith(b"\n"):
            return None
        self._errors.ready()
        return json.loads(line)

    def end(self, seconds: float = 0.0) -> str:
        """Ends the process, killed after so many seconds; returns the last line of one that did not start."""
        end(self.process, seconds)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # buffered bytes have no reader any more
                    pipe.close()
        return self._errors.last_words()


def _which(texts: Sequence[str]) -> str:
    """Returns what is said of texts that cannot be scrubbed: never their content."""
    characters = f"{sum(map(len, texts)):,} characters"
    return f"A text of {characters}" if len(texts) == 1 else f"One of {len(texts)} texts of {characters} together"


def main() -> None:
    """Answers lines of texts until the input or the parent process ends."""
    die_with_parent()
    forbid_core_dumps()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be read as a reply
    settings = json.loads(sys.argv[1])
    kinds = {Kind[name]: value for name, value in settings.pop("kinds").items()}
    check_places(settings.pop("places"))
    from fedlm.scrub.presidio import Analyzer

    analyzer = Analyzer(Profile(**settings, kinds=kinds))
    for line in sys.stdin.buffer:
        try:
            reply: object = analyzer.analyze_all(json.loads(line))
        except Exception as error:  # noqa: BLE001 - any recogniser's error: its message may quote the text
            reply = str(error).removesuffix(".") if isinstance(error, PluginFailure) else type(error).__name__
            if os.environ.get(DEBUG):
                traceback.print_exception(error)
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
    except FedLMError as failure:  # of the user's recogniser; no text is open
        if os.environ.get(DEBUG):
            traceback.print_exception(failure)
        sys.stderr.write(f"{failure}\n")
        sys.stderr.flush()
        os._exit(failure.exit_code)  # at once: whoever waits for the code kills a process that takes long to end
