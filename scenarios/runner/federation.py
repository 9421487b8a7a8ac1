"""A run as a study needs it: its own client sampling, local-only and centralised training, texts scored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fedlm.config import RunConfig
from fedlm.errors import CohortError
from fedlm.messages.evaluation import ClientFigures, ReferenceRequest, ScoreRequest
from fedlm.privacy.sampling import sample_cohort
from fedlm.types import Pseudonyms, TextMetrics, Weights
from fedlm.vault.format import derive
from scenarios.runner.cohorts import Population, build_sampling
from server.engines.base import Engine, ask
from server.run.chunks import split_chunks
from server.run.federation import Federation
from server.store.run_folder import RunFolder


class StudyFederation(Federation):
    """A federation with a study's client sampling.

    Args:
      engine, config, folder, listener: see `Federation`.
      sampling: a spec of `scenarios.runner.cohorts`; empty for the run's own sampling.
      groups: each pseudonym's group.
    """

    def __init__(
        self,
        engine: Engine,
        config: RunConfig,
        folder: RunFolder,
        listener: Callable[[dict[str, Any]], None],
        sampling: str = "",
        groups: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(engine, config, folder, listener)
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
        clients = self._some_of_each_group(per_group) if per_group else self.population.with_held_out
        work = self.population.training(clients, self.config.batch_size, self.config.seq_len)
        chunks = split_chunks(clients, work, len(self.engine.nodes))
        figures: dict[int, TextMetrics] = {}
        for reply in self._train_apart(chunks, passes, centralised=False):
            figures.update(reply.by_client())
        return figures

    def train_centralised(self, passes: int) -> tuple[dict[int, TextMetrics], Weights]:
        """Trains one model on all clients' text in one place; returns the held-out sums per client, and the weights.

        Args:
          passes: over all text, from the run's initial weights.

        Raises:
          CohortError: the node gave no weights.
        """
        (reply,) = self._train_apart([self.population.with_held_out], passes, centralised=True)
        if reply.weights is None:
            raise CohortError("The node gave no weights of the centralised model.")
        return reply.by_client(), reply.weights

    def _train_apart(self, chunks: Sequence[Pseudonyms], passes: int, *, centralised: bool) -> list[ClientFigures]:
        """Sends one chunk of clients to each node, to be trained outside the federation; returns the replies."""
        questions, initial = [], self.record(self.initial)
        for node, chunk in zip(self.engine.nodes, chunks, strict=False):
            request = ReferenceRequest(self.settings, chunk, initial, passes, centralised)
            questions.append((node, request.kind, request.content()))
        return [ClientFigures.read(content) for content in ask(self.engine, questions, self.config.timeout)]

    def _some_of_each_group(self, number: int) -> Pseudonyms:
        """Returns the clients of each group that come first by a hash of their own, which no cohort uses."""
        clients = self.population.with_held_out
        ordered = sample_cohort(derive(self.key, "alone"), 0, clients, len(clients))
        kept: dict[str, list[int]] = {}
        for client in map(int, ordered):
            kept.setdefault(self._groups.get(client, ""), []).append(client)
        return np.array(sorted(c for group in kept.values() for c in group[:number]), np.uint64)

    def held_out(self, weights: Weights) -> dict[int, TextMetrics]:
        """Returns the held-out sums of every client under the weights."""
        return self.evaluate(self.config.rounds, weights, self.population.with_held_out)

    def score(self, weights: Weights, texts: Sequence[str]) -> list[TextMetrics]:
        """Returns the sums of each text under the weights."""
        request = ScoreRequest(self.settings, self.record(weights), texts)
        (content,) = ask(self.engine, [(self.engine.nodes[0], request.kind, request.content())], self.config.timeout)
        return list(ClientFigures.read(content).metrics)
