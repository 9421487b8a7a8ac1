"""No differential privacy: cohorts of a fixed size and unmodified updates. The models may reproduce training text."""

from collections.abc import Mapping

from fedlm.aggregation.exact import LIMIT, ExactSum
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.noise import Source
from fedlm.privacy.sampling import sample_cohort
from fedlm.privacy.settings import Traits
from fedlm.types import Pseudonyms, Weights


class NoPrivacy(Mechanism):
    """Releases the sum itself. There is no event, no noise and no guarantee."""

    traits = Traits(private=False)

    @property
    def is_plain(self) -> bool:
        """Updates are added unchanged."""
        return True

    @property
    def bound(self) -> int:
        """A client's share of the range of a sum: a whole cohort of clients at this bound does not overflow."""
        return LIMIT // self.settings.cohort_size

    def sample(self, key: bytes, server_round: int, clients: Pseudonyms, attempt: int) -> Pseudonyms:
        """Returns the clients with the smallest scores of the round, `cohort_size` of them."""
        return sample_cohort(key, server_round, clients, self.settings.cohort_size)

    def broadcast(self) -> Mapping[str, float]:
        """Returns nothing."""
        return {}

    def receive(self, broadcast: Mapping[str, float]) -> None:
        """Ignores everything."""

    def contribute(self, total: ExactSum, update: Weights | None, weight: int, source: Source) -> bool:
        """Is never called: `ExactSum.add` adds a client's update, within the cohort's overflow bound."""
        raise AssertionError("without a mechanism, updates are added unchanged")
