"""Holds a run to what its owner accepted: who accepted it, and which requests its manifest covers.

request -> accepted?  -> inside the manifest?  -> the chunk that the cohort key gives?  -> agrees with earlier requests?
           Waiting        ConfigError             ConfigError                              Refused
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flwr.app import RecordDict
from flwr.common.serde import recorddict_to_proto

from clients.contract.approvals import POLICY, Approvals
from clients.contract.manifest import Manifest
from clients.contract.memory import Memory, Refused
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMError
from fedlm.messages.evaluation import EvaluateRequest
from fedlm.messages.training import TrainRequest
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.privacy.sampling import cohort_key, scores
from fedlm.types import Evaluated, Pseudonyms

_IN, _OUT = b"in", b"out"


class Waiting(FedLMError):
    """The run waits for the node's owner."""


@dataclass(frozen=True)
class Site:
    """What a node knows without any message.

    Attributes:
      clients: pseudonyms in the node's vault, (clients,).
      server_sha256: of the certificate of the coordinator's authority.
      bundle_sha256: returns the SHA-256 of the node's own app bundle.
    """

    clients: Pseudonyms
    server_sha256: str
    bundle_sha256: Callable[[], str]


class Contract:
    """What one node has been asked for, and may be asked for.

    Args:
      policy: the owner's rules.
      site: the node.
      approvals: the owner's decisions.
      memory: what the node answered.
    """

    def __init__(self, policy: Policy, site: Site, approvals: Approvals, memory: Memory) -> None:
        self._policy, self._site, self._approvals, self.memory = policy, site, approvals, memory
        self._known: tuple[str, str, Manifest] | None = None  # of the last message: (run, settings, manifest)

    def check(self, run: str, request: object, settings: str, config: RunConfig, digest: bytes) -> None:
        """Refuses a request that the owner has not accepted, or that does not agree with an earlier one.

        Args:
          run: the run's id.
          request: as read from the message.
          settings: the configuration as the message carries it.
          config: the same, read.
          digest: of the message's content; see `digest_of`.

        Raises:
          Waiting: the run waits for the owner.
          ConfigError: with the reason of a refusal.
        """
        manifest = self._manifest(run, settings, config)
        name = manifest.run  # what was answered counts for the run, also if it is extended and accepted again
        self._check_accepted(manifest, config)
        if config.vocabulary_text and not manifest.vocabulary_sha256:
            text = hashlib.sha256(config.vocabulary_text.encode()).digest()
            self.memory.remember({self._tag(name, "vocabulary"): text}, {}, "The run changes its learned vocabulary.")
        if isinstance(request, TrainRequest):
            self._check_training(name, request, config, digest)
        elif isinstance(request, EvaluateRequest):
            self._check_evaluation(name, request, config, digest)
        elif isinstance(request, VocabularyRequest):
            problem = "The run asks for a second vocabulary."
            self.memory.remember({self._tag(name, "words"): digest}, {}, problem)

    def _manifest(self, run: str, settings: str, config: RunConfig) -> Manifest:
        if self._known is None or self._known[:2] != (run, settings):
            site = self._site
            made = Manifest.of(run, config, server_sha256=site.server_sha256, bundle_sha256=site.bundle_sha256())
            self._known = run, settings, made
        return self._known[2]

    def _check_accepted(self, manifest: Manifest, config: RunConfig) -> None:
        if self._approvals.accepted_by(manifest.sha256):
            return
        if self._approvals.is_refused(manifest.sha256):
            raise ConfigError(f"This node's owner has refused the run {manifest.sha256[:12]}.")
        questions = self._policy.questions(config, manifest.vocabulary_sha256)
        if not questions and self._approvals.num_by_policy() < self._policy.max_runs:
            self._approvals.accept(manifest, POLICY)
            return
        self._approvals.ask(manifest)
        raise Waiting(
            f"The run {manifest.sha256[:12]} waits for this node's owner: fedlm deploy review NODE shows what it asks for."
        )

    def _tag(self, *parts: str | int | bytes) -> bytes:
        return self.memory.tag(*parts)

    def _check_training(self, name: str, request: TrainRequest, config: RunConfig, digest: bytes) -> None:
        number, attempt, clients = request.server_round, request.attempt, [int(c) for c in request.clients]
        if not 1 <= number <= config.rounds:
            raise ConfigError(f"The message names round {number}; the run has {config.rounds} rounds.")
        held = len(set(clients) & set(map(int, self._site.clients)))  # invented clients hide nobody
        if not config.privacy.on and held < self._policy.min_chunk_clients:
            raise ConfigError(
                f"The message names {held} clients of this node's vault; its policy requires at least "
                f"{self._policy.min_chunk_clients} (min_chunk_clients)."
            )
        claims = {self._tag(name, "train", number, attempt, c): digest for c in clients}
        # Where the coordinator sees single updates, which the owner has reviewed, no set of clients hides more than another.
        if not config.privacy.on and config.aggregation == RunConfig.model_fields["aggregation"].default:
            claims |= self._own_chunk(name, request, config)
        # Each of them is one more noised copy of the client's update.
        copies = [self._tag(name, "copies", c) for c in clients] if config.privacy.traits.node_noise else []
        problem = (
            f"A client of the message was in another request of round {number}: the difference between the two answers "
            "could reveal it."
        )
        self.memory.remember(claims, dict.fromkeys(copies, config.rounds), problem)

    def _own_chunk(self, name: str, request: TrainRequest, config: RunConfig) -> dict[bytes, bytes]:
        """Draws the node's chunk again. A cohort is the clients with the smallest scores of the round, so the node's part of
        it is the first of its own clients by score, less those that take no part in the run: clients that another node holds
        too, as many as the policy's `max_left_out`. Whether a client takes part is decided once per run. Clients that the vault
        has forgotten are not its own any more.

        Raises:
          ConfigError: the chunk is not what the cohort key gives.
        """
        asked = {int(c) for c in request.clients}
        if request.attempt or len(asked) > config.cohort_size:
            raise ConfigError(
                "The message asks for more clients than a cohort of this run has, or for a second attempt."
            )
        own = self._site.clients
        order = np.lexsort((own, scores(cohort_key(config.seed), request.server_round, own)))
        last = max((place for place, c in enumerate(order) if int(own[c]) in asked), default=-1)
        parts = {int(own[c]): _IN if int(own[c]) in asked else _OUT for c in order[: last + 1]}
        claims = {self._tag(name, "part", c): part for c, part in parts.items()}
        left_out = [self._tag(name, "part", int(c)) for c in own]
        left_out = [tag for tag in left_out if claims.get(tag, self.memory.digest_of(tag)) == _OUT]
        if len(left_out) > self._policy.max_left_out:
            raise Refused(
                f"The clients of round {request.server_round} are not those that the run's seed draws: the message leaves out "
                f"{len(left_out)} of this node's clients, and its policy allows {self._policy.max_left_out} (max_left_out)."
            )
        if any(self.memory.digest_of(tag) not in (None, part) for tag, part in claims.items()):
            raise Refused(
                f"The clients of round {request.server_round} are not those that the run's seed draws: the message leaves out "
                "a client that took part before, or asks for one that was left out."
            )
        return claims

    def _check_evaluation(self, name: str, request: EvaluateRequest, config: RunConfig, digest: bytes) -> None:
        if request.server_round > config.rounds:
            raise ConfigError(f"The message names round {request.server_round}; the run has {config.rounds} rounds.")
        members = hashlib.sha256(np.sort(request.clients).astype("<u8").tobytes()).digest()
        part, problem = (
            config.steering,
            "A run evaluates one set of clients, once per round: this message asks for another.",
        )
        if request.part is part:
            own = () if part is Evaluated.HELD_OUT else (part.value,)
            place = self._tag(name, "evaluate", *own, request.server_round)
        elif request.part is Evaluated.HELD_OUT:  # one model only, whatever round the message names
            own, place = (request.part.value,), self._tag(name, "evaluate", request.part.value, "end", config.rounds)
            problem = "A run with validation text reads held-out text once, at its end: this message asks again."
        else:
            raise ConfigError(
                "The message asks for an evaluation on validation text, and the run's manifest does not: validation_fraction is 0."
            )
        self.memory.remember({self._tag(name, "evaluation set", *own): members, place: digest}, {}, problem)


def digest_of(run: str, kind: str, content: RecordDict) -> bytes:
    """Returns the SHA-256 of what a message of a run asks for: all of its content but the number of its delivery."""
    asked = RecordDict({name: record for name, record in content.items() if name != "delivery"})
    proto = recorddict_to_proto(asked).SerializeToString(deterministic=True)
    head = hashlib.sha256(run.encode()).digest() + hashlib.sha256(kind.encode()).digest()
    return hashlib.sha256(head + proto).digest()
