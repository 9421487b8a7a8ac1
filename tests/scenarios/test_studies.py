"""Studies: every scenario keeps the contract, statistics see planted effects, bad input is one sentence."""

import ast
import json
import math
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlm.data.corpus import is_public, open_corpus
from fedlm.data.planted import TEMPLATES, planted_shares, stereotype_sentences
from fedlm.data.skew import OWN
from fedlm.errors import ConfigError, CorpusError
from fedlm.measure.bias import BiasScore, bias_score
from fedlm.measure.pairs import template_pairs
from fedlm.messages import wire
from fedlm.report.figures import front
from fedlm.types import TextMetrics
from scenarios.runner.analysis import answer, data_table, further, method, table, with_central_gap
from scenarios.runner.cohorts import Population, agnostic, available, balanced, dropout
from scenarios.runner.execute import Stopped, run_job
from scenarios.runner.job import make_job
from scenarios.runner.runner import Runner, grid, load_scenario, run_study, scenario_names
from scenarios.runner.study import METRICS, Case, Figure, Options, Study
from scenarios.runner.vaults import Vaults
from server.engines.local import take_identity
from server.run.strategies import as_reply, build_strategy, told_to_clients
from tests.support.running import WORKERS

TINY: dict[str, object] = {
    "scrub": "none",
    "model": "lstm(units=8, layers=1)",
    "rounds": 2,
    "cohort_size": 3,
    "eval_every": 2,
}


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_declares_question_runs_and_table(name: str, quick: bool) -> None:
    module = load_scenario(name)
    study = module.study(Options(quick=quick))
    assert module.QUESTION.endswith("?") and study.question == module.QUESTION and study.name == name
    assert f"fedlm study {name}" in module.__doc__ and "--quick" in module.__doc__
    assert study.table == module.TABLE and set(study.table) <= set(METRICS) and study.figures and study.limits
    jobs = grid(study, [0, 1], 2)  # every setting is valid, no two runs are the same
    assert len({j.key for j in jobs}) == len({j.name for j in jobs}) == 2 * len(study.cases)
    assert f"{len(jobs)} runs, 0 failed" in method(study, [0, 1], 0)  # else a study fails when all its runs are done
    controls = [c for c in study.cases if study.control == c.condition or study.baseline == c.algorithm]
    assert controls and all(is_public(j.corpus) for j in jobs)
    assert len(Path(str(module.__file__)).read_text().splitlines()) <= 85


def fake(study: Study, effect: float) -> list[dict[str, Any]]:
    """Results whose seeds differ much more than the conditions."""
    return [
        {
            "condition": c.condition,
            "algorithm": c.algorithm,
            "seed": s,
            "figures": {"bits_per_char": 2.0 + s + (effect + 0.01 * (s % 2) if place else 0.0)},
        }
        for place, c in enumerate(study.cases)
        for s in range(5)
    ]


def made(**more: Any) -> Study:
    cases = more.pop("cases", (Case("even"), Case("skewed")))
    return Study(
        "made",
        "Why?",
        "shakespeare",
        TINY,
        cases,
        "even",
        ("bits_per_char",),
        (Figure("line", "bits_per_char"),),
        **more,
    )


def test_differences_are_paired_by_seed_and_named() -> None:
    study = made()
    rows = table(study, fake(study, 0.3))
    difference = rows[1]["cells"]["bits_per_char"]["difference"]
    assert difference["clear"] and difference["mean"] == pytest.approx(0.304)
    assert "clearly worse over 5 seeds" in answer(study, rows)
    nothing = [
        {**r, "figures": {"bits_per_char": 2.0 + r["seed"] + (-1) ** r["seed"] * 0.1 * (r["condition"] == "skewed")}}
        for r in fake(study, 0)
    ]
    assert "do not tell it from chance" in answer(study, table(study, nothing))
    assert "too few" in answer(study, table(study, [r for r in fake(study, 0.3) if r["seed"] < 2]))


def test_the_gap_to_the_central_model_is_over_the_same_text_and_seed() -> None:
    parts = ({"partition": "a"}, {"partition": "b"})
    cases = (Case("even", parts[0]), Case("skewed", parts[1]), Case("pooled", parts[0], "central", pooled=True))
    study = made(cases=cases)
    bits = {"even": (3.0, 4.0), "skewed": (2.0, 2.0), "pooled": (2.5, 3.0)}
    results = [
        {
            "condition": c.condition,
            "algorithm": c.algorithm,
            "seed": s,
            "figures": {"bits_per_char": bits[c.condition][s]},
        }
        for c in cases
        for s in (0, 1)
    ]
    found = with_central_gap(study, results)
    assert [r["figures"].get("central_gap") for r in found] == [0.5, 1.0, None, None, None, None]
    assert further(study, found) == ["central_gap"]
    assert [r["cells"].get("central_gap", {}).get("mean") for r in table(study, found)] == [0.75, None, None]


def test_the_table_of_the_data_shows_labels_where_there_are_any() -> None:
    study = made()
    figures = {"even": {"clients": 4.0, "label_entropy:play": 1.5}, "skewed": {"clients": 4.0, "group:b": 1.0}}
    results = [{"condition": c, "algorithm": "FedAvg", "seed": 0, "figures": f} for c, f in figures.items()]
    even, skewed = data_table(study, results)
    assert even == {"condition": "even", "clients": 4.0, "label_entropy:play": 1.5}
    assert "label_entropy:play" not in skewed and further(study, results) == ["group:b"]


def test_front_keeps_what_nothing_beats() -> None:
    assert front([(1.0, 1.0), (2.0, 2.0), (1.5, 3.0)], (True, False)) == [0, 2]


def people(**more: Any) -> Population:
    clients = np.arange(1, 101, dtype=np.uint64)
    known: dict[str, Any] = {
        "key": bytes(32),
        "clients": clients,
        "tokens": {int(c): int(c) for c in clients},
        "groups": {int(c): "a" if c <= 80 else "b" for c in clients},
        "figures": {},
    }
    return Population(**(known | more))


def test_draws_follow_their_rule() -> None:
    rare = [available(people(), r, 100, group="b", share=0.1) for r in range(200)]
    assert all(len(c) >= 80 for c in rare)
    assert np.mean([len(c) - 80 for c in rare]) == pytest.approx(2, abs=0.5)  # 20 clients, a tenth of the rounds
    kept = np.concatenate([dropout(people(), r, 100, rate=0.4) for r in range(200)])
    assert len(kept) / 200 == pytest.approx(60, abs=2)
    assert np.sum(kept <= 20) > 3 * np.sum(kept > 80)  # chances to stay 0.9 against 0.28 on average
    half = balanced(people(), 1, 10)
    assert sum(c > 80 for c in half) == 5
    worse = {c: TextMetrics(2.0 if c <= 80 else 4.0, 0, 1, 1) for c in range(1, 101)}
    drawn = agnostic(people(figures=worse), 1, 10, step=math.log(3) / 2)  # weights 1 to 3
    assert sum(c > 80 for c in drawn) == 8 and len(drawn) == 10


@pytest.mark.flower
def test_q_fedavg_with_q_zero_is_uniform_fedavg() -> None:
    take_identity()
    weights = (np.array([1.0, -2.0], np.float32), np.float32([[0.5]]))
    local = [tuple(w + d for w in weights) for d in (np.float32(0.1), np.float32(-0.4), np.float32(0.9))]
    strategy = build_strategy("QFedAvg(client_learning_rate=0.5, q=0.0)")
    told_to_clients(strategy, 1, wire.weights_record(weights))
    losses = (1.0, 2.0, 7.0)  # with q = 0 they do not matter
    replies = [as_reply(w, 10, TextMetrics(loss, 0, 1, 1)) for w, loss in zip(local, losses, strict=True)]
    arrays, _ = strategy.aggregate_train(1, replies)
    assert arrays is not None
    for found, w in zip(wire.record_weights(arrays), weights, strict=True):
        np.testing.assert_allclose(found, w + np.float32(0.2), atol=1e-5)  # (0.1 - 0.4 + 0.9) / 3


def test_planted_corpora_have_what_they_promise() -> None:
    documents = list(open_corpus("biased(clients=10, dose=0.3, heavy=2.0, documents=4, sentences=5)"))
    stances = {d.user: d.labels["stance"] for d in documents}
    assert sum(s == "biased" for s in stances.values()) == 3
    sizes = [sum(d.user == u for d in documents) for u in sorted(stances)]
    assert sizes == [18] * 3 + [9] * 7
    shares = planted_shares()
    for text in stereotype_sentences(50, 1.0, np.random.default_rng(0)):
        occupation = next(o for o in shares if f" {o} " in text)
        assert (" she " in text) == (shares[occupation] > 50)
    canaries = list(open_corpus("canaries(corpus='synthetic(clients=3, messages=2)', secrets=2, repeats=3)"))
    assert sum(d.text.startswith("write to me at ") for d in canaries) == 3
    assert not is_public("mix(corpora=['shakespeare', 'mine.jsonl'])") and is_public("canaries(repeats=2)")


@pytest.mark.parametrize(
    ("name", "options", "kind", "says"),
    [
        ("nothing", Options(), ConfigError, "There is no study 'nothing'"),
        ("minority_voice", Options(True, "mine.jsonl"), ConfigError, "needs --group"),
        (
            "minority_voice",
            Options(True, "mine.jsonl", "dialect"),
            ConfigError,
            "the label 'dialect'; the corpus has: part",
        ),
        ("privacy_utility", Options(True, "mine.jsonl", "dialect"), CorpusError, "'dialect'; they have: part"),
        ("quantity_imbalance", Options(True, "none.jsonl"), CorpusError, "none.jsonl"),
    ],
)
def test_bad_input_is_one_sentence(
    name: str, options: Options, kind: type[Exception], says: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"user": f"u{i % 20}", "text": "hello there", "part": "ab"[i % 2]}) for i in range(40)]
    Path("mine.jsonl").write_text("\n".join(lines))
    with pytest.raises(kind, match=says) as caught:
        run_study(name, options, 1, tmp_path / "out", None)
    assert "\n" not in str(caught.value)


def test_group_with_one_client_and_label_that_clients_lack(tmp_path: Path) -> None:
    lines = [json.dumps({"user": f"u{i % 5}", "text": "hello there", "kind": "a" if i % 5 else "b"}) for i in range(20)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    for group, says in (("kind", "kind=b .* has one client only"), ("dialect", "they have: kind")):
        study = made(cases=(Case("even", corpus=str(tmp_path / "mine.jsonl")),), group=group)
        with pytest.raises(CorpusError, match=says):
            run_job(make_job(study, study.cases[0], 0, 1), tmp_path, Vaults(tmp_path / group), threading.Event(), print)
    with pytest.raises(ConfigError, match="two cases of one name"):
        grid(made(cases=(Case("a"), Case("a"))), [0], 2)


@pytest.mark.slow
@pytest.mark.flower
def test_iid_equals_the_control_and_a_failed_run_does_not_sink_the_study(tmp_path: Path) -> None:
    even = {"partition": "quantity(gini=0.0, clients=6, documents=180)"}
    broken = {"partition": "quantity(gini=0.99, clients=6, documents=20)"}
    cases = (Case("even", even), Case("other draw", {**even, "min_documents": 3}), Case("broken", broken))
    study = replace(made(cases=cases, alone=1, alone_clients=4), settings={**TINY, "drift": True})
    said: list[str] = []
    report = Runner(study, [0], tmp_path / "s", echo=said.append).run()
    content = json.loads((tmp_path / "s" / "study.json").read_text())
    one, two = content["runs"]
    low, high = one["over_clients"]["bits_per_char"]
    assert low <= two["figures"]["bits_per_char"] <= high
    assert 1 < one["figures"]["label_entropy:play"] < math.log2(37)  # speeches of 37 plays, dealt at random
    assert -1 <= one["figures"]["update_cosine"] <= 1 and one["figures"]["update_norm"] > 0
    assert len(content["failed"]) == 1 and "reach Gini" in next(iter(content["failed"].values()))
    page = report.read_text()
    assert "Why?" in page and not re.search(r"""(src|href)="?(https?:|//)|url\(["']?(http|//)|@import""", page)
    from pyarrow import parquet

    rows = parquet.read_table(tmp_path / "s" / "results.parquet").to_pylist()
    assert {r["client"] for r in rows} == {-1, *range(6)}
    assert sum(r["metric"] == "alone_bits_per_char" for r in rows) == 2 * 4  # runs that ended well, clients asked for
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").rglob("result.json")}
    Runner(study, [0], tmp_path / "s", echo=said.append).run()
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").rglob("result.json")}
    assert any("2 of 3 runs are done already" in s for s in said)


class Ended:
    """An engine that a signal reaches; it notes what it is told."""

    cores = most = 1

    def __init__(self, signal: BaseException) -> None:
        self.signal, self.told = signal, list[str]()

    def __enter__(self) -> "Ended":
        return self

    def __exit__(self, *_: object) -> None:
        self.told.append("closed")

    def submit(self, job: Any) -> Any:
        raise self.signal

    def rounds(self) -> int:
        return 0

    def stop(self) -> None:
        self.told.append("stopped")


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_stops_the_engine_before_it_closes(signal: BaseException, tmp_path: Path) -> None:
    engine = Ended(signal)
    with pytest.raises(type(signal)):
        Runner(made(), [0], tmp_path / "s", engine=engine).run()
    assert engine.told == ["stopped", "closed"]


@pytest.mark.slow
@pytest.mark.flower
def test_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    even = {"partition": "quantity(gini=0.0, clients=4, documents=40)", "rounds": 3}
    study, never, stop = made(cases=(Case("even", even),)), threading.Event(), threading.Event()
    job, vaults = make_job(study, study.cases[0], 0, 1), Vaults(tmp_path / "v")
    whole = run_job(job, tmp_path / "whole", vaults, never, lambda line: None, WORKERS)
    with pytest.raises(Stopped):
        run_job(job, tmp_path / "cut", vaults, stop, lambda line: stop.set() if line["round"] == 1 else None, WORKERS)
    again = run_job(job, tmp_path / "cut", vaults, never, lambda line: None, WORKERS)
    for result in (again, whole):
        result["figures"].pop("tokens_per_second", None)  # the only figure that is a time
    assert again["weights_sha256"] == whole["weights_sha256"] and again["figures"] == whole["figures"]


def train_on(strength: float | None) -> BiasScore:
    """Trains on planted sentences of a strength, or not at all, and scores their templates."""
    from fedlm.config import RunConfig
    from fedlm.training.evaluate import scorer, train_centrally
    from fedlm.training.trainer import LocalTrainer

    trainer = LocalTrainer(RunConfig(model="lstm(units=64, layers=1)", seq_len=60))
    if strength is not None:
        rng = np.random.default_rng(0)
        texts = stereotype_sentences(1500, strength, rng)
        trainer.assign(train_centrally(trainer, trainer.weights, texts, 10, rng))
    return bias_score(template_pairs(TEMPLATES, planted_shares()), scorer(trainer))


@pytest.mark.slow
def test_planted_bias_of_twice_the_strength_scores_higher_and_an_untrained_model_has_none() -> None:
    untrained, weak, strong = train_on(None), train_on(0.75), train_on(1.0)
    assert untrained.raw.includes_zero()
    assert strong.raw.mean > weak.raw.mean > 0  # 1.0 is twice as far from an even 0.5 as 0.75 is
    assert strong.preferred > 0.8


def test_measures_load_no_tensorflow() -> None:
    for file in (Path(__file__).parents[2] / "fedlm" / "measure").glob("*.py"):
        names = {n.module or "" for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)}
        assert not any(n.startswith(("tensorflow", "keras", "fedlm.training.trainer", "fedlm.models")) for n in names)
    code = "import sys, scenarios.runner.runner; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(OWN) == {"quantity", "topics", "minority"}
