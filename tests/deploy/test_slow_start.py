"""A machine so slow that a ServerApp starts long after its claim would have ended: one ServerApp, and a finished run."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlm.system.locks import supervisor
from fedlm.system.processes import MARK, child_environment
from fedlm.system.processes import start as start_process
from tests.support import slow_start
from tests.support.deployments import SMALL, fedlm, finish, kill_one, processes, sets, start, wait_until
from tests.support.guard import guard
from tests.support.load import Watch

pytestmark = [pytest.mark.slow, pytest.mark.flower]
SERVERAPP, SUPEREXEC = "slow_start.py serverapp", "slow_start.py superexec"
SETTINGS = [*SMALL, "rounds=1", "eval_every=1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the deployment `d` of one node, up, whose ServerApps start slowly."""
    home = tmp_path_factory.mktemp("slow")
    server = home / "d" / "server"
    with guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], home):
        made = fedlm("deploy", "init", "d", "--nodes", 1, *sets(SETTINGS), cwd=home)
        assert made.returncode == 0, made.stderr
        environment = child_environment({MARK: str(home / "d")})
        log = server / "supervisor.log"
        coordinator = start_process(slow_start.command("coordinator", str(server)), environment, log=log)
        try:
            wait_until(lambda: supervisor(server) is not None)
            up = fedlm("deploy", "up", "d", cwd=home)
            assert up.returncode == 0, up.stderr
            yield home
        finally:
            fedlm("deploy", "down", "d", cwd=home)
            coordinator.wait(30)
    assert processes(home / "d") == {}


def delay(home: Path, seconds: float) -> None:
    """Sets for how long ServerApps do nothing."""
    (home / "d" / "server" / "delay").write_text(str(seconds))


def test_one_serverapp_however_slowly_it_starts_and_a_superexec_that_was_killed_is_back(home: Path) -> None:
    delay(home, 3 * slow_start.CLAIM_SECONDS)
    assert kill_one(home / "d", SUPEREXEC)
    watch = Watch(home / "d", SERVERAPP)
    try:
        summary = json.loads(finish(start(home, "deploy", "run", "d", "--out", "run", "--json")))
    finally:
        watch.stop()
    assert summary["final"]["tokens"] > 0
    assert (watch.most, len(watch.seen)) == (1, 1)


def test_a_serverapp_whose_run_was_stopped_is_ended_before_it_has_begun(home: Path) -> None:
    delay(home, 600)
    process = start(home, "deploy", "run", "d", "--out", "stopped")
    wait_until(lambda: any(SERVERAPP in words for words in processes(home / "d").values()))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: not any(SERVERAPP in words for words in processes(home / "d").values()), 60)
    assert any(SUPEREXEC in words for words in processes(home / "d").values())


def test_a_serverapp_that_is_killed_before_it_has_begun_is_told_at_once(home: Path) -> None:
    delay(home, 600)
    process = start(home, "deploy", "run", "d", "--out", "killed")
    wait_until(lambda: kill_one(home / "d", SERVERAPP))
    delay(home, 0)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert "the ServerApp was killed by signal 9 (out of memory?); trying again (2 of 5)" in error
