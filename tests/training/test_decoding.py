"""Reading symbol by symbol gives what the whole model gives, at a cost linear in the length."""

import numpy as np
import pytest

from fedlm.models.registry import build_model
from fedlm.models.transformer import CachedSteps
from fedlm.training.decoding import Reader, RecurrentSteps, WindowSteps, steps_of
from tests.support.models import TOY, VARIANTS

pytestmark = pytest.mark.slow
VOCAB, STEPS = 11, 8


@pytest.mark.parametrize("spec", VARIANTS)
def test_agrees_with_the_whole_model(spec: str) -> None:
    model = build_model(spec, VOCAB, STEPS, seed=4)
    row = np.random.default_rng(0).integers(1, VOCAB, (1, STEPS)).astype(np.int32)
    whole = model(row)[0].numpy()
    steps = steps_of(model, spec)
    own = {"transformer": CachedSteps, TOY: WindowSteps}
    assert isinstance(steps, own.get(spec.partition("(")[0], RecurrentSteps))
    for kind in (steps, WindowSteps(model)):
        reader = Reader(kind)
        for place in range(STEPS):
            np.testing.assert_allclose(reader.logits(row[0, : place + 1].tolist()), whole[place], atol=1e-5)
        assert kind.count == STEPS


@pytest.mark.parametrize(("spec", "most"), [("gru(units=4)", 1), ("transformer(width=4, layers=1, heads=1)", 2)])
def test_cost_is_linear_past_the_models_length(spec: str, most: int) -> None:
    steps = steps_of(build_model(spec, VOCAB, STEPS), spec)
    reader, ids = Reader(steps), [1]
    for _ in range(10 * STEPS):
        ids.append(int(np.argmax(reader.logits(ids))))
    assert steps.count <= most * len(ids)


def test_texts_that_begin_alike_share_what_was_read() -> None:
    steps = steps_of(build_model("lstm(units=4)", VOCAB, STEPS), "lstm(units=4)")
    reader = Reader(steps)
    first = reader.logits([1, 2, 3])
    reader.logits([1, 2, 3, 4])
    reader.logits([1, 2, 3, 5])
    np.testing.assert_array_equal(reader.logits([1, 2, 3]), first)
    assert steps.count == 5
