"""Fuzzes the vault's parsers, guided by coverage.

    python -m tests.fuzz.vault NEW_INPUTS tests/fuzz/corpus -max_total_time=600

libFuzzer's options apply. Inputs that reach something new go into the first folder; `-merge=1` keeps the fewest that
reach as much. Needs atheris (`pip install fedlm[fuzz]`); without it `tests/fuzz/test_targets.py` still feeds the same
targets with the corpus and with inputs of Hypothesis.
"""

import os
import subprocess
import sys
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("The fuzzer needs one more package: pip install 'fedlm[fuzz]'.")

with atheris.instrument_imports(include=["fedlm.vault", "fedlm.errors", "tests.fuzz.targets", "json"]):
    from tests.fuzz import targets


def main() -> None:
    """Runs until a time, a count or a finding ends it.

    libFuzzer ends a process without a word to Python: a child fuzzes, and this process removes the child's folder.
    """
    if targets.FOLDER not in os.environ:
        with targets.workplace():
            sys.exit(subprocess.call([sys.executable, "-m", "tests.fuzz.vault", *sys.argv[1:]]))
    for folder in (Path(a) for a in sys.argv[1:] if not a.startswith("-")):
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            for name, data in targets.seeds().items():
                (folder / name).write_bytes(data)
    atheris.Setup(sys.argv, targets.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
