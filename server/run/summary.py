"""summary.json and the report of a finished run, and its event log."""

import json
import platform
import resource
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from fedlm.config import RunConfig
from fedlm.privacy.ledger import FILE as LEDGER
from fedlm.privacy.vocabulary import charged_before
from fedlm.report.run import write_report
from fedlm.types import Weights
from server.run.early_stopping import Best
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder

_PACKAGES = ("fedlm", "flwr", "tensorflow", "keras", "numpy", "cryptography", "presidio-analyzer")


def write_summary(
    folder: RunFolder,
    config: RunConfig,
    weights: Weights,
    about: dict[str, object],
    seconds: float,
    *,
    samples: bool,
) -> dict[str, Any]:
    """Writes summary.json and the report of a finished run; returns the content of summary.json."""
    metrics = folder.metrics()
    train_seconds = sum(m.get("seconds", 0.0) for m in metrics)
    tokens = sum(m.get("tokens", 0) for m in metrics)
    best = Best.of(metrics, config) if config.patience else None
    ends = [m for m in metrics if "eval" in m and (best is None or m["round"] == best.round)]
    summary: dict[str, Any] = {
        "config": config.model_dump(),
        "corpus": about,
        "seed": config.seed,
        "versions": {name: metadata.version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "machine": _processor(),
        "kernels": next((line["kernels"] for line in metrics if "kernels" in line), ""),
        "weights_sha256": weights_sha256(weights),
        "tokens_per_second": round(tokens / train_seconds, 1) if train_seconds else 0.0,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "seconds": round(seconds, 1),
        "failed_updates": sum(m.get("failed", 0) for m in metrics),
        "final": ends[-1]["eval"] if ends else {},
    }
    if words := charged_before(config.vocabulary_text):
        summary["private_vocabulary"] = json.loads(config.vocabulary_text)["privacy"]["statement"]
        summary["private_vocabulary_plan"] = asdict(words)
    if best is not None:
        summary["early_stopping"] = {"best_round": best.round, "rounds": metrics[-1]["round"]}
    summary = _write(folder, config, summary)
    write_report(folder.path, samples=samples)
    return summary


def _write(folder: RunFolder, config: RunConfig, summary: dict[str, Any]) -> dict[str, Any]:
    """Writes and returns summary.json. Under differential privacy, figures counted from the data are written to private/ only."""
    if config.privacy.on:
        (folder.figures / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        counted = ("tokens_per_second", "peak_memory_bytes", "seconds", "failed_updates", "final")
        summary = {k: v for k, v in summary.items() if k not in counted}
        summary["corpus"] = {k: summary["corpus"].get(k, "") for k in ("corpus", "scrub", "vault", "deployment")}
        ledger = json.loads((folder.path / LEDGER).read_text())
        summary["privacy"] = {k: v for k, v in ledger.items() if k not in ("releases", "settings")}
    folder.write_text("summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _processor() -> str:
    """Returns the processor's name; the bits of a run are reproducible on one type of processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class EventLog:
    """Rewrites `events/` from the rounds so far, then appends round by round.

    Args:
      run: the run's folder.
      rounds: the lines of metrics.jsonl so far.
    """

    def __init__(self, run: Path, rounds: Iterable[Mapping[str, Any]] = ()) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = run / "events"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        self._file = (folder / "events.out.tfevents.0.fedlm").open("wb")
        self._records = RecordWriter(self._file)
        self._records.write(Event(file_version="brain.Event:2").SerializeToString())
        for line in rounds:
            self.add(line)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, line: Mapping[str, Any]) -> None:
        """Writes one round's figures."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = {f"held_out/{k}": v for k, v in line.get("eval", {}).items()}
        values |= {f"train/{k}": line[k] for k in ("train_loss", "tokens", "failed", "seconds") if k in line}
        summary = Summary(value=[Summary.Value(tag=k, simple_value=float(v)) for k, v in values.items()])
        # The round takes the place of the time, so that a repeated run writes the same bytes.
        event = Event(step=line["round"], wall_time=float(line["round"]), summary=summary)
        self._records.write(event.SerializeToString())
        self._file.flush()
