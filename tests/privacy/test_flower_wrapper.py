"""One client of 1,000 examples and nine of 100: Flower's own wrapper beside our mechanism, both as they stand."""

import logging
import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg

from fedlm.aggregation.exact import SCALE, ExactSum
from fedlm.config import RunConfig
from fedlm.privacy.clipping import l2_norm
from fedlm.privacy.mechanisms.registry import build_mechanism
from server.engines.local import take_identity
from server.run.strategies import ServerOptimizer

TOKENS = [1000] + [100] * 9
CLIP, NOISE, DIMENSION = 0.5, 1.0, 40_000


def updates(large: float) -> list[np.ndarray]:
    """Ten updates far above the clip norm; the large client's points to either side."""
    direction = np.zeros(DIMENSION, np.float32)
    direction[0] = 10.0
    return [large * direction, *(np.roll(direction, i) for i in range(1, 10))]


def flower_mean(large: float, noise: float) -> np.ndarray:
    """The next weights of Flower's wrapper, from zero weights."""
    take_identity()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    strategy = DifferentialPrivacyServerSideFixedClipping(FedAvg(), noise, CLIP, len(TOKENS))
    zeros = ArrayRecord({"0": Array(np.zeros(DIMENSION, np.float32))})
    ServerOptimizer(strategy).begin(1, zeros)
    replies = []
    for update, count in zip(updates(large), TOKENS, strict=True):
        content = {"arrays": ArrayRecord({"0": Array(update)}), "metrics": MetricRecord({"num-examples": count})}
        replies.append(Message(RecordDict(content), reply_to=Message(RecordDict(), 0, MessageType.TRAIN)))
    arrays, _ = strategy.aggregate_train(1, replies)
    assert arrays is not None
    return arrays.to_numpy_ndarrays()[0]


def our_sum(large: float) -> ExactSum:
    mechanism, total = build_mechanism(_settings(), DIMENSION), ExactSum((np.zeros(DIMENSION, np.int64),))
    for update in updates(large):
        assert mechanism.contribute(total, (update,), 1, bytes)
    return total


def _settings() -> object:
    values = {
        "mechanism": "gaussian",
        "weighting": "uniform",
        "max_client_tokens": 10**6,
        "clip_norm": CLIP,
        "noise_multiplier": NOISE,
    }
    return RunConfig.checked({**values, "sampling_rate": 0.1, "cohort_size": len(TOKENS)}).privacy


@pytest.mark.flower
def test_flowers_wrapper_reaches_a_fifth_of_its_nominal_noise_and_ours_all_of_it() -> None:
    # Turning the large client's clipped update round moves what is released by twice its influence, on either side.
    error = 5 / math.sqrt(2 * DIMENSION)
    influence = float(np.linalg.norm(flower_mean(1.0, 0.0) - flower_mean(-1.0, 0.0))) / 2
    noise = float(np.std(flower_mean(1.0, NOISE)[10:]))
    assert noise / (NOISE * influence) == pytest.approx(0.19, rel=error)

    settings = _settings()
    mechanism = build_mechanism(settings, DIMENSION)
    event = mechanism.event(1, np.zeros(0, np.uint64))
    ours = l2_norm(a - b for a, b in zip(our_sum(1.0).sums, our_sum(-1.0).sums, strict=True)) / 2
    drawn = mechanism.release(event, our_sum(1.0), np.random.default_rng(0).bytes)[0][10:] / SCALE
    assert float(np.std(drawn)) / (NOISE * ours / SCALE) == pytest.approx(1.0, rel=error)
