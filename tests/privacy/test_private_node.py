"""What a node trains under differential privacy is what it trains without: schedule, proximal term, weights."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from clients.node import Node
from fedlm.aggregation.base import RoundPlan
from fedlm.aggregation.open import read_sum
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest, read_payload
from fedlm.preparation.vault import prepare
from fedlm.privacy.noise import noise_source, with_noise
from fedlm.rng import Purpose, Stream
from fedlm.training.trainer import LocalTrainer
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import take_identity

pytestmark = [pytest.mark.slow, pytest.mark.flower]
PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 1000.0,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
    "model": "rnn(units=4)",
    "scrub": "none",
}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("vault")
    source = KeySource(folder / "v.key")
    config = RunConfig.checked({"max_clients": 3, "scrub": "none"})
    prepare("shakespeare", folder / "v.db", source, config, lambda *_: None)
    with closing(Vault(folder / "v.db", source)) as opened:
        yield opened


def summed(vault: Vault, server_round: int = 4, proximal_mu: float = 0.0, **values: object) -> tuple[bytes, int, int]:
    """Returns the node's sum over its clients, their weight and their number."""
    take_identity()
    config = RunConfig.checked({**PRIVATE, **values})
    weights = LocalTrainer(config).weights
    strategy, mechanism = {"proximal-mu": proximal_mu} if proximal_mu else {}, {"clip-norm": config.clip_norm}
    clients = np.ascontiguousarray(vault.by_pseudonym()["pseudonym"])
    settings, arrays = config.to_settings(), weights_record(weights)
    request = TrainRequest(settings, server_round, clients, arrays, strategy, mechanism)
    reply = Node(vault).answer(Message(request.content(), 2, request.kind))
    plan = RoundPlan(server_round, weights, clients)
    total, _ = read_sum(read_payload(reply, weights), plan)
    return b"".join(s.tobytes() for s in total.sums), total.weight, total.clients


def test_schedule_and_proximal_term_hold_under_privacy(vault: Vault) -> None:
    plain = summed(vault)
    assert summed(vault) == plain and plain[1:] == (3, 3)
    assert summed(vault, client_schedule="exponential(factor=0.1)")[0] != plain[0]
    assert summed(vault, 1, client_schedule="exponential(factor=0.1)")[0] == summed(vault, 1)[0]
    assert summed(vault, proximal_mu=5.0)[0] != plain[0]
    assert summed(vault, proximal_mu=5.0)[0] == summed(vault, proximal_mu=5.0)[0]


def test_capped_weights_count_in_the_runs_own_vocabulary(vault: Vault, tmp_path: Path) -> None:
    capped = {"weighting": "capped(tokens=1000000)", "population_weight": 1e7}
    characters = summed(vault, **capped)[1]
    several = summed(vault, **capped, vocabulary="bytes")[1]
    documents = [vault.documents(int(c)) for c in vault.by_pseudonym()["pseudonym"]]
    trainer = LocalTrainer(RunConfig.checked({**PRIVATE, "vocabulary": "bytes"}))
    assert several == sum(trainer.num_tokens(d) for d in documents)
    assert characters == sum(LocalTrainer(RunConfig.checked(PRIVATE)).num_tokens(d) for d in documents)


def test_local_noise_is_drawn_for_each_client_and_round_and_added_to_what_central_noise_would_cover(
    vault: Vault,
) -> None:
    """A reproducible run says what each client's noise is: the node's sum is the clipped one and no other noise."""
    local = {"mechanism": "local", "clip_norm": 0.5, "noise_multiplier": 1.0, "reproducible": True, "seed": 3}
    shapes = [w.shape for w in LocalTrainer(RunConfig.checked({**PRIVATE, **local})).weights]
    zeros = tuple(np.zeros(s, np.int64) for s in shapes)
    std = RunConfig.checked({**PRIVATE, **local}).privacy.noise_std(0.5, sum(z.size for z in zeros))
    expected = np.frombuffer(summed(vault, **{**local, "mechanism": "gaussian"})[0], np.int64).copy()
    for client in map(int, vault.by_pseudonym()["pseudonym"]):
        noise = with_noise(zeros, std, noise_source(True, Stream(3, Purpose.NODE_NOISE, 4, client)))
        expected += np.concatenate([n.ravel() for n in noise])
    assert summed(vault, **local)[0] == expected.tobytes()
    assert summed(vault, 5, **local)[0] != expected.tobytes()


def test_a_node_refuses_a_private_vault_that_max_clients_selected(tmp_path: Path) -> None:
    lines = [{"user": f"u{i}", "text": f"tea {n} of {i}"} for i in range(5) for n in range(2)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = KeySource(tmp_path / "v.key")
    config = RunConfig.checked({"max_clients": 3, "scrub": "none"})
    prepare(str(tmp_path / "mine.jsonl"), tmp_path / "v.db", source, config, lambda *_: None)
    with closing(Vault(tmp_path / "v.db", source)) as opened:
        with pytest.raises(ConfigError, match="max_clients=3 would let one client's presence decide"):
            summed(opened)
        assert summed(opened, noise_cohort_size=50)[2] == 3  # states nothing about these clients
