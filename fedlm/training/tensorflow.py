"""Loads TensorFlow as every process of fedlm does: quietly, on one thread, with the XLA flags that bits depend on."""

import os
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fedlm.layers.kernels.versions import is_tried, warn_if_untried
from fedlm.system.memory import keep_memory
from fedlm.system.plotting import load_matplotlib
from fedlm.system.shortage import TENSORFLOW_BYTES, TENSORFLOW_THREADS, check_machine, telling_shortage
from fedlm.system.terminal import quiet_stderr

# XLA's defaults suit many threads and short vectors; these flags save a fifth of a training step
# (docs/performance.md).
_XLA_FLAGS = (
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_cpu_prefer_vector_width=512",
    "--xla_cpu_use_fusion_emitters=false",
)


def load_tensorflow() -> None:
    """Loads TensorFlow on one thread, without its start-up lines, into a process that keeps freed memory.

    A version that was not tried is said once on stderr: it runs without our XLA flags and kernels.

    Raises:
      MachineError: this process may have too little memory, or too few threads.
    """
    if "tensorflow" not in sys.modules:
        check_machine(TENSORFLOW_BYTES, TENSORFLOW_THREADS, "TensorFlow")
    warn_if_untried()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _set_xla_flags()
    keep_memory()
    with telling_shortage(), quiet_stderr():
        load_matplotlib()
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.list_physical_devices()
    _leave_no_sources()


@cache
def _leave_no_sources() -> None:
    """Has autograph remove the source of each function that it converts from TMPDIR as soon as it is loaded.

    It would remove it at an orderly exit, which workers do not take, and leaves its byte code in any case.
    """
    from tensorflow.python.autograph.pyct import loader

    load = loader.load_source

    def load_source(source: str, delete_on_exit: bool) -> tuple[Any, str]:  # noqa: ARG001 - autograph's signature
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            module, name = load(source, False)
        finally:
            sys.dont_write_bytecode = before
        Path(name).unlink(missing_ok=True)
        return module, name

    loader.load_source = load_source


def _set_xla_flags() -> None:
    """Puts our flags before the user's, once; an untried XLA may end the process over a flag that it does not know."""
    given = os.environ.get("XLA_FLAGS", "")
    if is_tried(metadata.version("tensorflow")) and not given.startswith(_XLA_FLAGS[0]):
        os.environ["XLA_FLAGS"] = " ".join([*_XLA_FLAGS, given]).strip()
