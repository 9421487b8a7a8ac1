"""A model of a coordinator's that reads text out of an update.

An Elman network counts the places of a row in its hidden state, in thermometer code: unit i is +1 from place i on, -1 before.
With output weights of 0 every prediction is uniform, and the gradient of output row i is

    G_i = sum_{t >= i} e_t - sum_{t < i} e_t,   e_t = (1/V - onehot(y_t)) / tokens
    G_i - G_{i+1} = 2 e_i                       the symbol at place i, word for word
"""

import numpy as np
import numpy.typing as npt

from fedlm.types import Weights

SATURATED = 20.0


def counting(weights: Weights) -> Weights:
    """Returns crafted weights for `rnn(units=seq_len, layers=1)`: embedding, kernel, recurrent, bias, output, output bias."""
    crafted = [np.zeros_like(w) for w in weights]
    recurrent, bias = crafted[2], crafted[3]
    units = len(bias)
    recurrent[np.arange(units - 1), np.arange(1, units)] = 2 * SATURATED
    bias[:] = -SATURATED
    bias[0] = SATURATED
    return tuple(crafted)


def symbols_by_place(output: npt.NDArray[np.float64]) -> list[set[int]]:
    """Returns the targets at each place, from the update of the output weights, (units, vocab)."""
    steps = output[:-1] - output[1:]  # (units - 1, vocab); an update is minus the gradient: positive where a target is
    largest = np.abs(steps).max()
    return [set(map(int, np.flatnonzero(step > 0.05 * largest))) for step in steps]
