"""`prepare`: a corpus becomes a vault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedlm.api.inputs import Config, PathLike, as_text, base_of, key_source
from fedlm.config import RunConfig

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource


@dataclass(frozen=True)
class Prepared:
    """A vault that was made. Counts only, never text.

    Attributes:
      vault, key_file: where they are; `key_file` is None if the key lies elsewhere.
      clients, documents, characters: what was sealed.
      left_out: clients of the corpus that are not in the vault.
      left_out_causes: how many of them for which cause: `few_documents`, `few_after_scrubbing`, `no_text`, `not_sampled` (by
        max_clients), `no_documents` (a partition gave them none).
      documents_left_out: documents that are not in the vault, of clients that are (`no_text`), or of none (`not_dealt`).
      without_held_out: clients in the vault that have no held-out text.
      without_validation: clients that train and have no validation text, where some is asked for.
      evaluated_only: clients of the test corpus only, which are evaluated and never train; `clients` counts them too.
      dealt_nothing: names of the clients to which a partition gave no document, at most 100.
      notes: sentences about what reading the corpus joined, ignored and followed.
      findings: pieces of personal data found, by kind, the most frequent first.
      size_gini, size_effective_number: how unevenly training tokens are distributed over clients; see docs/studies.md.
      label_entropy: by the label's name, the mean entropy in bits of a client's documents.
      made_key: whether the key file was made for this vault.
    """

    vault: Path
    key_file: Path | None
    clients: int
    documents: int
    characters: int
    left_out: int
    findings: Mapping[str, int]
    size_gini: float
    size_effective_number: float
    label_entropy: Mapping[str, float]
    made_key: bool = False
    left_out_causes: Mapping[str, int] = field(default_factory=dict)
    documents_left_out: Mapping[str, int] = field(default_factory=dict)
    without_held_out: int = 0
    without_validation: int = 0
    evaluated_only: int = 0
    dealt_nothing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _name(corpus: PathLike | None) -> str:
    return "" if corpus is None else str(corpus)


def prepare(
    corpus: PathLike,
    vault: PathLike,
    config: Config = None,
    *,
    key: "KeySource | PathLike | None" = None,
    progress: Callable[[int, int], None] | None = None,
    test: PathLike | None = None,
    **overrides: object,
) -> Prepared:
    """Scrubs a corpus and seals it into a vault: whole, or not at all.

    Args:
      corpus: a file, a folder, `hf:NAME`, or a built-in corpus: `shakespeare`, `sotu`, `synthetic(...)`.
      vault: the file to make.
      config: the keys of preparation are read, the others ignored.
      key: a key file, or a `fedlm.vault.keys.KeySource`; by default VAULT.key beside the vault, made if it is missing.
      progress: called with the clients done and the clients in total.
      test: a corpus whose documents are the held-out text of the users of the same names; all of `corpus` is then for
        training and validation.
      overrides: configuration keys, such as `scrub="patterns"` or `max_clients=100`.

    Raises:
      ConfigError: a key of the configuration is invalid, the vault exists already, or its folder is missing.
      CorpusError: the corpus is missing, malformed, or has fewer than two clients.
      VaultError: the key is invalid, or the vault cannot be written.

    >>> done = prepare("synthetic(clients=4, messages=20)", "chat.db", scrub="patterns")
    >>> done.clients
    4
    """
    from fedlm.measure.heterogeneity import describe_sizes
    from fedlm.preparation.left_out import positive
    from fedlm.preparation.vault import prepare as seal

    path, source = Path(vault), key_source(Path(vault), key)
    chosen = RunConfig.load(base_of(config), as_text(overrides))
    done = seal(str(corpus), path, source, chosen, progress or (lambda done, total: None), test=_name(test))
    sizes = describe_sizes(done.train_tokens)
    return Prepared(
        vault=path,
        key_file=source.file,
        clients=done.clients,
        documents=done.documents,
        characters=done.characters,
        left_out=done.left_out,
        findings=dict(done.findings.most_common()),
        size_gini=sizes["size_gini"],
        size_effective_number=sizes["size_effective_number"],
        made_key=done.made_key,
        label_entropy=done.entropies.means(named=True),  # the caller has the corpus
        left_out_causes=positive(done.causes),
        documents_left_out=positive(done.documents_left_out),
        without_held_out=done.without_held_out,
        without_validation=done.without_validation,
        evaluated_only=done.evaluated_only,
        dealt_nothing=tuple(done.dealt_nothing),
        notes=done.reading.sentences(),
    )
