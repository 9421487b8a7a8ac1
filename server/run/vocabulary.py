"""Learns a vocabulary from the run's own clients under differential privacy, before the first round."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from flwr.app import RecordDict

from fedlm.artifacts import VOCABULARY_FILE, read_vocabulary
from fedlm.config import RunConfig
from fedlm.errors import CohortError
from fedlm.messages.fields import Malformed
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from fedlm.privacy.ledger import FILE, Ledger
from fedlm.privacy.vocabulary import NAME, WordRelease, check_private, ledger_release, merged, plan_words
from fedlm.text.learned import learned_vocabulary, words_content, words_of
from fedlm.text.vocabulary import PLACEHOLDERS, SPECIALS
from server.engines.base import Engine, ask
from server.run.claims import Register
from server.run.discovery import discover
from server.store.run_folder import RunFolder

_REACH = 40  # standard deviations of noise


def settle_vocabulary(
    engine: Engine, config: RunConfig, folder: RunFolder, register: Register | None = None
) -> RunConfig:
    """Learns the vocabulary if the configuration names a private one; returns the configuration that names its file.

    The cost is charged before a node generates noise. The file in the run's folder contains the vocabulary and its guarantee.

    Raises:
      BudgetError: the cost would exceed the budget. CohortError: a node refused, or no word reached the threshold.
      ConfigError: the file of candidates is not a vocabulary of words.
    """
    if config.spec("vocabulary").name != NAME:
        return config
    options = check_private(config.vocabulary).options
    candidates = _candidates(options["candidates"])
    plan = plan_words(float(options["epsilon"]), options["delta"], options["words"], bool(candidates))
    if config.privacy.on:
        release = ledger_release(plan, config.privacy.traits.distance)
        Ledger.open(folder.path / FILE, config.privacy).charge(release)
    words = merged(_ask(engine, config, plan, candidates, register), int(options["size"]) - SPECIALS - PLACEHOLDERS)
    if not words:
        raise CohortError(
            f"No word was used by enough clients (threshold {plan.threshold}): raise epsilon, or name candidates."
        )
    folder.write_text(VOCABULARY_FILE, words_content(words, options["size"], privacy=_about(plan, config)))
    learned = config.model_copy(update={"vocabulary": f"words(file={VOCABULARY_FILE!r})"})
    folder.write_text("config.toml", learned.to_toml())
    settled = folder.config  # with the file's hash
    folder.write_text("config.toml", settled.to_toml())
    return settled


def _about(plan: WordRelease, config: RunConfig) -> dict[str, object]:
    statement = plan.statement()
    if config.partition:
        statement += "; a client is a part of a partition, not a person"
    if config.reproducible:
        statement = "no guarantee: the run is marked reproducible, so the vocabulary's noise is derived from the seed"
    return {"statement": statement, "single_word": plan.single_word, **asdict(plan)}


def _candidates(file: str) -> list[str]:
    if not file:
        return []
    symbols = learned_vocabulary(file, "words", read_vocabulary(Path(file))).symbols
    return [s for s in symbols[SPECIALS:-PLACEHOLDERS] if words_of(s) == [s]]


def _ask(
    engine: Engine, config: RunConfig, plan: WordRelease, candidates: list[str], register: Register | None
) -> list[Mapping[str, int]]:
    """Gets noised counts from one node of every vault; each client is counted in one vault only.

    Raises:
      CohortError: a reply is malformed, or contains something other than words.
    """
    settings = config.to_settings()
    found = discover(engine, settings, config.timeout, wants_weights=False, register=register)
    questions, asked = [], list[int]()
    for own, clients in found.population.by_vault(found.population.pseudonyms, list(engine.nodes)):
        request = VocabularyRequest(settings, clients, candidates)
        questions.append((own[0], request.kind, request.content()))
        asked.append(len(clients))
    replies = ask(engine, questions, config.timeout)
    return [_counts(c, plan, clients, candidates) for c, clients in zip(replies, asked, strict=True)]


def _counts(content: RecordDict, plan: WordRelease, clients: int, candidates: list[str]) -> Mapping[str, int]:
    try:
        counts = VocabularyReply.read(content).counts
    except Malformed as error:
        raise CohortError(f"A node's reply about words was refused: {error}.") from None
    # A client adds 1 to each of its `plan.words` words, and noise reaches 40 standard deviations (P < exp(-800) beyond).
    largest = clients + _REACH * plan.noise_std
    few = set(counts) <= set(candidates) if candidates else len(counts) <= clients * plan.words
    if not (few and all(-largest <= n <= largest for n in counts.values())):
        raise CohortError("A node's reply about words was refused: its counts are out of range for so many clients.")
    if not all(words_of(w) == [w] for w in counts):
        raise CohortError("A node's reply about words was refused: it contains something other than words.")
    return counts
