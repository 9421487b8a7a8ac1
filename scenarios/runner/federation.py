"""A run as a study needs it: its own client sampling, local-only and centralised training, texts scored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fedlm.config import RunConfig
from fedlm.errors import CohortError
from fedlm.messages.evaluation import ClientFigures, ReferenceRequest, ScoreRequest
from fedlm.privacy.sampling import sample_cohort
from fedlm.types import Evaluated, Pseudonyms, TextMetrics, Weights
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
      minority: one of these groups.
      test_clients: how many clients of each group never train, and alone are evaluated; 0 for none.
    """

    def __init__(
        self,
        engine: Engine,
        config: RunConfig,
        folder: RunFolder,
        listener: Callable[[dict[str, Any]], None],
        sampling: str = "",
        groups: Mapping[int, str] | None = None,
        minority: str = "",
        test_clients: int = 0,
    ) -> None:
        # A rule that samples by group rounds each group's share up by less than one client.
        largest = config.cohort_size + len(set((groups or {}).values())) if sampling else 0
        super().__init__(engine, config, folder, listener, largest_cohort=largest)
        self._sample = build_sampling(sampling) if sampling else None
        self._groups, self._minority = groups or {}, minority
        self._tests = np.zeros(0, np.uint64)
        if test_clients:
            self._tests = self._some_of_each_group(test_clients, "test")

    def cohort(self, server_round: int) -> Pseudonyms:
        """Returns the clients of a round by the study's client sampling."""
        if self._sample is None and not len(self._tests):
            return super().cohort(server_round)
        known = self.population
        tokens = dict(zip(known.pseudonyms.tolist(), known.train_tokens.tolist(), strict=True))
        trained = np.setdiff1d(known.trainable, self._tests)
        size = self.config.cohort_size
        if self._sample is None:
            return sample_cohort(self.key, server_round, trained, size)
        population = Population(self.key, trained, tokens, self._groups, self.figures, self._minority)
        return self._sample(population, server_round, size)

    def evaluated(self, part: Evaluated) -> Pseudonyms:
        """Returns the clients of an evaluation on a part of their text.

        Where the study has test clients, held-out text is theirs, and validation text, which may steer a run, is that of all
        others.
        """
        if not len(self._tests):
            return super().evaluated(part)
        return self._tests if part is Evaluated.HELD_OUT else np.setdiff1d(super().evaluated(part), self._tests)

    def took_part(self) -> frozenset[int]:
        """Returns the clients of all cohorts so far."""
        return frozenset(client for entry in self.ledger.rounds() for client in entry.clients)

    def check_vaults(self) -> None:
        """Accepts any vault: a study seals its data again if the vault is gone, from the same text, under the seed's pseudonyms."""

    def train_local_only(self, passes: int, per_group: int = 0) -> dict[int, TextMetrics]:
        """Trains a model for each client on nothing but its own text; returns its held-out sums per client.

        Args:
          passes: over the client's text, from the run's initial weights.
          per_group: how many clients of each group, chosen by hash; 0 for all.
        """
        clients = self._some_of_each_group(per_group, "alone") if per_group else self._with_figures
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
        (reply,) = self._train_apart([self.population.evaluated(Evaluated.HELD_OUT)], passes, centralised=True)
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

    @property
    def _with_figures(self) -> Pseudonyms:
        """The clients whose figures count."""
        return self._tests if len(self._tests) else self.population.evaluated(Evaluated.HELD_OUT)

    def _some_of_each_group(self, number: int, purpose: str) -> Pseudonyms:
        """Returns the clients of each group that come first by a hash of the purpose, which no cohort uses."""
        clients = self._with_figures
        ordered = sample_cohort(derive(self.key, purpose), 0, clients, len(clients))
        kept: dict[str, list[int]] = {}
        for client in map(int, ordered):
            kept.setdefault(self._groups.get(client, ""), []).append(client)
        return np.array(sorted(c for group in kept.values() for c in group[:number]), np.uint64)

    def held_out(self, weights: Weights) -> dict[int, TextMetrics]:
        """Returns the held-out sums of every client that is evaluated under the weights."""
        return self.evaluate(self.config.rounds, weights, self._with_figures)

    def score(self, weights: Weights, texts: Sequence[str], before: Sequence[str] = ()) -> list[TextMetrics]:
        """Returns the sums of each text under the weights; of each text after another one where `before` has these."""
        request = ScoreRequest(self.settings, self.record(weights), texts, before)
        (content,) = ask(self.engine, [(self.engine.nodes[0], request.kind, request.content())], self.config.timeout)
        return list(ClientFigures.read(content).metrics)
