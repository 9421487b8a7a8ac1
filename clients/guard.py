"""Checks each message against the owner's policy and the run's contract before the node works on it, and keeps what it must.

message -> policy -> contract, memory -> kept reply? return it -> charge the budget -> work -> echo, keep -> reply
"""

from collections.abc import Callable

from flwr.app import Error, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict  # pylint: disable=E0611

from clients.contract.budget import VocabularyBudget
from clients.contract.contract import Contract, Waiting, digest_of
from clients.policy import REFUSED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMError, StorageError, VaultError
from fedlm.messages.delivery import Delivery
from fedlm.messages.fields import Malformed
from fedlm.messages.refusals import WAITS
from fedlm.messages.training import TrainRequest
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.privacy.vocabulary import check_private


class Guard:
    """Wraps the ClientApp.

    Args:
      policy: the owner's rules.
      contract: what the owner has accepted, and what the node has answered.
      work: answers a message.
      budget: for vocabularies; without one, the node releases none.
    """

    def __init__(
        self,
        policy: Policy,
        contract: Contract,
        work: Callable[[Message], Message],
        budget: VocabularyBudget | None = None,
    ) -> None:
        self._policy, self._contract, self._work, self._budget = policy, contract, work, budget
        self._last: tuple[bytes, RecordDict] | None = None  # the last request's digest and reply

    def answer(self, message: Message) -> Message:
        """Returns the reply, a refusal with its reason, or the reply that the same request had before."""
        try:
            request, config = self._policy.check(message)
            delivery = Delivery.of(message.content)
            if delivery is None:
                raise Malformed("it names no run")
            digest = digest_of(delivery.run, message.metadata.message_type, message.content)
            self._contract.check(delivery.run, request, request.settings, config, digest)
            content = self._kept(digest, is_noised(request, config))
            if content is None:
                self._spend(request, config)
        except Waiting as error:
            return Message(Error(WAITS, str(error)), reply_to=message)
        except (VaultError, StorageError) as error:  # no memory, no answer
            return Message(Error(error.exit_code, str(error)), reply_to=message)
        except (ConfigError, Malformed) as error:
            reason = error.told if isinstance(error, ConfigError) else f"The message is malformed: {error}."
            return Message(Error(REFUSED, reason), reply_to=message)
        if content is None:
            reply = self._work(message)
            if reply.has_error():
                return reply
            content = reply.content
            try:
                self._policy.check_reply(request, config, content)
                self._keep(digest, content, is_noised(request, config))
            except FedLMError as error:
                return Message(Error(error.exit_code, error.told), reply_to=message)
        echoed = RecordDict(dict(content.items()))  # the kept content is that of any delivery
        delivery.echo(echoed)
        return Message(echoed, reply_to=message)

    def _kept(self, digest: bytes, noised: bool) -> RecordDict | None:
        """Returns the reply that the same request had before. A reply without noise is computed again if it is not at hand."""
        if self._last is not None and self._last[0] == digest:
            return self._last[1]
        content = self._contract.memory.kept_reply(digest) if noised else None
        return None if content is None else recorddict_from_proto(ProtoRecordDict.FromString(content))

    def _keep(self, digest: bytes, content: RecordDict, noised: bool) -> None:
        self._last = (digest, content)
        if noised:  # on the disk before it is sent: a second copy would have fresh noise
            self._contract.memory.keep_reply(digest, recorddict_to_proto(content).SerializeToString())

    def _spend(self, request: object, settings: RunConfig) -> None:
        """Charges a vocabulary to the owner's privacy budget, at the cost that the node itself will enforce."""
        if not isinstance(request, VocabularyRequest):
            return
        if self._budget is None:
            raise ConfigError("This node releases no vocabulary.")
        if settings.reproducible:
            raise ConfigError("This node releases no vocabulary with noise from a seed: set reproducible=false.")
        options = check_private(settings.vocabulary).options
        self._budget.spend(float(options["epsilon"]), float(options["delta"]))


def is_noised(request: object, config: RunConfig) -> bool:
    """Returns whether the node adds noise to its reply, so that no two replies to one request may leave it."""
    is_training = isinstance(request, TrainRequest) and config.privacy.traits.node_noise
    return is_training or isinstance(request, VocabularyRequest)
