"""A vocabulary that a run learns from its own clients, under differential privacy, before its first round."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedlm.artifacts import VOCABULARY_FILE
from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, error_of_code
from fedlm.messages import wire
from fedlm.messages.records import config_in, records_in
from fedlm.messages.replies import checked_census
from fedlm.privacy.ledger import FILE, Ledger
from fedlm.privacy.vocabulary import NAME, WordRelease, check_private, ledger_release, merged, plan_words
from fedlm.text.learned import learned_vocabulary, words_content, words_of
from fedlm.text.vocabulary import PLACEHOLDERS, SPECIALS
from fedlm.types import Pseudonyms
from server.run.population import Population
from server.store.run_folder import RunFolder

QUESTION = "query.vocabulary"


def settle_vocabulary(grid: Grid, config: RunConfig, folder: RunFolder) -> RunConfig:
    """Learns the vocabulary of a run that asks for a private one; returns the configuration that names its file.

    The cost is in the ledger before a node draws noise; the run's folder keeps the vocabulary, with its guarantee in it.

    Raises:
      BudgetError: it would pass the budget. CohortError: a node refused, or no word reached the threshold.
      ConfigError: the file of candidates is not a vocabulary of words.
    """
    if config.spec("vocabulary").name != NAME:
        return config
    options = check_private(config.vocabulary).options
    candidates = _candidates(options["candidates"])
    plan = plan_words(float(options["epsilon"]), options["delta"], options["words"], bool(candidates))
    if config.privacy.on:
        local = config.privacy.mechanism.name == "local"
        Ledger.open(folder.path / FILE, config.privacy).charge(ledger_release(plan, local=local))
    told = [_counts(content) for content in _ask(grid, config, candidates)]
    words = merged(told, int(options["size"]) - SPECIALS - PLACEHOLDERS)
    if not words:
        raise CohortError(
            f"No word was used by enough clients (threshold {plan.threshold}); raise epsilon, or name candidates."
        )
    folder.write_text(VOCABULARY_FILE, words_content(words, options["size"], privacy=_about(plan, config)))
    folder.write_text("config.toml", config.to_toml().replace(json.dumps(config.vocabulary), _FILE_SPEC))
    settled = folder.config  # with the file's hash
    folder.write_text("config.toml", settled.to_toml())
    return settled


_FILE_SPEC = json.dumps(f"words(file='{VOCABULARY_FILE}')")


def _about(plan: WordRelease, config: RunConfig) -> dict[str, object]:
    statement = plan.statement()
    if config.reproducible:
        statement = "no guarantee: the run is marked reproducible, so the vocabulary's noise follows from the seed"
    return {"statement": statement, "single_word": plan.single_word, **asdict(plan)}


def _candidates(file: str) -> list[str]:
    if not file:
        return []
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"There is no file of candidates {file}; make one with fedlm vocabulary --kind words."
        ) from None
    symbols = learned_vocabulary(file, "words", text).symbols
    return [s for s in symbols[SPECIALS:-PLACEHOLDERS] if words_of(s) == [s]]


def _ask(grid: Grid, config: RunConfig, candidates: list[str]) -> list[RecordDict]:
    """Asks one node of every vault for the clients that no other vault has given."""
    nodes, settings = list(grid.get_node_ids()), config.to_settings()
    nobody = np.zeros(0, np.uint64)
    asked = [(n, MessageType.QUERY, wire.request(None, nobody, settings, 1, 0)) for n in nodes]
    told = [_census(node, content) for node, content in zip(nodes, _send(grid, config, asked), strict=True)]
    vaults = [(vault, node) for (vault, _), node in zip(told, nodes, strict=True)]
    people = Population.merge([(pseudonyms, {}) for _, pseudonyms in told], vaults)
    questions = []
    for own, clients in people.by_vault(people.pseudonyms, nodes):
        content = wire.request(None, clients, settings, 1, 0)
        config_in(content)["candidates"] = candidates
        questions.append((own[0], QUESTION, content))
    return _send(grid, config, questions)


def _census(node: int, content: RecordDict) -> tuple[bytes, Pseudonyms]:
    try:
        return checked_census(content)[:2]
    except ValueError as error:
        raise CohortError(f"The reply of node {node} about its clients was refused: {error}.") from None


def _send(grid: Grid, config: RunConfig, questions: list[tuple[int, str, RecordDict]]) -> list[RecordDict]:
    messages = [Message(content, node, kind) for node, kind, content in questions]
    replies = list(grid.send_and_receive(messages, timeout=config.timeout))
    for reply in replies:
        if reply.has_error():
            raise error_of_code(reply.error.code, str(reply.error.reason))
    return [reply.content for reply in replies]


def _counts(content: RecordDict) -> dict[str, int]:
    """Returns the noised counts of a node's reply.

    Raises:
      CohortError: it is not laid out as one.
    """
    record = records_in(content, ConfigRecord).get("config", ConfigRecord())
    words, counts = record.get("words"), record.get("counts")
    right = isinstance(words, list) and isinstance(counts, list) and len(words) == len(counts)
    if not right or not all(isinstance(w, str) and words_of(w) == [w] for w in words):  # type: ignore[union-attr]
        raise CohortError("A node's answer about words is not laid out as one.")
    return {str(w): int(str(n)) for w, n in zip(words, counts, strict=True)}  # type: ignore[arg-type]
