"""The mechanism of a run's privacy settings."""

from collections.abc import Mapping

import numpy as np

from fedlm.plugins.kinds import PluginKind
from fedlm.plugins.options import checked_options
from fedlm.privacy.accounting import Release
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.settings import PrivacySettings, Traits
from fedlm.spec import Spec


def _problem(found: type[Mechanism]) -> str:
    """Returns what else is wrong with a class; one without differential privacy has no event and no noise."""
    if not isinstance(found.traits, Traits):
        return "its traits must be a Traits"
    lacks = [m for m in ("event", "release") if found.traits.private and getattr(found, m) is getattr(Mechanism, m)]
    return f"the class must define {', '.join(lacks)}" if lacks else ""


_KIND = PluginKind(
    "mechanism",
    "fedlm.privacy.mechanisms",
    Mechanism,
    required=("traits", "contribute"),
    returns={
        "sample": np.ndarray,
        "broadcast": Mapping,
        "contribute": (bool, np.bool_),
        "event": Release,
        "release": (tuple, list),
        "state": Mapping,
    },
    problem=_problem,
)


def mechanism_names() -> tuple[str, ...]:
    """Returns the names of the mechanisms."""
    return _KIND.names()


def mechanism_traits(spec: Spec) -> Traits:
    """Returns the properties of a mechanism, which hold for every run.

    Raises:
      ConfigError: there is no such mechanism, or an option is unknown or has the wrong type.
    """
    found = _KIND.find(spec)
    checked_options("mechanism", spec, dict(found.defaults))
    return found.traits


def build_mechanism(settings: PrivacySettings, dimension: int) -> Mechanism:
    """Returns the mechanism of a run; see `Mechanism`."""
    return _KIND.build(settings.mechanism, settings, dimension)
