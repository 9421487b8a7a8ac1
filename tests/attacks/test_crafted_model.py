"""A coordinator that crafts model, weights and optimizer so that an update spells out a client's text.

What the first tests show is real: such weights read every symbol. They are refused in round 1, and a run of an unusual model
or optimizer waits for its owner. From round 2 on weights come from the coordinator, and the last test shows what then stays
open: it succeeds, and will until sums are masked and every node computes the next weights itself.
"""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from clients.node import Node
from clients.policy import Policy
from fedlm.aggregation.open import UPDATE
from fedlm.config import RunConfig
from fedlm.messages.training import read_payload
from fedlm.privacy.sampling import cohort_key, sample_cohort
from fedlm.text.learned import learn
from fedlm.types import Weights
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from tests.support.owners import Owner, changed, reason, sealed, training
from tests.support.reader import counting, symbols_by_place

pytestmark = [pytest.mark.flower, pytest.mark.slow]
CONFIG = RunConfig(
    rounds=3, cohort_size=2, model="rnn(units=40, layers=1, embedding=1)", seq_len=40, weighting="uniform", batch_size=2
)
SECRETS = {"a": ["Anna owes Bernard 4711 francs."], "b": ["The password is: swordfish"]}


def read(reply: Message, weights: Weights) -> list[set[int]]:
    """Returns the symbols at each place that a reply's sum gives away."""
    assert not reply.has_error(), reply.error
    sums = read_payload(reply.content, weights).vectors[UPDATE]
    return symbols_by_place(sums[4].astype(np.float64))


def spelled(text: str) -> list[int]:
    return CONFIG.vocab.encode(text)


def test_a_node_that_trusts_its_server_is_read_word_for_word(tmp_path: Path) -> None:
    path = sealed(tmp_path, SECRETS)
    node = Node(Vault(path, KeySource(tmp_path / "v.key")))
    owner = Owner(path)
    crafted = counting(owner.initial(CONFIG))
    texts = []
    for client in owner.clients:
        reply = Message(node.answer(training(CONFIG, [int(client)], crafted)), reply_to=training(CONFIG, [1]))
        places = read(reply, crafted)
        texts.append("".join(CONFIG.vocab.decode(list(found)) for found in places if len(found) == 1))
    for secret in ("Anna owes Bernard 4711 francs", "The password is: swordfish"):
        assert any(secret in text for text in texts), texts


@pytest.mark.parametrize("scale", [1.0, 0.5, 1e-3])
def test_crafted_weights_are_refused_in_the_first_round(tmp_path: Path, scale: float) -> None:
    owner = Owner(sealed(tmp_path, SECRETS))
    honest = owner.initial(CONFIG)
    between = tuple(np.float32(h + scale * (c - h)) for h, c in zip(honest, counting(honest), strict=True))
    assert "not those of the run's seed" in reason(owner.asked(training(CONFIG, owner.clients, between)))
    for other in (honest[:-1], (*honest, honest[0]), tuple(np.full_like(w, np.nan) for w in honest)):
        assert reason(owner.ask(training(CONFIG, owner.clients, other), run="another"))
    assert not owner.asked(training(CONFIG, owner.clients, honest), run="a third").has_error()


@pytest.mark.parametrize(
    "model", ["gru(units=8, layers=1)", "lstm(units=8, layers=1)", "transformer(width=16, layers=1)"]
)
def test_one_hot_embeddings_are_refused_in_the_first_round_whatever_the_model(tmp_path: Path, model: str) -> None:
    """With one-hot embeddings, each row of the embedding's update counts one symbol of the text."""
    owner, config = Owner(sealed(tmp_path, SECRETS)), changed(CONFIG, model=model)
    honest = owner.initial(config)
    crafted = (np.eye(*honest[0].shape, dtype=np.float32), *honest[1:])
    assert "not those of the run's seed" in reason(owner.asked(training(config, owner.clients, crafted)))


@pytest.mark.parametrize(
    "values",
    [
        {"client_optimizer": "sgd(learning_rate=1.0, momentum=2.0)"},
        {"client_optimizer": "sgd(learning_rate=0.0)"},
        {"client_optimizer": "adam(learning_rate=1e9)"},
        {"batch_size": 1},
        {"model": "rnn(units=5000, layers=1)"},
        {"model": "transformer(width=8192)"},
        {"model": "gru(embedding=100000)"},
        {"vocabulary": "words(file='words.json')", "vocabulary_text": learn(["the password is"], "words", 60)},
        {"client_schedule": "step(every=1, factor=1000)"},
        {"client_schedule": "linear(rounds=2, end=0.0)"},
        {"aggregation": "per_client"},
        {"model": "gpt2", "vocabulary": "preset"},
        {"model": "gpt2(lora_rank=2)", "vocabulary": "preset"},
        {"model": "bert", "vocabulary": "preset"},
    ],
    ids=str,
)
def test_what_is_not_of_the_usual_kind_waits_for_the_owner(values: dict[str, object]) -> None:
    policy = Policy(max_runs=100)
    assert policy.questions(CONFIG) == []
    assert policy.questions(changed(CONFIG, **values))


def test_open_the_weights_of_later_rounds_come_from_the_coordinator(tmp_path: Path) -> None:
    """Not protected: an accepted run of the usual kind reads, in round 2, which symbols two clients have at each place."""
    owner = Owner(sealed(tmp_path, SECRETS), Policy(min_group=1))
    honest = owner.initial(CONFIG)
    drawn = sample_cohort(cohort_key(CONFIG.seed), 1, owner.clients, 2)
    assert not owner.asked(training(CONFIG, drawn, honest)).has_error()
    places = read(owner.ask(training(CONFIG, drawn, counting(honest), number=2)), honest)
    for text in ("nna owes Bernard 4711 francs", "he password is: swordfish"):
        symbols = spelled(text)
        found = [symbol in place for symbol, place in zip(symbols, places[1 : len(symbols) + 1], strict=False)]
        assert np.mean(found) > 0.9, (text, found)


def test_open_a_chunk_of_one_client_is_that_client(tmp_path: Path) -> None:
    """Not protected by a policy with min_chunk_clients=1: the text of one client, word for word, in one message."""
    owner = Owner(sealed(tmp_path, SECRETS), Policy(min_chunk_clients=1, min_group=1))
    config = changed(CONFIG, cohort_size=1)
    honest = owner.initial(config)
    drawn = sample_cohort(cohort_key(config.seed), 2, owner.clients, 1)
    owner.asked(training(config, drawn, honest, number=2))
    owner.start()
    reply = owner.ask(training(config, drawn, counting(honest), number=2))
    assert reply.has_error()  # the second question about the client; the first one is enough:
    places = read(owner.asked(training(config, drawn, counting(honest), number=2), run="another"), honest)
    text = "".join(config.vocab.decode(list(found)) for found in places if len(found) == 1)
    assert any(secret[1:-1] in text for secret in ("Anna owes Bernard 4711 francs.", "The password is: swordfish")), (
        text
    )
