"""The runs that an owner has accepted, and those that wait for the owner: one file per run in the node's folder `runs/`.

SHA256.json       what the run asks for (a manifest)
SHA256.accepted   "owner", "policy" for a run that policy.toml allows without asking, "refused", or "refused policy"
                  for one that the policy had accepted before
"""

from collections.abc import Iterator
from pathlib import Path

from clients.contract.manifest import Manifest
from fedlm.errors import ConfigError, DataError
from fedlm.system.files import write_atomic

OWNER, POLICY, REFUSED = "owner", "policy", "refused"
_POLICY_REFUSED = f"{REFUSED} {POLICY}"  # it has used one of the policy's runs all the same
_MOST_WAITING = 20  # a coordinator that invents runs fills neither the disk nor the owner's screen


class Approvals:
    """The decisions of one node's owner.

    Args:
      folder: `runs/` in the node's folder; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def accepted_by(self, sha256: str) -> str:
        """Returns who accepted a run, `OWNER` or `POLICY`; empty if nobody did."""
        found = self._decision(sha256)
        return found if found in (OWNER, POLICY) else ""

    def is_refused(self, sha256: str) -> bool:
        """Returns whether the owner refused a run, or withdrew its acceptance."""
        return self._decision(sha256) in (REFUSED, _POLICY_REFUSED)

    def _decision(self, sha256: str) -> str:
        file = self._folder / f"{sha256}.accepted"
        found = file.read_bytes().strip().decode("ascii", "replace") if file.is_file() else ""
        known = (OWNER, POLICY, REFUSED, _POLICY_REFUSED)
        return found if found in known else ""  # a damaged file accepts nothing

    def accept(self, manifest: Manifest, by: str = OWNER) -> None:
        """Accepts a run, durably."""
        self._write(manifest)
        write_atomic(self._folder / f"{manifest.sha256}.accepted", by, private=True)

    def refuse(self, manifest: Manifest) -> None:
        """Refuses a run, or withdraws its acceptance: the node refuses its next message, whatever the policy allows."""
        self._write(manifest)
        refused = _POLICY_REFUSED if self._decision(manifest.sha256) in (POLICY, _POLICY_REFUSED) else REFUSED
        write_atomic(self._folder / f"{manifest.sha256}.accepted", refused, private=True)

    def ask(self, manifest: Manifest) -> None:
        """Keeps a run for the owner to review.

        Raises:
          ConfigError: too many runs wait already.
        """
        if (self._folder / f"{manifest.sha256}.json").is_file():
            return
        if len(self.names_waiting()) >= _MOST_WAITING:
            raise ConfigError(f"{_MOST_WAITING} runs wait for this node's owner already: ask the owner to review them.")
        self._write(manifest)

    def all(self) -> Iterator[Manifest]:
        """Yields every run that was accepted or waits, the oldest first."""
        files = self._folder.glob("*.json") if self._folder.is_dir() else ()
        for file in sorted(files, key=lambda f: f.stat().st_mtime):
            try:
                yield Manifest.read(file.read_text("ascii"))
            except (ConfigError, UnicodeDecodeError):
                raise DataError(f"{file} is damaged: remove it; the run asks again.") from None

    def waiting(self) -> Iterator[Manifest]:
        """Yields the runs that wait for the owner."""
        return (m for m in self.all() if not self._decision(m.sha256))

    def names_waiting(self) -> set[str]:
        """Returns the SHA-256 of the runs that wait, without reading them."""
        names = {f.name.partition(".")[0] for f in self._folder.glob("*.json")} if self._folder.is_dir() else set()
        return {name for name in names if not self._decision(name)}

    def find(self, start: str) -> Manifest:
        """Returns the run whose SHA-256 begins so.

        Raises:
          ConfigError: none does, or several do.
        """
        if not start:
            raise ConfigError("Name the run by the beginning of its SHA-256: fedlm deploy review shows the runs.")
        found = [m for m in self.all() if m.sha256.startswith(start.lower())]
        if len(found) != 1:
            many = "several runs begin" if found else "no run that this node was asked for begins"
            raise ConfigError(f"With {start!r} {many}: fedlm deploy review shows the runs.")
        return found[0]

    def num_by_policy(self) -> int:
        """Returns how many runs the policy has accepted; those that the owner refused later have used it too."""
        files = self._folder.glob("*.accepted") if self._folder.is_dir() else ()
        return sum(self._decision(file.name.partition(".")[0]) in (POLICY, _POLICY_REFUSED) for file in files)

    def _write(self, manifest: Manifest) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_atomic(self._folder / f"{manifest.sha256}.json", manifest.canonical(), private=True)
