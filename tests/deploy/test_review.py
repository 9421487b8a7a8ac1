"""A run over an owner's node elsewhere: it waits until the owner has reviewed and accepted it, and says so on both sides."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.deployments import fedlm, sets, start, wait_until
from tests.support.guard import guard

pytestmark = [pytest.mark.slow, pytest.mark.flower]


def test_a_run_begins_when_the_owner_elsewhere_has_accepted_it(tmp_path: Path) -> None:
    settings = ["scrub=patterns", "max_clients=8", "rounds=2", "cohort_size=8", "eval_every=2", "model=lstm(units=8)"]
    settings += ["validation_fraction=0.2"]
    made = fedlm("deploy", "init", "d", "--nodes", 2, *sets([*settings, "timeout=600"]), cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    shutil.move(tmp_path / "d" / "nodes" / "2", tmp_path / "elsewhere")
    with guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], tmp_path):
        owner = start(tmp_path, "deploy", "node", "elsewhere")
        try:
            up = fedlm("deploy", "up", "d", cwd=tmp_path)
            assert up.returncode == 0, up.stderr
            run = start(tmp_path, "deploy", "run", "d", "--out", "r")
            wait_until(lambda: any((tmp_path / "elsewhere" / "runs").glob("*.json")), 300)
            asked = json.loads(fedlm("deploy", "review", "elsewhere", "--json", cwd=tmp_path).stdout)
            assert [a["accepted_by"] for a in asked] == [""] and asked[0]["configuration"]["rounds"] == 2
            assert not (tmp_path / "r" / "model.keras").exists()
            shown = fedlm("deploy", "review", "elsewhere", cwd=tmp_path).stdout
            assert "evaluation reads validation text, and held-out text once, at the end" in shown
            assert "waits for you" in shown and "deploy accept elsewhere" in shown
            accepted = fedlm("deploy", "accept", "elsewhere", asked[0]["manifest_sha256"][:12], cwd=tmp_path)
            assert accepted.returncode == 0, accepted.stderr
            error = run.communicate(timeout=600)[1]
            assert run.returncode == 0, error
            assert "waits for this node's owner" in error
            final = json.loads((tmp_path / "r" / "summary.json").read_text())["final"]
            assert final == json.loads((tmp_path / "r" / "final.json").read_text()).get("eval", {})
            assert "no run waits for you" in fedlm("deploy", "review", "elsewhere", cwd=tmp_path).stdout
        finally:
            owner.terminate()
            said = owner.communicate(timeout=60)[1]
        assert "waits for you: fedlm deploy review" in said
    down = fedlm("deploy", "down", "d", cwd=tmp_path)
    assert down.returncode == 0, down.stderr
