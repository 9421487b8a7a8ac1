"""A node answers requests: it opens its vault's shards in memory, trains on them, and replies with one exact sum."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict

from fedlm.aggregation.registry import build_aggregation
from fedlm.algorithms.base import ClientStates
from fedlm.algorithms.registry import build_algorithm
from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, VaultError
from fedlm.layers.device import status
from fedlm.messages.discovery import COUNTS, DiscoveryReply, DiscoveryRequest, ExportReply, ExportRequest
from fedlm.messages.evaluation import (
    ClientFigures,
    EvaluateRequest,
    GroupFigures,
    ReferenceRequest,
    ScoreRequest,
)
from fedlm.messages.fields import Malformed, record_weights
from fedlm.messages.json_text import read_object
from fedlm.messages.records import Allocator
from fedlm.messages.refusals import TooFewError
from fedlm.messages.training import TrainRequest, payload_content
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from fedlm.privacy.guarantee import check_selection
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.privacy.noise import noise_source
from fedlm.privacy.vocabulary import check_private, contribution, noised_counts, plan_words
from fedlm.rng import Purpose, Stream, stream
from fedlm.training.cohort import CohortClient, CohortTask, train_cohort
from fedlm.training.evaluate import continuation_scorer, scorer, train_centrally
from fedlm.training.generate import generate
from fedlm.training.trainer import LocalTrainer
from fedlm.types import Evaluated, Pseudonyms, Weights
from fedlm.vault.format import Part
from fedlm.vault.reader import Vault, training_clients

_PARTS = {Evaluated.VALIDATION: Part.VALIDATION, Evaluated.HELD_OUT: Part.HELD_OUT}


class Node:
    """One vault and one compiled model.

    Args:
      vault: open, with its key.
      tells_counts: whether counts and held-out sums per client may leave (a simulation: yes; a deployment: no).
      min_group: the smallest number of clients in a histogram, where sums per client may not leave.
      allocate: returns the memory for the sums of a reply.
      states: stores the clients' state between rounds, for algorithms that keep any.
      before: the node that this process served before; its compiled model is reused if it fits.
      trusts_server: whether weights of round 1 other than the seed's, and evaluations of a few clients, are accepted (a
        simulation: yes; a deployment: no).
    """

    def __init__(
        self,
        vault: Vault,
        *,
        tells_counts: bool = True,
        min_group: int = 5,
        allocate: Allocator | None = None,
        states: ClientStates | None = None,
        before: "Node | None" = None,
        trusts_server: bool = True,
    ) -> None:
        self._trusts_server = trusts_server
        self._allocate, self._states = allocate, states
        self._vault, self._tells_counts, self._min_group = vault, tells_counts, min_group
        self._trainer: LocalTrainer | None = before._trainer if before else None
        self._settings = ""
        self._initial: Weights = ()  # of the run's seed; the trainer's weights change with every task
        self._traces = 0  # of earlier trainers

    @property
    def traces(self) -> int:
        """How many times this process compiled a training step: once per run, for any number of clients and rounds."""
        return self._traces + (0 if self._trainer is None else self._trainer.traces)

    def answer(self, message: Message) -> RecordDict:
        """Returns the content of the reply to a message.

        Raises:
          ConfigError: the message is malformed, or its kind is unknown.
          FedLMError: the request cannot be met; the sentence quotes no private text.
        """
        kind = message.metadata.message_type
        if kind not in _HANDLERS:
            raise ConfigError(f"A node of fedlm does not answer messages of type {kind}.")
        request, handle = _HANDLERS[kind]
        try:
            return handle(self, request.read(message.content))
        except Malformed as error:  # also from the handler, which reads the arrays
            raise ConfigError(f"The message is malformed: {error}.") from None

    def discovery(self, request: DiscoveryRequest) -> RecordDict:
        """Returns the vault's id, pseudonyms, counts of tokens and documents where allowed, and the initial weights."""
        index = self._vault.by_pseudonym()
        if not self._tells_counts:  # who has no training text must not be in a cohort, and nobody could tell
            index = index[training_clients(index)]
        shared = COUNTS if self._tells_counts else ()
        counts = {part: np.ascontiguousarray(index[part]) for part in shared}  # (clients,) each
        initial, kernels = None, ""
        if request.wants_weights:
            self._ready(request.settings)
            initial, kernels = self._initial, status()
        pseudonyms = np.ascontiguousarray(index["pseudonym"])
        return DiscoveryReply(self._vault.vault_id, pseudonyms, counts, initial, kernels).content()

    def train(self, request: TrainRequest) -> RecordDict:
        """Trains each client of the chunk from the global weights."""
        trainer, weights = self._ready(request.settings), request.weights
        config = trainer.config
        if request.server_round == 1:
            self._check_start(weights)
        if config.drift and not self._tells_counts:
            raise CohortError(
                "This node does not measure drift, since a second sum over a cohort reveals more about its clients: set drift=false."
            )
        algorithm = build_algorithm(config.spec("algorithm"), measures_drift=config.drift)
        mechanism = build_mechanism(config.privacy, sum(w.size for w in weights))
        # Per client: unseal -> train -> update u_i -> mechanism bounds it -> exact sum. Only the sum leaves this method.
        task = CohortTask(
            request.server_round,
            weights,
            request.mechanism,
            algorithm.proximal_mu(request.strategy),
            {name: record_weights(record) for name, record in request.vectors.items()},
            lambda client: noise_source(
                config.reproducible, Stream(config.seed, Purpose.NODE_NOISE, request.server_round, client)
            ),
        )
        clients = self._clients(request.clients)
        total, metrics = train_cohort(trainer, algorithm, mechanism, task, clients, self._states)
        payload = build_aggregation(config.spec("aggregation")).payload(total, metrics)
        return payload_content(payload, self._allocate)

    def _check_start(self, weights: Weights) -> None:
        """Refuses weights that the run's seed does not give: they could be made to write text into the update.

        Processors may differ in the last bits, so the comparison has a tolerance.
        """
        same = [w.shape for w in weights] == [w.shape for w in self._initial] and all(
            np.allclose(w, own, rtol=1e-5, atol=1e-6) for w, own in zip(weights, self._initial, strict=True)
        )
        if not (self._trusts_server or same):
            raise ConfigError("The weights of round 1 are not those of the run's seed, which this node requires.")

    def _clients(self, clients: Pseudonyms) -> list[CohortClient]:
        """Returns the clients of a chunk, each to be opened only when it is reached."""
        return [CohortClient(client, partial(self._vault.documents, client)) for client in map(int, clients)]

    def evaluate(self, request: EvaluateRequest) -> RecordDict:
        """Returns sums of one part of the text: per client where allowed (zeros without text), otherwise over the chunk.

        Raises:
          CohortError: the noise that this node adds itself would not cover them, and this is no simulation.
        """
        trainer = self._ready(request.settings)
        if trainer.config.privacy.traits.node_noise and not self._tells_counts:
            mechanism = trainer.config.spec("mechanism").name
            raise CohortError(
                f"This node evaluates nothing under mechanism={mechanism}: no noise would cover the figures."
            )
        shards = (self._vault.documents(c, _PARTS[request.part]) for c in map(int, request.clients))
        figures = trainer.evaluate_each(request.weights, shards)
        if not self._tells_counts:
            if not self._trusts_server and sum(m.tokens > 0 for m in figures) < self._min_group:
                words = request.part.words
                raise TooFewError(f"Fewer than {self._min_group} clients of a node have {words} text (min_group).")
            return GroupFigures.of(figures, self._min_group).content()
        return ClientFigures(request.clients, figures).content()

    def reference(self, request: ReferenceRequest) -> RecordDict:
        """Returns each client's held-out sums under its local-only model, or under one centralised model.

        These are the lower and upper reference of a simulation; a node that reports no counts refuses.
        """
        if not self._tells_counts:
            raise CohortError("This node trains no local-only or centralised models.")
        trainer, weights = self._ready(request.settings), request.weights
        shards = [self._vault.documents(c) for c in map(int, request.clients)]
        if request.centralised:
            rng = stream(trainer.config.seed, Purpose.REFERENCE)
            together = [d for shard in shards for d in shard]
            weights = train_centrally(trainer, weights, together, request.passes, rng)
        figures = []
        for client, shard in zip(map(int, request.clients), shards, strict=True):
            rng = stream(trainer.config.seed, Purpose.REFERENCE, 1, client)
            own = weights if request.centralised else train_centrally(trainer, weights, shard, request.passes, rng)
            figures.append(trainer.evaluate(own, self._vault.documents(client, Part.HELD_OUT)))
        return ClientFigures(request.clients, figures, weights if request.centralised else None).content()

    def score(self, request: ScoreRequest) -> RecordDict:
        """Returns the sums of each text of the request under its weights."""
        trainer = self._ready(request.settings)
        trainer.assign(request.weights)
        if request.before:
            figures = continuation_scorer(trainer)(list(zip(request.before, request.texts, strict=True)))
        else:
            figures = scorer(trainer)(list(request.texts))
        return ClientFigures(np.arange(len(request.texts), dtype=np.uint64), figures).content()

    def export(self, request: ExportRequest) -> RecordDict:
        """Returns the global model as a `.keras` file, and a seeded sample of generated text."""
        trainer = self._ready(request.settings)
        trainer.assign(request.weights)
        rng = stream(trainer.config.seed, Purpose.SAMPLE)
        sample = "" if trainer.is_masked else "".join(generate(trainer.next_logits, trainer.vocab, "", rng))
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.keras"
            trainer.save(file)
            return ExportReply(file.read_bytes(), sample).content()

    def vocabulary(self, request: VocabularyRequest) -> RecordDict:
        """Returns noised counts of the words in the clients' training text; counts below the threshold stay on the node."""
        run = RunConfig.checked(read_object(request.settings))
        check_selection(run.privacy, self._vault.about, has_private_vocabulary=True)
        options = check_private(run.vocabulary).options
        candidates = sorted(set(request.candidates))
        plan = plan_words(float(options["epsilon"]), options["delta"], options["words"], bool(candidates))
        allowed, contributions = frozenset(candidates), []
        for client in set(
            map(int, request.clients)
        ):  # without duplicates: the noise covers one contribution per client
            with contextlib.suppress(VaultError):
                contributions.append(contribution(self._vault.documents(client), plan.words, allowed))
        place = int.from_bytes(self._vault.vault_id[:8], "little")
        source = noise_source(run.reproducible, Stream(run.seed, Purpose.VOCABULARY_NOISE, 0, place))
        return VocabularyReply(noised_counts(contributions, plan, source, candidates)).content()

    def _ready(self, settings: str) -> LocalTrainer:
        """Returns the trainer of a configuration; the model is compiled once per process."""
        if self._trainer is None or settings != self._settings:
            config = RunConfig.checked(read_object(settings))
            check_selection(config.privacy, self._vault.about)
            if self._trainer is None or not self._trainer.take_over(config):
                self._traces = self.traces
                self._trainer = LocalTrainer(config)
            self._settings, self._initial = settings, tuple(w.copy() for w in self._trainer.weights)
        return self._trainer


_HANDLERS: dict[str, tuple[Any, Callable[[Node, Any], RecordDict]]] = {
    TrainRequest.kind: (TrainRequest, Node.train),
    EvaluateRequest.kind: (EvaluateRequest, Node.evaluate),
    ReferenceRequest.kind: (ReferenceRequest, Node.reference),
    DiscoveryRequest.kind: (DiscoveryRequest, Node.discovery),
    ExportRequest.kind: (ExportRequest, Node.export),
    ScoreRequest.kind: (ScoreRequest, Node.score),
    VocabularyRequest.kind: (VocabularyRequest, Node.vocabulary),
}
"""The request type and the method for each kind of message."""
