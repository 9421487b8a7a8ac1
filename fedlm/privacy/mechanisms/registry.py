"""The mechanism of a run's privacy settings."""

from fedlm.plugins import checked_options, plugin_class, plugin_names
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.settings import PrivacySettings, Traits
from fedlm.spec import Spec

_FOLDER = "fedlm.privacy.mechanisms"


def mechanism_names() -> tuple[str, ...]:
    """Returns the names of the mechanisms."""
    return plugin_names(_FOLDER, Mechanism)


def mechanism_traits(spec: Spec) -> Traits:
    """Returns the properties of a mechanism, which hold for every run.

    Raises:
      ConfigError: there is no such mechanism, or an option is unknown or has the wrong type.
    """
    found = plugin_class("mechanism", spec, _FOLDER, Mechanism)
    checked_options("mechanism", spec, dict(found.defaults))
    return found.traits


def build_mechanism(settings: PrivacySettings, dimension: int) -> Mechanism:
    """Returns the mechanism of a run; see `Mechanism`."""
    return plugin_class("mechanism", settings.mechanism, _FOLDER, Mechanism)(settings, dimension)
