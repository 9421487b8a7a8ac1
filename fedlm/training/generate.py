"""Text from a model, symbol by symbol, and suggestions for the next word.

Symbols are drawn with a temperature, from the top k of them, or from the nucleus: the most likely
ones that together reach probability p (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
"""

import codecs
import heapq
import re
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from fedlm.errors import check_number
from fedlm.text.vocabulary import END, PAD, START, UNKNOWN, Vocabulary

_WORD = re.compile(rb"[\w'\x80-\xff]")  # bytes above 127 are parts of letters, or of placeholders
_OPENED = 400  # beginnings of words that a search opens
_DONE = -1  # marks the end of a word

Logits = npt.NDArray[np.float32]
NextLogits = Callable[[list[int]], Logits]
"""Returns the logits (vocab_size,) of the symbol after the given ids."""


def check_sampling(
    *, length: int = 0, temperature: float, top_k: int = 0, top_p: float = 1.0, written: Callable[[str], str] = str
) -> None:
    """Checks the options of the sampling.

    Args:
      length, temperature, top_k, top_p: see `generate`.
      written: returns an option as the user wrote it, from its name.

    Raises:
      ConfigError: an option is out of range; the sentence names this one only.
    """
    check_number(written("length"), length, ge=0)
    check_number(written("temperature"), temperature, ge=0)
    check_number(written("top_k"), top_k, ge=0)
    check_number(written("top_p"), top_p, gt=0, le=1)


def probabilities(logits: Logits, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Logits:
    """Returns the sampling distribution (vocab_size,); padding, start and unknown never appear.

    Args:
      logits: of the next symbol.
      temperature: divides the logits; 0 takes the most likely symbol.
      top_k: keeps the k most likely symbols; 0 keeps all.
      top_p: keeps the fewest most likely symbols that together reach this probability.

    Raises:
      ConfigError: an option is out of range.
    """
    check_sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    scores = logits.astype(np.float64)
    scores[[PAD, START, UNKNOWN]] = -np.inf
    order = np.argsort(-scores, kind="stable")
    if temperature == 0:
        best: Logits = (np.arange(len(scores)) == order[0]).astype(np.float32)
        return best
    weights = np.exp((scores - scores[order[0]]) / temperature)
    weights /= weights.sum()
    before = np.cumsum(weights[order]) - weights[order]  # probability of all more likely symbols together
    dropped = before >= top_p
    if top_k:
        dropped[top_k:] = True
    weights[order[dropped]] = 0.0
    kept: Logits = (weights / weights.sum()).astype(np.float32)
    return kept


def generate(
    next_logits: NextLogits,
    vocab: Vocabulary,
    prompt: str,
    rng: np.random.Generator,
    *,
    length: int = 400,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[str]:
    """Yields the text that follows `prompt`, symbol by symbol, until the end symbol or `length` symbols."""
    ids = [START, *map(int, vocab.encode(prompt))]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for _ in range(length):
        weights = probabilities(next_logits(ids), temperature, top_k, top_p).astype(np.float64)
        chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
        if chosen == END:
            return
        ids.append(chosen)
        text = decoder.decode(vocab.piece(chosen))  # a symbol may be part of a character
        if text:
            yield text


def suggest(next_logits: NextLogits, vocab: Vocabulary, prompt: str, count: int) -> list[tuple[str, float]]:
    """Returns the most likely next words with their probabilities, in order.

    A word ends before the next space, punctuation or end of text; a word that the prompt has begun
    is returned whole. Best-first search over beginnings of words: the most likely one is opened
    next, and no continuation is more likely than its beginning, so the words come out in order of
    their probability. It stops after `_OPENED` beginnings.
    """
    start = (START, *map(int, vocab.encode(prompt)))
    inside = np.array(
        [bool(_WORD.match(p)) for p in map(vocab.piece, range(vocab.size))]
    )  # symbols that continue a word
    open_words: list[tuple[float, tuple[int, ...]]] = [(-1.0, start)]
    found: list[tuple[str, float]] = []
    for _ in range(_OPENED):
        if not open_words or len(found) == count:
            break
        chance, ids = heapq.heappop(open_words)
        word = vocab.decode(np.array([i for i in ids[len(start) :] if i != _DONE], np.int32))
        if ids[-1] == _DONE:
            found.append((_whole(prompt, word), -chance))
            continue
        weights = probabilities(next_logits(list(ids))) * -chance
        going = np.ones(vocab.size, bool)
        if word.strip():
            going = inside
            heapq.heappush(open_words, (-float(weights[~inside].sum()), (*ids, _DONE)))
        weights[~going | (np.arange(vocab.size) == END)] = 0
        for symbol in np.argsort(-weights, kind="stable")[: 8 * count]:
            if weights[symbol] > 0:
                heapq.heappush(open_words, (-float(weights[symbol]), (*ids, int(symbol))))
    return found


def _whole(prompt: str, text: str) -> str:
    """Returns a new word without the space before it, or a word that the prompt has begun, with its beginning."""
    begun = re.search(r"[\w']*$", prompt)
    return (begun.group() if begun and re.match(r"[\w']", text) else "") + text.strip()
