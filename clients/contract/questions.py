"""What an owner should look at before a run begins: whatever is not of the usual kind.

A model's gradient can hold its client's text word for word if model and optimizer were made for that (Boenisch et al., When
the Curious Abandon Honesty, 2023, https://arxiv.org/abs/2112.02918; Fowl et al., Robbing the Fed, ICLR 2022,
https://arxiv.org/abs/2110.13057). What is checked here makes such models harder to send. It does not make them impossible:
the weights of later rounds come from the coordinator.
"""

import hashlib
from collections.abc import Iterator
from typing import Protocol

from fedlm.config import CLIENT_OPTIMIZERS, RunConfig
from fedlm.models.catalog import is_pretrained, model_names
from fedlm.schedules import rate_factor

_ROUNDS_CHECKED = 10_000  # of a learning rate's schedule; a longer one is a question itself


class Limits(Protocol):
    """The part of a policy that says what needs no review; see `clients.policy.Policy`."""

    models: tuple[str, ...]
    min_chunk_clients: int
    max_size: int
    min_batch_size: int
    min_learning_rate: float
    max_learning_rate: float
    vocabularies: tuple[str, ...]


def review_questions(limits: Limits, config: RunConfig, vocabulary_sha256: str = "") -> Iterator[str]:
    """Yields a sentence for each thing that the owner should review; empty sentences count as none."""
    yield from _model(limits, config)
    yield from _optimizer(limits, config)
    yield _vocabulary(limits, config, vocabulary_sha256)
    if config.aggregation != RunConfig.model_fields["aggregation"].default:
        yield (
            f"aggregation={config.aggregation}: the coordinator sees the update of each single client"
            + (", which this policy's min_chunk_clients refuses." if limits.min_chunk_clients > 1 else ".")
        )
    if config.privacy.on and not config.privacy.traits.node_noise:
        yield (
            f"mechanism={config.mechanism} adds its noise at the coordinator, which sees this node's sums without noise, "
            "also over a single client: the guarantee does not hold against the coordinator."
        )
    if config.privacy.traits.node_noise:
        yield (
            f"mechanism={config.mechanism}: this node adds noise of {config.noise_multiplier:g} times the clip norm "
            f"{config.clip_norm:g} to each update of a client, up to {config.rounds} times. Only that noise stands between the "
            "coordinator and the text; fedlm privacy plan tells what it is worth, and smallest_noise sets a floor."
        )


def _model(limits: Limits, config: RunConfig) -> Iterator[str]:
    spec = config.spec("model")
    if ":" in spec.name:
        yield f"model={config.model} is code outside fedlm."
        return
    if is_pretrained(spec.name):
        yield (
            f"model={config.model} starts from supplied weights, and no owner can judge what weights were made for: accept "
            "only a preset that you chose yourself."
        )
    elif spec.name not in (limits.models or model_names()):
        yield f"model={config.model} is not among this policy's models."
    large = [k for k, v in spec.options.items() if isinstance(v, int | float) and v > limits.max_size]
    if large:
        yield f"model={config.model} sets {', '.join(large)} above {limits.max_size} (max_size)."


def _optimizer(limits: Limits, config: RunConfig) -> Iterator[str]:
    spec = config.spec("client_optimizer")
    options = {**CLIENT_OPTIMIZERS[spec.name], **spec.options}
    if options.get("momentum", 0.0) >= 1:
        yield f"client_optimizer={config.client_optimizer} has a momentum of 1 or more, under which training diverges."
    if config.local_steps:
        yield f"local_steps={config.local_steps}: a client with little text is trained on it many times in one round."
    if config.batch_size < limits.min_batch_size:
        yield f"batch_size={config.batch_size} is below {limits.min_batch_size} (min_batch_size)."
    if config.rounds > _ROUNDS_CHECKED and config.client_schedule != "constant":
        yield f"client_schedule={config.client_schedule} changes the learning rate over more than {_ROUNDS_CHECKED} rounds."
        return
    rounds = range(1, config.rounds + 1) if config.client_schedule != "constant" else (1,)
    rates = [options["learning_rate"] * rate_factor(config.client_schedule, r) for r in rounds]
    if rates and not (limits.min_learning_rate <= min(rates) and max(rates) <= limits.max_learning_rate):
        yield (
            f"The learning rate runs from {min(rates):g} to {max(rates):g}, outside {limits.min_learning_rate:g} to "
            f"{limits.max_learning_rate:g} (min_learning_rate, max_learning_rate)."
        )


def _vocabulary(limits: Limits, config: RunConfig, digest: str) -> str:
    name = config.spec("vocabulary").name
    if name == "private":
        return f"vocabulary={config.vocabulary} learns words from this node's text, within vocabulary_epsilon of its policy."
    if config.vocabulary_text:
        digest = hashlib.sha256(config.vocabulary_text.encode()).hexdigest()
    if not digest or digest in limits.vocabularies:
        return ""
    return (
        f"vocabulary={config.vocabulary} has content that the coordinator chose, with SHA-256 {digest} (vocabularies)."
    )
