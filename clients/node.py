"""What a node does with a message: it opens its vault's shards in memory, trains them, and replies with one exact sum."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from fedlm.aggregation.exact import ExactSum, client_weight
from fedlm.config import RunConfig
from fedlm.errors import CohortError, VaultError
from fedlm.messages import wire
from fedlm.messages.records import Allocate, arrays_in, config_in
from fedlm.privacy.clipping import contribute
from fedlm.privacy.mechanisms.gaussian import noise_source
from fedlm.privacy.vocabulary import check_private, contribution, noised_counts, plan_words
from fedlm.training.chunk import Shard, train_chunk
from fedlm.training.evaluate import scorer, train_centrally
from fedlm.training.generate import generate
from fedlm.training.trainer import LocalTrainer
from fedlm.types import TextMetrics, Weights
from fedlm.vault.format import Part
from fedlm.vault.reader import Vault

SHUFFLE, SAMPLE, NOISE = 1, 2, 4  # the purpose, in default_rng([seed, purpose, round, pseudonym])


class Node:
    """One vault and one compiled model.

    Args:
      vault: open, with its key.
      tells_counts: whether counts and held-out sums per client may leave (a simulation: yes; a deployment: no).
      min_group: clients that a histogram must cover, where sums per client may not leave.
      allocate: where the sums of a reply shall lie.
      before: the node that this process served before, whose compiled model is used again if it fits.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        tells_counts: bool = True,
        min_group: int = 5,
        allocate: Allocate | None = None,
        before: "Node | None" = None,
    ) -> None:
        self._allocate = allocate
        self._vault, self._tells_counts, self._min_group = vault, tells_counts, min_group
        self._trainer: LocalTrainer | None = before._trainer if before else None
        self._settings = ""
        self._initial: Weights = ()  # of the seed: the trainer's own are those of whatever it did last
        self._traces = 0  # of the trainers before this one

    @property
    def traces(self) -> int:
        """How often this process compiled a training step; once a run, whatever the clients and rounds."""
        return self._traces + (0 if self._trainer is None else self._trainer.traces)

    def query(self, message: Message) -> RecordDict:
        """Answers the vault's id and pseudonyms, counts of tokens and documents where allowed, and the initial weights of the run's seed."""
        index = self._vault.by_pseudonym()
        told = ("train", "held_out", "documents") if self._tells_counts else ()
        counts = {part: np.ascontiguousarray(index[part]) for part in told}
        content = wire.census_content(self._vault.vault_id, np.ascontiguousarray(index["pseudonym"]), counts)
        if _config(message)["server-round"] == 0:
            self._ready(message)
            content["arrays"] = wire.weights_record(self._initial)
        return content

    def vocabulary(self, message: Message) -> RecordDict:
        """Returns noised counts of the words of the clients' training text; what is below the threshold stays here."""
        config = _config(message)
        run = RunConfig.checked(json.loads(str(config["settings"])))
        options = check_private(run.vocabulary).options
        listed = config.get("candidates") or []
        assert isinstance(listed, list)
        candidates = sorted({str(w) for w in listed})
        plan = plan_words(float(options["epsilon"]), options["delta"], options["words"], bool(candidates))
        allowed, contributions = frozenset(candidates), []
        for client in set(map(int, wire.bytes_pseudonyms(config["clients"]))):  # each once: the noise covers no more
            with contextlib.suppress(VaultError):
                contributions.append(contribution(self._vault.documents(client), plan.words, allowed))
        place = int.from_bytes(self._vault.vault_id[:8], "little")
        counts = noised_counts(contributions, plan, noise_source(run.privacy, run.seed, NOISE, 0, place), candidates)
        return RecordDict({"config": ConfigRecord({"words": list(counts), "counts": list(counts.values())})})

    def train(self, message: Message) -> RecordDict:
        """Trains each client of the chunk from the global weights."""
        trainer, config = self._ready(message), _config(message)
        weights = wire.record_weights(arrays_in(message.content))
        if trainer.config.privacy.on:
            return self._train_privately(trainer, weights, config)
        weighting = trainer.config.spec("weighting")
        if trainer.config.drift and not self._tells_counts:
            raise CohortError("This node measures no drift: two sums of one cohort say more about a client than one.")
        server_round = int(str(config["server-round"]))
        proximal_mu = float(str(config.get("proximal-mu", 0))) or None
        failed = 0

        def shards() -> Iterator[Shard]:
            nonlocal failed
            for client in map(int, wire.bytes_pseudonyms(config["clients"])):
                try:
                    documents = self._vault.documents(client)
                except VaultError:
                    failed += 1
                    continue
                prepared = trainer.prepare(documents)
                weight = client_weight(weighting.name, weighting.options.get("tokens", 0), prepared.num_tokens)
                yield Shard(prepared, [trainer.config.seed, SHUFFLE, server_round, client], weight)

        cohort_size = int(str(config["cohort"]))
        total, metrics = train_chunk(trainer, weights, shards(), cohort_size, server_round, proximal_mu)
        total.failed += failed
        return wire.sum_content(total, metrics, self._allocate)

    def _train_privately(self, trainer: LocalTrainer, weights: Weights, config: ConfigRecord) -> RecordDict:
        """Trains each client, clips its update and adds it; whatever fails in one client touches no other."""
        settings, weighting = trainer.config.privacy, trainer.config.spec("weighting")
        total, metrics = ExactSum.zeros_like(weights), TextMetrics()
        clip_norm, place = float(str(config["clip-norm"])), [trainer.config.seed, int(str(config["server-round"]))]
        proximal_mu = float(str(config.get("proximal-mu", 0))) or None
        settings.check_told_norm(clip_norm)
        start = trainer.begin(weights)
        for client in map(int, wire.bytes_pseudonyms(config["clients"])):
            update, figures, weight = None, TextMetrics(), 0
            with contextlib.suppress(VaultError):
                prepared = trainer.prepare(self._vault.documents(client))
                rng = np.random.default_rng([place[0], SHUFFLE, place[1], client])
                weight = client_weight(weighting.name, weighting.options.get("tokens", 0), prepared.num_tokens)
                update, figures = trainer.train(start, prepared, rng, place[1], proximal_mu)
            if contribute(total, update, weight, settings, clip_norm, noise_source(settings, NOISE, *place, client)):
                metrics += figures
        return wire.sum_content(total, metrics, self._allocate)

    def evaluate(self, message: Message) -> RecordDict:
        """Returns held-out sums: per client of the chunk where allowed (zeros without held-out text), else over all."""
        trainer = self._ready(message)
        weights = wire.record_weights(arrays_in(message.content))
        clients = wire.bytes_pseudonyms(_config(message)["clients"])
        shards = (self._vault.documents(c, Part.HELD_OUT) for c in map(int, clients))
        figures = trainer.evaluate_each(weights, shards)
        if not self._tells_counts:
            return wire.group_content(figures, self._min_group)
        return wire.evaluation_content(clients, figures)

    def alone(self, message: Message) -> RecordDict:
        """Returns each client's held-out sums under a model of its own text only, or (`pooled`) of all their text together.

        A simulation's ceiling and floor: a node that tells no counts refuses.
        """
        trainer, config = self._ready(message), _config(message)
        if not self._tells_counts:
            raise CohortError("This node trains no model outside the federation.")
        weights = wire.record_weights(arrays_in(message.content))
        clients, passes = wire.bytes_pseudonyms(config["clients"]), int(str(config["passes"]))
        shards = [self._vault.documents(c) for c in map(int, clients)]
        if config["pooled"]:
            rng = np.random.default_rng([trainer.config.seed, SHUFFLE, 0, 0])
            weights = train_centrally(trainer, weights, [d for shard in shards for d in shard], passes, rng)
        figures = []
        for client, shard in zip(map(int, clients), shards, strict=True):
            rng = np.random.default_rng([trainer.config.seed, SHUFFLE, 0, client])
            own = weights if config["pooled"] else train_centrally(trainer, weights, shard, passes, rng)
            figures.append(trainer.evaluate(own, self._vault.documents(client, Part.HELD_OUT)))
        content = wire.evaluation_content(clients, figures)
        if config["pooled"]:
            content["arrays"] = wire.weights_record(weights)
        return content

    def score(self, message: Message) -> RecordDict:
        """Returns the sums of each text that the message brings, under the message's weights."""
        trainer, texts = self._ready(message), _config(message)["texts"]
        assert isinstance(texts, list)
        trainer.assign(wire.record_weights(arrays_in(message.content)))
        figures = scorer(trainer)([str(t) for t in texts])
        return wire.evaluation_content(np.arange(len(texts), dtype=np.uint64), figures)

    def export(self, message: Message) -> RecordDict:
        """Returns the global model as a `.keras` file, and a seeded sample of its text."""
        trainer = self._ready(message)
        trainer.assign(wire.record_weights(arrays_in(message.content)))
        rng = np.random.default_rng([trainer.config.seed, SAMPLE])
        sample = "" if trainer.is_masked else "".join(generate(trainer.next_logits, trainer.vocab, "", rng))
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.keras"
            trainer.save(file)
            return RecordDict({"config": ConfigRecord({"keras": file.read_bytes(), "sample": sample})})

    def _ready(self, message: Message) -> LocalTrainer:
        settings = str(_config(message)["settings"])
        if self._trainer is None or settings != self._settings:
            config = RunConfig.checked(json.loads(settings))
            if self._trainer is None or not self._trainer.take_over(config):
                self._traces = self.traces
                self._trainer = LocalTrainer(config)
            self._settings, self._initial = settings, tuple(w.copy() for w in self._trainer.weights)
        return self._trainer


def _config(message: Message) -> ConfigRecord:
    return config_in(message.content)
