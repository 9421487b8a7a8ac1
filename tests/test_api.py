"""The Python API: lazy, typed, and the same runs as the command line's."""

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import fedlm
from fedlm import RunConfig, evaluate, generate, load_run, prepare, simulate
from fedlm.errors import ConfigError, CorpusError, DataError, FedLMError
from tests.support import running

SMALL = {"scrub": "patterns", "max_clients": 6, "pseudonym_key": "seed"}
SETTINGS = {"rounds": 2, "cohort_size": 3, "eval_every": 1, "model": "lstm(units=8, layers=1)"}
PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
} | {
    "sampling_rate": 0.5,
    "delta": 1e-3,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the vault `v.db`, the run `run` and the private run `private`."""
    folder = tmp_path_factory.mktemp("api")
    prepare("shakespeare", folder / "v.db", **SMALL)
    with running.kept_workers():
        simulate(folder / "v.db", RunConfig(**SETTINGS), out=folder / "run", workers=1)
        simulate(folder / "v.db", RunConfig(**SETTINGS), out=folder / "private", workers=1, **PRIVATE)
    return folder


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, fedlm; assert {m for m in sys.modules if m.startswith('fedlm.')} <= {'fedlm.plugins', 'fedlm.plugins.path'}; "
        "from fedlm import RunConfig, prepare, simulate, evaluate, generate, load_run; "
        "print(sorted({'tensorflow', 'keras', 'ray', 'spacy', 'flwr', 'pandas', 'pyarrow', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_whatever_was_imported_before() -> None:
    import fedlm.preparation.vault  # a folder of this name would hide the function

    for name in fedlm.__all__:
        assert getattr(fedlm, name).__doc__, name
    assert set(fedlm.__all__) <= set(dir(fedlm))
    assert callable(fedlm.prepare)
    with pytest.raises(AttributeError, match="no attribute 'tuning'"):
        fedlm.tuning  # noqa: B018


def test_the_stub_has_the_names_of_the_package() -> None:
    stub = Path(fedlm.__file__).with_suffix(".pyi").read_text()
    assert {line.rpartition(" as ")[2] for line in stub.splitlines() if " import " in line} == set(fedlm.__all__)


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_has_the_bits_of_the_command_line(place: Path, tmp_path: Path) -> None:
    settings = [f"{key}={value}" for key, value in SETTINGS.items()]
    summary = running.simulate("run", tmp_path, corpus=str(place / "v.db"), settings=settings)
    assert load_run(place / "run").weights_sha256 == summary["weights_sha256"]


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_is_read_as_frames(place: Path) -> None:
    run = load_run(place / "run")
    assert run.config.rounds == 2 and run.summary["seed"] == 0
    metrics = run.metrics
    assert isinstance(metrics, pandas.DataFrame) and metrics["round"].tolist() == [0, 1, 2]
    assert {"train_loss", "tokens", "loss", "accuracy", "bits_per_char", "held_out_tokens"} <= set(metrics.columns)
    assert evaluate(run) == run.summary["final"]
    assert metrics["loss"].iloc[-1] == run.summary["final"]["loss"]
    clients = run.clients
    assert clients.groupby("round").size().tolist() == [6, 6, 6]
    last = clients[clients["round"] == 2]
    assert last["loss_sum"].sum() / last["tokens"].sum() == pytest.approx(run.summary["final"]["loss"])
    assert (last["accuracy"] == last["correct"] / last["tokens"]).all()
    assert run.ledger is None and run.vocabulary.size == 128


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_has_its_model(place: Path) -> None:
    run = load_run(place / "run")
    weights = run.weights
    assert [w.shape for w in weights] == [tuple(v.shape) for v in run.model.trainable_variables]
    assert all((w == v.numpy()).all() for w, v in zip(weights, run.model.trainable_variables, strict=True))
    text = generate(run, "To be", length=5, seed=1)
    assert text.startswith("To be") and text == generate(place / "run", "To be", length=5, seed=1)
    assert evaluate(run, "synthetic(clients=2, messages=2)")["tokens"] > 0
    with pytest.raises(ConfigError, match="temperature"):
        generate(run, temperature=-1.0)


@pytest.mark.slow
@pytest.mark.flower
def test_figures_that_no_noise_covers_are_for_the_owner_who_asks(place: Path) -> None:
    shown, owned = load_run(place / "private"), load_run(place / "private", owner=True)
    assert set(shown.metrics.columns) == {"round", "epsilon", "covers", "clip_norm"}
    assert {"train_loss", "cohort"} <= set(owned.metrics.columns)
    with pytest.raises(ConfigError, match="owner=True"):
        _ = shown.clients
    with pytest.raises(ConfigError, match="owner=True"):
        evaluate(shown)
    assert len(owned.clients) == 18 and evaluate(owned)["tokens"] > 0
    assert shown.ledger is not None and "differential privacy" in shown.ledger["statement"]
    assert owned.summary["final"]["tokens"] > 0 and "privacy" in owned.summary
    assert "final" not in shown.summary and evaluate(shown, "synthetic(clients=2, messages=2)")["tokens"] > 0


@pytest.mark.slow
@pytest.mark.flower
def test_a_listener_gets_each_round_and_a_run_goes_on(place: Path, tmp_path: Path) -> None:
    lines: list[dict[str, object]] = []
    with running.kept_workers():
        first = simulate(
            place / "v.db", out=tmp_path / "r", workers=1, listener=lines.append, **{**SETTINGS, "rounds": 1}
        )
        more = simulate(place / "v.db", out=tmp_path / "r", workers=1, listener=lines.append, resume=True, rounds=2)
        private: list[dict[str, object]] = []
        simulate(place / "v.db", out=tmp_path / "p", workers=1, listener=private.append, **{**SETTINGS, **PRIVATE})
    assert [line["round"] for line in lines] == [0, 1, 2] and "train_loss" in lines[-1]
    assert all(set(line) <= {"round", "epsilon", "covers", "clip_norm"} for line in private)
    assert (first.path, more.weights_sha256) == (more.path, load_run(place / "run").weights_sha256)


def test_prepare_tells_what_it_did(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = prepare(
        "synthetic(clients=4, messages=20)", tmp_path / "v.db", scrub="patterns", progress=lambda *n: told.append(n)
    )
    assert (done.clients, told[-1], done.vault) == (4, (4, 4), tmp_path / "v.db")
    assert done.key_file is not None and done.key_file.stat().st_mode & 0o777 == 0o600
    assert sum(done.findings.values()) > 0 and 0 <= done.size_gini < 1 <= done.size_effective_number
    again = prepare("synthetic(clients=4, messages=20)", tmp_path / "w.db", key=tmp_path / "k", scrub="patterns")
    assert again.key_file == tmp_path / "k" and again.findings == done.findings
    with pytest.raises(ConfigError, match="exists already"):
        prepare("shakespeare", tmp_path / "v.db")
    with pytest.raises(CorpusError):
        prepare(tmp_path / "missing.jsonl", tmp_path / "x.db")
    with pytest.raises(ConfigError, match="did you mean max_clients"):
        prepare("shakespeare", tmp_path / "x.db", max_client=3)
    with pytest.raises(ConfigError, match="is the vault itself"):
        prepare("shakespeare", tmp_path / "x.db", key=tmp_path / "x.db")


def test_wrong_calls_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name its folder with out="):
        simulate("shakespeare", resume=True)
    with pytest.raises(DataError, match="is not a run's folder"):
        load_run(tmp_path)
    with pytest.raises(ConfigError, match="Invalid value for rounds: 'x' is not a whole number"):
        simulate("shakespeare", out=tmp_path / "r", rounds="x")
    with pytest.raises(ConfigError, match="There is no configuration file"):
        simulate("shakespeare", tmp_path / "c.toml", out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_an_unfinished_run_has_no_summary_and_tells_of_which_round_its_figures_are(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text(RunConfig(rounds=9).to_toml())
    run = load_run(folder)
    assert evaluate(run) == {} and run.metrics.empty
    (folder / "metrics.jsonl").write_text(json.dumps({"round": 4, "eval": {"loss": 2.5}}) + "\n")
    assert evaluate(run) == {"round": 4, "loss": 2.5}
    with pytest.raises(FedLMError, match="has not finished"):
        _ = run.weights_sha256
    with pytest.raises(FedLMError, match="no figures of single clients"):
        _ = run.clients
