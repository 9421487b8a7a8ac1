"""Addresses of network cards in Cisco's form, aabb.ccdd.eeff; Presidio knows pairs with colons and hyphens only."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (("port of aabb.ccdd.ee0f is up", "aabb.ccdd.ee0f"),)
NEAR_MISSES = ("1234.5678.9012 of them", "beef.cafe.face")


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    pattern = r"(?i)(?<![\w.])(?=[0-9.]*[a-f])(?=[a-f.]*\d)(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}(?![\w.]*\w)"
    return Rules("mac", (rule("MAC_ADDRESS", pattern, 0.8, needs="."),), needs=DIGITS)
