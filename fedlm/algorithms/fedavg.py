"""Federated averaging: local gradient descent from the global weights, and the mean of the updates.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas, Communication-Efficient Learning of Deep Networks from Decentralized Data,
AISTATS 2017, algorithm 1. https://arxiv.org/abs/1602.05629
"""

from fedlm.algorithms.base import Algorithm


class FedAvg(Algorithm):
    """The base class unchanged: each client minimises its own loss f_i(w)."""
