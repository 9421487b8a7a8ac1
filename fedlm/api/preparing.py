"""`prepare`: a corpus becomes a vault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
      left_out: clients with too little text after scrubbing.
      findings: pieces of personal data found, by kind, the most frequent first.
      size_gini, size_effective_number: how unevenly training tokens are distributed over clients; see docs/studies.md.
      label_entropy: by label, the mean entropy in bits of a client's documents.
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


def prepare(
    corpus: PathLike,
    vault: PathLike,
    config: Config = None,
    *,
    key: "KeySource | PathLike | None" = None,
    progress: Callable[[int, int], None] | None = None,
    **overrides: object,
) -> Prepared:
    """Scrubs a corpus and seals it into a vault: whole, or not at all.

    Args:
      corpus: a file, a folder, `hf:NAME`, or a built-in corpus: `shakespeare`, `sotu`, `synthetic(...)`.
      vault: the file to make.
      config: the keys of preparation are read, the others ignored.
      key: a key file, or a `fedlm.vault.keys.KeySource`; by default VAULT.key beside the vault, made if it is missing.
      progress: called with the clients done and the clients in total.
      overrides: configuration keys, such as `scrub="patterns"` or `max_clients=100`.

    Raises:
      ConfigError: a key of the configuration is invalid.
      CorpusError: the corpus is missing, malformed, or has fewer than two clients.
      VaultError: the vault exists already, or cannot be written.

    >>> done = prepare("synthetic(clients=4, messages=20)", "chat.db", scrub="patterns")
    >>> done.clients
    4
    """
    from fedlm.data.corpus import is_public
    from fedlm.measure.heterogeneity import describe_sizes
    from fedlm.preparation.vault import prepare as seal

    path, source = Path(vault), key_source(Path(vault), key)
    chosen = RunConfig.load(base_of(config), as_text(overrides))
    done = seal(str(corpus), path, source, chosen, progress or (lambda done, total: None))
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
        label_entropy=done.entropies.means(named=is_public(str(corpus))),
    )
