"""A Presidio recogniser of plain regular expressions, each with its entity, its score and the group that is the finding."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult


@dataclass(frozen=True)
class Rule:
    """One pattern.

    Attributes:
      entity: Presidio's name of what it finds.
      pattern: the span is its group `it` if it has one, otherwise the whole match.
      score: 0.4 passes by itself; below, only where a profile lowers its threshold.
      accept: a check of the span's text, for what a pattern cannot say.
      needs: characters of which one must be in the text; a cheap screen.
      screen: what must be found in the text; a screen for patterns that begin with many choices.
    """

    entity: str
    pattern: re.Pattern[str]
    score: float
    accept: Callable[[str], bool] | None = None
    needs: str = ""
    screen: re.Pattern[str] | None = None


def rule(entity: str, pattern: str, score: float, *, flags: int = 0, **rest: Any) -> Rule:
    """Returns a rule from a verbose pattern."""
    return Rule(entity, re.compile(pattern, re.VERBOSE | flags), score, **rest)


class Rules(EntityRecognizer):
    """Finds what its rules match."""

    def __init__(self, name: str, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        super().__init__(sorted({r.entity for r in rules}), name=name, supported_language="en")

    def load(self) -> None:
        """Does nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Returns the spans of the rules whose entities are asked for."""
        found = []
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
