"""The program `fedlm` under a name that nobody else has: a `fedlm.py` on the module path must not take its place."""

import os
import sys


def main() -> None:
    """Runs the command line of the installed fedlm: folders of PYTHONPATH are searched last for it."""
    path = sys.path[:]
    inherited = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep)}  # noqa: PTH100
    sys.path.sort(key=lambda folder: os.path.abspath(folder) in inherited)  # noqa: PTH100 - stable
    import fedlm as fedlm  # pins our packages

    sys.path[:] = path
    from fedlm.__main__ import main as run

    run()
