"""A run as a study needs it: its own client sampling, local-only and centralised training, texts scored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fedlm.config import RunConfig
from fedlm.messages import wire
from fedlm.messages.records import arrays_in, config_in
from fedlm.types import Pseudonyms, TextMetrics, Weights
from fedlm.vault.format import derive
from scenarios.runner.cohorts import Population, build_sampling
from server.engines.local import LocalGrid
from server.run.federation import Federation
from server.run.sampling import draw_cohort, split_chunks
from server.store.run_folder import RunFolder


class StudyFederation(Federation):
    """A federation with a study's client sampling.

    Args:
      grid, config, folder, listener: see `Federation`.
      sampling: a spec of `scenarios.runner.cohorts`; empty for the run's own sampling.
      groups: each pseudonym's group.
    """

    def __init__(
        self,
        grid: LocalGrid,
        config: RunConfig,
        folder: RunFolder,
        listener: Callable[[dict[str, Any]], None],
        sampling: str = "",
        groups: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(grid, config, folder, listener)
        self._sample = build_sampling(sampling) if sampling else None
        self._groups = groups or {}

    def cohort(self, server_round: int) -> Pseudonyms:
        """Returns the clients of a round by the study's client sampling."""
        if self._sample is None:
            return super().cohort(server_round)
        known = self.population
        tokens = dict(zip(known.pseudonyms.tolist(), known.train_tokens.tolist(), strict=True))
        population = Population(self.key, known.pseudonyms, tokens, self._groups, self.figures)
        return self._sample(population, server_round, self.config.cohort_size)

    def check_vaults(self) -> None:
        """Accepts any vault: a study seals its data again if the vault is gone, from the same text, under the seed's pseudonyms."""

    def train_local_only(self, passes: int, per_group: int = 0) -> dict[int, TextMetrics]:
        """Trains a model for each client on nothing but its own text; returns its held-out sums per client.

        Args:
          passes: over the client's text, from the run's initial weights.
          per_group: how many clients of each group, chosen by hash; 0 for all.
        """
        nodes = list(self.grid.get_node_ids())
        clients = self._some_of_each_group(per_group) if per_group else self.population.with_held_out
        work = self.population.training(clients, self.config.batch_size, self.config.seq_len)
        figures: dict[int, TextMetrics] = {}
        for content in self._train_apart(split_chunks(clients, work, len(nodes)), passes, len(clients), pooled=False):
            figures.update(wire.content_evaluation(content))
        return figures

    def train_centralised(self, passes: int) -> tuple[dict[int, TextMetrics], Weights]:
        """Trains one model on all clients' text in one place; returns the held-out sums per client, and the weights.

        Args:
          passes: over all text, from the run's initial weights.
        """
        clients = self.population.with_held_out
        (content,) = self._train_apart([clients], passes, len(clients), pooled=True)
        return wire.content_evaluation(content), wire.record_weights(arrays_in(content))

    def _train_apart(self, chunks: Sequence[Pseudonyms], passes: int, clients: int, *, pooled: bool) -> list[Any]:
        """Sends one chunk of clients to each node, to be trained outside the federation; returns the replies' contents."""
        questions, initial = [], wire.weights_record(self.initial)
        for node, chunk in zip(self.grid.get_node_ids(), chunks, strict=False):
            content = wire.request(initial, chunk, self.settings, 0, clients)
            config_in(content).update({"passes": passes, "pooled": pooled})
            questions.append((node, "evaluate.alone", content))  # the message's name, of an earlier version
        return self.ask(questions)

    def _some_of_each_group(self, number: int) -> Pseudonyms:
        """Returns the clients of each group that come first by a hash of their own, which no cohort uses."""
        clients = self.population.with_held_out
        ordered = draw_cohort(derive(self.key, "alone"), 0, clients, len(clients))
        kept: dict[str, list[int]] = {}
        for client in map(int, ordered):
            kept.setdefault(self._groups.get(client, ""), []).append(client)
        return np.array(sorted(c for group in kept.values() for c in group[:number]), np.uint64)

    def held_out(self, weights: Weights) -> dict[int, TextMetrics]:
        """Returns the held-out sums of every client under the weights."""
        clients = self.population.with_held_out
        return self.strategy.evaluate(self.grid, self.config.rounds, weights, clients, self.config.timeout)

    def score(self, weights: Weights, texts: Sequence[str]) -> list[TextMetrics]:
        """Returns the sums of each text under the weights."""
        node = next(iter(self.grid.get_node_ids()))
        content = wire.request(wire.weights_record(weights), np.zeros(0, np.uint64), self.settings, 0, 0)
        config_in(content)["texts"] = list(texts)
        (reply,) = self.ask([(node, "query.score", content)])
        # The reply is that of an evaluation, with the texts' places for pseudonyms.
        figures = wire.content_evaluation(reply)
        return [figures[i] for i in range(len(texts))]
