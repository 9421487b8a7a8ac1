"""Kills processes of a deployment at random moments of a run: no round may be lost or counted twice.

By hand, on a deployment of its own in a folder that is removed at the end (twenty kills, four in each of five runs):

    python -m tests.support.kill_deployment --kills 20 --seed 0
"""

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support.deployments import SMALL, fedlm, finish, kill_one, lines, sets, start
from tests.support.guard import guard

VICTIMS = {
    "SuperNode": "clients.deploy.supernode",
    "worker": "clients.worker",
    "ServerApp": "server.deploy.serverapp",
    "SuperLink": "server.deploy.superlink",
}
_DELAY_SECONDS = 6.0  # about a round


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
      victim: a key of VICTIMS.
      round: comes after this round was counted.
      delay: seconds after that.
      place: which of several.
    """

    victim: str
    round: int
    delay: float
    place: int


def plan(rng: random.Random, victims: list[str], rounds: int) -> list[Kill]:
    """Returns a kill of each victim at a random moment of a run, in the order of the moments."""
    kills = [Kill(v, rng.randrange(rounds), rng.uniform(0, _DELAY_SECONDS), rng.randrange(64)) for v in victims]
    return sorted(kills, key=lambda kill: (kill.round, kill.delay))


def run_with_kills(home: Path, name: str, kills: list[Kill], *settings: str) -> dict[str, Any]:
    """Trains in the deployment `d` of a folder, and kills; returns summary.json. Fails if a round is lost or doubled."""
    process = start(home, "deploy", "run", "d", "--out", name, "--json", *sets(settings))
    try:
        for kill in kills:
            while len(lines(home / name)) <= kill.round:
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            time.sleep(kill.delay)
            while not kill_one(home / "d", VICTIMS[kill.victim], kill.place):  # it is being started again
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
        summary: dict[str, Any] = json.loads(finish(process))
    finally:
        process.kill()
    rounds = [line["round"] for line in lines(home / name)]
    assert rounds == list(range(summary["config"]["rounds"] + 1)), rounds
    return summary


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    rng, settings = random.Random(arguments.seed), [*SMALL, f"rounds={arguments.rounds}", "eval_every=10"]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as cleaner:
        home = Path(folder)
        cleaner.enter_context(guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], home))
        simulation = start(home, "simulate", "shakespeare", *sets(settings), "--workers", 1, "--out", "s", "--json")
        made = fedlm("deploy", "init", "d", "--nodes", arguments.nodes, *sets(settings), cwd=home)
        assert made.returncode == 0, made.stderr
        expected = json.loads(finish(simulation))["weights_sha256"]
        try:
            up = fedlm("deploy", "up", "d", cwd=home)
            assert up.returncode == 0, up.stderr
            kills_left = arguments.kills
            for number in range(-(-kills_left // len(VICTIMS)) + 1):
                victims = [] if number == 0 else list(VICTIMS)[: min(kills_left, len(VICTIMS))]
                kills_left -= len(victims)
                _report(home, f"run{number}", plan(rng, victims, arguments.rounds), expected)
        finally:
            fedlm("deploy", "down", "d", cwd=home)


def _report(home: Path, name: str, kills: list[Kill], expected: str) -> None:
    started = time.monotonic()
    summary = run_with_kills(home, name, kills)
    failed, last = sum(line["failed"] for line in lines(home / name)), lines(home / name)[-1]
    same = summary["weights_sha256"] == expected
    assert same or failed, "other weights, though no client was left out"
    line = {"run": name, "kills": [asdict(k) for k in kills], "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps({**line, "left_out": failed, "same_weights": same, "resent": last["resent"]}), flush=True)


if __name__ == "__main__":
    main()
