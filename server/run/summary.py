"""summary.json and the report of a finished run, and its event log."""

import json
import platform
import resource
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from fedlm.aggregation.registry import build_aggregation
from fedlm.config import RunConfig
from fedlm.privacy.ledger import FILE as LEDGER
from fedlm.privacy.vocabulary import charged_before
from fedlm.report.run import write_report
from fedlm.system.figures_json import to_json
from fedlm.types import Evaluated, Weights
from server.run.early_stopping import Best
from server.run.failures import all_failures, in_words
from server.run.strategies import accepts_mean, build_strategy
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder

CHOSEN_ON_TEST = (
    "The round was chosen on the held-out text that the final figures report, so they are better than on new text: set "
    "validation_fraction for validation text."
)
_PACKAGES = ("fedlm", "flwr", "tensorflow", "keras", "numpy", "cryptography", "presidio-analyzer")


def write_summary(
    folder: RunFolder,
    config: RunConfig,
    weights: Weights,
    about: dict[str, object],
    seconds: float,
    *,
    samples: bool,
    baselines: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes summary.json and the report of a finished run; returns the content of summary.json.

    Args:
      folder, config, weights: of the run.
      about: of the vault.
      seconds: that the run took.
      samples: show sample text of a private corpus in the report.
      baselines: of `ngram_baselines`.
    """
    metrics = folder.metrics()
    train_seconds = sum(m.get("seconds", 0.0) for m in metrics)
    tokens = sum(m.get("tokens", 0) for m in metrics)
    best = Best.of(metrics, config) if config.patience else None
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
        "single_updates": _sends_single_updates(config),
        "failures": all_failures(metrics),
        "final": _final(folder, config, metrics, best),
        "baselines": dict(baselines or {}),
    }
    if words := charged_before(config.vocabulary_text):
        summary["private_vocabulary"] = json.loads(config.vocabulary_text)["privacy"]["statement"]
        summary["private_vocabulary_plan"] = asdict(words)
    if best is not None:
        part = config.steering
        note = {"note": CHOSEN_ON_TEST} if part is Evaluated.HELD_OUT else {}
        summary["early_stopping"] = {
            "best_round": best.round,
            "rounds": metrics[-1]["round"],
            "part": part.value,
            **note,
        }
    summary = _write(folder, config, summary)
    write_report(folder.path, samples=samples)
    return summary


def _final(
    folder: RunFolder, config: RunConfig, metrics: Sequence[Mapping[str, Any]], best: Best | None
) -> dict[str, float]:
    """Returns the figures of the final weights on held-out text; empty if the last evaluation failed, or read none."""
    if config.steering is Evaluated.VALIDATION:
        return dict(folder.final().get("eval", {}))
    ends = [m for m in metrics if "eval" in m and (best is None or m["round"] == best.round)]
    return dict(ends[-1]["eval"]) if ends and "eval_failed" not in metrics[-1] else {}


def failed_updates(summary: Mapping[str, Any]) -> str:
    """Returns the warning about client updates that failed in a run, by its summary; "" if there were none.

    Under differential privacy the summary does not hold their number, which no noise covers.
    """
    failed = summary.get("failed_updates", 0)
    what = f"{failed:,} client updates failed and were" if failed > 1 else "1 client update failed and was"
    return f"{what} left out: {in_words(summary.get('failures', {}))}." if failed else ""


def _write(folder: RunFolder, config: RunConfig, summary: dict[str, Any]) -> dict[str, Any]:
    """Writes and returns summary.json. Under differential privacy, figures counted from the data are written to private/ only."""
    if config.privacy.on:
        (folder.figures / "summary.json").write_text(to_json(summary, indent=2) + "\n")
        counted = (
            "tokens_per_second",
            "peak_memory_bytes",
            "seconds",
            "failed_updates",
            "failures",
            "final",
            "baselines",
        )
        summary = {k: v for k, v in summary.items() if k not in counted}
        summary["corpus"] = {k: summary["corpus"].get(k, "") for k in ("corpus", "scrub", "vault", "deployment")}
        ledger = json.loads((folder.path / LEDGER).read_text())
        summary["privacy"] = {k: v for k, v in ledger.items() if k not in ("releases", "settings")}
    folder.write_text("summary.json", to_json(summary, indent=2) + "\n")
    return summary


def _sends_single_updates(config: RunConfig) -> bool:
    """Returns whether nodes sent each client's update and not sums, because the strategy compares clients."""
    takes_mean = accepts_mean(build_strategy(config.strategy))
    return build_aggregation(config.spec("aggregation"), accepts_mean=takes_mean).gives_singles


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

        values = {f"{line.get('part', Evaluated.HELD_OUT)}/{k}": v for k, v in line.get("eval", {}).items()}
        values |= {f"train/{k}": line[k] for k in ("train_loss", "tokens", "failed", "seconds") if k in line}
        summary = Summary(value=[Summary.Value(tag=k, simple_value=float(v)) for k, v in values.items()])
        # The round takes the place of the time, so that a repeated run writes the same bytes.
        event = Event(step=line["round"], wall_time=float(line["round"]), summary=summary)
        self._records.write(event.SerializeToString())
        self._file.flush()
