"""Runs a training over an engine, from its first or next round to the exported model, with progress on the terminal."""

from collections.abc import Callable, Mapping
from typing import Any

from fedlm.config import RunConfig
from fedlm.privacy.guarantee import epsilon_note
from fedlm.system.terminal import ClientProgress
from fedlm.types import Evaluated, Weights
from server.engines.base import Engine
from server.run.federation import Federation
from server.run.summary import EventLog
from server.run.vocabulary import settle_vocabulary
from server.store.run_folder import RunFolder

Echo = Callable[[str], object]


def train_and_export(
    engine: Engine,
    config: RunConfig,
    folder: RunFolder,
    initial: Weights | None,
    *,
    resume: bool,
    echo: Echo | None,
    listener: Callable[[dict[str, Any]], object] | None = None,
) -> Weights:
    """Trains all remaining rounds and writes `model.keras` and `sample.txt`; returns the final weights.

    Args:
      engine: the nodes.
      config, folder: of the run.
      initial: replaces the initial weights of the seed.
      resume: continue from the folder's checkpoint, if there is one.
      echo: prints a line; None also hides the progress bar.
      listener: gets the part of each round's line of metrics that may be shown.
    """
    config = settle_vocabulary(engine, config, folder)
    with ClientProgress("training", quiet=echo is None) as progress:
        display = _Display(config, progress)

        def show(line: dict[str, Any]) -> None:
            display.show(line)
            if listener is not None:
                listener(folder.public(line))

        run = Federation(engine, config, folder, show)
        before = run.start(resume=resume)
        if echo and before and before[-1]["round"] >= config.rounds:
            echo(f"Nothing to train: the run has {before[-1]['round']} rounds, and rounds={config.rounds}.")
        with EventLog(folder.figures, before) as display.events:
            weights = run.run(initial=initial)
        if echo and run.private is not None:
            _tell_privacy(run, echo)
        model, sample = run.export(weights)
    folder.write_bytes("model.keras", model)
    folder.write_text("sample.txt", sample)
    return weights


class _Display:
    """Writes each round to the event log, and shows the public part beside the progress bar."""

    events: EventLog

    def __init__(self, config: RunConfig, progress: ClientProgress) -> None:
        self._config, self._progress, self._note = config, progress, ""

    def show(self, line: Mapping[str, Any]) -> None:
        self.events.add(line)
        self._note = self._noted(line)
        self._progress.update(line["round"], self._config.rounds, self._note)

    def _noted(self, line: Mapping[str, Any]) -> str:
        if self._config.privacy.on:
            return epsilon_note(line)
        if "eval" not in line:
            return self._note
        figures = line["eval"]
        accuracy, bits = figures["accuracy"], figures["bits_per_char"]
        part = Evaluated(line.get("part", Evaluated.HELD_OUT)).words
        return f"{part} accuracy {accuracy:.4f}, {bits:.3f} bits/char (round {line['round']})"


def _tell_privacy(run: Federation, echo: Echo) -> None:
    """Prints where the privacy budget stopped the run, if it did, and the run's guarantee."""
    config, done = run.config, run.folder.metrics()[-1]["round"]
    if config.epsilon_budget and done < config.rounds:
        echo(f"Stopped after round {done}: another round would exceed epsilon_budget={config.epsilon_budget:g}.")
    if run.private is not None:
        echo(run.private.ledger.statement())
