"""Memory that a round frees stays with the process."""

import subprocess
import sys

import pytest

from fedlm.system.memory import keep_memory


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_memory_that_was_given_back_is_taken_again_without_page_faults() -> None:
    """In a process of its own: what malloc keeps is kept for good."""
    code = (
        "import resource, sys\n"
        "from fedlm.system.memory import keep_memory\n"
        "keep_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def take(): return len([bytearray(3_000_000) for _ in range(4)])\n"
        "take()\n"
        "before = faults()\n"
        "for _ in range(20): take()\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20 * 4 * 3_000_000 // 4096 // 10  # a fault a page, were it given back


def test_keeping_memory_twice_does_no_harm() -> None:
    keep_memory()
    keep_memory()
