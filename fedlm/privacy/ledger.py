"""The privacy ledger: one frozen line per release, written before its noise is drawn, and what they cost together.

A crash between noise and checkpoint therefore releases nothing that is not charged: the round is run again with fresh
noise and charged a second time.
"""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fedlm.errors import BudgetError, FedLMError
from fedlm.privacy.accounting import Method, Release, epsilon
from fedlm.privacy.guarantee import assumptions
from fedlm.privacy.mechanisms.registry import mechanism_traits
from fedlm.privacy.settings import PrivacySettings
from fedlm.spec import Spec
from fedlm.system.files import write_atomic

FILE = "ledger.json"
_COUNT = "checkpoint/ledger.count"
_FROM_SEED = "drawn from the seed"
_FROM_RUN = "weights of another run, which this ledger does not cover"
_NOT_COVERED = (
    "held-out figures and their spread over clients (private/metrics.jsonl, private/clients.parquet)",
    "training loss, token counts, the realised cohort, failures and seconds of each round (private/metrics.jsonl)",
    "documents, characters and findings counted when the text was sealed (private/summary.json)",
)


class Ledger:
    """The releases of a run, kept in `ledger.json` of its folder.

    Args:
      path: the file; None keeps it in memory.
      settings: what the run asked for.
      releases: what was charged before.
      initial: where the first weights came from.
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
          FedLMError: it is damaged, gone, or an old one was put back.
        """
        begun = (path.parent / "checkpoint" / "latest.safetensors").is_file()
        there = path.is_file()
        ledger = cls(path, settings, *(_read(path) if there else ()))
        count = path.parent / _COUNT
        charged = count.read_text().strip() if count.is_file() else "0"
        if not charged.isdecimal() or len(ledger.releases) < int(charged) or (begun and not there):
            raise FedLMError(
                f"{FILE} is gone or lacks rounds that were charged; put it back, without it the run cannot go on."
            )
        if not there:
            ledger._write()
        return ledger

    @classmethod
    def read(cls, path: Path, settings: PrivacySettings) -> "Ledger":
        """Reads the ledger of a run and writes nothing."""
        return cls(None, settings, *_read(path))

    def starts_from_another_run(self) -> None:
        """Writes down that the first weights are another run's, which this ledger knows nothing of."""
        self._initial = _FROM_RUN
        self._write()

    def epsilon(self, more: Release | None = None, *, method: Method = "rdp", first: int | None = None) -> float:
        """Returns epsilon at the settings' delta of all releases (or the first ones), and of one more."""
        return epsilon([*self.releases[:first], *([more] if more else [])], self.settings.delta, method)

    def affords(self, release: Release) -> bool:
        """Returns whether a release stays within the budget."""
        return not self.settings.epsilon_budget or self.epsilon(release) <= self.settings.epsilon_budget

    def charge(self, release: Release) -> None:
        """Writes a release down; only then may its noise be drawn.

        Raises:
          BudgetError: it would pass the budget; nothing is charged.
        """
        if not self.affords(release):
            budget = self.settings.epsilon_budget
            raise BudgetError(f"Round {release.round} would pass epsilon_budget={budget:g}; nothing was released.")
        self.releases.append(release)
        self._write()
        self._count()

    def as_dict(self) -> dict[str, Any]:
        """Returns the ledger's content: the statement first, then what it rests on, then the releases."""
        return {
            "fedlm-ledger": 1,
            "statement": self.statement(),
            "guarantee": self.why_none() or "holds under the assumptions",
            "epsilon": "none" if self.settings.reproducible else _finite(self.epsilon()),
            "delta": self.settings.delta,
            "accountant": "dp-accounting: Renyi DP at integer orders, which holds for the discrete Gaussian",
            "neighbours": self.settings.traits.neighbours,
            "adversary": self.settings.traits.adversary,
            "initial_weights": self._initial,
            "assumptions": assumptions(self.settings),
            "not_covered": [*([f"initial weights: {_FROM_RUN}"] if self._initial == _FROM_RUN else []), *_NOT_COVERED],
            "settings": {
                k: v for k, v in asdict(self.settings).items() if k not in ("mechanism", "traits", "weighting")
            },
            "releases": [asdict(r) for r in self.releases],
        }

    def statement(self) -> str:
        """Returns the headline: epsilon, delta, neighbours, adversary and mechanism; or that there is none."""
        none = self.why_none()
        if none:
            return f"no guarantee: {none}"
        kind = "simulated " if self.settings.simulated else ""
        since = f", counted from {_FROM_RUN}" if self._initial == _FROM_RUN else ""
        return (
            f"{kind}({self.epsilon():.4g}, {self.settings.delta:g})-differential privacy for "
            f"{self.settings.traits.neighbours}, against {self.settings.traits.adversary}; "
            f"{sum(r.is_of_a_round for r in self.releases)} releases of "
            f"{self.settings.traits.title}{self._words()}{since}"
        )

    def _words(self) -> str:
        """Returns what the statement says of vocabularies; nothing if there is none."""
        found = [
            f"threshold {r.threshold}" if r.threshold else "candidates" for r in self.releases if not r.is_of_a_round
        ]
        return f", and a vocabulary by the discrete Gaussian mechanism ({', '.join(found)})" if found else ""

    def why_none(self) -> str:
        """Returns why no guarantee can be stated; empty if one can."""
        if self.settings.reproducible:
            return "the run is marked reproducible, so its noise follows from the seed"
        if self.settings.noise_multiplier == 0:
            return "noise_multiplier is 0"
        return ""

    def _count(self) -> None:
        """Keeps the number of releases beside the checkpoints: a ledger that is lost or old is noticed."""
        if self._path is not None:
            path = self._path.parent / _COUNT
            path.parent.mkdir(exist_ok=True, mode=0o700)
            write_atomic(path, str(len(self.releases)))

    def _write(self) -> None:
        if self._path is None:
            return
        content = self.as_dict()
        lines = [f"{json.dumps(k)}: {json.dumps(v, indent=1)}" for k, v in content.items() if k != "releases"]
        rows = ",\n  ".join(json.dumps(r) for r in content["releases"])
        text = "{\n" + ",\n".join([*lines, f'"releases": [\n  {rows}\n]']) + "\n}\n"
        write_atomic(self._path, text)  # durable, name and all, before noise is drawn


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else "infinite"


def _read(path: Path) -> tuple[list[Release], str]:
    try:
        content = json.loads(path.read_text())
        rows, initial = content["releases"], content.get("initial_weights", _FROM_SEED)
        found = [_release(row) for row in rows]
        if not all(_makes_sense(r) for r in found):
            raise ValueError("a release is out of range")
        return found, str(initial)
    except (ValueError, KeyError, TypeError):
        raise FedLMError(f"The privacy ledger {path} is damaged; without it the run cannot go on.") from None


def _release(row: dict[str, Any]) -> Release:
    """Returns a line of the file; older ledgers have no vocabulary, and leave the distance to the mechanism."""
    later = ("threshold", "delta", "distance")
    values = {f.name: row[f.name] for f in fields(Release) if f.name in row or f.name not in later}
    if "distance" not in row and row["round"] > 0:
        values["distance"] = mechanism_traits(Spec(row["mechanism"], {})).distance
    return Release(**values)


def _makes_sense(release: Release) -> bool:
    numbers = (release.noise_multiplier, release.sampling_rate, release.compositions, release.round, release.distance)
    positive = all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers)
    return positive and release.sampling_rate <= 1 and release.distance >= 1
