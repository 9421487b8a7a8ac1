"""TensorBoard events of a run, written without TensorFlow: one scalar per figure and round."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class EventLog:
    """Writes `events/` anew from the rounds so far, then round by round.

    Args:
      run: the run's folder.
      rounds: lines of metrics.jsonl that count.
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
        # The round stands for the time, so that a run repeated has the same bytes.
        event = Event(step=line["round"], wall_time=float(line["round"]), summary=summary)
        self._records.write(event.SerializeToString())
        self._file.flush()
