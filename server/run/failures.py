"""Why clients of a round are not in its sum: counted by cause for metrics.jsonl and summary.json, and told in words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fedlm.aggregation.base import RoundResult

_WORDS = {
    "no_reply": "{} got no usable reply",
    "unopened": "the text of {} could not be opened (see `fedlm vault verify`)",
    "unusable": "the update of {} was not finite, or too large (lower the learning rates, or correct the plug-in that makes it)",
    "unknown": "the cause of {} was not recorded",
}
_PROBLEM = "problem"
_SHOWN = 500  # characters of a node's sentence


def failures_of(result: RoundResult) -> dict[str, Any]:
    """Returns the number of failed clients of a round by cause, and the first node's sentence; empty without failures."""
    total, lost = result.total, len(result.lost)
    counts = {"no_reply": lost, "unopened": min(total.unopened, max(total.failed - lost, 0))}
    counts["unusable"] = max(total.failed - sum(counts.values()), 0)
    found: dict[str, Any] = {cause: count for cause, count in counts.items() if count}
    return found | ({_PROBLEM: result.problems[0][:_SHOWN]} if result.problems else {})


def all_failures(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the same over all rounds of a run, from the lines of metrics.jsonl; those of an earlier version lack causes."""
    total, problem = Counter[str](), ""
    for line in lines:
        own = dict(line.get("failures", {}))
        first = own.pop(_PROBLEM, "")
        problem = problem or first
        total.update({**own, "unknown": max(line.get("failed", 0) - sum(own.values()), 0)})
    return {cause: count for cause, count in total.items() if count > 0} | ({_PROBLEM: problem} if problem else {})


def in_words(failures: Mapping[str, Any]) -> str:
    """Returns the causes of failures as a sentence without its full stop.

    >>> in_words({"unopened": 2})
    'the text of 2 could not be opened (see `fedlm vault verify`)'
    >>> in_words({"no_reply": 3, "unusable": 1, "problem": "The node failed."})[:45]
    '3 got no usable reply (The node failed); the '
    """
    parts = [words.format(f"{failures[cause]:,}") for cause, words in _WORDS.items() if cause in failures]
    if parts and "no_reply" in failures and _PROBLEM in failures:
        parts[0] += f" ({str(failures[_PROBLEM]).removesuffix('.')})"
    return "; ".join(parts)
