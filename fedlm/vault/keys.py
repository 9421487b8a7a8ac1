"""Where a vault's key comes from: a key file, a passphrase, an environment variable, the OS keyring, or your own provider."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from fedlm.errors import ConfigError
from fedlm.plugins.calls import load_module, running, takes
from fedlm.spec import parse_spec
from fedlm.vault.format import derive
from fedlm.vault.keyfile import KeyFile, StoredKeys, create_key_file, make_key_file
from fedlm.vault.providers import EnvironmentKey, Keyring, Passphrase, new_kdf

__all__ = ["KeyProvider", "KeySource", "create_key_file", "make_key_file", "new_kdf", "seed_pseudonym_key"]


@runtime_checkable
class KeyProvider(Protocol):
    """Keeps vault keys. A KMS takes part by implementing these five methods (docs/vault-format.md, "Key providers").

    A key is 32 bytes. A provider that has no answer raises a VaultError with a sentence for the
    user. `kdf` is the vault's public derivation entry (cost and salt); providers that store keys
    ignore it. A change of key calls keys -> propose -> (the vault commits) -> settle, and may be
    killed between any two of them.
    """

    def create(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Returns the first key of a new vault, which is stored before this returns."""
        ...

    def keys(self, vault_id: bytes, kdf: bytes) -> list[bytes]:
        """Returns the keys that may open the vault, the current one first; [] if there is none."""
        ...

    def propose(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Returns a new key, which is stored beside the current one before this returns."""
        ...

    def settle(self, vault_id: bytes, key: bytes, epoch: int) -> None:
        """Makes `key` the only one, destroys the others, and remembers the epoch. A second call changes nothing."""
        ...

    def epoch(self, vault_id: bytes) -> int | None:
        """Returns the epoch last settled; None if the provider cannot remember one."""
        ...


@dataclass(frozen=True)
class KeySource:
    """Says where the key is; the key itself is read when the vault opens.

    Attributes:
      file: a key file, or None.
      passphrase_env: the environment variable that holds a passphrase, or None.
      provider: `env(NAME)`, `keyring(service=...)` or `package.module:factory`, or None.
    """

    file: Path | None = None
    passphrase_env: str | None = None
    provider: str | None = None

    def open(self) -> KeyProvider:
        """Returns the provider.

        Raises:
          ConfigError: no provider is named, or the named object is not one.
        """
        if self.provider is not None:
            return _named_provider(self.provider)
        if self.passphrase_env is not None:
            return Passphrase(self.passphrase_env)
        if self.file is None:
            raise ConfigError("No key is named: give --key-file, --passphrase-env or --key-provider.")
        return StoredKeys(KeyFile(self.file))

    def withdraw(self, vault_id: bytes, *, unlink: bool) -> None:
        """Removes the key of a vault that was never finished from the key file, if there is one; see `KeyFile.remove`."""
        if self.file is not None:
            KeyFile(self.file).remove(vault_id, unlink=unlink)


def _named_provider(spec: str) -> KeyProvider:
    if spec.startswith("env(") and spec.endswith(")"):
        return EnvironmentKey(spec[4:-1])
    if ":" in spec and "(" not in spec:
        return _own_provider(spec)
    parsed = parse_spec(spec)
    if parsed.name == "keyring" and set(parsed.options) <= {"service"}:
        return StoredKeys(Keyring(str(parsed.options.get("service", "fedlm"))))
    raise ConfigError(
        f"There is no key provider {spec!r}: name env(NAME), keyring(service=...) or package.module:factory."
    )


def _own_provider(spec: str) -> KeyProvider:
    module, _, factory = spec.partition(":")
    make: Any = getattr(load_module("key provider", spec, module), factory, None)
    if make is None:
        raise ConfigError(f"The key provider {spec!r} cannot be loaded: the module {module} has no {factory}.")
    made = None
    if callable(make) and takes(make, ()):
        with running(f"key provider {spec}", factory, module):  # an exception's text may quote a key
            made = make()
    if not isinstance(made, KeyProvider):
        raise ConfigError(
            f"{spec!r} is not a key provider: it must be callable without arguments and return an object with the methods "
            "create, keys, propose, settle and epoch."
        )
    return made


def seed_pseudonym_key(seed: int) -> bytes:
    """Returns the pseudonym key of a seed, so that runs on public corpora repeat."""
    return derive(seed.to_bytes(8, "little"), "fedlm pseudonym key")
