"""Where a model runs."""

import tensorflow as tf


def on_cpu() -> bool:
    """Returns whether there is no GPU: then graphs go through XLA, which would keep Keras from its cuDNN path there."""
    return not tf.config.list_physical_devices("GPU")
