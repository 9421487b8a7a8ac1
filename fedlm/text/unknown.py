"""What text costs that a vocabulary cannot write: nothing is free, so no model profits from not knowing its text.

All symbols outside a vocabulary share one id, and predicting that id does not say which of them comes. To be a code
for the text, the id must be followed by a spelling. The plainest one is UTF-8, with each byte equally likely:

  -ln p(text) = sum of -ln p(id) + 8 ln 2 * (bytes of the unknown symbols)

UTF-8 says itself where a character ends; for a word, the id before and the one after set its limits. It is an upper
bound: a model of the script would need fewer bits. Without it a model of Russian text under `chars` reaches 0.3 bits
per character by predicting "unknown" always.
"""

import math
import warnings
from collections.abc import Iterable

from fedlm.errors import FedLMWarning
from fedlm.spec import parse_spec
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import TextMetrics

LONGEST_SPELLING = 1000
"""Characters of one unknown symbol that are charged and counted: a reply's characters are bounded by its tokens."""

_NATS_PER_BYTE = 8 * math.log(2)
_TOLD = 0.01  # share of unknown characters beyond which a user is warned; printable English has fewer


def spelling(texts: Iterable[str], vocab: Vocabulary) -> TextMetrics:
    """Returns what the unknown symbols of texts add to the sums of their ids: loss, and the characters beyond one each.

    >>> from fedlm.text.registry import vocabulary
    >>> round(spelling(["да!"], vocabulary("chars")).loss_sum / math.log(2))
    32
    """
    parts = [part[:LONGEST_SPELLING] for text in texts for part in vocab.unknown(text)]
    size = sum(len(part.encode(errors="surrogatepass")) for part in parts)
    return TextMetrics(_NATS_PER_BYTE * size, characters=sum(map(len, parts)) - len(parts))


def unknown_characters(texts: Iterable[str], vocab: Vocabulary) -> int:
    """Returns how many characters of texts are in symbols that the vocabulary does not have."""
    return sum(len(part) for text in texts for part in vocab.unknown(text))


def warn_of_unknown(unknown: int, characters: int, vocabulary: str) -> None:
    """Warns if more than one in a hundred characters are outside a vocabulary of characters."""
    if parse_spec(vocabulary).name == "chars" and unknown > _TOLD * characters:
        share = f"{max(unknown / characters, 0.01):.0%}"
        sentence = f"{share} of the text's characters are outside vocabulary={vocabulary}: the model cannot learn them."
        warnings.warn(f"{sentence} Choose vocabulary=bytes, or learn one with `fedlm vocabulary`.", FedLMWarning, 2)
