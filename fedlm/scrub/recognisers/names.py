"""Names of persons, places, organisations and streets: a token classifier, and a model of what it misses (`names/`)."""

import re
from typing import Any

import numpy as np
from presidio_analyzer import EntityRecognizer, RecognizerResult

from fedlm.scrub.letters import CAPITAL
from fedlm.scrub.names.classifier import CLASSES, Matrix, name_model
from fedlm.scrub.names.tagger import LABELS, Tagged, tag

RUNS_MODEL = True
HITS = (
    ("I spoke to Maria Lopez about it", "Maria Lopez"),
    ("my uncle Robert Schmidt called", "Robert Schmidt"),
)
NEAR_MISSES = (
    "the rain stopped after lunch",
    "ok, see you at noon",
)

# A word counts if its class has this probability. It is below a half, because a missed name costs more than a false one.
THRESHOLD = 0.25
_LOWEST, _HIGHEST = 0.4, 0.85  # scores at the threshold and at probability 1; a valid checksum has 1.0

# Numbers that only the classifier finds; they count if they have enough digits to identify a person.
_NUMBERS = {
    "PHONE": "PHONE_NUMBER",
    "TAX_ID": "TAX_ID",
    "BANK_ACCOUNT": "BANK_ACCOUNT",
    "ROUTING_NUMBER": "BANK_ACCOUNT",
    "GOVERNMENT_ID": "GOVERNMENT_ID",
    "PASSPORT": "PASSPORT",
    "DRIVERS_LICENSE": "US_DRIVER_LICENSE",
    "ZIP_CODE": "ZIP_CODE",
}
_DIGITS = 5
# What may separate two words of one name.
_GLUE = {
    "PERSON": re.compile(rf"[ \t]{{1,2}}|\.[ ]?|[ ]?-[ ]?|, (?=[{CAPITAL}]\b)"),
    "LOCATION": re.compile(r"[ \t]|-|\. ?| ?' ?"),
    "ORGANIZATION": re.compile(r"[ \t]|-|[ ]?&[ ]?|, |\. ?"),
    "STREET_ADDRESS": re.compile(r"[ \t]|-|/|, ?|\. ?|,?[ ]?\n|[ ]?#[ ]?"),
}
_POSSESSIVE = re.compile(r"['’]s$")

Span = tuple[int, int, str, float]


def spans_of(tagged: Tagged, probabilities: Matrix, threshold: float) -> list[Span]:
    """Joins neighbouring words of one class; returns (start, end, entity, score).

    The score rises linearly from _LOWEST at the threshold to _HIGHEST at probability 1.
    """
    classes = probabilities[:, 1:].argmax(1) + 1
    certain = probabilities[np.arange(len(classes)), classes]
    spans: list[Span] = []
    previous = -2
    for place in map(int, np.flatnonzero(certain >= threshold)):
        start, end = tagged.words[place]
        entity, score = CLASSES[classes[place]], float(certain[place])
        end -= 2 if _POSSESSIVE.search(tagged.text[start:end]) else 0
        last = spans[-1] if spans else (0, 0, "", 0.0)
        if last[2] == entity and previous == place - 1 and _GLUE[entity].fullmatch(tagged.text, last[1], start):
            spans[-1] = (last[0], end, entity, max(last[3], score))
        else:
            spans.append((start, end, entity, score))
        previous = place
    slope = (_HIGHEST - _LOWEST) / (1 - threshold)
    return [(a, b, entity, _LOWEST + slope * (score - threshold)) for a, b, entity, score in spans]


def number_spans(tagged: Tagged) -> list[Span]:
    """Returns numbers that only the classifier finds, with scores from 0.4 to 0.5."""
    columns = [LABELS[name] for name in _NUMBERS]
    entities = list(_NUMBERS.values())
    chance = tagged.probabilities[:, columns]
    best = chance.argmax(1)
    spans: list[Span] = []
    for place in map(int, np.flatnonzero(chance.max(1) >= 0.5)):
        (start, end), entity = tagged.words[place], entities[best[place]]
        if spans and spans[-1][2] == entity and re.fullmatch(r"[ ().+/-]{0,3}", tagged.text[spans[-1][1] : start]):
            spans[-1] = (spans[-1][0], end, entity, spans[-1][3])
        else:
            spans.append((start, end, entity, 0.3 + 0.2 * float(chance[place].max())))
    return [s for s in spans if sum(c.isdigit() for c in tagged.text[s[0] : s[1]]) >= _DIGITS]


class NamesRecognizer(EntityRecognizer):
    """The two models as a Presidio recogniser."""

    def __init__(self) -> None:
        entities = sorted({*CLASSES[1:], *_NUMBERS.values()})
        super().__init__(supported_entities=entities, supported_language="en", name="names")

    def load(self) -> None:
        """Does nothing: the models load with the first text, once per process."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Returns the models' spans in `text`."""
        return [r for r in self.analyze_all([text])[0] if r.entity_type in entities]

    def analyze_all(self, texts: list[str]) -> list[list[RecognizerResult]]:
        """Returns the models' spans in each text, as `analyze` does; short texts are faster together."""
        return [self._results(tagged) for tagged in tag(texts)]

    @staticmethod
    def _results(tagged: Tagged) -> list[RecognizerResult]:
        if not tagged.words:
            return []
        spans = spans_of(tagged, name_model()(tagged), THRESHOLD) + number_spans(tagged)
        return [RecognizerResult(entity, a, b, score) for a, b, entity, score in spans]


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return NamesRecognizer()
