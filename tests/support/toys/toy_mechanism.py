"""A toy mechanism in one file: the clip norm halves every second round, by a public rule."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.accounting import Release
from fedlm.privacy.mechanisms.gaussian import CENTRAL, Gaussian
from fedlm.privacy.noise import Source
from fedlm.types import IntSums


class Halving(Gaussian):
    """Gaussian noise with a clip norm of C / 2**(rounds // every)."""

    traits = replace(CENTRAL, title=f"{CENTRAL.title} with a halving clip norm", moves_norm=True)
    defaults: ClassVar = {"every": 2}
    rounds = 0

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        noised = super().release(event, total, source)
        self.restore({"rounds": self.rounds + 1})
        return noised

    def state(self) -> dict[str, float]:
        return {"rounds": float(self.rounds)}

    def restore(self, state: Mapping[str, float]) -> None:
        self.rounds = int(state["rounds"])
        self.clip_norm = self.settings.clip_norm / 2.0 ** (self.rounds // int(str(self.options["every"])))
