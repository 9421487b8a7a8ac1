"""What to look for and what to put in its place: `full`, `patterns` or `none`, with options.

full(threshold=0.5)                   findings with at least this score (0.4 by default)
full(person=0.6, date=0.9)            a threshold for one kind, by the kind's name in lower case
full(without="date age")              kinds to ignore
full(mode="pseudonym")                surrogates instead of placeholders; or mode="remove"
full(extra="my_package.my_module")    your own module with build() -> presidio_analyzer.EntityRecognizer
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedlm.errors import ConfigError
from fedlm.scrub.kinds import Kind
from fedlm.spec import parse_spec


@dataclass(frozen=True)
class Scope:
    """Which recognisers a profile uses: those that match patterns, and those that run a model."""

    patterns: bool
    models: bool


PROFILES = {"full": Scope(True, True), "patterns": Scope(True, False), "none": Scope(False, False)}
MODES = ("placeholder", "pseudonym", "remove")
# Presidio's weak patterns (any nine digits may be a licence: score 0.01 to 0.3) need a context word to pass.
THRESHOLD = 0.4
_OFF = 2.0  # a threshold that no score reaches
_NAMES = {kind.name.lower(): kind for kind in Kind}


@dataclass(frozen=True)
class Profile:
    """A validated scrub spec.

    Attributes:
      name: one of PROFILES.
      mode: one of MODES.
      threshold: lowest score of a finding.
      kinds: thresholds of single kinds; above 1 for kinds that are ignored.
      extra: a module with the user's recogniser, or empty.
    """

    name: str = "full"
    mode: str = "placeholder"
    threshold: float = THRESHOLD
    kinds: Mapping[Kind, float] = field(default_factory=dict)
    extra: str = ""

    @property
    def scope(self) -> Scope:
        """Which recognisers run."""
        return PROFILES[self.name]

    @property
    def needs_key(self) -> bool:
        """Whether findings are replaced by surrogates, which are drawn with a secret key."""
        return self.mode == "pseudonym"

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
        raise ConfigError(f"There is no scrub profile {spec.name!r}: use {', '.join(PROFILES)}.")
    options = dict(spec.options)
    if options and not PROFILES[spec.name].patterns:
        raise ConfigError(f"The scrub profile {spec.name} takes no options.")
    mode, without, extra = (
        options.pop(key, default) for key, default in (("mode", "placeholder"), ("without", ""), ("extra", ""))
    )
    if mode not in MODES:
        raise ConfigError(f"Invalid scrub mode {mode!r}: use {', '.join(MODES)}.")
    if not isinstance(without, str) or not isinstance(extra, str):
        raise ConfigError('The scrub options without and extra take text, as in full(without="date age").')
    threshold = _threshold("threshold", options.pop("threshold", THRESHOLD))
    kinds = {_kind(name): _threshold(name, value) for name, value in options.items()}
    kinds |= {_kind(name): _OFF for name in without.replace(",", " ").split()}
    return Profile(spec.name, mode, threshold, kinds, extra)


def _kind(name: str) -> Kind:
    if name not in _NAMES:
        raise ConfigError(f"scrub has no option or kind {name!r}; the kinds are: {', '.join(_NAMES)}.")
    return _NAMES[name]


def _threshold(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"Invalid value for the scrub threshold {name}: {value!r} is not a number from 0 to 1.")
    return float(value)
