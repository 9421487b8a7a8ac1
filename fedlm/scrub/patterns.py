"""A Presidio recogniser made of regular expressions, each with its entity, its score and the group that is the finding."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult

DIGITS = "0123456789"


@dataclass(frozen=True)
class Rule:
    """One pattern.

    Attributes:
      entity: a name of `kinds.KIND_OF_ENTITY`.
      pattern: the finding is the group `it` if there is one, otherwise the whole match.
      score: certainty, 0 to 1. From 0.4 a finding passes by default; below, only with a lower threshold.
      accept: a check of the finding's text, for what a pattern cannot express (a checksum).
      needs: characters of which the text must contain one; a cheap screen.
      screen: a pattern that the text must contain; a screen for patterns that begin with many alternatives.
    """

    entity: str
    pattern: re.Pattern[str]
    score: float
    accept: Callable[[str], bool] | None = None
    needs: str = ""
    screen: re.Pattern[str] | None = None


def rule(entity: str, pattern: str, score: float, *, flags: int = 0, **rest: Any) -> Rule:
    """Returns a rule from a verbose pattern (blanks and comments in it are ignored)."""
    return Rule(entity, re.compile(pattern, re.VERBOSE | flags), score, **rest)


class Rules(EntityRecognizer):
    """A recogniser that finds what its rules match.

    Args:
      name: of the recogniser.
      rules: its patterns.
      needs: characters of which a text must contain one, for every rule; a cheap screen.
    """

    def __init__(self, name: str, rules: Sequence[Rule], needs: str = "") -> None:
        self._rules, self._needs = tuple(rules), needs
        super().__init__(sorted({r.entity for r in rules}), name=name, supported_language="en")

    def load(self) -> None:
        """Does nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Returns the spans that match rules of the requested entities."""
        found = list[RecognizerResult]()
        if self._needs and not any(c in text for c in self._needs):
            return found
        for each in self._rules:
            if each.entity not in entities or (each.needs and not any(c in text for c in each.needs)):
                continue
            if each.screen is not None and not each.screen.search(text):
                continue
            group = "it" if "it" in each.pattern.groupindex else 0
            for match in each.pattern.finditer(text):
                start, end = match.span(group)
                if end > start and (each.accept is None or each.accept(text[start:end])):
                    found.append(RecognizerResult(each.entity, start, end, each.score))
        return found
