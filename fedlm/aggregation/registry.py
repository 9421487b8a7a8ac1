"""The aggregation of a configuration."""

from collections.abc import Sequence

from fedlm.aggregation.base import Aggregation, Payload, RoundResult
from fedlm.errors import ConfigError
from fedlm.plugins.kinds import PluginKind
from fedlm.plugins.options import checked_options
from fedlm.spec import Spec

_KIND = PluginKind(
    "aggregation",
    "fedlm.aggregation",
    Aggregation,
    required=("payload", "check", "open"),
    returns={"payload": Payload, "chunks": Sequence, "complete": Sequence, "open": RoundResult},
    refuses=("check",),
)
_SINGLES = Spec("per_client", {})


def aggregation_names() -> tuple[str, ...]:
    """Returns the names of the aggregations."""
    return _KIND.names()


def build_aggregation(spec: Spec, *, accepts_mean: bool = True) -> Aggregation:
    """Returns an aggregation by its spec.

    Args:
      spec: its name and options.
      accepts_mean: whether the server's rule uses the cohort's mean; otherwise it gets single clients.

    Raises:
      ConfigError: there is no such aggregation, an option is wrong, or the rule needs single clients and the aggregation hides them.
    """
    chosen = effective_aggregation(spec, accepts_mean=accepts_mean)
    made = _KIND.build(chosen, checked_options("aggregation", chosen, _KIND.find(chosen).defaults))
    if not (accepts_mean or made.gives_singles):
        raise ConfigError(
            f"The strategy compares single clients, which aggregation={spec} hides: choose another strategy or aggregation."
        )
    return made


def effective_aggregation(spec: Spec, *, accepts_mean: bool) -> Spec:
    """Returns the aggregation that is used: the default one gives way to single clients where the server's rule needs them."""
    is_default = spec.name == "open" and not spec.options
    return _SINGLES if is_default and not accepts_mean else spec
