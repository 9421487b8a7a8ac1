"""One run of a study: seal the data if no run before did, train, measure, and leave result.json as the sign of being done."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from scenarios.runner.federation import StudyFederation
from scenarios.runner.job import Job, plain
from scenarios.runner.outcome import course, outcome, population
from scenarios.runner.vaults import Vaults
from server.engines.local import LocalEngine
from server.engines.workers import Idle, WorkerCommand
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder


class Stopped(FedLMError):
    """The study was interrupted; the run goes on next time."""


def run_job(
    job: Job,
    out: Path,
    vaults: Vaults,
    stop: threading.Event,
    tell: Callable[[Mapping[str, Any]], None],
    idle: Idle | None = None,
) -> dict[str, Any]:
    """Runs a job, or goes on with it; returns the content of its result.json.

    Args:
      job: the run.
      out: the study's folder of runs.
      vaults: the study's data.
      stop: set when the study is interrupted.
      tell: gets each line of metrics.jsonl.
      idle: workers that runs share one after the other; by default the run starts its own.

    Raises:
      Stopped: `stop` was set.
      FedLMError: the run failed.
    """
    started = time.monotonic()
    vault, source = vaults.get(job)
    people = population(vault, source, job)

    def listen(line: Mapping[str, Any]) -> None:
        tell(line)
        if stop.is_set():
            raise Stopped("The study was interrupted.")

    folder, resume = _folder(out / job.name, job.config)
    with LocalEngine(WorkerCommand(vault, source.file), job.config.num_workers, idle) as engine:
        run = StudyFederation(engine, job.config, folder, listen, job.case.draw, people.groups)
        done = run.start(resume=resume)
        run.figures = folder.last_clients() if done else {}
        for line in done:
            tell(line)
        if job.case.pooled:
            visits = job.config.rounds * job.config.cohort_size
            rounds = max(1, round(visits / len(run.population.pseudonyms)))
            figures, pooled = run.alone(rounds * job.config.local_epochs, pooled=True)
            assert pooled is not None
            weights = pooled
        else:
            weights = run.run()
            figures = run.figures if run.best is None else run.held_out(weights)
        alone = {}
        if passes := job.study.alone:
            some = job.study.alone_clients
            alone = vaults.alone(job, lambda: run.alone(passes, pooled=False, per_group=some)[0])
        probe = job.study.probe
        probed = course(folder.metrics(), weights)
        if probe:
            probed |= probe(lambda texts: run.score(weights, texts), job.seed)
    result = {
        "key": job.key,
        "condition": job.case.condition,
        "algorithm": job.case.algorithm,
        "x": job.case.x,
        "seed": job.seed,
        "folder": job.name,
        "seconds": round(time.monotonic() - started, 1),
        "weights_sha256": weights_sha256(weights),
        **outcome(people, figures, alone, {**probed, **_drift(folder)}),
    }
    folder.write_text("result.json", json.dumps(plain(result)))
    return result


def _drift(folder: RunFolder) -> dict[str, float]:
    """Returns the drift of the updates, its mean over rounds; nothing where the run did not measure it."""
    found = {}
    for name, key in (("update_cosine", "cosine"), ("update_norm", "norm")):
        if values := [line["drift"][key] for line in folder.metrics() if key in line.get("drift", {})]:
            found[name] = sum(values) / len(values)
    return found


def _folder(path: Path, config: RunConfig) -> tuple[RunFolder, bool]:
    """Returns the run's folder, and whether there is a checkpoint to go on from; a folder without one is made anew."""
    if path.exists() and RunFolder(path).has_checkpoint:
        return RunFolder.open(path), True
    shutil.rmtree(path, ignore_errors=True)
    return RunFolder.create(path, config), False
