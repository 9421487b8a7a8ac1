"""Busy processes beside a deployment of two nodes: its run must end, with one ServerApp at a time.

By hand, on a deployment of its own in a folder that is removed at the end; `--seconds` bounds the load, not the run:

    python -m tests.support.load --busy 30 --seconds 240
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.deployments import SMALL, fedlm, lines, processes, sets, start
from tests.support.guard import guard


@contextlib.contextmanager
def busy(count: int, seconds: float) -> Iterator[None]:
    """Runs `count` processes that only compute, for at most `seconds`, and ends them with the block."""
    loop = f"import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    started = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


class Watch:
    """Notes how many ServerApps a deployment has at once, and how many it has had, until it is stopped."""

    def __init__(self, folder: Path, command: str = "server.deploy.serverapp") -> None:
        self._folder, self._command, self._stop = folder, command, threading.Event()
        self.most, self.seen = 0, set[int]()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            found = {p for p, words in processes(self._folder).items() if self._command in words}
            self.most, self.seen = max(self.most, len(found)), self.seen | found

    def stop(self) -> None:
        """Ends the watch."""
        self._stop.set()
        self._thread.join()


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    settings = [*SMALL, f"rounds={arguments.rounds}", "eval_every=10"]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as cleaner:
        home = Path(folder)
        cleaner.enter_context(guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], home))
        made = fedlm("deploy", "init", "d", "--nodes", 2, *sets(settings), cwd=home)
        assert made.returncode == 0, made.stderr
        with busy(arguments.busy, arguments.seconds):
            begun = time.monotonic()
            try:
                up = fedlm("deploy", "up", "d", cwd=home, timeout=3600)
                assert up.returncode == 0, up.stderr
                print(f"up after {time.monotonic() - begun:.0f} s", flush=True)
                _run(home, begun)
            finally:
                fedlm("deploy", "down", "d", cwd=home)


def _run(home: Path, begun: float) -> None:
    watch = Watch(home / "d")
    process = start(home, "deploy", "run", "d", "--out", "run", "--json")
    shown = 0
    while process.poll() is None:
        time.sleep(0.5)
        if len(found := lines(home / "run")) > shown:
            shown = len(found)
            print(f"round {found[-1]['round']} after {time.monotonic() - begun:.0f} s", flush=True)
    watch.stop()
    out, error = process.communicate()
    sys.stderr.write(error)
    seconds, ended = round(time.monotonic() - begun), process.returncode
    print(json.dumps({"code": ended, "seconds": seconds, "serverapps": len(watch.seen), "at_once": watch.most}))
    assert (ended, watch.most) == (0, 1), out


if __name__ == "__main__":
    main()
