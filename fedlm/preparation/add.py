"""New text for an existing vault: scrubbed, joined to each client's text, split again and sealed under a new key."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.data.corpus import is_of_public_text, is_public, open_corpus
from fedlm.errors import CorpusError, VaultError
from fedlm.preparation.split import count_targets, held_out_documents, shared_labels
from fedlm.preparation.vault import Preparation
from fedlm.scrub.engine import ScrubbedText, Scrubber
from fedlm.system.threads import in_order
from fedlm.types import Document
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource
from fedlm.vault.spool import Spool

_FROM_VAULT = ("scrub", "holdout_fraction", "min_documents", "vocabulary")  # keys that were fixed when it was prepared


def add(corpus: str, vault: Path, source: KeySource, progress: Callable[[int, int], None]) -> Preparation:
    """Adds a corpus to a vault: all of it, or nothing.

    The vault's own settings hold (scrubbing, split, fewest documents of a new client), so that text which arrives in two
    parts is sealed as if it had arrived at once. Clients that were forgotten are left out.

    Returns:
      What was added; `clients` counts the clients that received text.

    Raises:
      CorpusError: the corpus is missing, empty or malformed.
      VaultError: the vault does not open, or a partition made its clients.
    """
    spool = Spool(vault.with_name(vault.name + ".spool"))
    try:
        for document in open_corpus(corpus):
            spool.add(document)
        users = spool.clients(1, 0, 0)
        if not users:
            raise CorpusError(f"The corpus {corpus} has no documents.")
        with VaultEditor(vault, source) as editor:
            if editor.about.get("partition"):
                raise VaultError(f"The clients of {vault} were made by a partition: prepare a new vault instead.")
            config = RunConfig.checked({k: editor.about[k] for k in _FROM_VAULT if k in editor.about})
            scrubber, done = Scrubber(config.scrub), Preparation()
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

    texts, counts, name = list[ScrubbedText](), Counter[str](), documents[0].user
    for text, found in in_order(work, documents, threads):
        counts.update(found)
        if text.text.strip():
            texts.append(text)
    few = len(texts) < max(config.min_documents, 1) and not editor.has(name)
    if few or not texts or editor.forgotten(name) is not None:
        done.left_out += 1
        return

    def split(all_texts: list[str]) -> tuple[list[str], list[str], int, int]:
        kept = len(all_texts) - held_out_documents(len(all_texts), config)
        train, held_out = all_texts[:kept], all_texts[kept:]
        return train, held_out, count_targets(train, config), count_targets(held_out, config)

    editor.put(name, texts, shared_labels(documents), split)
    done.clients += 1
    done.documents += len(texts)
    done.characters += sum(len(t.text) for t in texts)
    done.findings.update(counts)


def _describe(editor: VaultEditor, done: Preparation, corpus: str) -> None:
    """Updates what the vault's sealed index says of it."""
    about = editor.about
    about["public"] = is_of_public_text(about) and is_public(corpus)
    for key, count in (("documents", done.documents), ("characters", done.characters), ("additions", 1)):
        about[key] = int(about.get(key, 0)) + count
    about.pop("label_entropy", None)  # described the clients before; document labels are not kept
    about["findings"] = dict((Counter(about.get("findings", {})) + done.findings).most_common())
