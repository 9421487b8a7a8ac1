"""A client with very much text: with max_client_tokens it costs no more than the bound, so it keeps no other from finishing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.algorithms.registry import build_algorithm
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.preparation.vault import prepare
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.rng import Purpose, Stream
from fedlm.training.batches import Batching
from fedlm.training.chunk import Shard, usable
from fedlm.training.cohort import CohortClient, CohortTask, train_cohort
from fedlm.training.trainer import LocalTrainer
from fedlm.vault.keys import KeySource
from tests.support.runs import hash_of_run

LINE = "to be or not to be, that is the question"
SEQ_LEN, BATCH, BOUND = 12, 2, 100  # at most 8 rows
ROWS = BOUND // SEQ_LEN


def batching(**values: object) -> Batching:
    config = RunConfig.checked({"seq_len": SEQ_LEN, "batch_size": BATCH, "max_client_tokens": BOUND, **values})
    return Batching(config, config.vocab, is_masked=False)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 99))
def test_the_rows_of_a_round_are_the_first_of_the_unbounded_ones(rows: int, epochs: int, seed: int) -> None:
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    bounded = batching(local_epochs=epochs).orders(rows, one)
    everything = batching(local_epochs=epochs, max_client_tokens=0).orders(rows, other)
    assert np.concatenate(bounded).tolist() == np.concatenate(everything).tolist()[:ROWS]
    assert one.bytes(8) == other.bytes(8)  # what is drawn next is the same


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_steps_are_bounded_whatever_the_length_of_a_client(documents: int, length: int, epochs: int) -> None:
    made, rng = batching(local_epochs=epochs), np.random.default_rng(1)
    client = made.prepare(usable([LINE[:length]] * documents, BOUND, Stream(1, Purpose.TRAINING, 1, 2)))
    inputs, _ = made.batches(client.inputs, client.targets, made.orders(len(client.inputs), rng), rng)
    rows = len(client.inputs)
    assert len(inputs) <= ROWS and (rows < ROWS or len(inputs) <= ROWS // BATCH + min(epochs, -(-ROWS // max(rows, 1))))
    if rows >= ROWS:  # one epoch is enough: the steps no longer depend on the length
        assert len(inputs) == -(-ROWS // BATCH)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 20))
def test_what_is_prepared_is_bounded_and_drawn_anew_each_round(sizes: list[int], server_round: int) -> None:
    documents = ["x" * size for size in sizes]
    kept = usable(documents, 10, Stream(1, Purpose.TRAINING, server_round, 2))
    if sum(size + 1 for size in sizes) <= 640:
        assert kept is documents
    else:
        assert sum(map(len, kept)) <= 640 and len(kept) <= 640
        assert sum(map(len, kept)) + len(kept) >= 640  # as much as is allowed
    assert usable(documents, 0, Stream(1, Purpose.TRAINING, server_round, 2)) is documents


def test_another_round_uses_other_documents() -> None:
    documents = [str(number) * 100 for number in range(10)]
    kept = {tuple(usable(documents, 2, Stream(1, Purpose.TRAINING, r, 2))) for r in range(1, 9)}
    assert len(kept) > 3
    assert usable([""] * 10_000, 10, Stream(1, Purpose.TRAINING, 1, 2)) == [""] * 640  # empty documents are rows, too


@pytest.mark.parametrize("tokens", [1, SEQ_LEN - 1])
def test_a_bound_below_one_row_is_refused(tokens: int) -> None:
    with pytest.raises(ConfigError, match=f"max_client_tokens={tokens} is below seq_len=12"):
        batching(max_client_tokens=tokens)
    assert batching(max_client_tokens=SEQ_LEN).most_rows == 1


@pytest.mark.parametrize("mechanism", ["gaussian", "adaptive(quantile=0.5)", "local"])
def test_differential_privacy_needs_the_bound(mechanism: str) -> None:
    values = {"mechanism": mechanism, "weighting": "uniform", "clip_norm": 0.5, "sampling_rate": 0.5}
    with pytest.raises(ConfigError, match="Differential privacy needs max_client_tokens"):
        RunConfig.checked(values)
    RunConfig.checked({**values, "max_client_tokens": 8000})


PRIVATE = {"mechanism": "gaussian", "weighting": "uniform", "clip_norm": 0.5, "sampling_rate": 0.5}
PATHS: dict[str, dict[str, Any]] = {
    "one program": {},
    "one by one": PRIVATE,
    "early stopping": {"client_patience": 2, "client_holdout": 0.3, "local_epochs": 4},
    "capped": {"weighting": "capped(tokens=30)"},
}


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_on_every_path_a_clients_length_changes_no_other_and_no_step(
    path: str, tiny_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"model": "rnn(units=4)", "local_epochs": 2, "max_client_tokens": 10 * tiny_config().seq_len}
    trainer = LocalTrainer(tiny_config(**{**values, **PATHS[path]}))
    start, steps, run = trainer.weights, list[int](), trainer._program.run

    def counted(tensors: Any, pieces: Any, **more: Any) -> Any:
        steps.append(sum(len(piece.inputs) for piece in pieces))
        return run(tensors, pieces, **more)

    monkeypatch.setattr(trainer._program, "run", counted)
    found = set()
    for documents in (200, 20_000):
        steps.clear()
        texts = [[LINE] * 2, [LINE] * documents, [LINE, "a"]]
        clients = [CohortClient(number, text.copy) for number, text in enumerate(texts)]
        config = trainer.config
        mechanism = build_mechanism(config.privacy, sum(w.size for w in start))
        task = CohortTask(1, start, {"clip-norm": 0.5})
        total, _ = train_cohort(trainer, build_algorithm(config.spec("algorithm")), mechanism, task, clients)
        assert (total.clients, total.failed) == (3, 0) and all(s.any() for s in total.sums)
        found.add((sum(steps), total.weight))
    assert len(found) == 1


@pytest.mark.slow
def test_a_bounded_client_counts_no_more_than_the_bound(tiny_config: Any) -> None:
    trainer = LocalTrainer(tiny_config(model="rnn(units=4)", max_client_tokens=50, seq_len=12))
    stream = Stream(1, Purpose.TRAINING, 1, 2)
    assert Shard.of(trainer, [LINE] * 100, stream).weight == 50  # weighting="tokens"
    assert Shard.of(trainer, ["tea"], stream).weight == 4
    assert Shard.of(trainer, [], stream).weight == 0


@pytest.mark.slow
@pytest.mark.flower
def test_one_worker_and_two_have_the_same_bits(tmp_path: Path) -> None:
    rows = [{"user": f"u{u}", "text": f"u{u} says {n}"} for u in range(4) for n in range(400 if u == 3 else 3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    values = {"scrub": "none", "model": "rnn(units=4, layers=1)", "seq_len": 12, "rounds": 2, "cohort_size": 4}
    config = RunConfig.checked({**values, "pseudonym_key": "seed", "max_client_tokens": 48, "local_epochs": 2})
    prepare(str(tmp_path / "rows.jsonl"), tmp_path / "v.db", KeySource(tmp_path / "v.db.key"), config, lambda *_: None)
    hashes = {hash_of_run(tmp_path / "v.db", tmp_path / f"run{n}", config, workers=n) for n in (1, 2)}
    without = config.model_copy(update={"max_client_tokens": 0})
    assert len(hashes) == 1 and hash_of_run(tmp_path / "v.db", tmp_path / "whole", without) not in hashes
