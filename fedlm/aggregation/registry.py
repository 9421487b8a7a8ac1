"""The aggregation of a configuration."""

from fedlm.aggregation.base import Aggregation
from fedlm.errors import ConfigError
from fedlm.plugins import checked_options, plugin_class, plugin_names
from fedlm.spec import Spec

_FOLDER = "fedlm.aggregation"
_SINGLES = Spec("per_client", {})


def aggregation_names() -> tuple[str, ...]:
    """Returns the names of the aggregations."""
    return plugin_names(_FOLDER, Aggregation)


def build_aggregation(spec: Spec, *, accepts_mean: bool = True) -> Aggregation:
    """Returns an aggregation by its spec.

    Args:
      spec: its name and options.
      accepts_mean: whether the server's rule uses the cohort's mean; otherwise it gets single clients.

    Raises:
      ConfigError: there is no such aggregation, an option is unknown, or the rule needs single clients and the aggregation hides them.
    """
    default = spec.name == "open" and not spec.options
    chosen = _SINGLES if default and not accepts_mean else spec
    found = plugin_class("aggregation", chosen, _FOLDER, Aggregation)
    made = found(checked_options("aggregation", chosen, found.defaults))
    if not (accepts_mean or made.gives_singles):
        raise ConfigError(
            f"The strategy compares single clients, which aggregation={spec} hides: choose another strategy or aggregation."
        )
    return made
