"""No differential privacy: cohorts of a fixed size, and updates as they are. The models may repeat training text."""

from collections.abc import Mapping

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.noise import Source
from fedlm.privacy.sampling import draw_cohort
from fedlm.privacy.settings import Traits
from fedlm.types import Pseudonyms, Weights


class NoPrivacy(Mechanism):
    """Releases the sum itself. There is no event, no noise and no guarantee."""

    traits = Traits(private=False)

    @property
    def is_plain(self) -> bool:
        """Updates are added as they are."""
        return True

    def draw(self, key: bytes, server_round: int, clients: Pseudonyms, attempt: int) -> Pseudonyms:
        """Returns the clients with the smallest scores of the round, `cohort_size` of them."""
        return draw_cohort(key, server_round, clients, self.settings.cohort_size)

    def told(self) -> Mapping[str, float]:
        """Returns nothing."""
        return {}

    def hear(self, told: Mapping[str, float]) -> None:
        """Needs nothing."""

    def contribute(self, total: ExactSum, update: Weights | None, weight: int, source: Source) -> bool:
        """Is not asked: a client's update is added by `ExactSum.add`, with the bound of the cohort."""
        raise AssertionError("without a mechanism, updates are added as they are")
