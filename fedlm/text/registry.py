"""The vocabulary of a spec string: a fixed one, or a learned one from the content of its file."""

from functools import lru_cache

from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
from fedlm.text.vocabulary import CHARACTERS, PLACEHOLDER_BASE, PLACEHOLDERS, SPECIALS, Vocabulary


def vocabulary(spec: str, text: str = "") -> Vocabulary:
    """Returns the vocabulary of a spec: `chars`, `chars(placeholders=0)`, `bytes`, or a learned one.

    Args:
      spec: `words(file='v.json')` and `bpe(file='v.json')` are learned ones.
      text: content of the file of a learned one; this function opens no file.

    Raises:
      ConfigError: there is no such vocabulary, or the content is no vocabulary.

    >>> vocabulary("chars").size, vocabulary("chars(placeholders=0)").size, vocabulary("bytes").size
    (128, 90, 260)
    """
    parsed = parse_spec(spec)
    if parsed.name in ("words", "bpe") and isinstance(parsed.options.get("file"), str):
        from fedlm.text.learned import learned_vocabulary

        return learned_vocabulary(spec, parsed.name, text)
    return _fixed(spec)


@lru_cache(maxsize=4)  # preparation needs it twice per client
def _fixed(spec: str) -> Vocabulary:
    parsed = parse_spec(spec)
    specials = ("",) * SPECIALS
    if parsed.name == "bytes" and not parsed.options:
        return Vocabulary(spec, specials + tuple(chr(b) for b in range(256)), is_bytes=True)
    placeholders = parsed.options.get("placeholders", PLACEHOLDERS)
    if parsed.name != "chars" or set(parsed.options) - {"placeholders"} or placeholders not in range(PLACEHOLDERS + 1):
        raise ConfigError(
            f"There is no vocabulary {spec!r}: use chars, chars(placeholders=0), bytes, words(file=...) or bpe(file=...)."
        )
    private = tuple(chr(PLACEHOLDER_BASE + k) for k in range(placeholders))
    return Vocabulary(spec, specials + tuple(CHARACTERS) + private)
