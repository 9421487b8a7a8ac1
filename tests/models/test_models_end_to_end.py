"""Models, vocabularies and early stopping through whole runs."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from server.run.summary import CHOSEN_ON_TEST
from server.store.checkpoint import weights_sha256
from tests.support.running import SMALL, fedlm, simulate

pytestmark = [pytest.mark.slow, pytest.mark.flower]


@pytest.mark.parametrize(
    "model",
    ["transformer(width=8, layers=1, heads=2, dropout=0.2)", "gru(units=8, recurrent_dropout=0.2)", "rnn(units=8)"],
)
def test_same_bits_with_one_worker_and_two(model: str, tmp_path: Path) -> None:
    settings = [*SMALL, f"model={model}", "client_optimizer=adam(learning_rate=0.01)", "label_smoothing=0.1"]
    settings += ["proximal_mu=0.1", "client_schedule=exponential(factor=0.5)", "local_epochs=2", "client_patience=1"]
    settings += ["server_schedule=linear(rounds=4)"]
    one = simulate("one", tmp_path, "--workers", 1, settings=settings)
    if model.startswith("rnn"):  # cut after the first round: schedules go on where they were
        simulate("two", tmp_path, "--workers", 2, settings=[*settings, "rounds=1"])
        done = fedlm("simulate", "shakespeare", "--out", "two", "--resume", "--set", "rounds=2", "--json", cwd=tmp_path)
        two = json.loads(done.stdout)
    else:
        two = simulate("two", tmp_path, "--workers", 2, settings=settings)
    assert one["weights_sha256"] == two["weights_sha256"] and one["final"] == two["final"]


def test_early_stopping_ends_in_the_best_rounds_weights(tmp_path: Path) -> None:
    settings = [*SMALL, "rounds=9", "keep_every=1", "patience=1", "server_schedule=step(every=1, factor=20.0)"]
    sets = [w for s in settings for w in ("--set", s)]
    done = fedlm("simulate", "shakespeare", *sets, "--out", "run", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = min(lines, key=lambda line: line["eval"]["loss"])
    rounds = lines[-1]["round"]
    stop = {"best_round": best["round"], "rounds": rounds, "part": "held_out", "note": CHOSEN_ON_TEST}
    assert summary["early_stopping"] == stop
    assert CHOSEN_ON_TEST in done.stdout and CHOSEN_ON_TEST in (tmp_path / "run" / "report.html").read_text()
    assert rounds == best["round"] + 1 < 9 and summary["final"] == best["eval"]
    said = f"early stopping: the weights are those of round {best['round']} of {rounds}"
    assert said in done.stdout and f"weights of round {best['round']}" in (tmp_path / "run" / "report.html").read_text()
    kept = load_file(tmp_path / "run" / "checkpoint" / f"round-{best['round']:06d}.safetensors")
    weights = tuple(kept[k] for k in sorted(kept) if k.startswith("weights."))
    assert summary["weights_sha256"] == weights_sha256(weights)


def test_a_sequence_longer_than_the_models_positions_is_one_sentence(tmp_path: Path) -> None:
    settings = [*SMALL, "model=transformer(width=8, layers=1, heads=2)", "rounds=0"]
    simulate("first", tmp_path, settings=[*settings, "seq_len=20"])
    sets = [w for s in [*settings, "seq_len=30"] for w in ("--set", s)]
    done = fedlm("simulate", "first/vault.db", *sets, "--out", "longer", "--init", "first", cwd=tmp_path)
    assert done.returncode == 2 and "has positions for 20 symbols, not for seq_len=30" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "longer").exists()


@pytest.mark.parametrize("kind", ["bpe", "words"])
def test_a_learned_vocabulary_from_learning_to_suggesting(kind: str, tmp_path: Path) -> None:
    done = fedlm("vocabulary", "shakespeare", "v.json", "--kind", kind, "--size", 400, cwd=tmp_path)
    assert done.returncode == 0 and "400 symbols" in done.stdout, done.stderr
    summary = simulate("run", tmp_path, settings=[*SMALL, f"vocabulary={kind}(file='v.json')"])
    figures = summary["final"]
    assert figures["bits_per_char"] > 0 and figures["tokens"] > 0
    (tmp_path / "v.json").unlink()  # the run's folder has its own
    done = fedlm("generate", "run", "--prompt", "the", "--suggest", 3, cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3, done.stderr
    (tmp_path / "run" / "vocabulary.json").write_text("{}")
    done = fedlm("generate", "run", cwd=tmp_path)
    assert done.returncode == 2 and "is not the one that this run was made with" in done.stderr
