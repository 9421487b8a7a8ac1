"""What an exchange (a message out, a reply back) costs beyond the training: python -m tests.support.measure_exchange

The same run as a simulation, on Ray and in a deployment of one node, its rounds after the first compared one by one. A
round is one exchange. Prints one line of JSON: seconds beyond the simulation, per engine.
"""

import json
import tempfile
from pathlib import Path
from statistics import median

from tests.support.deployments import SMALL, fedlm, lines, sets

ROUNDS = 10


def seconds(run: Path) -> list[float]:
    """Returns the seconds of each round after the first, in which the model is compiled."""
    return [line["seconds"] for line in lines(run) if line["round"] > 1]


def main() -> None:
    """Runs the script."""
    words = sets([*SMALL, f"rounds={ROUNDS}", f"eval_every={ROUNDS}"])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        simulate = ["simulate", "shakespeare", *words, "--workers", 1]
        commands = [
            [*simulate, "--out", "local"],
            [*simulate, "--engine", "ray", "--out", "ray"],
            ["deploy", "init", "d", "--nodes", 1, *words],
            ["deploy", "up", "d"],
            ["deploy", "run", "d", "--out", "deployment"],
        ]
        try:
            for command in commands:
                done = fedlm(*command, cwd=home)
                assert done.returncode == 0, done.stderr
        finally:
            fedlm("deploy", "down", "d", cwd=home)
        found = {}
        for engine in ("ray", "deployment"):
            pairs = zip(seconds(home / engine), seconds(home / "local"), strict=True)
            beyond = [theirs - ours for theirs, ours in pairs]
            found[engine] = {"median": round(median(beyond), 3), "largest": round(max(beyond), 3)}
        print(json.dumps(found))


if __name__ == "__main__":
    main()
