"""A run as a study needs it: cohorts by another rule, models trained alone or pooled, texts scored."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedlm.config import RunConfig
from fedlm.messages import wire
from fedlm.messages.records import arrays_in, config_in
from fedlm.types import Pseudonyms, TextMetrics, Weights
from fedlm.vault.format import derive
from scenarios.runner.cohorts import Population, build_draw
from server.engines.local import LocalGrid
from server.run.federation import Federation
from server.run.sampling import draw_cohort, split_chunks
from server.store.run_folder import RunFolder


class StudyFederation(Federation):
    """A federation whose cohorts a study may choose.

    Args:
      grid, config, folder, listener: see `Federation`.
      draw: a spec of `scenarios.runner.cohorts`, or empty.
      groups: each pseudonym's group; the label's values.
    """

    def __init__(
        self,
        grid: LocalGrid,
        config: RunConfig,
        folder: RunFolder,
        listener: Callable[[dict[str, Any]], None],
        draw: str = "",
        groups: dict[int, str] | None = None,
    ) -> None:
        super().__init__(grid, config, folder, listener)
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
        nodes = list(self.grid.get_node_ids())
        clients = self._some(per_group) if per_group else self.population.with_held_out
        work = self.population.training(clients, self.config.batch_size, self.config.seq_len)
        chunks = [clients] if pooled else split_chunks(clients, work, len(nodes))
        questions, initial = [], wire.weights_record(self.initial)
        for node, chunk in zip(nodes, chunks, strict=False):
            content = wire.request(initial, chunk, self.settings, 0, len(clients))
            config_in(content).update({"passes": passes, "pooled": pooled})
            questions.append((node, "evaluate.alone", content))
        figures: dict[int, TextMetrics] = {}
        weights = None
        for content in self.ask(questions):
            figures.update(wire.content_evaluation(content))
            if pooled:
                weights = wire.record_weights(arrays_in(content))
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
        clients = self.population.with_held_out
        return self.strategy.evaluate(self.grid, self.config.rounds, weights, clients, self.config.timeout)

    def score(self, weights: Weights, texts: Sequence[str]) -> list[TextMetrics]:
        """Returns the sums of each text under the weights."""
        node = next(iter(self.grid.get_node_ids()))
        content = wire.request(wire.weights_record(weights), np.zeros(0, np.uint64), self.settings, 0, 0)
        config_in(content)["texts"] = list(texts)
        (reply,) = self.ask([(node, "query.score", content)])
        figures = wire.content_evaluation(reply)
        return [figures[i] for i in range(len(texts))]
