"""Studies on Ray: the figures of the local engine, on a cluster of two, and through an interrupt; nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedlm.errors import ConfigError
from scenarios.runner.engines import LocalEngine
from scenarios.runner.ray import RayEngine
from scenarios.runner.runner import Runner, grid
from scenarios.runner.study import Case, Figure, Study
from tests.support.running import fedlm

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.flower]

EVEN: dict[str, object] = {"partition": "quantity(gini=0.0, clients=4, documents=80)"}
BROKEN: dict[str, object] = {"partition": "quantity(gini=0.99, clients=6, documents=20)"}
TIMES = ("seconds", "run_seconds", "command")  # and tokens a second: the only figures that may differ


def study(rounds: int, *cases: Case, passes: int = 0) -> Study:
    settings: dict[str, object] = {"scrub": "none", "model": "lstm(units=8, layers=1)", "cohort_size": 3}
    settings |= {"rounds": rounds, "eval_every": rounds}
    figures = (Figure("line", "bits_per_char"),)
    return Study(
        "made", "Why?", "shakespeare", settings, cases, "even", ("bits_per_char",), figures, local_passes=passes
    )


def content(out: Path) -> dict[str, Any]:
    """study.json without what is a time."""
    found: dict[str, Any] = json.loads((out / "study.json").read_text())
    for run in found["runs"]:
        run["figures"].pop("tokens_per_second", None)
        assert run.pop("seconds") > 0
    for row in found["table"]:
        row["cells"].pop("tokens_per_second", None)
    return {k: v for k, v in found.items() if k not in TIMES}


def processes(of: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if of in line and "pytest" not in line]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two machines of one core each, as far as Ray can tell."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def test_a_cluster_gives_the_study_of_this_machine(tmp_path: Path, cluster: Any) -> None:
    ceiling = Case("centralised", EVEN, "centralised", centralised=True)
    tiny = study(2, Case("even", EVEN), ceiling, Case("broken", BROKEN), passes=1)
    Runner(tiny, [0], tmp_path / "local", engine=LocalEngine(tmp_path / "local", 2)).run()
    engine = RayEngine(tmp_path / "ray", cluster.address)
    Runner(tiny, [0], tmp_path / "ray", engine=engine).run()
    assert (engine.cores, engine.most) == (2, 1)
    one, two = content(tmp_path / "local"), content(tmp_path / "ray")
    assert one == two and len(two["failed"]) == 1 and "reach Gini" in next(iter(two["failed"].values()))
    names = [sorted(str(p.relative_to(tmp_path / e)) for p in (tmp_path / e).rglob("*")) for e in ("local", "ray")]
    local, on_ray = ([n for n in each if not n.startswith("vaults")] for each in names)
    assert local == on_ray  # a failed run leaves the data, of which each machine has its own
    assert not ray.is_initialized() and not processes(str(tmp_path))
    ray.init(address=cluster.address, log_to_driver=False)  # it was not ours to end
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    ray.shutdown()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "ray" / "runs").rglob("result.json")}
    Runner(tiny, [0], tmp_path / "ray", engine=RayEngine(tmp_path / "ray", cluster.address)).run()
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "ray" / "runs").rglob("result.json")}


SCRIPT = """
import signal, sys
from pathlib import Path
from scenarios.runner.engines import LocalEngine
from scenarios.runner.ray import RayEngine
from scenarios.runner.runner import Runner
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from tests.scenarios.test_ray_studies import LONG
out = Path(sys.argv[1])
Runner(LONG, [0], out, engine=RayEngine(out, cores=1)).run()
"""
LONG = study(30, Case("even", {"partition": "quantity(gini=0.0, clients=4, documents=200)", "model": "lstm(units=32)"}))


def interrupted(process: subprocess.Popen[str], when: Callable[[], bool]) -> str:
    """Interrupts a process as soon as it is time; returns what it said on stderr."""
    until = time.monotonic() + 500
    while process.poll() is None and not when() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=120)[1]


def test_an_interrupted_study_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    Runner(LONG, [0], tmp_path / "whole").run()
    (job,) = grid(LONG, [0], 1)
    metrics = tmp_path / "cut" / "runs" / job.name / "metrics.jsonl"
    command, root = [sys.executable, "-c", SCRIPT, str(tmp_path / "cut")], Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    environment["RAY_worker_niceness"] = "0"  # Ray's 15 is for ever on a busy machine
    process = subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        said = interrupted(process, lambda: metrics.is_file() and len(metrics.read_text().splitlines()) > 2)
    finally:
        process.kill()
    assert process.returncode != 0 and said.rstrip().endswith("KeyboardInterrupt"), said
    assert not list(Path("/tmp/ray").glob(f"session_*_{process.pid}"))
    assert not processes(str(tmp_path)) and not (metrics.parent / "result.json").exists()
    first = metrics.read_text().splitlines()
    assert 2 < len(first) < 30
    assert subprocess.run(command, cwd=root, env=environment, check=False).returncode == 0
    assert metrics.read_text().splitlines()[: len(first) - 1] == first[:-1]  # gone on with, not begun again
    assert content(tmp_path / "whole") == content(tmp_path / "cut")
    assert not (tmp_path / "cut" / "vaults").exists()


def test_bad_addresses_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No Ray cluster answers at 127\.0\.0\.1:9") as caught:
        Runner(LONG, [0], tmp_path / "s", engine=RayEngine(tmp_path / "s", "127.0.0.1:9")).run()
    assert "\n" not in str(caught.value) and not ray.is_initialized()
    for words, says in ((["--engine", "spark"], "local or ray"), (["--address", "auto"], "use it with --engine ray")):
        done = fedlm("study", "quantity_imbalance", "--quick", *words, cwd=tmp_path)
        assert (done.returncode, says in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_a_run_has_no_more_workers_than_a_machine_has_cores() -> None:
    one = study(2, Case("even", EVEN))
    assert [grid(one, [0], cores, most)[0].config.workers for cores, most in ((8, 0), (8, 2), (1, 0))] == [8, 2, 1]
    assert grid(one, [0, 1], 8, 8)[0].config.workers == 4
