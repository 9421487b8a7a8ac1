"""FedProx: a client minimises f_i(v) + mu / 2 |v - w|^2, which keeps v near the global weights w.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, Federated Optimization in Heterogeneous Networks, MLSys 2020, equation 2.
https://arxiv.org/abs/1812.06127
"""

from collections.abc import Mapping
from typing import ClassVar

from fedlm.algorithms.base import Algorithm
from fedlm.errors import check_number
from fedlm.spec import Spec


class FedProx(Algorithm):
    """`fedprox(mu=0.01)`; with `mu=0`, the configuration key `proximal_mu` applies. With mu = 0 it equals FedAvg bit for bit."""

    defaults: ClassVar = {"mu": 0.0}

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        check_number("mu of fedprox", float(str(self.options["mu"])), ge=0)

    def proximal_mu(self, strategy: Mapping[str, object]) -> float | None:
        """Returns the mu that Flower's strategy sets, else that of the option, else None for that of the configuration."""
        return super().proximal_mu(strategy) or float(str(self.options["mu"])) or None
