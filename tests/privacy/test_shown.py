"""What a node and a run show under differential privacy, and what a node's own policy makes of it."""

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message

from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.training import TrainRequest
from fedlm.types import TextMetrics
from server.engines.local import take_identity
from server.store.run_folder import RunFolder

PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 0.5,
    "sampling_rate": 0.5,
}
LINE: dict[str, Any] = {
    "round": 3,
    "cohort": 7,
    "failed": 1,
    "tokens": 900,
    "train_loss": 2.0,
    "eval": {"accuracy": 0.5},
}


def test_line_that_may_be_shown_has_what_the_ledger_covers_and_nothing_else(tmp_path: Any) -> None:
    covered = {"epsilon": 1.5, "covers": "clients", "clip_norm": 0.5}
    folder = RunFolder.create(tmp_path / "private", RunConfig.checked(PRIVATE))
    assert folder.public({**LINE, **covered}) == {"round": 3, **covered}
    assert RunFolder.create(tmp_path / "open", RunConfig()).public(LINE) == LINE


def test_figures_per_client_and_population_lie_in_private_and_are_found_again(tmp_path: Any) -> None:
    folder = RunFolder.create(tmp_path / "run", RunConfig.checked(PRIVATE))
    figures = {5: TextMetrics(2.0, 1, 3, 4)}
    folder.write_clients(2, figures)
    folder.keep_population(np.array([5], np.uint64))
    assert folder.last_clients() == figures
    assert {p.name for p in folder.path.iterdir()} == {"config.toml", "private"}
    assert {p.name for p in (folder.path / "private").iterdir()} == {"clients.parquet", "population.sha256"}


@pytest.mark.flower
def test_the_least_number_of_clients_does_not_apply_under_differential_privacy() -> None:
    """Chunks {A, B} trained and {B} refused: A alone would decide whether B is in the sum, twice the bound."""
    take_identity()

    def message(values: dict[str, Any]) -> Message:
        settings = RunConfig.checked(values).to_settings()
        request = TrainRequest(settings, 1, np.ones(1, np.uint64), ArrayRecord(), {}, {"clip-norm": 0.5})
        return Message(request.content(), 0, request.kind)

    Policy(min_chunk_clients=2).check(message(PRIVATE))
    with pytest.raises(ConfigError, match="min_chunk_clients"):
        Policy(min_chunk_clients=2).check(message({}))
