"""What every algorithm keeps: one hash with one worker and two, after a resume, and after a client was forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlm.algorithms.registry import algorithm_names, build_algorithm
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.workers import KeptWorkers
from server.run.participation import ParticipationLedger
from server.unlearning import delete, plan
from tests.support.runs import ROOT, hash_of_run
from tests.support.unlearned import CLIENTS, seal, settings

TOY = "tests.support.toys.toy_algorithm:Momentum(beta=0.5)"
ALGORITHMS = [*algorithm_names(), TOY]


@pytest.fixture(scope="module")
def workers() -> Iterator[KeptWorkers]:
    """Workers that find the tests' plug-ins; TensorFlow starts once for all runs."""
    with pytest.MonkeyPatch.context() as patch, KeptWorkers() as kept:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield kept


def config(algorithm: str, **more: object) -> RunConfig:
    return settings(algorithm=algorithm, **({"proximal_mu": 0.1} if "prox" in algorithm else {}), **more)


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_hash_however_it_is_run(algorithm: str, tmp_path: Path, workers: KeptWorkers) -> None:
    vault = seal(tmp_path / "all")
    whole = hash_of_run(vault, tmp_path / "one", config(algorithm), 1, workers)
    assert hash_of_run(vault, tmp_path / "two", config(algorithm), 2, workers) == whole
    hash_of_run(vault, tmp_path / "cut", config(algorithm, rounds=2), 1, workers)
    assert hash_of_run(vault, tmp_path / "cut", config(algorithm), 2, workers) == whole


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_forgotten_client_leaves_the_hash_of_a_run_without_it(
    algorithm: str, tmp_path: Path, workers: KeptWorkers
) -> None:
    vault, run = seal(tmp_path / "all"), tmp_path / "run"
    hash_of_run(vault, run, config(algorithm), 1, workers)
    source, rounds = KeySource(vault.with_name("v.db.key")), ParticipationLedger(run).rounds()
    opened = Vault(vault, source)
    first = {c: min((r.round for r in rounds if opened.pseudonym(c) in r.clients), default=0) for c in CLIENTS}
    opened.close()
    gone = max(first, key=lambda c: (first[c], c))
    delete(run, plan(run, vault, source, gone))
    without = seal(tmp_path / "without", [c for c in CLIENTS if c != gone])
    never = hash_of_run(without, tmp_path / "never", config(algorithm), 1, workers)
    assert hash_of_run(vault, run, config(algorithm), 2, workers) == never


@pytest.mark.slow
@pytest.mark.flower
def test_fedprox_is_fedavg_without_a_term_and_the_key_with_one(tmp_path: Path, workers: KeptWorkers) -> None:
    vault = seal(tmp_path / "all")

    def found(name: str, algorithm: str, **more: object) -> str:
        return hash_of_run(vault, tmp_path / name, settings(algorithm=algorithm, rounds=2, **more), 1, workers)

    plain = found("a", "fedavg")
    assert found("b", "fedprox") == plain  # mu = 0: the term vanishes
    assert (
        found("c", "fedprox(mu=0.5)") == found("d", "fedavg", proximal_mu=0.5) == found("e", "fedprox", proximal_mu=0.5)
    )
    assert found("f", "fedprox(mu=0.5)") != plain


def test_an_unknown_algorithm_or_option_is_one_sentence() -> None:
    for spec, said in (
        ("scaffoldd", "There is no algorithm 'scaffoldd': use fedavg, fedprox"),
        ("fedprox(nu=1)", "has no option 'nu'; its options are: mu"),
        ("fedprox(mu='much')", "is not a number"),
        ("tests.support.toys.toy_algorithm:NoSuch", "has no class NoSuch"),
        ("pathlib:Path", "is not a subclass of fedlm.algorithms.base.Algorithm"),
    ):
        with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
            RunConfig.checked({"algorithm": spec})
    assert build_algorithm(parse_spec("fedprox(mu=0.25)")).proximal_mu({"proximal-mu": 0.0}) == 0.25
    assert build_algorithm(parse_spec("fedprox(mu=0.25)")).proximal_mu({"proximal-mu": 0.75}) == 0.75


def test_further_sums_are_refused_where_no_noise_covers_them() -> None:
    private = {
        "mechanism": "gaussian",
        "weighting": "uniform",
        "max_client_tokens": 10**6,
        "clip_norm": 1.0,
        "noise_multiplier": 1.0,
    }
    with pytest.raises(ConfigError, match="sends sums that no noise covers"):
        RunConfig.checked({**private, "sampling_rate": 0.5, "algorithm": TOY})
