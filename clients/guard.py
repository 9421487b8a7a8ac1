"""What a node still lets leave, message by message: its owner's policy, and the privacy budget of its vocabularies."""

import json
from collections.abc import Callable
from pathlib import Path

from flwr.app import ConfigRecord, Error, Message

from clients.policy import REFUSED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.records import config_in
from fedlm.privacy.vocabulary import check_private
from fedlm.system.files import write_atomic

_ROUNDING = 1e-9  # of a limit, so that ten times 0.1 is no more than 1


class Allowance:
    """Epsilon and delta for vocabularies that a node gives in its life; both add up (basic composition).

    Args:
      path: where the sums are kept, beside the vault.
      epsilon: the owner's limit; 0 gives none.
      delta: the owner's limit; 0 gives none. Without it a small epsilon could be bought with a large delta.
    """

    def __init__(self, path: Path, epsilon: float, delta: float) -> None:
        self._path, self._limits = path, {"epsilon": epsilon, "delta": delta}

    def spend(self, epsilon: float, delta: float) -> None:
        """Writes a cost down; only then may noise be drawn.

        Raises:
          ConfigError: a limit would be passed; nothing is spent.
        """
        costs, spent = {"epsilon": epsilon, "delta": delta}, self._spent()
        for name, limit in self._limits.items():
            if not (costs[name] > 0 and spent[name] + costs[name] <= limit * (1 + _ROUNDING)):
                raise ConfigError(
                    f"This node's policy lets vocabularies cost {name} {limit:g} in all (vocabulary_{name}), of which "
                    f"{spent[name]:g} is spent; this one asks for {costs[name]:g}."
                )
        write_atomic(self._path, json.dumps({name: spent[name] + cost for name, cost in costs.items()}))

    def _spent(self) -> dict[str, float]:
        """Returns the sums; a file of before deltas were counted has none, and its vocabularies count as 0."""
        kept = json.loads(self._path.read_text()) if self._path.is_file() else {"epsilon": 0.0}
        return {"epsilon": float(kept["epsilon"]), "delta": float(kept.get("delta", 0.0))}


class Guard:
    """Stands in front of the ClientApp: policy, the echo that names a chunk, and one reply kept for a chunk sent again.

    Args:
      policy: the owner's rules.
      work: answers a message.
      allowance: for vocabularies; without one none is given.
    """

    def __init__(self, policy: Policy, work: Callable[[Message], Message], allowance: Allowance | None = None) -> None:
        self._policy, self._work, self._allowance = policy, work, allowance
        self._last: tuple[tuple[object, ...], Message] | None = None

    def answer(self, message: Message) -> Message:
        """Returns the reply, a refusal that says why, or the reply that the same chunk had before."""
        try:
            self._policy.check(message)
            if (kept := self._kept(message)) is not None:
                return kept
            self._spend(message)
        except (ConfigError, KeyError, ValueError, AssertionError) as error:
            reason = str(error) if isinstance(error, ConfigError) else "The message is not laid out as one of fedlm."
            return Message(Error(REFUSED, reason), reply_to=message)
        key = chunk_key(config_in(message.content))
        reply = self._work(message)
        if key is None or reply.has_error():
            return reply
        reply.content["echo"] = ConfigRecord({"run": str(key[0]), "chunk": str(key[1])})
        self._last = (key, reply)
        return reply

    def _kept(self, message: Message) -> Message | None:
        """Returns the reply that the same chunk had before: it is out, so nothing is drawn or charged again."""
        key = chunk_key(config_in(message.content))
        if key is None or self._last is None or self._last[0] != key:
            return None
        return Message(self._last[1].content, reply_to=message)

    def _spend(self, message: Message) -> None:
        """Charges a vocabulary to the owner's allowance, as dearly as the node will make it."""
        if message.metadata.message_type != "query.vocabulary":
            return
        settings = RunConfig.checked(json.loads(str(config_in(message.content)["settings"])))
        if self._allowance is None or settings.reproducible:
            raise ConfigError("This node gives no vocabulary, or none with noise from a seed.")
        options = check_private(settings.vocabulary).options
        self._allowance.spend(float(options["epsilon"]), float(options["delta"]))


def chunk_key(config: ConfigRecord) -> tuple[object, ...] | None:
    """Returns the run and id that the server gave a chunk; None where it gave none."""
    return (config["run"], config["chunk"]) if "run" in config and "chunk" in config else None
