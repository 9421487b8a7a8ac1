"""Once, at the owner: documents -> scrub -> split into training and held-out text -> seal into a vault."""

import secrets
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.data.corpus import is_public, open_corpus
from fedlm.data.partition import partition
from fedlm.errors import ConfigError, CorpusError, VaultError
from fedlm.measure.heterogeneity import LabelEntropies
from fedlm.preparation.split import split
from fedlm.scrub.engine import Scrubber
from fedlm.scrub.surrogates import Surrogates
from fedlm.system.files import is_private
from fedlm.system.threads import in_order
from fedlm.types import Document
from fedlm.vault.keys import KeySource, make_key_file, seed_pseudonym_key
from fedlm.vault.reader import ClientShard, VaultWriter
from fedlm.vault.spool import Spool

Progress = Callable[[int, int], None]


@dataclass
class Preparation:
    """What was prepared; counts only.

    Attributes:
      clients: clients in the vault.
      left_out: clients with too few documents after scrubbing.
      documents, characters: scrubbed and sealed.
      findings: pieces of personal data found, per kind.
      entropies: of the labels of each client's documents.
      train_tokens: training targets of each client; the order does not identify clients.
    """

    clients: int = 0
    left_out: int = 0
    documents: int = 0
    characters: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    entropies: LabelEntropies = field(default_factory=LabelEntropies)
    train_tokens: "array[int]" = field(default_factory=lambda: array("Q"))


def prepare(
    corpus: str,
    vault: Path,
    source: KeySource,
    config: RunConfig,
    progress: Progress,
    keep: Callable[[str], bool] | None = None,
) -> Preparation:
    """Makes a vault from a corpus: whole, or not at all.

    Args:
      corpus: a name or path, see `open_corpus`.
      vault: the file to make; it must not exist.
      source: the key; a missing key file is made.
      config: `scrub`, `max_clients`, `min_documents`, `holdout_fraction`, `pseudonym_key`, `vocabulary`, `seed`.
      progress: called with the clients done and the clients in total.
      keep: decides by a client's name whether it goes into this vault; then one client is enough.

    Raises:
      CorpusError: the corpus is missing, empty, malformed, or leaves fewer than two clients.
      VaultError: `vault` exists, the key is invalid, or the disk is full.
    """
    if vault.exists():
        raise VaultError(f"{vault} exists already: name another file, or remove it first.")
    try:
        return _prepare(corpus, vault, source, config, progress, keep)
    except sqlite3.OperationalError as error:  # SQLite's message holds no data
        raise VaultError(f"The vault {vault} could not be written: {error}.") from None


def _prepare(
    corpus: str,
    vault: Path,
    source: KeySource,
    config: RunConfig,
    progress: Progress,
    keep: Callable[[str], bool] | None,
) -> Preparation:
    scrubber, done = Scrubber(config.scrub), Preparation()
    fewest = 2 if keep is None else 1
    vault.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        spool = undo.enter_context(closing(Spool(vault.with_name(vault.name + ".spool"))))
        users = _fill(spool, corpus, config, keep)
        _check_enough(corpus, config, len(users), fewest)
        vault_id = secrets.token_bytes(16)
        undo.enter_context(_key_file(source, vault, vault_id))
        pseudonym_key = _pseudonym_key(corpus, config)
        writer = VaultWriter(vault, source, pseudonym_key, vault_id)
        try:
            # Surrogates are drawn with the pseudonym key, so that they repeat where pseudonyms do.
            shards = _shards(spool, users, scrubber, pseudonym_key or secrets.token_bytes(32), config, done)
            for place, shard in enumerate(shards, 1):
                if shard is not None:
                    writer.add(shard)
                progress(place, len(users))
            done.clients, done.left_out = writer.clients, len(users) - writer.clients
            _check_left(corpus, done, fewest)
            writer.finish(_about(corpus, config, done))
        except BaseException:
            writer.discard()
            raise
    return done


def _fill(spool: Spool, corpus: str, config: RunConfig, keep: Callable[[str], bool] | None) -> list[bytes]:
    """Reads the corpus into the spool; returns the clients that go into the vault, in order."""
    for document in _documents(corpus, config):
        spool.add(document)
    users = spool.clients(config.min_documents, config.max_clients, config.seed)
    return users if keep is None else [u for u in users if keep(spool.name(u))]


@contextmanager
def _key_file(source: KeySource, vault: Path, vault_id: bytes) -> Iterator[None]:
    """Makes the key file if it is missing. If the vault fails, withdraws its key, and removes a file that was made for it.

    The file stays if another vault has stored its key in it meanwhile.
    """
    made = False
    try:
        made = source.file is not None and make_key_file(source.file)
        yield
    except BaseException:
        if not vault.exists():  # an interrupt after the final rename leaves a whole vault, which needs its key
            with suppress(VaultError, OSError):  # the first failure is the one to report
                source.withdraw(vault_id, unlink=made)
        raise


def _documents(corpus: str, config: RunConfig) -> Iterator[Document]:
    """Yields the corpus' documents, assigned to new clients if the configuration sets a partition."""
    if not config.partition:
        yield from open_corpus(corpus)
        return
    # Two passes: the first reads labels and lengths only, so that no text is kept in memory.
    labels = ({**d.labels, "user": d.user, "characters": str(len(d.text))} for d in open_corpus(corpus))
    for document, part in zip(open_corpus(corpus), partition(config.partition, labels, config.seed), strict=True):
        if part >= 0:
            yield Document(f"part-{part:05d}", document.text, document.labels)


def _check_enough(corpus: str, config: RunConfig, users: int, fewest: int) -> None:
    if users == 0:
        raise CorpusError(f"The corpus {corpus} has no client with at least {config.min_documents} documents.")
    if users < fewest:
        raise CorpusError(
            f"The corpus {corpus} has one client only with at least {config.min_documents} documents; "
            "federated training needs at least two."
        )


def _check_left(corpus: str, done: Preparation, fewest: int) -> None:
    if done.clients == 0:
        raise CorpusError(f"The corpus {corpus} has no text left after scrubbing.")
    if done.clients < fewest:
        raise CorpusError(
            f"The corpus {corpus} has text of one client only after scrubbing; federated training needs at least two."
        )


def _about(corpus: str, config: RunConfig, done: Preparation) -> dict[str, object]:
    """Returns the description in the vault's sealed index."""
    return {
        "corpus": corpus if is_public(corpus) else Path(corpus).name,
        "public": is_public(corpus),  # the name is not enough: ./synthetic is a user's folder
        "partition": config.partition,
        "scrub": config.scrub,
        "holdout_fraction": config.holdout_fraction,
        "min_documents": config.min_documents,
        "max_clients": config.max_clients,
        "vocabulary": config.vocabulary,
        "clients": done.clients,
        "left_out": done.left_out,
        "documents": done.documents,
        "characters": done.characters,
        "findings": dict(done.findings.most_common()),
        "label_entropy": {k: round(bits, 4) for k, bits in done.entropies.means(named=is_public(corpus)).items()},
    }


def _pseudonym_key(corpus: str, config: RunConfig) -> bytes | None:
    """Returns the key of the clients' pseudonyms; None makes the vault generate one.

    Raises:
      ConfigError: the key file is missing, too short, or readable by others.
    """
    choice = config.pseudonym_key or ("seed" if is_public(corpus) else "random")
    if choice == "seed":
        return seed_pseudonym_key(config.seed)
    if choice == "random":
        return None
    try:
        key, private = Path(choice).read_bytes().strip(), is_private(Path(choice))
    except OSError:
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

    def work(documents: list[Document]) -> tuple[ClientShard | None, Counter[str], list[Document]]:
        counts: Counter[str] = Counter()
        surrogates = Surrogates(key, documents[0].user) if scrubber.profile.needs_key and documents else None
        scrubbed = scrubber.scrub_all([d.text for d in documents], counts, surrogates)
        return split(documents, [s for s in scrubbed if s.text.strip()], config), counts, documents

    with scrubber.spread(spool.characters_of(len(users))) as threads:
        for shard, counts, documents in in_order(work, map(spool.read, users), threads):
            if shard is not None:
                texts = [*shard.train, *shard.held_out]
                done.documents += len(texts)
                done.characters += sum(len(t.text) for t in texts)
                done.findings.update(counts)
                done.entropies.add([d.labels for d in documents])
                done.train_tokens.append(shard.train_tokens)
            yield shard
