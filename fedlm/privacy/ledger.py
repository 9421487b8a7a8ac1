"""The privacy ledger: one line per release, written before its noise is generated, and the cost of all releases together.

    charge   the ledger is written and synced      a crash from here on repeats the round, and charges it again
    noise    is generated and added
    save     the checkpoint is written             only now does the next round begin

So nothing is ever released without a charge, whenever the process is killed.
"""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fedlm.errors import BudgetError, FedLMError
from fedlm.privacy.accounting import Method, Release, epsilon
from fedlm.privacy.folder import CHECKPOINTS, owned
from fedlm.privacy.guarantee import assumptions, coverage, covers
from fedlm.privacy.mechanisms.registry import mechanism_traits
from fedlm.privacy.settings import PrivacySettings
from fedlm.spec import Spec
from fedlm.system.files import write_atomic

FILE = "ledger.json"
_COUNT = "ledger.count"  # beside the checkpoints, the number of charged releases: reveals a ledger that was rolled back
_FROM_SEED = "drawn from the seed"
_FROM_RUN = "weights of another run, which this ledger does not cover"
_ACCOUNTANT = "dp-accounting: privacy loss distributions of the continuous Gaussian, which bound the discrete one (docs/accounting.md)"
_NOT_COVERED = (
    "validation and held-out figures and their spread over clients (private/metrics.jsonl, private/clients.parquet, "
    "private/final.json, private/final_clients.parquet)",
    "training loss, token counts, the realised cohort, failures and seconds of each round (private/metrics.jsonl)",
    "documents, characters and findings counted when the text was sealed (private/summary.json)",
)


class Ledger:
    """The releases of a run, kept in `ledger.json` in its folder.

    Args:
      path: the file; None keeps the ledger in memory.
      settings: the run's privacy settings.
      releases: those already charged.
      initial: the origin of the initial weights.
    """

    def __init__(
        self,
        path: Path | None,
        settings: PrivacySettings,
        releases: list[Release] | None = None,
        initial: str = _FROM_SEED,
    ) -> None:
        self._path, self.settings, self.releases, self._initial = path, settings, list(releases or []), initial

    @classmethod
    def open(cls, path: Path, settings: PrivacySettings) -> "Ledger":
        """Opens the ledger of a run, or starts one and writes it.

        Raises:
          FedLMError: it is damaged or missing, or it was replaced by an older copy.
        """
        checkpoints = owned(path.parent, CHECKPOINTS)
        has_begun = (checkpoints / "latest.safetensors").is_file()
        exists = path.is_file()
        ledger = cls(path, settings, *(_read(path) if exists else ()))
        count = checkpoints / _COUNT
        charged = count.read_text().strip() if count.is_file() else "0"
        if not charged.isdecimal() or len(ledger.releases) < int(charged) or (has_begun and not exists):
            raise FedLMError(
                f"{FILE} is missing or lacks rounds that were charged: restore it, the run cannot continue without it."
            )
        if not exists:
            ledger._write()
        return ledger

    @classmethod
    def read(cls, path: Path, settings: PrivacySettings) -> "Ledger":
        """Reads the ledger of a run and writes nothing."""
        return cls(None, settings, *_read(path))

    def starts_from_another_run(self) -> None:
        """Records that the initial weights come from another run, which this ledger does not cover."""
        self._initial = _FROM_RUN
        self._write()

    def epsilon(
        self,
        more: Release | None = None,
        *,
        method: Method = "stated",
        first: int | None = None,
        delta: float | None = None,
    ) -> float:
        """Returns epsilon at `delta` (by default the settings'), of all releases or the first `first`, and of `more`."""
        releases = [*self.releases[:first], *([more] if more else [])]
        return epsilon(releases, self.settings.delta if delta is None else delta, method)

    def affords(self, release: Release) -> bool:
        """Returns whether a release stays within the budget."""
        return not self.settings.epsilon_budget or self.epsilon(release) <= self.settings.epsilon_budget

    def charge(self, release: Release) -> None:
        """Writes a release to the ledger; only then may its noise be generated.

        Raises:
          BudgetError: it would exceed the budget; nothing is charged.
        """
        if not self.affords(release):
            budget = self.settings.epsilon_budget
            raise BudgetError(f"Round {release.round} would exceed epsilon_budget={budget:g}; nothing was released.")
        self.releases.append(release)
        self._write()
        self._count()

    def as_dict(self) -> dict[str, Any]:
        """Returns the ledger's content: the statement, its assumptions, and the releases."""
        return {
            "fedlm-ledger": 1,
            "statement": self.statement(),
            "guarantee": self.why_none() or "holds under the assumptions",
            "epsilon": "none" if self.settings.reproducible else _finite(self.epsilon()),
            "delta": self.settings.delta,
            "covers": covers(self.settings),
            "coverage": coverage(self.settings),
            "accountant": _ACCOUNTANT,
            "neighbours": self.settings.traits.neighbours,
            "adversary": self.settings.traits.adversary,
            "initial_weights": self._initial,
            "assumptions": assumptions(self.settings),
            "not_covered": [*self._uncovered(), *_NOT_COVERED],
            "settings": {
                k: v
                for k, v in asdict(self.settings).items()
                if k not in ("mechanism", "traits", "weighting", "vocabulary")
            },
            "releases": [asdict(r) for r in self.releases],
        }

    def statement(self) -> str:
        """Returns the headline: epsilon, delta, neighbours, adversary and mechanism; or that there is none."""
        none = self.why_none()
        if none:
            return f"no guarantee: {none}"
        kind = "simulated " if self.settings.simulated else ""
        parts = " (a client is a part of a partition, not a person)" if self.settings.partition else ""
        since = f", counted from {_FROM_RUN}" if self._initial == _FROM_RUN else ""
        return (
            f"{kind}({self.epsilon():.4g}, {self.settings.delta:g})-differential privacy for "
            f"{self.settings.traits.neighbours}{parts}, against {self.settings.traits.adversary}; "
            f"{sum(r.is_of_a_round for r in self.releases)} releases of "
            f"{self.settings.traits.title}{self._words()}{since}"
        )

    def _uncovered(self) -> list[str]:
        """Returns what the run uses and no release pays for."""
        lines = [f"initial weights: {_FROM_RUN}"] if self._initial == _FROM_RUN else []
        if "file=" in self.settings.vocabulary and all(r.is_of_a_round for r in self.releases):
            lines.append(f"the vocabulary {self.settings.vocabulary}, if it was learned from the clients' text")
        return lines

    def _words(self) -> str:
        """Returns the part of the statement about vocabularies; empty without one."""
        found = [
            f"threshold {r.threshold}" if r.threshold else "candidates" for r in self.releases if not r.is_of_a_round
        ]
        return f", and a vocabulary by the discrete Gaussian mechanism ({', '.join(found)})" if found else ""

    def why_none(self) -> str:
        """Returns the reason why no guarantee holds; empty if one does."""
        if self.settings.reproducible:
            return "the run is marked reproducible, so its noise is derived from the seed"
        if self.settings.noise_multiplier == 0:
            return "noise_multiplier is 0"
        return ""

    def _count(self) -> None:
        """Writes the number of releases beside the checkpoints, so that a lost or outdated ledger is detected."""
        if self._path is not None:
            path = owned(self._path.parent, CHECKPOINTS) / _COUNT
            path.parent.mkdir(exist_ok=True, mode=0o700)
            write_atomic(path, str(len(self.releases)))

    def _write(self) -> None:
        if self._path is None:
            return
        content = self.as_dict()
        lines = [f"{json.dumps(k)}: {json.dumps(v, indent=1)}" for k, v in content.items() if k != "releases"]
        rows = ",\n  ".join(json.dumps(r) for r in content["releases"])
        text = "{\n" + ",\n".join([*lines, f'"releases": [\n  {rows}\n]']) + "\n}\n"
        write_atomic(self._path, text)  # file and directory entry are synced before any noise is generated


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else "infinite"


def _read(path: Path) -> tuple[list[Release], str]:
    try:
        content = json.loads(path.read_text())
        rows, initial = content["releases"], content.get("initial_weights", _FROM_SEED)
        found = [_release(row) for row in rows]
        if not all(_is_in_range(r) for r in found):
            raise ValueError("a release is out of range")
        return found, str(initial)
    except (ValueError, KeyError, TypeError):
        raise FedLMError(
            f"The privacy ledger {path} is damaged: restore it, the run cannot continue without it."
        ) from None


def _release(row: dict[str, Any]) -> Release:
    """Returns a release from its line; older ledgers lack the fields of vocabularies and the distance."""
    later = ("threshold", "delta", "distance")
    values = {f.name: row[f.name] for f in fields(Release) if f.name in row or f.name not in later}
    if "distance" not in row and row["round"] > 0:
        values["distance"] = mechanism_traits(Spec(row["mechanism"], {})).distance
    return Release(**values)


def _is_in_range(release: Release) -> bool:
    numbers = (release.noise_multiplier, release.sampling_rate, release.compositions, release.round, release.distance)
    positive = all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers)
    return positive and release.sampling_rate <= 1 and release.distance >= 1 and 0 <= release.delta < 1
