"""Loads TensorFlow as every process of ours does: quietly, with one thread, and with the XLA options that the bits depend on."""

import os
from importlib import metadata

from fedlm.system.memory import keep_memory
from fedlm.system.terminal import quiet_stderr

# What XLA does otherwise suits many threads and short vectors: together a fifth of a training step (docs/performance.md).
_XLA_FLAGS = (
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_cpu_prefer_vector_width=512",
    "--xla_cpu_use_fusion_emitters=false",
)


def load_tensorflow() -> None:
    """Loads TensorFlow on one thread, without its start-up lines, into a process that keeps its memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _set_xla_flags()
    keep_memory()
    with quiet_stderr():
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.list_physical_devices()


def _set_xla_flags() -> None:
    """Puts our flags before the user's, once; XLA ends a process over a flag that it does not know."""
    given = os.environ.get("XLA_FLAGS", "")
    if metadata.version("tensorflow").startswith("2.21.") and not given.startswith(_XLA_FLAGS[0]):
        os.environ["XLA_FLAGS"] = " ".join([*_XLA_FLAGS, given]).strip()
