"""New text for an existing vault: scrubbed, joined to each client's text, split again and sealed under a new key."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.data.corpus import is_of_public_text, is_public, open_corpus
from fedlm.errors import CorpusError, VaultError
from fedlm.plugins.trust import check_named, recogniser
from fedlm.preparation.gather import Preparation
from fedlm.preparation.left_out import Cause, Lost, cause_of, positive
from fedlm.preparation.split import count_parts, counting_vocabulary, shared_labels, split_again
from fedlm.scrub.engine import ScrubbedText, Scrubber
from fedlm.system.threads import in_order
from fedlm.text.unknown import unknown_characters
from fedlm.types import Document
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource
from fedlm.vault.parts import Parts
from fedlm.vault.spool import Spool

_FROM_VAULT = (
    "scrub",
    "holdout_fraction",
    "validation_fraction",
    "min_documents",
    "vocabulary",
)  # keys that were fixed when it was prepared


def add(corpus: str, vault: Path, source: KeySource, progress: Callable[[int, int], None]) -> Preparation:
    """Adds a corpus to a vault: all of it, or nothing.

    The vault's own settings hold (scrubbing, split, fewest documents of a new client), so that text which arrives in two
    parts is sealed as if it had arrived at once. Clients that were forgotten are left out.

    Returns:
      What was added; `clients` counts the clients that received text.

    Raises:
      CorpusError: the corpus is missing, empty or malformed.
      VaultError: the vault does not open, or a partition made its clients.
      ConfigError: the vault names a recogniser that the user did not (`fedlm.plugins`).
    """
    spool = Spool(vault.with_name(vault.name + ".spool"))
    done = Preparation()
    try:
        for document in open_corpus(corpus, done.reading):
            spool.add(document)
        users = spool.clients(0, 0, 0)
        if not users:
            raise CorpusError(f"The corpus {corpus} has no documents.")
        with VaultEditor(vault, source) as editor:
            if editor.about.get("partition"):
                raise VaultError(f"The clients of {vault} were made by a partition: prepare a new vault instead.")
            config = RunConfig.checked({k: editor.about[k] for k in _FROM_VAULT if k in editor.about})
            check_named(recogniser(config.scrub), vault)
            scrubber = Scrubber(config.scrub)
            with scrubber.spread(spool.characters_of(len(users))) as threads:
                for place, documents in enumerate(map(spool.read, users), 1):
                    _add_client(editor, documents, scrubber, threads, config, done)
                    progress(place, len(users))
            _describe(editor, done, corpus)
            editor.commit()
        return done
    finally:
        spool.close()


def _add_client(
    editor: VaultEditor,
    documents: list[Document],
    scrubber: Scrubber,
    threads: int,
    config: RunConfig,
    done: Preparation,
) -> None:
    """Scrubs one client's new documents and puts them into the vault; counts into `done`."""

    def work(document: Document) -> tuple[ScrubbedText, Counter[str]]:
        found = Counter[str]()
        return scrubber.scrub(document.text, found), found

    texts, counts, name = list[ScrubbedText](), Counter[str](), editor.people.stored_name(documents[0].user)
    for text, found in in_order(work, documents, threads):
        counts.update(found)
        if text.text.strip():
            texts.append(text)
    least = 1 if editor.has(name) else config.min_documents
    cause = cause_of(sum(bool(d.text.strip()) for d in documents), len(texts), least)
    if editor.people.tombstones(documents[0].user):
        cause = Cause.FORGOTTEN
    if cause is not None:
        done.causes[cause] += 1
        return

    def split(old: Parts[list[str]], new: list[str]) -> tuple[Parts[list[str]], Parts[int]]:
        parts = split_again(old, new, config, editor.about)
        return parts, count_parts(parts, config)

    editor.put(name, texts, shared_labels(documents), split)
    done.clients += 1
    done.documents += len(texts)
    done.documents_left_out[Lost.NO_TEXT] += len(documents) - len(texts)
    done.characters += sum(len(t.text) for t in texts)
    done.unknown += unknown_characters((t.text for t in texts), counting_vocabulary(config))
    done.findings.update(counts)


def _describe(editor: VaultEditor, done: Preparation, corpus: str) -> None:
    """Updates the description in the vault's sealed index."""
    about = editor.about
    about["public"] = is_of_public_text(about) and is_public(corpus)
    for key, count in (
        ("documents", done.documents),
        ("characters", done.characters),
        ("unknown_characters", done.unknown),
        ("additions", 1),
    ):
        about[key] = int(about.get(key, 0)) + count
    about["left_out"] = int(about.get("left_out", 0)) + done.left_out
    for key, counts in (("left_out_causes", done.causes), ("documents_left_out", done.documents_left_out)):
        about[key] = positive(Counter(about.get(key, {})) + counts)
    about.pop("label_entropy", None)  # described the clients before; document labels are not kept
    about["findings"] = dict((Counter(about.get("findings", {})) + done.findings).most_common())
