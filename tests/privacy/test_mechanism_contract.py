"""What every mechanism keeps: one client moves the sum by at most what is accounted for, and its state resumes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlm.aggregation.exact import ExactSum
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.privacy.accounting import epsilon
from fedlm.privacy.clipping import l2_norm
from fedlm.privacy.ledger import Ledger
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.mechanisms.registry import build_mechanism, mechanism_names, mechanism_traits
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics, Weights
from tests.support.runs import ROOT, hash_of_run
from tests.support.unlearned import seal, settings

TOY = "tests.support.toys.toy_mechanism:Halving(every=1)"
ALL = [*mechanism_names(), TOY]
PRIVATE = [name for name in ALL if mechanism_traits(parse_spec(name)).private]
SHAPES, DIMENSION = ((40, 3), (), (17,)), 138
BASE = {
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
    "cohort_size": 4,
}


def mechanism(name: str, **more: Any) -> Mechanism:
    return build_mechanism(RunConfig.checked({**BASE, "mechanism": name, **more}).privacy, DIMENSION)


def silent(count: int) -> bytes:
    """The bits of a noise that is the same in every call, so that it cancels."""
    return bytes(count)


def update(seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    return tuple(np.asarray(rng.normal(size=s) * 10.0 ** (seed % 5 - 2), np.float32) for s in SHAPES)


def summed(made: Mechanism, seeds: list[int | None]) -> ExactSum:
    total = ExactSum.zeros_like(tuple(np.zeros(s, np.float32) for s in SHAPES))
    for seed in seeds:
        made.contribute(total, None if seed is None else update(seed), 1, silent)
    return total


@pytest.mark.parametrize("name", PRIVATE)
def test_where_the_node_adds_the_noise_nothing_but_the_sum_depends_on_the_clients(name: str) -> None:
    made, found = mechanism(name), set()
    for seeds in ([1, 2, 3], [1, None, 3], [None, None, None]):
        total, figures = summed(made, seeds), TextMetrics(9.0 * len(seeds), 1, sum(s or 0 for s in seeds), 2)
        said, metrics = made.reply(total, figures, 3)
        assert all((a == b).all() for a, b in zip(said.sums, total.sums, strict=True))
        found.add((said.weight, said.clients, said.failed, said.below, metrics.loss_sum, metrics.tokens))
    assert (found == {(0, 3, 0, 0, 0.0, 0)}) == made.traits.node_noise


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("seed", range(5))
def test_neighbours_differ_by_at_most_the_accounted_distance(name: str, seed: int) -> None:
    made = mechanism(name)
    bound = made.settings.sensitivity(made.clip_norm, DIMENSION)
    if made.traits.distance == 1:  # a client is added or removed
        one, other = summed(made, [1, 2, seed]), summed(made, [1, 2])
    else:  # its text is replaced, or does not even open
        one, other = summed(made, [1, 2, seed]), summed(made, [1, 2, None if seed == 4 else seed + 10])
    moved = l2_norm([a - b for a, b in zip(one.sums, other.sums, strict=True)])
    assert moved <= made.traits.distance * bound


@pytest.mark.parametrize("name", PRIVATE)
def test_the_event_states_the_noise_that_is_drawn(name: str) -> None:
    made = mechanism(name)
    event = made.event(1, np.arange(3, dtype=np.uint64))
    assert event.noise_std >= event.noise_multiplier * made.settings.sensitivity(event.clip_norm, DIMENSION)
    assert (event.round, event.distance, event.clip_norm) == (1, made.traits.distance, made.clip_norm)
    nothing = ExactSum.zeros_like(tuple(np.zeros(s, np.float32) for s in SHAPES))
    if made.traits.node_noise:
        made.contribute(nothing, None, 0, np.random.default_rng(1).bytes)
    released = made.release(event, nothing, np.random.default_rng(0).bytes)
    drawn = np.concatenate([r.ravel() for r in released]).astype(np.float64)
    assert 0.75 < drawn.std() / event.noise_std < 1.25  # 138 draws: the standard error is 6 %


@pytest.mark.parametrize("name", PRIVATE)
def test_state_resumes_and_nodes_hear_what_is_told(name: str) -> None:
    made, again = mechanism(name), mechanism(name)
    for server_round in (1, 2, 3):
        event = made.event(server_round, np.zeros(0, np.uint64))
        made.release(event, summed(made, [1, 2, 3]), silent)
    again.restore(made.state())
    assert (again.clip_norm, dict(again.broadcast())) == (made.clip_norm, dict(made.broadcast()))
    node = mechanism(name)
    node.receive(made.broadcast())
    assert node.clip_norm == made.clip_norm
    with pytest.raises(ConfigError, match="no finite clip norm"):
        node.receive({})


@pytest.mark.parametrize("name", PRIVATE)
def test_the_statement_names_neighbours_adversary_and_mechanism(name: str, tmp_path: Path) -> None:
    made = mechanism(name)
    ledger = Ledger.open(tmp_path / "ledger.json", made.settings)
    ledger.charge(made.event(1, np.arange(4, dtype=np.uint64)))
    again = Ledger.open(tmp_path / "ledger.json", made.settings)
    assert again.releases == ledger.releases
    for part in (made.traits.title, made.traits.neighbours, made.traits.adversary):
        assert part and part in again.statement()
    assert again.epsilon() == epsilon(again.releases, made.settings.delta) > 0


def test_replacing_a_clients_text_costs_what_half_the_noise_costs() -> None:
    made = mechanism("local")
    event = made.event(1, np.arange(1, dtype=np.uint64))
    halved = mechanism("gaussian", sampling_rate=1.0, noise_multiplier=0.5).event(1, np.arange(1, dtype=np.uint64))
    assert epsilon([event], 1e-5) == pytest.approx(epsilon([halved], 1e-5))


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_option_is_one_sentence(name: str) -> None:
    spec = parse_spec(name)
    with pytest.raises(ConfigError, match=f"The mechanism {spec.name} has no option 'nonsense'"):
        RunConfig.checked({**BASE, "mechanism": f"{spec.name}(nonsense=1)"})
    with pytest.raises(ConfigError, match="There is no mechanism 'nosuch': use adaptive, gaussian, local, none"):
        RunConfig.checked({"mechanism": "nosuch"})


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize("name", PRIVATE)
def test_one_hash_with_one_worker_two_and_after_a_resume(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    vault = seal(tmp_path / "all")
    private = {**BASE, "mechanism": name, "reproducible": True, "rounds": 3}
    one = hash_of_run(vault, tmp_path / "one", settings(**private), 1)
    hash_of_run(vault, tmp_path / "two", settings(**{**private, "rounds": 2}), 2)
    assert hash_of_run(vault, tmp_path / "two", settings(**private), 2) == one
