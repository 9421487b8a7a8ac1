"""What to look for and what to put in its place: `full`, `patterns` or `none`, with options.

full(threshold=0.5)                   findings of at least this score (0.4 by default)
full(person=0.6, date=0.9)            a kind's own threshold, by the kind's name in lower case
full(without="date age")              kinds to leave alone
full(mode="pseudonym")                stand-ins instead of placeholders; or mode="remove"
full(extra="my_package.my_module")    a module of one's own with build() -> presidio_analyzer.EntityRecognizer
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedlm.errors import ConfigError
from fedlm.scrub.kinds import Kind
from fedlm.spec import parse_spec

PROFILES = ("full", "patterns", "none")
MODES = ("placeholder", "pseudonym", "remove")
THRESHOLD = 0.4  # Presidio's weak patterns (any nine digits are "a licence", 0.01 to 0.3) need a context word to pass
_NAMES = {kind.name.lower(): kind for kind in Kind}


@dataclass(frozen=True)
class Profile:
    """A validated scrub spec.

    Attributes:
      name: one of PROFILES.
      mode: one of MODES.
      threshold: lowest score of a finding.
      kinds: thresholds of single kinds; above 1 for kinds that are off.
      extra: a module with a recogniser of the user's, or empty.
    """

    name: str = "full"
    mode: str = "placeholder"
    threshold: float = THRESHOLD
    kinds: Mapping[Kind, float] = field(default_factory=dict)
    extra: str = ""

    def accepts(self, kind: Kind, score: float) -> bool:
        """Whether a finding counts."""
        return score >= self.kinds.get(kind, self.threshold)

    @property
    def lowest(self) -> float:
        """The lowest threshold of any kind."""
        return min(self.threshold, *self.kinds.values()) if self.kinds else self.threshold


def parse_profile(text: str) -> Profile:
    """Reads a scrub spec.

    Raises:
      ConfigError: no such profile, option, kind or mode, or a threshold outside 0 to 1.

    >>> parse_profile('patterns(without="date")').accepts(Kind.DATE, 1.0)
    False
    """
    spec = parse_spec(text)
    if spec.name not in PROFILES:
        raise ConfigError(f"There is no scrub profile {spec.name!r}: use full, patterns or none.")
    options = dict(spec.options)
    if spec.name == "none" and options:
        raise ConfigError("The scrub profile none takes no options.")
    mode, without, extra = (
        options.pop(key, default) for key, default in (("mode", "placeholder"), ("without", ""), ("extra", ""))
    )
    if mode not in MODES:
        raise ConfigError(f"scrub mode={mode!r}: use placeholder, pseudonym or remove.")
    if not isinstance(without, str) or not isinstance(extra, str):
        raise ConfigError('scrub without= and extra= take text, as in full(without="date age").')
    threshold = _threshold("threshold", options.pop("threshold", THRESHOLD))
    kinds = {_kind(name): _threshold(name, value) for name, value in options.items()}
    kinds |= {_kind(name): 2.0 for name in without.replace(",", " ").split()}
    return Profile(spec.name, mode, threshold, kinds, extra)


def _kind(name: str) -> Kind:
    if name not in _NAMES:
        raise ConfigError(f"scrub has no option or kind {name!r}; the kinds are {', '.join(_NAMES)}.")
    return _NAMES[name]


def _threshold(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"scrub {name}={value!r}: a threshold is a number from 0 to 1.")
    return float(value)
