"""Once, at the owner: documents -> scrub -> split into training and held-out text -> seal into a vault."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.data.corpus import is_public
from fedlm.errors import ConfigError, CorpusError
from fedlm.preparation.gather import Preparation, gather
from fedlm.preparation.key_file import check_key_file, key_file_of
from fedlm.preparation.left_out import Cause, Lost, cause_of, clients_in_words, positive
from fedlm.preparation.split import counting_vocabulary, split, with_test
from fedlm.scrub.engine import Scrubber
from fedlm.scrub.processes import check_recogniser
from fedlm.scrub.surrogates import Surrogates
from fedlm.system.files import check_new_file, is_private
from fedlm.system.storage import MISSING, reading
from fedlm.system.threads import in_order
from fedlm.text.unknown import unknown_characters, warn_of_unknown
from fedlm.types import Document
from fedlm.vault.keys import KeySource, seed_pseudonym_key
from fedlm.vault.locks import being_made
from fedlm.vault.reader import ClientShard, VaultWriter
from fedlm.vault.spool import Spool

Progress = Callable[[int, int], None]


class TooFewClients(CorpusError):
    """The corpus was read, but too few clients have enough text."""


def prepare(
    corpus: str,
    vault: Path,
    source: KeySource,
    config: RunConfig,
    progress: Progress,
    keep: Callable[[str], bool] | None = None,
    test: str = "",
) -> Preparation:
    """Makes a vault from a corpus: whole, or not at all.

    Args:
      corpus: a name or path, see `open_corpus`.
      vault: the file to make; it must not exist, its folder must.
      source: the key; a missing key file is made.
      config: `scrub`, `max_clients`, `min_documents`, `holdout_fraction`, `validation_fraction`, `pseudonym_key`,
        `vocabulary`, `seed`.
      progress: called with the clients done and the clients in total.
      keep: decides by a client's name whether it goes into this vault; then one client is enough.
      test: a corpus whose documents are the held-out text, matched by the clients' names; then none of `corpus` is held out.

    Raises:
      CorpusError: the corpus is missing, empty, malformed, or leaves fewer than two clients.
      ConfigError: `vault` exists, its folder or that of a new key file is missing or not writable, or a key of the
        configuration does not go with `test`.
      VaultError: the key is invalid, or another process is making a vault of this name.
      StorageError: the vault cannot be written.
    """
    check_new_file(vault, "vault")
    config = with_test(config, test)
    with being_made(vault):
        check_new_file(vault, "vault")  # another process may just have finished it
        check_key_file(source)
        return _prepare(corpus, vault, source, config, progress, keep, test)


def _prepare(
    corpus: str,
    vault: Path,
    source: KeySource,
    config: RunConfig,
    progress: Progress,
    keep: Callable[[str], bool] | None,
    test: str,
) -> Preparation:
    scrubber, done = Scrubber(config.scrub), Preparation()
    fewest = 2 if keep is None else 1
    with ExitStack() as undo:
        spool = undo.enter_context(closing(Spool(vault.with_name(vault.name + ".spool"))))
        training, evaluated = gather(spool, corpus, config, keep, done, test)
        _check_enough(corpus, config, len(training), fewest, done)
        users = training + evaluated
        check_recogniser(scrubber.profile, spool.characters_of(len(users)))
        vault_id = secrets.token_bytes(16)
        done.made_key = undo.enter_context(key_file_of(source, vault, vault_id))
        public = is_public(corpus) and (not test or is_public(test))
        pseudonym_key = _pseudonym_key(config, public=public)
        writer = VaultWriter(vault, source, pseudonym_key, vault_id)
        try:
            # Surrogates are drawn with the pseudonym key, so that they repeat where pseudonyms do.
            shards = _shards(spool, users, scrubber, pseudonym_key or secrets.token_bytes(32), config, done)
            for place, shard in enumerate(shards, 1):
                if shard is not None:
                    writer.add(shard)
                progress(place, len(users))
            _check_left(corpus, done, fewest)
            _check_tested(test, done)
            warn_of_unknown(done.unknown, done.characters, counting_vocabulary(config).name)
            about = _about(corpus, config, done, test, public=public)
            writer.finish(about, {} if public else done.entropies.names())
        except BaseException:
            writer.discard()
            raise
    return done


def _check_enough(corpus: str, config: RunConfig, users: int, fewest: int, done: Preparation) -> None:
    others = clients_in_words(done.causes, config.min_documents)
    others = f" Left out: {others}." if others else ""
    if users == 0:
        raise TooFewClients(
            f"The corpus {corpus} has no client with at least {config.min_documents} documents.{others}"
        )
    if users < fewest:
        raise TooFewClients(
            f"The corpus {corpus} has one client only with at least {config.min_documents} documents; "
            f"federated training needs at least two.{others}"
        )


def _check_left(corpus: str, done: Preparation, fewest: int) -> None:
    training = done.clients - done.evaluated_only
    if training == 0:
        raise TooFewClients(f"The corpus {corpus} has no text left after scrubbing.")
    if training < fewest:
        raise TooFewClients(
            f"The corpus {corpus} has text of one client only after scrubbing; federated training needs at least two."
        )


def _check_tested(test: str, done: Preparation) -> None:
    if test and done.without_held_out == done.clients:
        raise CorpusError(
            f"The test corpus {test} has no text of a client that is kept: its users must be named as in the corpus."
        )


def _about(corpus: str, config: RunConfig, done: Preparation, test: str, *, public: bool) -> dict[str, object]:
    """Returns the description in the vault's sealed index."""
    return {
        "corpus": corpus if is_public(corpus) else Path(corpus).name,
        **(
            {"test": test if is_public(test) else Path(test).name, "evaluated_only": done.evaluated_only}
            if test
            else {}
        ),
        "public": public,  # the name is not enough: ./synthetic is a user's folder
        "partition": config.partition,
        "scrub": config.scrub,
        "holdout_fraction": config.holdout_fraction,
        "validation_fraction": config.validation_fraction,
        "min_documents": config.min_documents,
        "max_clients": config.max_clients,
        "vocabulary": config.vocabulary,
        "clients": done.clients,
        "left_out": done.left_out,
        "left_out_causes": positive(done.causes),
        "documents_left_out": positive(done.documents_left_out),
        **({"dealt_nothing": done.dealt_nothing} if done.dealt_nothing else {}),
        "documents": done.documents,
        "characters": done.characters,
        "unknown_characters": done.unknown,
        "findings": dict(done.findings.most_common()),
        # Without a key, anybody reads this: names of labels are sealed elsewhere, unless they are public.
        "label_entropy": {k: round(bits, 4) for k, bits in done.entropies.means(named=public).items()},
    }


def _pseudonym_key(config: RunConfig, *, public: bool) -> bytes | None:
    """Returns the key of the clients' pseudonyms; None makes the vault generate one.

    Raises:
      ConfigError: the key file is missing, too short, or readable by others.
    """
    choice = config.pseudonym_key or ("seed" if public else "random")
    if choice == "seed":
        return seed_pseudonym_key(config.seed)
    if choice == "random":
        return None
    try:
        with reading(choice):
            key, private = Path(choice).read_bytes().strip(), is_private(Path(choice))
    except MISSING:
        raise ConfigError(f"There is no pseudonym key file {choice}: name a file, seed or random.") from None
    if len(key) < 32:
        raise ConfigError(f"The pseudonym key file {choice} is shorter than 32 bytes: use a longer key.")
    if not private:
        raise ConfigError(f"Other users may read the pseudonym key file {choice}: run chmod 600 on it.")
    return key


def _shards(
    spool: Spool, users: list[bytes], scrubber: Scrubber, key: bytes, config: RunConfig, done: Preparation
) -> Iterator[ClientShard | None]:
    """Yields each client's shard in the users' order, None for a client with too little text; counts into `done`."""

    def work(documents: list[Document]) -> tuple[ClientShard | Cause, Counter[str], list[Document]]:
        counts: Counter[str] = Counter()
        surrogates = Surrogates(key, documents[0].user) if scrubber.profile.needs_key and documents else None
        scrubbed = scrubber.scrub_all([d.text for d in documents], counts, surrogates)
        pairs = [(s, d.held_out) for s, d in zip(scrubbed, documents, strict=True) if s.text.strip()]
        left, given = ([s for s, held_out in pairs if held_out is wanted] for wanted in (False, True))
        with_text = [d.held_out for d in documents if d.text.strip()]
        trains = not all(d.held_out for d in documents)
        least, found = (config.min_documents, left) if trains else (1, given)
        cause = cause_of(with_text.count(not trains), len(found), least)
        return split(documents, left, config, given) if cause is None else cause, counts, documents

    with scrubber.spread(spool.characters_of(len(users))) as threads:
        for shard, counts, documents in in_order(work, map(spool.read, users), threads):
            if isinstance(shard, Cause):
                done.causes[shard] += 1
                yield None
                continue
            done.clients += 1
            done.evaluated_only += not shard.train
            texts = [*shard.train, *shard.validation, *shard.held_out]
            done.documents += len(texts)
            done.documents_left_out[Lost.NO_TEXT] += len(documents) - len(texts)
            done.without_held_out += not shard.held_out
            done.without_validation += bool(config.validation_fraction and shard.train) and not shard.validation
            done.characters += sum(len(t.text) for t in texts)
            done.unknown += unknown_characters((t.text for t in texts), counting_vocabulary(config))
            done.findings.update(counts)
            done.entropies.add([d.labels for d in documents])
            if shard.train:
                done.train_tokens.append(shard.train_tokens)
            yield shard
