"""One run: rounds of federated training over an engine's nodes, with checkpoints, evaluation and metrics."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flwr.app import ArrayRecord

from fedlm.aggregation.base import RoundResult
from fedlm.aggregation.registry import build_aggregation, effective_aggregation
from fedlm.algorithms.registry import build_algorithm
from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, FedLMError
from fedlm.measure.text import summary
from fedlm.messages.discovery import ExportReply, ExportRequest
from fedlm.messages.fields import Malformed, weights_record
from fedlm.privacy.sampling import cohort_key
from fedlm.types import Evaluated, Pseudonyms, TextMetrics, Weights
from server.engines.base import Engine, ask
from server.run import unreleased
from server.run.claims import Register
from server.run.discovery import discover
from server.run.early_stopping import Best, no_text_to_stop_by
from server.run.evaluation import evaluate_clients, sample_clients, total_of
from server.run.failures import failures_of
from server.run.participation import Participation, ParticipationLedger, as_pseudonyms
from server.run.release import OpenRelease, PrivateRelease
from server.run.round import Round, Setting, Stages
from server.run.state import RunState
from server.run.strategies import ServerOptimizer, accepts_mean, build_strategy
from server.run.unreleased import Unreleased
from server.store.checkpoint import BEST, Checkpoint, Saver, weights_sha256
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder

Listener = Callable[[dict[str, Any]], None]


class Federation:
    """One run.

    Args:
      engine: the nodes.
      config: the run's configuration.
      folder: the run's folder.
      listener: gets each round's line of metrics.jsonl; `folder.public(line)` is the part that may be shown.
      largest_cohort: the most clients that a round may have, where that is more than the configuration's cohort_size.
      register: what a deployment's coordinator knows of its nodes.

    Raises:
      ConfigError: the plug-ins of the configuration cannot be combined.
      CohortError: a node's reply about its clients is malformed.
    """

    def __init__(
        self,
        engine: Engine,
        config: RunConfig,
        folder: RunFolder,
        listener: Listener,
        *,
        largest_cohort: int = 0,
        register: Register | None = None,
    ) -> None:
        self.engine, self.config, self.folder, self.listener = engine, config, folder, listener
        # Without differential privacy, cohort_size is for a node nothing but the bound that keeps sums from overflowing.
        larger = largest_cohort > config.cohort_size and not config.privacy.on
        told = config.model_copy(update={"cohort_size": largest_cohort}) if larger else config
        # Owners accept what the coordinator sees, which the strategy decides: sums, or single updates.
        takes_mean = accepts_mean(build_strategy(config.strategy))
        used = effective_aggregation(config.spec("aggregation"), accepts_mean=takes_mean)
        if used != config.spec("aggregation"):
            told = told.model_copy(update={"aggregation": used.name})
        self.settings = told.to_settings()
        self.figures: dict[
            int, TextMetrics
        ] = {}  # sums per client of the last evaluation, on the text that may steer the run
        self.forgotten, self.ledger = Forgotten.read(folder.path), ParticipationLedger(folder.path)
        found = discover(engine, self.settings, config.timeout, register=register)
        self.population = found.population.without(as_pseudonyms(self.forgotten.clients))
        self.vaults, self.initial, self.kernels = [v for v, _ in found.vaults], found.initial, found.kernels
        self.checkpoint: Checkpoint | None = None
        self.best = Best(config.patience, config.min_gain) if config.patience else None
        self.key, self.refused = cohort_key(config.seed), 0
        logging.getLogger("flwr").setLevel(logging.ERROR)
        self.stages = self._stages()
        setting = Setting(self.settings, config.batch_size, config.seq_len, config.local_steps, config.timeout)
        self.round = Round(engine, self.stages, self.population, setting)
        self._state, self._unreleased = RunState(self.stages), Unreleased()

    def _stages(self) -> Stages:
        config, clients = self.config, self.population.trainable
        strategy = build_strategy(config.strategy)
        takes_mean = accepts_mean(strategy)
        config.privacy.check(accepts_mean=takes_mean)
        self.private = PrivateRelease(config, self.folder.path, clients, self.initial) if config.privacy.on else None
        return Stages(
            build_algorithm(config.spec("algorithm"), measures_drift=config.drift),
            build_aggregation(config.spec("aggregation"), accepts_mean=takes_mean),
            self.private or OpenRelease(config, clients),
            ServerOptimizer(strategy, config.server_schedule),
        )

    def start(self, *, resume: bool = False) -> list[dict[str, Any]]:
        """Loads the folder's last checkpoint if `resume` is set and there is one; returns the metrics of its rounds.

        Raises:
          ConfigError: the run was trained on other vaults.
          CohortError: a node has initial weights of another model.
        """
        if not (resume and self.folder.has_checkpoint):
            self.folder.start_metrics()
            return []
        self.check_vaults()
        self.checkpoint = self.folder.load_checkpoint()
        if [w.shape for w in self.initial] != [w.shape for w in self.checkpoint.weights]:
            raise CohortError("The initial weights of a node do not have the shapes of the run's checkpoint.")
        self._state.restore(self.checkpoint)
        self.folder.drop_metrics_after(self.checkpoint.round)
        self.ledger.keep_until(self.checkpoint.round)
        if self.best is not None:
            self.best = Best.of(self.folder.metrics(), self.config)
        return self.folder.metrics()

    def check_vaults(self) -> None:
        """Refuses vaults other than the run's. Rotating a key and adding or forgetting clients keep a vault's id."""
        if not self.ledger.path.is_file():
            return  # a run of a version without participation ledgers
        if self.ledger.header().get("vaults") != sorted({v.hex() for v in self.vaults}):
            raise ConfigError(
                f"The run {self.folder.path} was trained on another vault: resume it with that vault, or start a new run with "
                "another --out."
            )

    def run(self, *, initial: Weights | None = None) -> Weights:
        """Trains all remaining rounds; returns the final weights. `initial` replaces the initial weights of the seed.

        Raises:
          ConfigError: early stopping has no text to read.
        """
        if self.best is not None and not len(self.population.evaluated(self.config.steering)):
            raise no_text_to_stop_by(self.config.steering)
        # A charged round must be on disk before the next one is charged.
        with Saver(behind=not self.stages.release.charges) as self._saver:
            weights = self._run(initial)
        if self.best is not None:
            weights = self.folder.load_checkpoint(BEST).weights
        if self.config.steering is not Evaluated.HELD_OUT:
            self._read_held_out(weights)
        return weights

    def _read_held_out(self, weights: Weights) -> None:
        """Evaluates the final weights on held-out text, which nothing has read before; once, also if the run is resumed."""
        sha256 = weights_sha256(weights)
        before = self.folder.final()
        if "eval" in before and before["weights_sha256"] == sha256:
            return
        last = self.best.round if self.best is not None else self.folder.metrics()[-1]["round"]
        self.folder.write_final(
            {"round": last, "weights_sha256": sha256, **self._figures(last, weights, Evaluated.HELD_OUT)}
        )

    def _run(self, initial: Weights | None) -> Weights:
        if self.checkpoint is not None:
            weights, done = self.checkpoint.weights, self.checkpoint.round
        else:
            weights, done = self._begin(initial), 0
        for server_round in range(done + 1, self.config.rounds + 1):
            if (self.best is not None and self.best.is_over) or not self.stages.release.affords(server_round):
                break
            weights = self._train(server_round, weights)
        return weights

    def _begin(self, initial: Weights | None) -> Weights:
        """Writes round 0 and returns the initial weights."""
        weights = self.initial if initial is None else initial
        if [w.shape for w in weights] != [w.shape for w in self.initial]:
            raise ConfigError(
                "The weights of --init do not fit this run's model and vocabulary: use the same model and vocabulary."
            )
        self.ledger.start(self.vaults, init=initial is not None)
        if initial is not None and self.private is not None:
            self.private.ledger.starts_from_another_run()
        line = {"round": 0, "cohort": 0, "failed": 0, "tokens": 0, "seconds": 0.0}
        self._report(0, weights, line | ({"kernels": self.kernels} if self.kernels else {}))
        return weights

    def cohort(self, server_round: int) -> Pseudonyms:
        """Samples the clients of a round; studies override it."""
        return self.stages.release.sample(server_round)

    def evaluated(self, part: Evaluated) -> Pseudonyms:
        """Returns the clients of an evaluation on a part of their text; studies override it."""
        return sample_clients(self.config, self.key, self.population.evaluated(part))

    def _train(self, server_round: int, weights: Weights) -> Weights:
        started = time.monotonic()
        cohort = self.cohort(server_round)
        absent = self.forgotten.lost.get(server_round, frozenset())
        weights, result = self.round.run(server_round, weights, cohort, absent)
        self._check_quorum(server_round, result, len(cohort))
        self.refused += result.refused
        entry = Participation(server_round, frozenset(map(int, cohort)), result.lost)
        line: dict[str, Any] = {
            "round": server_round,
            "cohort": len(cohort),
            "failed": result.total.failed,
            **({"failures": failures} if (failures := failures_of(result)) else {}),
            **self._faults(),
            "tokens": result.metrics.tokens,
            "seconds": round(time.monotonic() - started, 4),
            **({"train_loss": result.metrics.loss_sum / result.metrics.tokens} if result.metrics.tokens else {}),
            **unreleased.about(result),
            **self.stages.algorithm.figures(result.total),
        }
        self._report(server_round, weights, line, entry)
        self._unreleased.note(server_round, result)
        return weights

    def _check_quorum(self, server_round: int, result: RoundResult, sampled: int) -> None:
        if result.total.clients < self.config.quorum * sampled:
            raise CohortError(
                f"Round {server_round}: {result.total.clients} of {sampled} clients were trained, below the quorum "
                f"{self.config.quorum}; --resume continues the run from its checkpoint."
            )

    def _faults(self) -> dict[str, int]:
        """Returns the numbers of chunks sent again and replies refused, or of workers lost, so far."""
        faults = dict(self.engine.faults)
        return faults | ({"refused": faults["refused"] + self.refused} if "refused" in faults else {})

    def export(self, weights: Weights) -> tuple[bytes, str]:
        """Gets the model as a `.keras` file and a text sample from a node: this process never loads TensorFlow."""
        request = ExportRequest(self.settings, self.record(weights))
        (content,) = ask(self.engine, [(self.engine.nodes[0], request.kind, request.content())], self.config.timeout)
        try:
            reply = ExportReply.read(content)
        except Malformed as error:
            raise CohortError(f"A node's export of the model was refused: {error}.") from None
        return reply.keras, reply.sample

    def record(self, weights: Weights) -> ArrayRecord:
        """Returns weights as messages carry them."""
        return weights_record(weights)

    def _report(
        self, server_round: int, weights: Weights, line: dict[str, Any], entry: Participation | None = None
    ) -> None:
        """Evaluates if due, then writes metrics, participation and checkpoint, in this order: the checkpoint commits the round."""
        last = server_round == self.config.rounds or not self.stages.release.affords(server_round + 1)
        line |= self.stages.release.public()
        if server_round % self.config.eval_every == 0 or last:
            line |= self._figures(server_round, weights, self.config.steering)
            if self.best is not None and self.best.round < 0 and "eval" not in line:  # every node has too few clients
                raise no_text_to_stop_by(self.config.steering)
            if self.best is not None and "eval" in line and self.best.add(server_round, line["eval"]["loss"]):
                self.folder.save_checkpoint(Checkpoint(server_round, weights), name=BEST)
        self.folder.append_metrics(line)
        steps = [] if entry is None else [partial(self.ledger.add, entry)]
        if server_round % self.config.checkpoint_every == 0 or last:
            checkpoint = self._state.checkpoint(server_round, weights)
            kept = server_round % self.config.keep_every == 0
            steps.append(partial(self.folder.save_checkpoint, checkpoint, keep=kept))
        self._saver.save(*steps)
        self.listener(line)

    def evaluate(
        self, server_round: int, weights: Weights, clients: Pseudonyms, part: Evaluated = Evaluated.HELD_OUT
    ) -> dict[int, TextMetrics]:
        """Returns sums per client on a part of their text; see `evaluate_clients`."""
        asked = (server_round, weights, clients, self.config.timeout, part)
        return evaluate_clients(self.engine, self.population, self.settings, *asked)

    def _figures(self, server_round: int, weights: Weights, part: Evaluated) -> dict[str, Any]:
        """Returns what a line of metrics says about a part of the text.

        It says nothing where no noise would cover it at the nodes, and where every node has too few clients for its policy.
        """
        if self.population.is_private and self.config.privacy.traits.node_noise:
            return {}
        try:
            figures = self._evaluate(server_round, weights, part)
        except FedLMError as error:
            if not self.stages.release.charges:
                raise
            return {"eval_failed": str(error)}  # one client's text must not decide whether the run goes on
        read = {} if part is Evaluated.HELD_OUT else {"part": part.value}
        return {"eval": figures, **read} if figures else {}

    def _evaluate(self, server_round: int, weights: Weights, part: Evaluated) -> dict[str, float]:
        figures = self.evaluate(server_round, weights, self.evaluated(part), part)
        is_final = part is not self.config.steering
        if not is_final:
            self.figures = figures  # a study's sampling reads them
        if not self.population.is_private:
            self.folder.write_clients(server_round, figures, is_final=is_final)
        return summary(total_of(figures)) if figures else {}
