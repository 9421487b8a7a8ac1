"""Runs a study: a grid of runs over the cores, resumable run by run; then results.parquet, study.json, figures and report.

Runs go to an engine: worker processes of this machine (`engines.py`), or tasks of Ray (`ray_engine.py`). A finished run is known by the hash of its configuration and data; one that was cut off goes on from its checkpoint. A run
that fails is reported and does not sink the study.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError, FedLMError
from fedlm.report.study import write_study_report
from fedlm.system.files import replacing, write_atomic
from fedlm.system.terminal import ClientProgress
from scenarios.runner.analysis import answer, data_table, defaults, further, label_of, method, table, with_central_gap
from scenarios.runner.engines import Engine, LocalEngine
from scenarios.runner.execute import Stopped
from scenarios.runner.job import Job, finished, make_job, plain
from scenarios.runner.outcome import GROUP
from scenarios.runner.study import METRICS, Figure, Options, Study
from scenarios.runner.vaults import Vaults

_PACKAGES = ("fedlm", "flwr", "tensorflow", "keras", "numpy")


def scenario_names() -> list[str]:
    """Returns the names of the scenarios: the files of this folder that define `study`."""
    return sorted(p.stem for p in Path(__file__).parents[1].glob("*.py") if "\ndef study(" in p.read_text())


def load_scenario(name: str) -> Any:
    """Returns a scenario's module.

    Raises:
      ConfigError: there is none of this name.
    """
    if name not in scenario_names():
        raise ConfigError(f"There is no study {name!r}; the studies are: {', '.join(scenario_names())}.")
    return import_module(f"scenarios.{name}")


def grid(study: Study, seeds: Sequence[int], cores: int, most: int = 0) -> list[Job]:
    """Returns all runs, seed by seed, so that an interrupted study has whole seeds. One worker each if they fill the cores.

    Args:
      study, seeds: whose runs.
      cores: in all.
      most: workers of one run at most, those of one machine; 0 is all cores.

    Raises:
      ConfigError: a setting does not do, or two cases have one name.
    """
    names = [(c.condition, c.algorithm) for c in study.cases]
    if len(set(names)) < len(names):
        raise ConfigError(f"The study {study.name} has two cases of one name.")
    workers = max(1, min(cores // max(len(names) * len(seeds), 1), most or cores))
    return [make_job(study, case, seed, workers) for seed in seeds for case in study.cases]


class Runner:
    """One study in one folder.

    Args:
      study: what to run.
      seeds: of each case.
      out: the folder; runs that are done in it are not repeated.
      cores: runs at once; 0 is one per core.
      echo: prints a line; None shows nothing.
      command: that repeats the study, for the report.
      engine: where the runs go; by default worker processes of this machine.
    """

    def __init__(
        self,
        study: Study,
        seeds: Sequence[int],
        out: Path,
        cores: int = 0,
        echo: Callable[[str], object] | None = None,
        command: str = "",
        engine: Engine | None = None,
    ) -> None:
        self.study, self.seeds, self.out, self.echo = study, list(seeds), out, echo
        self.engine: Engine = engine or LocalEngine(out, cores)
        self.command = command or f"fedlm study {study.name} --seeds {len(self.seeds)}"
        self.failed: dict[str, str] = {}
        self._kinds: set[type[FedLMError]] = set()

    def run(self) -> Path:
        """Runs what is not done yet; returns the report's path.

        Raises:
          FedLMError: not one run ended well.
          KeyboardInterrupt: interrupted; what is done stays done.
        """
        jobs = grid(self.study, self.seeds, self.engine.cores)
        self.out.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.out / "runs").mkdir(exist_ok=True, mode=0o700)
        started = time.monotonic()
        done = {j.name: r for j in jobs if (r := finished(j, self.out / "runs")) is not None}
        if self.echo and done:
            self.echo(f"{len(done)} of {len(jobs)} runs are done already")
        if len(done) < len(jobs):
            with self.engine, ClientProgress(f"study {self.study.name}", quiet=self.echo is None) as progress:
                jobs = grid(self.study, self.seeds, self.engine.cores, self.engine.most)  # as many as there are now
                self._run_all([j for j in jobs if j.name not in done], done, progress)
        results = [done[j.name] for j in jobs if j.name in done]
        if not results:
            kind = self._kinds.pop() if len(self._kinds) == 1 else FedLMError  # bad input ends as it would in one run
            raise kind(f"Not one run of {self.study.name} ended well: {next(iter(self.failed.values()), '')}")
        if not self.failed:
            Vaults(self.out / "vaults").remove()
        return self._write(results, time.monotonic() - started)

    def _run_all(self, left: list[Job], done: dict[str, dict[str, Any]], progress: ClientProgress) -> None:
        total = sum(j.config.rounds for j in left)
        ended = len(done)
        try:
            waiting: dict[Future[dict[str, Any]], Job] = {self.engine.submit(j): j for j in left}
            while waiting:
                over, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in over:
                    ended += self._collect(waiting.pop(future), future, done)
                note = f"rounds; {ended} of {ended + len(waiting) + len(self.failed)} runs done"
                note += f", {len(self.failed)} failed" if self.failed else ""
                progress.update(min(self.engine.rounds(), total), total, note)
        except BaseException:  # an interrupt, or the end that SIGTERM asks for
            self.engine.stop()
            raise

    def _collect(self, job: Job, future: Future[dict[str, Any]], done: dict[str, dict[str, Any]]) -> int:
        error = future.exception()
        if error is None:
            done[job.name] = future.result()
            return 1
        if not isinstance(error, Exception):
            raise error
        if not isinstance(error, Stopped):
            self.failed[job.name] = str(error) if isinstance(error, FedLMError) else type(error).__name__
            self._kinds.add(type(error) if isinstance(error, FedLMError) else FedLMError)
            if self.echo:
                self.echo(f"failed: {job.name}: {self.failed[job.name]}")
        return 0

    def _write(self, results: list[dict[str, Any]], seconds: float) -> Path:
        results = with_central_gap(self.study, results)
        rows = table(self.study, results)
        content = {
            "name": self.study.name,
            "question": self.study.question,
            "answer": answer(self.study, rows),
            "method": method(self.study, self.seeds, len(self.failed)),
            "corpus": self.study.corpus,
            "control": self.study.baseline or self.study.control,
            "x_label": self.study.x_label,
            "group": self.study.group,
            "seeds": self.seeds,
            "settings": dict(self.study.settings),
            "defaults": defaults(self.study),
            "design": [
                {
                    "condition": c.condition,
                    "algorithm": c.algorithm,
                    "settings": {**c.settings, **({"corpus": c.corpus} if c.corpus else {})}
                    | ({"cohorts": c.draw} if c.draw else {}),
                }
                for c in self.study.cases
            ],
            "columns": [_column(m) for m in self.study.table],
            "further": [_column(m) for m in further(self.study, results)],
            "table": rows,
            "data": data_table(self.study, results),
            "figures": [_figure(f) for f in self.study.figures],
            "runs": [{k: v for k, v in r.items() if k != "clients"} for r in results],
            "failed": self.failed,
            "limits": list(self.study.limits),
            "command": self.command,
            "versions": {p: metadata.version(p) for p in _PACKAGES} | {"python": platform.python_version()},
            "seconds": round(seconds, 1),
            "run_seconds": round(sum(r["seconds"] for r in results), 1),
        }
        _write_results(self.out / "results.parquet", self.study.name, results)
        write_atomic(self.out / "study.json", json.dumps(plain(content), indent=1) + "\n")
        return write_study_report(self.out)


def _column(metric: str) -> dict[str, Any]:
    less = True if metric.startswith(GROUP) else METRICS.get(metric, ("", None))[1]
    return {"metric": metric, "label": label_of(metric), "less": less}


def _figure(figure: Figure) -> dict[str, Any]:
    less = [METRICS.get(m, (m, None))[1] is not False for m in (figure.metric, figure.against)]
    return {**vars(figure), "label": label_of(figure.metric), "against_label": label_of(figure.against), "less": less}


def _write_results(path: Path, name: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Writes a tidy row per run, client and metric; client -1 stands for all clients together."""
    import pyarrow as pa
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    for r in results:
        run = {"study": name, **{k: r[k] for k in ("condition", "algorithm", "x", "seed")}}
        rows += [
            {**run, "client": -1, "group": "", "metric": m, "value": v}
            for m, v in r["figures"].items()
            if v is not None
        ]
        for client in r["clients"]:
            known = {"client": client["client"], "group": client["group"]}
            rows += [{**run, **known, "metric": m, "value": float(v)} for m, v in client.items() if m not in known]
    schema = pa.schema(
        [(k, pa.string()) for k in ("study", "condition", "algorithm")]
        + [("x", pa.float64()), ("seed", pa.int64()), ("client", pa.int64()), ("group", pa.string())]
        + [("metric", pa.string()), ("value", pa.float64())]
    )
    with replacing(path) as beside:
        parquet.write_table(pa.Table.from_pylist(rows, schema), beside)


def run_study(
    name: str,
    options: Options,
    seeds: int,
    out: Path,
    echo: Callable[[str], object] | None,
    command: str = "",
    engine: Engine | None = None,
) -> Path:
    """Runs the study of a scenario file; returns the report's path.

    Raises:
      ConfigError: there is no such study, it needs what the options lack, or the folder is a run's.
    """
    if (out / "config.toml").is_file():
        raise ConfigError(f"{out} is the folder of a run: name another one for the study.")
    return Runner(load_scenario(name).study(options), range(seeds), out, 0, echo, command, engine).run()
