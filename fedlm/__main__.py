"""The program `fedlm`; also `python -m fedlm`."""

import sys


def main() -> None:
    """Runs the command line. The imports take a quarter of a second, during which Ctrl-C must also produce a sentence."""
    try:
        from fedlm.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("fedlm: interrupted.\n")
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
