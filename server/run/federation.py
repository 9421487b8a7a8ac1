"""One run: federated averaging over cohorts, with checkpoints, evaluation and metrics."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, error_of_code
from fedlm.measure.text import summary
from fedlm.messages import wire
from fedlm.messages.records import config_in
from fedlm.schedules import rate_factor
from fedlm.types import Pseudonyms, TextMetrics, Weights
from server.engines.local import LocalGrid
from server.run.early_stopping import Best, part_way
from server.run.participation import Participation, ParticipationLedger, as_pseudonyms
from server.run.population import take_census
from server.run.private import PrivateRounds
from server.run.round import CohortStrategy
from server.run.sampling import cohort_key, draw_cohort
from server.run.strategies import accepts_mean, build_strategy
from server.run.strategy_state import StrategyState
from server.store.checkpoint import BEST, Checkpoint, Saver
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder

Listener = Callable[[dict[str, Any]], None]


class Federation:
    """One run over a grid of nodes.

    Args:
      grid: Flower's, or the local one.
      config: the run's configuration.
      folder: where it is kept.
      listener: gets each round's line of metrics.jsonl; `folder.public(line)` is what may be shown of it.
    """

    def __init__(self, grid: Grid, config: RunConfig, folder: RunFolder, listener: Listener) -> None:
        self.grid, self.config, self.folder, self.listener = grid, config, folder, listener
        self.settings = config.to_settings()
        self.figures: dict[int, TextMetrics] = {}  # held-out sums per client, of the last evaluation
        self.forgotten, self.ledger = Forgotten.read(folder.path), ParticipationLedger(folder.path)
        nodes, one_vault = list(grid.get_node_ids()), isinstance(grid, LocalGrid)
        people, vaults, self.initial = take_census(nodes, self.ask, self.settings, one_vault=one_vault)
        self.population, self.vaults = people.without(as_pseudonyms(self.forgotten.clients)), [v for v, _ in vaults]
        self.checkpoint: Checkpoint | None = None
        self.best = Best(config.patience, config.min_gain) if config.patience else None
        logging.getLogger("flwr").setLevel(logging.ERROR)
        inner = build_strategy(config.strategy)
        self.state, self.key = StrategyState(inner), cohort_key(config.seed)
        config.privacy.check(accepts_mean=accepts_mean(inner))
        self.private: PrivateRounds | None = None
        if config.privacy.on:
            self.private = PrivateRounds(config, folder.path, self.population.pseudonyms, self.initial)
        self.strategy = CohortStrategy(
            inner,
            self.settings,
            self.population,
            self.private,
            drift=config.drift,
            batch_shape=(config.batch_size, config.seq_len),
        )

    def ask(self, questions: Iterable[tuple[int, str, RecordDict]]) -> list[RecordDict]:
        """Sends contents to nodes as (node, message type, content) and returns the replies' contents.

        Raises:
          FedLMError: the node's own sentence, if one could not answer.
        """
        messages = [Message(content, node, kind) for node, kind, content in questions]
        replies = list(self.grid.send_and_receive(messages, timeout=self.config.timeout))
        for reply in replies:
            if reply.has_error():
                raise error_of_code(reply.error.code, str(reply.error.reason))
        return [reply.content for reply in replies]

    def start(self, *, resume: bool = False) -> list[dict[str, Any]]:
        """Goes back to the folder's last checkpoint, if asked to and there is one; returns the lines of its rounds.

        Raises:
          ConfigError: the run was trained on other vaults.
        """
        if not (resume and self.folder.has_checkpoint):
            self.folder.start_metrics()
            return []
        self.check_vaults()
        self.checkpoint = self.folder.load_checkpoint()
        self.state.restore(dict(self.checkpoint.arrays), dict(self.checkpoint.strategy))
        if self.private is not None:
            self.private.restore(self.checkpoint.round, dict(self.checkpoint.privacy))
        self.folder.drop_metrics_after(self.checkpoint.round)
        self.ledger.keep_until(self.checkpoint.round)
        if self.best is not None:
            self.best = Best.of(self.folder.metrics(), self.config)
        return self.folder.metrics()

    def check_vaults(self) -> None:
        """Refuses other vaults than the ledger's; rotating a key, adding and forgetting clients keep a vault's id."""
        if not self.ledger.path.is_file():
            return  # a run from before there was a ledger
        if self.ledger.header().get("vaults") != sorted({v.hex() for v in self.vaults}):
            raise ConfigError(
                f"The run {self.folder.path} was trained on another vault than the one given now: resume it with that one, "
                "or start a new run with another --out."
            )

    def run(self, *, initial: Weights | None = None) -> Weights:
        """Trains all rounds that are left; returns the final weights. `initial` are other first weights than the seed's."""
        # Under differential privacy a round that was charged is on the disk before another one is.
        with Saver(behind=self.private is None) as self._saver:
            weights = self._run(initial)
        return self.folder.load_checkpoint(BEST).weights if self.best is not None else weights

    def _run(self, initial: Weights | None) -> Weights:
        if self.checkpoint is not None:
            weights, done = self.checkpoint.weights, self.checkpoint.round
        else:
            weights, done = self.initial if initial is None else initial, 0
            if [w.shape for w in weights] != [w.shape for w in self.initial]:
                raise ConfigError(
                    "The weights of --init do not fit this run's model and vocabulary; use the same ones."
                )
            self.ledger.start(self.vaults, init=initial is not None)
            if initial is not None and self.private is not None:
                self.private.ledger.starts_from_another_run()
            self._report(0, weights, {"round": 0, "cohort": 0, "failed": 0, "tokens": 0, "seconds": 0.0})
        for server_round in range(done + 1, self.config.rounds + 1):
            if (self.best is not None and self.best.is_over) or not self._affords(server_round):
                break
            weights = self._train(server_round, weights)
        return weights

    def cohort(self, server_round: int) -> Pseudonyms:
        """Returns the clients of a round; a study may draw others."""
        if self.private is not None:
            return self.private.draw(server_round)
        return draw_cohort(self.key, server_round, self.population.pseudonyms, self.config.cohort_size)

    def _affords(self, server_round: int) -> bool:
        """Returns whether the privacy budget allows a round; without differential privacy it always does."""
        return self.private is None or self.private.affords(server_round)

    def _train(self, server_round: int, weights: Weights) -> Weights:
        started = time.monotonic()
        cohort = self.cohort(server_round)
        self.strategy.absent = self.forgotten.lost.get(server_round, frozenset())
        reached, total, figures = self.strategy.train_round(
            self.grid, server_round, weights, cohort, self.config.timeout
        )
        if total.clients < self.config.quorum * len(cohort):
            raise CohortError(
                f"Round {server_round}: {total.clients} of {len(cohort)} clients were trained, below the quorum "
                f"{self.config.quorum}; the run goes on from its checkpoint with --resume."
            )
        entry = Participation(server_round, frozenset(map(int, cohort)), self.strategy.lost)
        weights = part_way(weights, reached, rate_factor(self.config.server_schedule, server_round))
        line: dict[str, Any] = {
            "round": server_round,
            "cohort": len(cohort),
            "failed": total.failed,
            **self._faults(),
            "tokens": figures.tokens,
            "seconds": round(time.monotonic() - started, 4),
            "train_loss": figures.loss_sum / max(figures.tokens, 1),
        }
        if total.drift is not None:
            line["drift"] = {k: v for k, v in total.drift.summary(total).items() if not math.isnan(v)}
        self._report(server_round, weights, line, entry)
        return weights

    def _faults(self) -> dict[str, int]:
        """Returns how many chunks were sent again and replies refused, or workers lost, so far."""
        faults: dict[str, int] = dict(getattr(self.grid, "faults", {}))
        return faults | ({"refused": faults["refused"] + self.strategy.refused} if "refused" in faults else {})

    def export(self, weights: Weights) -> tuple[bytes, str]:
        """Asks a node for the model as a `.keras` file and for a sample of its text; this process never loads TensorFlow."""
        node = next(iter(self.grid.get_node_ids()))
        content = wire.request(
            wire.weights_record(weights), np.zeros(0, np.uint64), self.settings, self.config.rounds, 0
        )
        (reply,) = self.ask([(node, "query.export", content)])
        config = config_in(reply)
        return bytes(config["keras"]), str(config["sample"])  # type: ignore[arg-type]

    def _report(
        self, server_round: int, weights: Weights, line: dict[str, Any], entry: Participation | None = None
    ) -> None:
        """Evaluates if it is time; writes the round's line, then who took part, then the checkpoint that makes it count."""
        last = server_round == self.config.rounds or not self._affords(server_round + 1)
        if self.private is not None:
            line |= self.private.public()
        if server_round % self.config.eval_every == 0 or last:
            line["eval"] = self._evaluate(server_round, weights)
            if self.best is not None and self.best.add(server_round, line["eval"]["loss"]):
                self.folder.save_checkpoint(Checkpoint(server_round, weights), name=BEST)
        self.folder.append_metrics(line)
        steps = [] if entry is None else [partial(self.ledger.add, entry)]
        if server_round % self.config.checkpoint_every == 0 or last:
            arrays, strategy = self.state.capture()
            held = {k: a.copy() for k, a in arrays.items()}  # the next round may change them in place
            checkpoint = Checkpoint(server_round, weights, held, strategy, self.private.state if self.private else {})
            kept = server_round % self.config.keep_every == 0
            steps.append(partial(self.folder.save_checkpoint, checkpoint, keep=kept))
        self._saver.save(*steps)
        self.listener(line)

    def _evaluate(self, server_round: int, weights: Weights) -> dict[str, float]:
        clients = self.population.with_held_out
        if self.config.eval_clients:
            clients = draw_cohort(self.key, 0, clients, self.config.eval_clients)
        figures = self.strategy.evaluate(self.grid, server_round, weights, clients, self.config.timeout)
        total = TextMetrics()
        for client in sorted(figures):  # one order, one sum of floats
            total += figures[client]
        if not self.population.is_private:
            self.folder.write_clients(server_round, figures)
        self.figures = figures
        return summary(total)
