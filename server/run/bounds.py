"""The public limits of one client's contribution to a run, from its configuration; every reply is held against them."""

import math
from dataclasses import replace

from fedlm.aggregation.bounds import MAX_CHARACTERS, MAX_TOKENS, Bounds
from fedlm.config import PRESET_VOCABULARY, RunConfig
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.spec import Spec


def client_bounds(config: RunConfig, mechanism: Mechanism) -> Bounds:
    """Returns the limits of a client's contribution to the next round.

    What nodes have told about their clients is not used: who lies in a reply has lied about the tokens as well, and counts
    at discovery are those of the vocabulary that a vault was sealed with.

    Args:
      config: of the run.
      mechanism: of the run; its clip norm may change from round to round.
    """
    tokens = config.max_client_tokens or MAX_TOKENS
    least, most = _weights(config.spec("weighting"), tokens)
    bounds = Bounds(
        weights=(0 if mechanism.node_std else least, most),  # a node that adds noise need not reveal a weight
        tokens=config.local_steps * config.batch_size * config.seq_len or tokens * config.local_epochs,
        characters=_longest_symbol(config),
    )
    return of_round(bounds, mechanism)


def of_round(bounds: Bounds, mechanism: Mechanism) -> Bounds:
    """Returns the limits with those that the mechanism's clip norm of the next round gives."""
    noise_std = mechanism.node_std
    clips = mechanism.settings.on and not noise_std
    norm = float(mechanism.bound) if clips else math.inf
    return replace(bounds, coordinate=mechanism.bound, norm=norm, noise_std=noise_std)


def _weights(weighting: Spec, tokens: int) -> tuple[int, int]:
    """Returns the smallest and the largest weight of a client."""
    if weighting.name == "uniform":
        return 1, 1
    return 0, min(tokens, int(weighting.options.get("tokens", tokens)))


def _longest_symbol(config: RunConfig) -> int:
    """Returns the number of characters of the longest symbol; a preset's vocabulary is not opened for that."""
    return MAX_CHARACTERS if config.vocabulary == PRESET_VOCABULARY else max(1, int(config.vocab.characters.max()))
