"""A run as a study needs it: cohorts by another rule, models trained alone or pooled, texts scored."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedlm.config import RunConfig
from fedlm.messages.evaluation import ClientFigures, ReferenceRequest, ScoreRequest
from fedlm.privacy.sampling import draw_cohort
from fedlm.types import Pseudonyms, TextMetrics, Weights
from fedlm.vault.format import derive
from scenarios.runner.cohorts import Population, build_draw
from server.engines.base import Engine, ask
from server.run.chunks import split_chunks
from server.run.federation import Federation
from server.store.run_folder import RunFolder


class StudyFederation(Federation):
    """A federation whose cohorts a study may choose.

    Args:
      engine, config, folder, listener: see `Federation`.
      draw: a spec of `scenarios.runner.cohorts`, or empty.
      groups: each pseudonym's group; the label's values.
    """

    def __init__(
        self,
        engine: Engine,
        config: RunConfig,
        folder: RunFolder,
        listener: Callable[[dict[str, Any]], None],
        draw: str = "",
        groups: dict[int, str] | None = None,
    ) -> None:
        super().__init__(engine, config, folder, listener)
        self._draw = build_draw(draw) if draw else None
        self._groups = groups or {}

    def cohort(self, server_round: int) -> Pseudonyms:
        """Returns the clients of a round by the study's rule."""
        if self._draw is None:
            return super().cohort(server_round)
        known = self.population
        tokens = dict(zip(known.pseudonyms.tolist(), known.train_tokens.tolist(), strict=True))
        people = Population(self.key, known.pseudonyms, tokens, self._groups, self.figures)
        return self._draw(people, server_round, self.config.cohort_size)

    def check_vaults(self) -> None:
        """Takes any vault: a study's is made anew if it is gone, from the same text, with pseudonyms of the seed."""

    def alone(self, passes: int, *, pooled: bool, per_group: int = 0) -> tuple[dict[int, TextMetrics], Weights | None]:
        """Returns held-out sums per client without the federation, and the weights where all text was pooled.

        Args:
          passes: over the text.
          pooled: one model of all text, instead of one for each client.
          per_group: so many clients of each group, drawn by hash; 0 for all.
        """
        nodes = self.engine.nodes
        clients = self._some(per_group) if per_group else self.population.with_held_out
        work = self.population.training(clients, self.config.batch_size, self.config.seq_len)
        chunks = [clients] if pooled else split_chunks(clients, work, len(nodes))
        questions, initial = [], self.record(self.initial)
        for node, chunk in zip(nodes, chunks, strict=False):
            request = ReferenceRequest(self.settings, chunk, initial, passes, pooled)
            questions.append((node, request.kind, request.content()))
        figures: dict[int, TextMetrics] = {}
        weights = None
        for content in ask(self.engine, questions, self.config.timeout):
            found = ClientFigures.read(content)
            figures.update(found.by_client())
            weights = found.weights
        return figures, weights

    def _some(self, per_group: int) -> Pseudonyms:
        """Returns the clients of each group that come first by a hash of their own."""
        clients = self.population.with_held_out
        ordered = draw_cohort(derive(self.key, "alone"), 0, clients, len(clients))
        kept: dict[str, list[int]] = {}
        for client in map(int, ordered):
            kept.setdefault(self._groups.get(client, ""), []).append(client)
        return np.array(sorted(c for group in kept.values() for c in group[:per_group]), np.uint64)

    def held_out(self, weights: Weights) -> dict[int, TextMetrics]:
        """Returns the held-out sums of every client under the weights."""
        return self.evaluate(self.config.rounds, weights, self.population.with_held_out)

    def score(self, weights: Weights, texts: Sequence[str]) -> list[TextMetrics]:
        """Returns the sums of each text under the weights."""
        request = ScoreRequest(self.settings, self.record(weights), texts)
        (content,) = ask(self.engine, [(self.engine.nodes[0], request.kind, request.content())], self.config.timeout)
        return list(ClientFigures.read(content).metrics)
