"""The models' equations, by hand in NumPy."""

import math

import numpy as np
import pytest

from fedlm.models.registry import build_model

pytestmark = pytest.mark.slow
VOCAB, STEPS = 11, 7
IDS = np.random.default_rng(0).integers(0, VOCAB, (2, STEPS)).astype(np.int32)


def test_rnn_by_hand() -> None:
    """h_t = tanh(W x_t + U h_(t-1) + b), o_t = V h_t + c."""
    model = build_model("rnn(units=5, layers=1, embedding=3)", VOCAB, STEPS, seed=2)
    embedding, w, u, b, v, c = (x.numpy().astype(np.float64) for x in model.trainable_variables)
    hidden, outputs = np.zeros((2, 5)), []
    for place in range(STEPS):
        hidden = np.tanh(embedding[IDS[:, place]] @ w + hidden @ u + b)
        outputs.append(hidden @ v + c)
    np.testing.assert_allclose(model(IDS), np.stack(outputs, 1), atol=1e-5)


def test_cifg_by_hand() -> None:
    """f, g, o from three gates; c_t = f c_(t-1) + (1 - f) g; h_t = o tanh(c_t)."""
    model = build_model("lstm(units=4, layers=1, embedding=3, cifg=True)", VOCAB, STEPS, seed=2)
    embedding, w, u, b, v, bias = (x.numpy().astype(np.float64) for x in model.trainable_variables)
    hidden, carry, outputs = np.zeros((2, 4)), np.zeros((2, 4)), []
    for place in range(STEPS):
        f, g, o = np.split(embedding[IDS[:, place]] @ w + hidden @ u + b, 3, axis=1)
        f, g, o = 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))
        carry = f * carry + (1 - f) * g
        hidden = o * np.tanh(carry)
        outputs.append(hidden @ v + bias)
    np.testing.assert_allclose(model(IDS), np.stack(outputs, 1), atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("tied", [False, True])
def test_transformer_by_hand(positions: str, tied: bool) -> None:
    width, heads, size = 8, 2, 4
    spec = f"transformer(width={width}, layers=2, heads={heads}, positions={positions!r}, tied={tied})"
    model = build_model(spec, VOCAB, STEPS, seed=2)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:  # biases and scales would be 0 and 1
        variable.assign(rng.normal(0, 0.4, variable.shape))
    w = {v.path: v.numpy().astype(np.float64) for v in model.trainable_variables}

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

    def turn(x: np.ndarray) -> np.ndarray:  # pairs (j, j + size / 2) as complex numbers
        pairs = x[..., : size // 2] + 1j * x[..., size // 2 :]
        angles = np.arange(STEPS)[:, None] * 10000.0 ** (-2 * np.arange(size // 2) / size)
        pairs = pairs * np.exp(1j * angles)
        return np.concatenate((pairs.real, pairs.imag), -1)

    gelu = np.vectorize(lambda z: z * (1 + math.erf(z / math.sqrt(2))) / 2)
    for row in range(2):
        x = w["symbols/embeddings"][IDS[row]]
        x = x + w["positions/embeddings"] if positions == "learned" else x
        for block in ("block_0", "block_1"):
            normed, parts = norm(x, f"{block}_norm_attention"), []
            for head in range(heads):
                q, k, v = (
                    dense(normed, f"{block}_{part}")[:, head * size : (head + 1) * size]
                    for part in ("query", "key", "value")
                )
                q, k = (turn(q), turn(k)) if positions == "rotary" else (q, k)
                attended = np.zeros((STEPS, size))
                for place in range(STEPS):
                    scores = np.exp(k[: place + 1] @ q[place] / math.sqrt(size))
                    attended[place] = scores / scores.sum() @ v[: place + 1]
                parts.append(attended)
            x = x + dense(np.concatenate(parts, 1), f"{block}_out")
            x = x + dense(gelu(dense(norm(x, f"{block}_norm_feedforward"), f"{block}_up")), f"{block}_down")
        x = norm(x, "norm")
        logits = x @ w["symbols/embeddings"].T if tied else dense(x, "logits")
        np.testing.assert_allclose(model(IDS)[row], logits, atol=1e-4)
