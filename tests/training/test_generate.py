import numpy as np
import pytest

from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import END, PAD, START, UNKNOWN
from fedlm.training.generate import generate, probabilities, suggest

VOCAB = vocabulary("chars")
A, B, C = map(int, VOCAB.encode("abc"))


def logits(**chances: float) -> np.ndarray:
    found = np.full(VOCAB.size, -np.inf, np.float32)
    for symbol, chance in chances.items():
        found[int(VOCAB.encode(symbol)[0])] = np.log(chance)
    return found


def test_options_by_hand() -> None:
    plain = logits(a=0.5, b=0.3, c=0.2)
    np.testing.assert_allclose(probabilities(plain)[[A, B, C]], [0.5, 0.3, 0.2], rtol=1e-5)
    np.testing.assert_allclose(probabilities(plain, top_k=2)[[A, B, C]], [0.625, 0.375, 0], rtol=1e-5)
    np.testing.assert_allclose(probabilities(plain, top_p=0.5)[[A, B, C]], [1, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(probabilities(plain, top_p=0.6)[[A, B, C]], [0.625, 0.375, 0], rtol=1e-5)
    np.testing.assert_allclose(probabilities(plain, temperature=0)[[A, B, C]], [1, 0, 0])
    squared = np.array([0.25, 0.09, 0.04]) / 0.38
    np.testing.assert_allclose(probabilities(plain, temperature=0.5)[[A, B, C]], squared, rtol=1e-5)


def test_specials_never_appear() -> None:
    flat = probabilities(np.zeros(VOCAB.size, np.float32))
    assert not flat[[PAD, START, UNKNOWN]].any() and flat[END] > 0


@pytest.mark.parametrize("options", [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.1}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Invalid value for"):
        probabilities(np.zeros(VOCAB.size, np.float32), **options)


def test_stops_at_the_end_symbol_and_at_length() -> None:
    def ends_after_two(ids: list[int]) -> np.ndarray:
        found = logits(a=1.0)
        if len(ids) == 3:
            found[:] = -np.inf
            found[END] = 0
        return found

    assert "".join(generate(ends_after_two, VOCAB, "", np.random.default_rng(0))) == "aa"
    assert len(list(generate(lambda _: logits(a=1, b=1), VOCAB, "x", np.random.default_rng(0), length=7))) == 7


def test_suggests_whole_words_and_the_rest_of_one() -> None:
    chances = {
        "!": {" ": 1.0},
        "! ": {"a": 0.6, "b": 0.4},
        "! a": {"b": 0.5, " ": 0.5},
        "! b": {".": 1.0},
        "! ab": {" ": 1.0},
        "! a ": {"a": 0.5, "b": 0.5},
    }

    def model(ids: list[int]) -> np.ndarray:
        return logits(**chances[VOCAB.decode(np.array(ids[1:]))])

    found = suggest(model, VOCAB, "!", 3)  # by hand: b 0.4, a 0.6 * 0.5, ab 0.6 * 0.5
    assert [s for s, _ in found] == ["b", "a", "ab"] or [s for s, _ in found] == ["b", "ab", "a"]
    np.testing.assert_allclose([p for _, p in found], [0.4, 0.3, 0.3], rtol=1e-5)
    assert suggest(model, VOCAB, "! a", 1) == [("ab", pytest.approx(0.5))]


def test_streams_symbol_by_symbol_and_repeats_with_the_seed() -> None:
    asked = []

    def model(ids: list[int]) -> np.ndarray:
        asked.append(len(ids))
        return logits(a=0.5, b=0.3, c=0.2)

    stream = generate(model, VOCAB, "", np.random.default_rng(0), length=30)
    assert next(stream) in "abc" and len(asked) == 1  # shown before the next one is computed

    def text(seed: int) -> str:
        return "".join(generate(model, VOCAB, "", np.random.default_rng(seed), length=30))

    assert text(1) == text(1) != text(2)


def test_streams_whole_characters() -> None:
    vocab = vocabulary("bytes")
    wanted = [START, *map(int, vocab.encode("é€!"))]

    def model(ids: list[int]) -> np.ndarray:
        found = np.full(vocab.size, -np.inf, np.float32)
        found[wanted[len(ids)] if len(ids) < len(wanted) else END] = 0
        return found

    assert list(generate(model, vocab, "", np.random.default_rng(0))) == ["é", "€", "!"]
