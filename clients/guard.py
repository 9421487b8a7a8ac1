"""Checks each message against the owner's policy and the privacy budget of vocabularies before the node works on it."""

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

_ROUNDING = 1e-9  # relative tolerance of a limit: ten times 0.1 must not exceed 1


class VocabularyBudget:
    """The epsilon and delta of all vocabularies that a node ever releases.

    Under basic composition both add up: (sum of epsilon_i, sum of delta_i). Both have a limit, since a small epsilon could
    otherwise be bought with a large delta.

    Args:
      path: the file with the sums, beside the vault.
      epsilon: the owner's limit; 0 releases no vocabulary.
      delta: the owner's limit; 0 releases no vocabulary.
    """

    def __init__(self, path: Path, epsilon: float, delta: float) -> None:
        self._path, self._limits = path, {"epsilon": epsilon, "delta": delta}

    def spend(self, epsilon: float, delta: float) -> None:
        """Records a cost durably; only then may noise be generated.

        Raises:
          ConfigError: the cost would exceed a limit; nothing is spent.
        """
        costs, spent = {"epsilon": epsilon, "delta": delta}, self._spent()
        for name, limit in self._limits.items():
            if not (costs[name] > 0 and spent[name] + costs[name] <= limit * (1 + _ROUNDING)):
                raise ConfigError(
                    f"This node's policy limits the {name} of all vocabularies to {limit:g} (vocabulary_{name}); {spent[name]:g} is "
                    f"spent, and this one would cost {costs[name]:g}."
                )
        write_atomic(self._path, json.dumps({name: spent[name] + cost for name, cost in costs.items()}))

    def _spent(self) -> dict[str, float]:
        """Returns the sums. Files of earlier versions have no delta; their vocabularies count as delta 0."""
        kept = json.loads(self._path.read_text()) if self._path.is_file() else {"epsilon": 0.0}
        return {"epsilon": float(kept["epsilon"]), "delta": float(kept.get("delta", 0.0))}


class Guard:
    """Wraps the ClientApp: policy, privacy budget, echo, and the last reply for a chunk that is sent again.

    message -> policy -> same chunk as before? return the kept reply -> charge the budget -> work -> echo, keep -> reply

    Args:
      policy: the owner's rules.
      work: answers a message.
      budget: for vocabularies; without one, the node releases none.
    """

    def __init__(
        self, policy: Policy, work: Callable[[Message], Message], budget: VocabularyBudget | None = None
    ) -> None:
        self._policy, self._work, self._budget = policy, work, budget
        self._last: tuple[Delivery, Message] | None = None

    def answer(self, message: Message) -> Message:
        """Returns the reply, a refusal with its reason, or the kept reply of the same chunk."""
        try:
            self._policy.check(message)
            delivery = Delivery.of(message.content)
            if delivery is not None and self._last is not None and self._last[0] == delivery:
                return Message(
                    self._last[1].content, reply_to=message
                )  # already released: no new noise, no second charge
            self._spend(message)
        except (ConfigError, Malformed) as error:
            ours = isinstance(error, ConfigError)
            reason = str(error) if ours else f"The message is malformed: {error}."
            return Message(Error(REFUSED, reason), reply_to=message)
        reply = self._work(message)
        if delivery is None or reply.has_error():
            return reply
        delivery.echo(reply.content)
        self._last = (delivery, reply)
        return reply

    def _spend(self, message: Message) -> None:
        """Charges a vocabulary to the owner's privacy budget, at the cost that the node itself will enforce."""
        if message.metadata.message_type != VocabularyRequest.kind:
            return
        settings = RunConfig.checked(json.loads(VocabularyRequest.read(message.content).settings))
        if self._budget is None:
            raise ConfigError("This node releases no vocabulary.")
        if settings.reproducible:
            raise ConfigError("This node releases no vocabulary with noise from a seed: set reproducible=false.")
        options = check_private(settings.vocabulary).options
        self._budget.spend(float(options["epsilon"]), float(options["delta"]))
