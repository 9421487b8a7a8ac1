"""How TensorFlow is loaded: it leaves no files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# A function with a branch is one that autograph converts: it writes its new source to TMPDIR.
CONVERTS = """
import os
from fedlm.training.tensorflow import load_tensorflow
load_tensorflow()
load_tensorflow()
import tensorflow as tf

@tf.function
def distance(x):
    if x > 0:
        return x
    return -x

print([int(distance(tf.constant(x))) for x in (-3, 4)], flush=True)
os._exit(0)
"""


def test_a_converted_function_leaves_no_source_behind(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "converts.py").write_text(CONVERTS)  # autograph reads the source
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, tmp_path / "converts.py"],
        env=environment | {"TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "[3, 4]\n"), done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
