"""A mechanism turns a cohort's exact sum into what may be released, and says what that costs.

One file each: `gaussian` stands here, `adaptive.py` and `local.py` beside it. A mechanism of another kind (a tree of
sums, masked sums) is a further file and a line in `build_mechanism`.
"""

from typing import Protocol

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.accounting import Release
from fedlm.privacy.mechanisms.gaussian import Gaussian
from fedlm.privacy.noise import Source
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import IntSums, Pseudonyms


class Mechanism(Protocol):
    """What `server/run/private.py` asks of a mechanism."""

    clip_norm: float
    """The bound to which nodes clip in the next round."""

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns what releasing this round will cost. Depends on public values and earlier releases only."""
        ...

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """Returns the noised sum; called once per event, after it was charged."""
        ...

    def state(self) -> dict[str, float]:
        """Returns what the next round depends on; all of it is released already."""
        ...

    def restore(self, state: dict[str, float]) -> None:
        """Puts back what `state` returned."""
        ...


def build_mechanism(settings: PrivacySettings, dimension: int) -> Mechanism:
    """Returns the mechanism of the settings, which must be `on`."""
    from fedlm.privacy.mechanisms.adaptive import Adaptive
    from fedlm.privacy.mechanisms.local import Local

    kinds = {"gaussian": Gaussian, "adaptive": Adaptive, "local": Local}
    return kinds[settings.mechanism.name](settings, dimension)
