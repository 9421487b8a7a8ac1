"""The text of a search: one sealed vault for all its runs, whose held-out part is validation text.

    a vault     its training and validation parts, or its training parts split again, sealed under a new key
    a corpus    scrubbed, split and sealed as `fedlm simulate` would; then the same; the first vault is removed

The held-out (test) part of the data is never opened. The seed of the configuration decides who is kept and how documents are
dealt and split, so a run with the same configuration has the same held-out text. The seeds of the search's runs decide all
else: initial weights, cohorts, batches.
"""

import contextlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.data.corpus import is_of_public_text, is_public
from fedlm.errors import VaultError
from fedlm.preparation.validation import VALIDATION_FRACTION, derive_validation_vault
from fedlm.vault.keys import KeySource, seed_pseudonym_key
from fedlm.vault.reader import Vault
from scenarios.runner.job import Job, fingerprint, hash_of
from scenarios.runner.vaults import Vaults, preparation_of
from server.run.settled import settled, without_effect
from server.simulation import is_vault_name

Prepare = Callable[[str, Path, KeySource, RunConfig], None]
"""Makes a vault from corpus, vault, key and configuration."""


class ValidationData(Vaults):
    """The vault of a search.

    Args:
      folder: where it lies until the search is done.
      corpus: a vault, or a corpus.
      config: the configuration of all that does not vary.
      source_of: returns the key source of a vault.
      prepare: seals a corpus.

    Raises:
      VaultError: `corpus` is a vault that does not open.
    """

    def __init__(
        self, folder: Path, corpus: str, config: RunConfig, source_of: Callable[[Path], KeySource], prepare: Prepare
    ) -> None:
        super().__init__(folder)
        self._folder, self._corpus, self._source_of, self._prepare = folder, corpus, source_of, prepare
        self._config = config if config.pseudonym_key else config.model_copy(update={"pseudonym_key": "seed"})
        self._is_vault, self._about, self._version = is_vault_name(corpus), dict[str, Any](), ""
        if self._is_vault:
            with self._opened(Path(corpus), source_of(Path(corpus))) as vault:
                self._about, self._version = vault.about, _version(vault)

    @property
    def public(self) -> bool:
        """Whether all text comes from built-in corpora."""
        return is_of_public_text(self._about) if self._is_vault else is_public(self._corpus)

    @property
    def name(self) -> str:
        """What may be told of the data: the name of a file, or of a built-in corpus."""
        return self._corpus if self.public and not self._is_vault else Path(self._corpus).name

    @property
    def settled(self) -> dict[str, Any]:
        """The keys of preparation that a vault was made with; nothing for a corpus, which is prepared as asked."""
        return settled(self._about)

    @property
    def without_effect(self) -> list[str]:
        """A sentence for each key that a vault overrules."""
        return without_effect(self._config, self._about)

    @cached_property
    def identity(self) -> Mapping[str, object]:
        """What makes the text this one: two runs on the same data can be compared."""
        split = {"validation": VALIDATION_FRACTION}
        if self._is_vault:
            return {"vault": self._version, **split}
        return {"preparation": preparation_of(self._config), "corpus": fingerprint(self._corpus), **split}

    def get(self, job: Job) -> tuple[Path, KeySource]:
        """Returns the vault and its key; every run of the search has the same."""
        return self.make()

    def make(self) -> tuple[Path, KeySource]:
        """Makes the vault if it is missing; returns it and its key.

        Raises:
          VaultError, CorpusError: the data do not open, or nobody has two training documents.
        """
        name = f"validation-{hash_of(self.identity)[:16]}"
        path, key = self._folder / f"{name}.db", self._folder / f"{name}.key"
        with self.locked(name):
            for stale in self._folder.glob("validation-*"):  # of text that has changed since, or of a forgotten client
                if not stale.name.startswith(name):
                    stale.unlink()
            if not path.exists():  # renamed there when it is whole
                self._derive(path, key)
        return path, KeySource(file=key)

    def _derive(self, path: Path, key: Path) -> None:
        if self._is_vault:
            with self._opened(Path(self._corpus), self._source_of(Path(self._corpus))) as vault:
                if _version(vault) != self._version:
                    raise VaultError(f"The vault {self._corpus} has just been changed: start the search again.")
                derive_validation_vault(vault, path, key, self._config, vault.derived_key("fedlm tune pseudonyms"))
            return
        whole, source = path.with_suffix(".whole.db"), KeySource(file=path.with_suffix(".whole.key"))
        if not whole.exists():
            self._prepare(self._corpus, whole, source, self._config)
        with self._opened(whole, source) as vault:
            derive_validation_vault(vault, path, key, self._config, seed_pseudonym_key(self._config.seed))
        for file in (whole.with_suffix(".key"), whole):
            file.unlink(missing_ok=True)

    @staticmethod
    def _opened(path: Path, source: KeySource) -> contextlib.closing[Vault]:
        return contextlib.closing(Vault(path, source))


def _version(vault: Vault) -> str:
    """Returns what changes whenever a vault's text does."""
    return f"{vault.vault_id.hex()} {vault.epoch}"
