"""The program `fedlm`; also `python -m fedlm`."""

import sys


def main() -> None:
    """Runs the command line. Ctrl-C is told in a sentence from the first moment on: the imports take a quarter of a second."""
    try:
        from fedlm.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("fedlm: interrupted.\n")
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
