"""The guard: its command runs when the owner was killed, and only then."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from tests.support.guard import guard
with guard([sys.executable, "-c", "open('cleaned', 'w')"], Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_the_command_runs_if_the_owner_is_killed_and_only_then(tmp_path: Path, killed: bool) -> None:
    words = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == b"in\n"
        if killed:
            owner.kill()
        owner.communicate(timeout=60)
    cleaned, end = tmp_path / "cleaned", time.monotonic() + 60
    while killed and not cleaned.exists():
        assert time.monotonic() < end, "nothing was cleaned up"
        time.sleep(0.05)
    assert cleaned.exists() == killed
