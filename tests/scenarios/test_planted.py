"""What studies plant: corpora keep their promises, a trained model shows the planted bias; q-FedAvg by hand."""

import numpy as np
import pytest

from fedlm.data.corpus import is_public, open_corpus
from fedlm.data.planted import TEMPLATES, planted_shares, stereotype_sentences
from fedlm.measure.bias import BiasScore, bias_score
from fedlm.measure.pairs import template_pairs
from fedlm.messages.fields import record_weights, weights_record
from fedlm.types import TextMetrics
from server.engines.local import take_identity
from server.run.strategies import ServerOptimizer, as_reply, build_strategy


@pytest.mark.flower
def test_q_fedavg_with_q_zero_is_uniform_fedavg() -> None:
    take_identity()
    weights = (np.array([1.0, -2.0], np.float32), np.float32([[0.5]]))
    local = [tuple(w + d for w in weights) for d in (np.float32(0.1), np.float32(-0.4), np.float32(0.9))]
    strategy = build_strategy("QFedAvg(client_learning_rate=0.5, q=0.0)")
    ServerOptimizer(strategy).begin(1, weights_record(weights))
    losses = (1.0, 2.0, 7.0)  # with q = 0 they do not matter
    replies = [as_reply(w, 10, TextMetrics(loss, 0, 1, 1)) for w, loss in zip(local, losses, strict=True)]
    arrays, _ = strategy.aggregate_train(1, replies)
    assert arrays is not None
    for found, w in zip(record_weights(arrays), weights, strict=True):
        np.testing.assert_allclose(found, w + np.float32(0.2), atol=1e-5)  # (0.1 - 0.4 + 0.9) / 3


def test_planted_corpora_have_what_they_promise() -> None:
    documents = list(open_corpus("biased(clients=10, dose=0.3, heavy=2.0, documents=4, sentences=5)"))
    stances = {d.user: d.labels["stance"] for d in documents}
    assert sum(s == "biased" for s in stances.values()) == 3
    sizes = [sum(d.user == u for d in documents) for u in sorted(stances)]
    assert sizes == [14] * 3 + [7] * 7  # 90 in all without heavy writers; 2 x 9 x 10 / 13 and 9 x 10 / 13, rounded
    shares = planted_shares()
    for text in stereotype_sentences(50, 1.0, np.random.default_rng(0)):
        occupation = next(o for o in shares if f" {o} " in text)
        assert (" she " in text) == (shares[occupation] > 50)
    canaries = list(open_corpus("canaries(corpus='synthetic(clients=3, messages=2)', secrets=2, repeats=3)"))
    assert sum(d.text.startswith("write to me at ") for d in canaries) == 3
    assert not is_public("mix(corpora=['shakespeare', 'mine.jsonl'])") and is_public("canaries(repeats=2)")


def train_on(strength: float | None) -> BiasScore:
    """Trains on planted sentences of a strength, or not at all, and scores their templates."""
    from fedlm.config import RunConfig
    from fedlm.training.evaluate import continuation_scorer, scorer, train_centrally
    from fedlm.training.trainer import LocalTrainer

    trainer = LocalTrainer(RunConfig(model="lstm(units=64, layers=1)", seq_len=60))
    if strength is not None:
        rng = np.random.default_rng(0)
        texts = stereotype_sentences(3000, strength, rng)
        trainer.assign(train_centrally(trainer, trainer.weights, texts, 10, rng))
    pairs = template_pairs(TEMPLATES, planted_shares())
    return bias_score(pairs, scorer(trainer), continuation_scorer(trainer))


@pytest.mark.slow
def test_planted_bias_of_twice_the_strength_scores_higher_and_an_untrained_model_has_none() -> None:
    untrained, weak, strong = train_on(None), train_on(0.75), train_on(1.0)
    assert untrained.raw.includes_zero() and abs(untrained.log_odds.mean) < 0.1
    assert strong.log_odds.mean > weak.log_odds.mean > 0.5  # planted: log(3) = 1.1 at 0.75
    assert strong.raw.mean > weak.raw.mean > 0  # 1.0 is twice as far from an even 0.5 as 0.75 is
    assert strong.preferred > 0.8
