"""What a node still lets leave, message by message: its owner's policy, and the privacy budget of its vocabularies."""

import json
from collections.abc import Callable
from pathlib import Path

from flwr.app import Error, Message

from clients.policy import REFUSED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.delivery import Delivery
from fedlm.messages.fields import Malformed
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.privacy.vocabulary import check_private
from fedlm.system.files import write_atomic

_ROUNDING = 1e-9  # of a limit, so that ten times 0.1 is no more than 1


class VocabularyBudget:
    """Epsilon and delta of all vocabularies that a node ever gives; both add up (basic composition).

    Args:
      path: where the sums are kept, beside the vault.
      epsilon: the owner's limit; 0 gives none.
      delta: the owner's limit; 0 gives none. Without it a small epsilon could be bought with a large delta.
    """

    def __init__(self, path: Path, epsilon: float, delta: float) -> None:
        self._path, self._limits = path, {"epsilon": epsilon, "delta": delta}

    def spend(self, epsilon: float, delta: float) -> None:
        """Records a cost durably; only then may noise be drawn.

        Raises:
          ConfigError: a limit would be exceeded; nothing is spent.
        """
        costs, spent = {"epsilon": epsilon, "delta": delta}, self._spent()
        for name, limit in self._limits.items():
            if not (costs[name] > 0 and spent[name] + costs[name] <= limit * (1 + _ROUNDING)):
                raise ConfigError(
                    f"This node's policy allows vocabularies to cost {name} {limit:g} in total (vocabulary_{name}), of which "
                    f"{spent[name]:g} is spent; this one would cost {costs[name]:g}."
                )
        write_atomic(self._path, json.dumps({name: spent[name] + cost for name, cost in costs.items()}))

    def _spent(self) -> dict[str, float]:
        """Returns the sums. A file from before deltas were counted has none: its vocabularies count as delta 0."""
        kept = json.loads(self._path.read_text()) if self._path.is_file() else {"epsilon": 0.0}
        return {"epsilon": float(kept["epsilon"]), "delta": float(kept.get("delta", 0.0))}


class Guard:
    """Stands before the ClientApp: the policy, the echo by which a reply is known, and one reply kept for a chunk sent again.

    Args:
      policy: the owner's rules.
      work: answers a message.
      budget: for vocabularies; without one none is given.
    """

    def __init__(
        self, policy: Policy, work: Callable[[Message], Message], budget: VocabularyBudget | None = None
    ) -> None:
        self._policy, self._work, self._budget = policy, work, budget
        self._last: tuple[Delivery, Message] | None = None

    def answer(self, message: Message) -> Message:
        """Returns the reply, a refusal that says why, or the reply that the same chunk had before."""
        try:
            self._policy.check(message)
            delivery = Delivery.of(message.content)
            if delivery is not None and self._last is not None and self._last[0] == delivery:
                return Message(self._last[1].content, reply_to=message)  # it is out: nothing is drawn or charged again
            self._spend(message)
        except (ConfigError, Malformed) as error:
            ours = isinstance(error, ConfigError)
            reason = str(error) if ours else f"The message is not laid out as one of fedlm: {error}."
            return Message(Error(REFUSED, reason), reply_to=message)
        reply = self._work(message)
        if delivery is None or reply.has_error():
            return reply
        delivery.echo(reply.content)
        self._last = (delivery, reply)
        return reply

    def _spend(self, message: Message) -> None:
        """Charges a vocabulary to the owner's privacy budget, at what the node will make it cost."""
        if message.metadata.message_type != VocabularyRequest.kind:
            return
        settings = RunConfig.checked(json.loads(VocabularyRequest.read(message.content).settings))
        if self._budget is None or settings.reproducible:
            raise ConfigError("This node gives no vocabulary, or none with noise from a seed.")
        options = check_private(settings.vocabulary).options
        self._budget.spend(float(options["epsilon"]), float(options["delta"]))
