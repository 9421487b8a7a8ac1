"""What is known about a word without its context: its shape, whether it is one token, and which lists contain it.

Given names and surnames of about 80 countries come from Faker's lists. A word's position in the classifier's vocabulary
(`rank`) is a weak feature: the vocabulary is not ordered by frequency.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.scrub.names.tagger import load_tokenizer

_WORDS = {
    "title": "mr mrs ms miss mx dr prof professor sir madam mister herr frau señor señora monsieur madame rev capt judge",
    "greeting": "dear hi hello hey thanks thank regards best cheers sincerely love yours from to cc bcc attn hola hallo",
    "place_before": "in at from to near via of visit around",
    "joint": "by with and or & von van de der del la le di da",
    "article": "the a an this that my your our his her their",
    "company": "inc ltd llc plc corp co gmbh ag sa srl spa bv nv ltda kg ohg oy ab as group holdings bank partners "
    "company corporation limited associates university college institute foundation ministry council hospital "
    "sons logistics solutions industries systems agency club party airlines church school",
    "street": "street st road rd avenue ave av lane ln drive dr boulevard blvd court ct way place pl square terrace "
    "close crescent gardens row mews highway hwy parkway pkwy trail alley apt suite unit flat floor rue calle via "
    "viale piazza strada avenida platz allee weg gasse cadde sokak ulica ul po box",
    "calendar": "january february march april may june july august september october november december monday tuesday "
    "wednesday thursday friday saturday sunday jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri "
    "sat sun today tomorrow yesterday christmas easter",
    "says": "said says told asked wrote replied called calls named name met meets married lives loves",
}
SHAPES = ("cap", "upper", "lower", "single", "number", "mixed", "rank", "unknown", "given", "surname", "short", "rare")
STATIC = (*SHAPES, *_WORDS, "country", "possessive")
_STREET_ENDS = ("straße", "strasse", "straat", "gasse", "allee", "weg", "platz", "laan", "plein", "vej", "gatan")
_SIZE = 19_730  # tokens in the classifier's vocabulary


class Lexicon:
    """Maps words to vectors of the features `STATIC`.

    Args:
      half: hide half of the names in the lists. The fit needs this for texts whose names come from the same lists;
        otherwise it would trust the lists completely.
    """

    def __init__(self, *, half: bool = False) -> None:
        self._given, self._surnames = name_lists()
        self._half = half
        self._rank: dict[str, int] = load_tokenizer().get_vocab()
        self._lists = {name: frozenset(words.split()) for name, words in _WORDS.items()}
        self._countries = _country_words()
        self.vector = lru_cache(maxsize=100_000)(self._vector)

    def vectors(self, words: list[str]) -> npt.NDArray[np.float32]:
        """Returns (words, len(STATIC))."""
        return np.array([self.vector(w) for w in words], np.float32).reshape(-1, len(STATIC))

    def is_given_name(self, word: str) -> bool:
        """Whether the lower-case word is a listed given name."""
        return word in self._given

    def is_name(self, word: str) -> bool:
        """Whether the lower-case word is a listed given name or surname."""
        return word in self._given or word in self._surnames

    def _vector(self, word: str) -> tuple[float, ...]:
        low = word.lower().removesuffix("'s").removesuffix("’s")
        rank = self._rank.get(low)
        share = 1.0 if rank is None else min(rank / _SIZE, 1.0)
        listed = not (self._half and zlib.crc32(low.encode()) & 1)
        shapes = (
            word[0].isupper() and not (word.isupper() and len(word) > 1),
            word.isupper() and len(word) > 1,
            word.islower(),
            len(word) == 1,
            word.isdigit(),
            not word.isdigit() and any(c.isdigit() for c in word),
            share,
            rank is None,
            listed and low in self._given,
            listed and low in self._surnames,
            len(low) < 4,
            share > 0.3,
        )
        lists = (
            low in words or (name == "street" and low.endswith(_STREET_ENDS)) for name, words in self._lists.items()
        )
        return tuple(map(float, (*shapes, *lists, low in self._countries, low != word.lower())))


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Returns the whole lexicon; made once a process."""
    return Lexicon()


@lru_cache(maxsize=1)
def name_lists() -> tuple[frozenset[str], frozenset[str]]:
    """Returns given names and surnames in lower case."""
    given: set[str] = set()
    surnames: set[str] = set()
    for provider in _providers("faker.providers.person"):
        for attribute in ("first_names", "first_names_male", "first_names_female"):
            given.update(_strings(getattr(provider, attribute, ())))
        surnames.update(_strings(getattr(provider, "last_names", ())))
    return frozenset(given), frozenset(surnames)


def country_names() -> list[str]:
    """Returns the names of countries and of the states of the USA."""
    from faker.providers.address import Provider
    from faker.providers.address.en_US import Provider as Us

    return [*Provider.countries, *Us.states]


def _country_words() -> frozenset[str]:
    return frozenset(n.lower() for n in country_names() if " " not in n) | {"usa", "uk", "us", "england", "scotland"}


def _providers(package: str) -> Iterator[Any]:
    for module in iter_modules(import_module(package).__path__):
        yield import_module(f"{package}.{module.name}").Provider


def _strings(names: Any) -> Iterator[str]:
    """Yields list entries; some of Faker's are properties or carry blanks."""
    if not isinstance(names, property):
        yield from (str(name).strip().lower() for name in names)
